/* The control connection to a Redis or Valkey server: what it is, whether it is there, how far it is. The
 * data come over the connection of the flow, which needs nothing from here once it is open. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "../dragonfly/handshake.h"
#include "io.h"
#include "../locate.h"
#include "log.h"
#include "meta.h"
#include "psync.h"
#include "psync_source.h"

#define OFFSET_EVERY (2 * US)
#define SILENT_AFTER (5 * US)
#define LOCATE_EVERY 10 /* seconds */
#define LOCATE_LATER 60 /* where no sentinel has answered: that takes its time */

static const struct {
    const char *name;
    int n;
    const char *args[2];
} requests[] = {
    [ASK_NONE] = {.name = "nothing"},
    [ASK_AUTH] = {.name = "AUTH"},
    [ASK_PING] = {"PING", 1, {"PING"}},
    [ASK_SERVER] = {"INFO server", 2, {"INFO", "server"}},
    [ASK_REPLICATION] = {"INFO replication", 2, {"INFO", "replication"}},
    [ASK_KEYSPACE] = {"INFO keyspace", 2, {"INFO", "keyspace"}},
    [ASK_OPENED] = {.name = "nothing"},
    [ASK_OFFSET] = {"INFO replication", 2, {"INFO", "replication"}},
    [ASK_ALIVE] = {"PING", 1, {"PING"}},
};

static bool is_info(enum psync_ask ask)
{
    return requests[ask].n == 2;
}

/* The server itself, for messages. */
static const char *shown(const struct psync *d)
{
    const struct sessinfo *info = &d->stream->info;
    return info->server[0] != '\0' ? info->server : d->stream->o->shown;
}

/* The control connection broke. */
static void lost(struct psync *d, const char *why)
{
    struct fault f;
    conn_close(&d->conn);
    d->ask = ASK_NONE;
    fault_set(&f, EXIT_RETRY, "control connection to %s: %s", shown(d), why);
    if (session_ending(d->session))
        log_event(LOG_INFO, NO_FLOW, "event=control_closed error=%s", log_quote(why, strlen(why)));
    else
        session_fail_soon(d->session, &f);
}

static void ask(struct psync *d, enum psync_ask what)
{
    int rc = what == ASK_AUTH ? conn_auth(&d->conn, &d->at) : 0;
    if (what == ASK_AUTH && rc == 0)
        what = ASK_PING;
    d->ask = what;
    d->ask_since = d->asked_at = mono_us();
    d->info.len = 0;
    d->conn.reply.whole = is_info(what) ? &d->info : NULL;
    if (what != ASK_AUTH)
        rc = conn_request(&d->conn, requests[what].n, requests[what].args);
    if (rc < 0)
        lost(d, "the source closed it");
}

/* ---- the beginning ---- */

static void opened(struct psync *d)
{
    const struct sessinfo *info = &d->stream->info;
    d->ask = ASK_NONE;
    log_event(LOG_INFO, NO_FLOW, "event=session epoch=%u version=%s replid=%s", (unsigned)info->epoch,
              info->version[0] != '\0' ? info->version : "unknown",
              d->replid[0][0] != '\0' ? d->replid[0] : "unknown");
    session_opened(d->session);
}

/* INFO as text; NULL: it was refused. */
static const char *info_text(struct psync *d)
{
    const struct reply *r = &d->conn.reply;
    if (r->top.type != REDIS_REPLY_STRING || d->info.len != r->top.len || buf_add(&d->info, "", 1) < 0)
        return NULL;
    return (const char *)d->info.p;
}

static void take_server(struct psync *d, const char *text)
{
    struct sessinfo *info = &d->stream->info;
    char mode[16] = "";
    info_version(text, info->version, sizeof info->version);
    if (!info_field(text, "run_id", info->run_id, sizeof info->run_id) || !meta_is_word(info->run_id))
        info->run_id[0] = '\0';
    if (strncmp(info->version, "dragonfly:", 10) == 0)
        session_fail(d->session, EXIT_CANNOT, "%s: this is a Dragonfly: name it as dragonfly://",
                     d->stream->o->shown);
    else if (info_field(text, "redis_mode", mode, sizeof mode) && strcmp(mode, "sentinel") == 0)
        session_fail(d->session, EXIT_CANNOT, "%s: this is a sentinel: name it as sentinel://HOST/NAME",
                     d->stream->o->shown);
    else if (strcmp(mode, "cluster") == 0)
        log_event(LOG_WARN, NO_FLOW,
                  "event=one_node note=\"the source is one node of a cluster: its keys only\"");
}

/* Sentinels need a moment until they know of another master, and a server until it knows its part. */
static void check_role(struct psync *d, const char *text)
{
    const struct options *o = d->stream->o;
    char role[16];
    if (o->url.sentinel && o->from == FROM_MASTER && info_field(text, "role", role, sizeof role) &&
        strcmp(role, "master") != 0)
        session_fail(d->session, EXIT_RETRY, "%s: %s is no longer the master", o->shown, shown(d));
}

/* A writer that does not know what runs before it have sent: nothing behind where the source stands now. */
static void tell_head(const struct psync *d)
{
    char line[96];
    snprintf(line, sizeof line, "head flow=0 epoch=%u pos=%llu", (unsigned)d->stream->info.epoch,
             (unsigned long long)d->session->flows[0].head);
    control_send_role(&d->session->control, ROLE_WRITER, line);
}

/* What a replica sends is old as long as it does not hear from its master. */
static void check_link(struct psync *d, const char *text)
{
    char link[16] = "up";
    (void)info_field(text, "master_link_status", link, sizeof link);
    bool down = strcmp(link, "up") != 0;
    if (down && !d->orphaned)
        log_event(LOG_WARN, NO_FLOW,
                  "event=source_lost_master note=\"it is a replica: nothing new comes from it\"");
    else if (!down && d->orphaned)
        log_event(LOG_WARN, NO_FLOW, "event=source_has_master");
    d->orphaned = down;
}

static void take_replication(struct psync *d, const char *text)
{
    static const char *const names[] = {"master_replid", "master_replid2"};
    uint64_t offset;
    if (d->ask == ASK_REPLICATION)
        check_role(d, text);
    check_link(d, text);
    for (size_t i = 0; i < 2; i++)
        if (!info_field(text, names[i], d->replid[i], sizeof d->replid[i]) ||
            strlen(d->replid[i]) != REPLID_LEN)
            d->replid[i][0] = '\0';
    if (!info_number(text, "second_repl_offset", &d->shared_to))
        d->shared_to = 0;
    if (!info_number(text, "repl_backlog_size", &d->backlog))
        d->backlog = 0;
    if (d->session->flows == NULL || !info_number(text, "master_repl_offset", &offset) ||
        offset > PSYNC_OFFSET_MAX)
        return;
    d->session->flows[0].head = psync_position(offset, PSYNC_DB_MAX);
    if (d->head_at == 0 && d->session->live && d->session->partial > 0)
        tell_head(d);
    d->head_at = d->session->live ? mono_us() : 0;
}

static void take_info(struct psync *d)
{
    const struct item *top = &d->conn.reply.top;
    const char *text = info_text(d);
    d->conn.reply.whole = NULL;
    /* Busy with a script, or loading: that passes. */
    if (text == NULL && d->ask > ASK_OPENED && strstr(top->text, "NOPERM") == NULL)
        return;
    if (text == NULL && !d->no_info)
        log_event(LOG_WARN, NO_FLOW,
                  "event=info_refused reply=%s note=\"the user lacks +info: version and offset of "
                  "the source are not known\"",
                  log_quote(top->text, strlen(top->text)));
    d->no_info = d->no_info || text == NULL;
    if (text == NULL)
        return;
    switch (d->ask) {
    case ASK_SERVER: take_server(d, text); break;
    case ASK_KEYSPACE: handshake_keyspace(text, strlen(text), &d->stream->info); break;
    default: take_replication(d, text);
    }
}

/* ---- replies ---- */

/* An error reply after which it cannot go on; said. */
static bool fatal_reply(struct psync *d)
{
    const struct item *top = &d->conn.reply.top;
    struct fault f;
    bool allowed = d->ask != ASK_AUTH && strstr(top->text, "NOPERM") != NULL;
    if (top->type != REDIS_REPLY_ERROR || allowed ||
        (d->ask > ASK_OPENED && strncmp(top->text, "NOAUTH", 6) != 0))
        return false;
    psync_refused(&f, requests[d->ask].name, top->text);
    session_fail(d->session, f.status, "%s: %s", shown(d), f.text);
    return true;
}

static void on_reply(struct psync *d)
{
    enum psync_ask asked = d->ask;
    if (d->silent)
        log_event(LOG_WARN, NO_FLOW, "event=master_answers");
    d->silent = false;
    if (asked == ASK_NONE || fatal_reply(d))
        return;
    if (is_info(asked))
        take_info(d);
    if (session_ending(d->session))
        return;
    if (asked > ASK_OPENED)
        d->ask = ASK_NONE;
    else if (asked == ASK_KEYSPACE || (d->no_info && asked >= ASK_SERVER))
        opened(d);
    else
        ask(d, asked + 1);
}

static void on_ready(struct watch *w, uint32_t events)
{
    struct psync *d = w->ctx;
    struct conn *c = &d->conn;
    struct fault f;
    if (conn_events(c, events) < 0) {
        conn_fault(c, &f);
        lost(d, f.text);
        return;
    }
    while (c->open && c->readable) {
        int rc = conn_reply(c, &f);
        if (rc < 0 && f.status != EXIT_RETRY && !session_ending(d->session))
            session_fail(d->session, f.status, "%s: %s", shown(d), f.text);
        else if (rc < 0)
            lost(d, f.text);
        if (rc <= 0)
            return;
        on_reply(d);
    }
}

static void open_source(struct source *src)
{
    struct psync *d = psync_of(src);
    struct sessinfo *info = &d->stream->info;
    const struct options *o = d->stream->o;
    struct fault f;
    info->journal = true;
    info->flows = 1;
    info->version[0] = info->run_id[0] = '\0';
    d->silent = d->no_info = d->slowed = d->orphaned = false;
    d->located_at = mono_us();
    d->located_every = LOCATE_EVERY;
    d->head_at = 0;
    d->replid[0][0] = d->replid[1][0] = '\0';
    d->info.max = REPLY_MAX;
    d->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = d};
    strlcpy(info->address, o->shown, sizeof info->address);
    info->server[0] = '\0';
    if (locate(o, &d->at, &f) < 0 ||
        conn_open(&d->conn, &d->stream->loop, &d->at, o->connect_timeout * 1000, 0, &f) < 0) {
        /* A source that has been there may come back. */
        bool known = d->stream->restarts > 0 || o->resume;
        session_fail(d->session, f.status == EXIT_RETRY && !known ? EXIT_CANNOT : f.status, "%s", f.text);
        return;
    }
    if (o->url.sentinel)
        url_show(&d->at, info->server, sizeof info->server);
    ask(d, ASK_AUTH);
}

static void close_source(struct source *src)
{
    struct psync *d = psync_of(src);
    conn_close(&d->conn);
    d->ask = ASK_NONE;
}

/* ---- the session ---- */

static void live(struct psync *d, enum phase phase)
{
    d->session->live = true;
    d->asked_at = 0; /* how far the source is, is asked at once */
    session_enter(d->session, phase);
}

/* The flow goes on where an earlier session ended: it is in the midst of its changes. */
static void resumed(struct psync *d)
{
    struct session *s = d->session;
    flows_announce(s, FORM_JOURNAL);
    for (unsigned i = 0; i < s->stream.info.flows; i++)
        s->flows[i].cut = s->flows[i].synced = true;
    s->cut = s->synced = s->stream.info.flows;
    live(d, PHASE_STABLE);
    if (s->o->until_synced)
        session_stop(s, "complete", EXIT_DONE);
}

/* The master has taken over from the one that the position is of. */
static bool took_over(const struct psync *d)
{
    return strcasecmp(d->session->resume.flow[0].lineage.replid, d->replid[1]) == 0;
}

/* When it took over, did it lack something before that position? */
static bool lacks(const struct psync *d, uint64_t position)
{
    return d->shared_to > 0 && psync_offset(position) >= d->shared_to;
}

/* Where a session may go on as well as at the saved position, since nothing in between had an effect: where
 * the master took over, as its backlog may not reach back any further. A server that takes over begins with a
 * SELECT, so that it does not matter which database was selected. */
static uint64_t meeting(const struct psync *d, const struct resume_flow *f)
{
    uint64_t last = d->shared_to - 1;
    return last == psync_offset(f->quiet) ? f->quiet : psync_position(last, psync_db(f->pos));
}

/* A master that another one takes over from still sends PING, and the sentinels' messages, for a moment. What
 * comes at the other one between there and the saved position is another history, and is applied. */
static void opening(struct source *src)
{
    struct psync *d = psync_of(src);
    if (!d->session->going_on)
        return;
    struct resume_flow *f = &d->session->resume.flow[0];
    if (!took_over(d) || !lacks(d, f->pos) || !psync_is_position(f->quiet) || lacks(d, f->quiet))
        return;
    uint64_t to = meeting(d, f);
    log_event(LOG_INFO, 0, "event=resume_quiet pos=%llu instead_of=%llu", (unsigned long long)to,
              (unsigned long long)f->pos);
    f->pos = to;
    f->quiet = 0;
}

/* Why a flow that was to go on begins anew: another master, or one that was behind us? */
static const char *reason(const struct psync *d)
{
    const struct resume_flow *saved = &d->session->resume.flow[0];
    bool before = took_over(d);
    if (before && lacks(d, saved->pos))
        return "ahead";
    return before || strcasecmp(saved->lineage.replid, d->replid[0]) == 0 ? "backlog" : "replid";
}

/* A flow of a process of its own may be parsed before its process has said here that it is up. */
static void advance(struct psync *d)
{
    struct session *s = d->session;
    if (s->phase == PHASE_FULL && s->cut == d->stream->info.flows)
        session_enter(s, PHASE_STARTING);
    if (s->phase != PHASE_STARTING || s->synced < d->stream->info.flows)
        return;
    session_enter(s, PHASE_STABLE);
    if (d->stream->o->until_synced)
        session_stop(s, "complete", EXIT_DONE);
}

static void on_flows_up(struct source *src)
{
    struct psync *d = psync_of(src);
    struct session *s = d->session;
    if (!s->going_on) {
        live(d, PHASE_FULL);
        advance(d);
    } else if (s->partial == s->stream.info.flows) {
        resumed(d);
    } else {
        session_full_resync(s, reason(d));
    }
}

static void on_cut(struct source *src)
{
    advance(psync_of(src));
}

static void on_synced(struct source *src)
{
    advance(psync_of(src));
}

/* ---- in each turn, and now and then ---- */

static bool work(struct source *src)
{
    struct psync *d = psync_of(src);
    uint64_t now = mono_us();
    for (unsigned i = 0; i < d->stream->n; i++)
        psync_flow_turn(&d->stream->flows[i], now);
    return false;
}

static void check_answer(struct psync *d, uint64_t now)
{
    const struct options *o = d->stream->o;
    uint64_t silent = us_since(now, d->ask_since);
    uint64_t limit = (uint64_t)(d->ask > ASK_OPENED ? o->ping_timeout : o->connect_timeout) * US;
    uint64_t soon = limit / 3 < SILENT_AFTER ? limit / 3 : SILENT_AFTER;
    if (d->ask == ASK_NONE)
        return;
    if (silent >= limit) {
        session_fail(d->session, EXIT_RETRY, "%s: no answer to %s for %llu seconds", shown(d),
                     requests[d->ask].name, (unsigned long long)(limit / US));
    } else if (silent >= soon && d->ask > ASK_OPENED && !d->silent) {
        d->silent = true;
        log_event(LOG_WARN, NO_FLOW, "event=master_silent seconds=%llu request=\"%s\"",
                  (unsigned long long)(silent / US), requests[d->ask].name);
    }
}

/* A full spool: from here on the source keeps what it sends, within its limits. */
static void check_spool(struct psync *d)
{
    bool full = output_spool_full(&d->stream->out);
    if (full && !d->slowed)
        log_event(LOG_WARN, NO_FLOW,
                  "event=source_not_read note=\"the source keeps what is to come, and cuts us off beyond its "
                  "client-output-buffer-limit\"");
    d->slowed = full;
}

/* A master that the sentinels do not reach, but we do, is not told that it is none any more. */
static void check_sentinels(struct psync *d, uint64_t now)
{
    const struct options *o = d->stream->o;
    struct url named;
    if (!o->url.sentinel || o->from != FROM_MASTER || d->session->phase != PHASE_STABLE ||
        us_since(now, d->located_at) < (uint64_t)d->located_every * US)
        return;
    int rc = locate_again(o, &d->at, &named);
    d->located_at = mono_us();
    d->located_every = rc < 0 ? LOCATE_LATER : LOCATE_EVERY;
    if (rc > 0)
        session_fail(d->session, EXIT_RETRY, "%s: the sentinels name %s:%s as the master now, not %s",
                     o->shown, named.host, named.port, shown(d));
}

static void on_tick(struct source *src, uint64_t now)
{
    struct psync *d = psync_of(src);
    uint64_t every = (uint64_t)d->stream->o->ping_timeout * US / 6;
    check_answer(d, now);
    if (session_ending(d->session))
        return;
    check_spool(d);
    check_sentinels(d, now);
    if (session_ending(d->session))
        return;
    if (d->session->phase >= PHASE_FLOWS && d->ask == ASK_NONE && d->conn.open &&
        now - d->asked_at >= (every < OFFSET_EVERY ? every : OFFSET_EVERY))
        ask(d, d->no_info ? ASK_ALIVE : ASK_OFFSET);
}

/* ---- status ---- */

static void add_alarms(const struct source *src, struct buf *b, bool *any)
{
    const struct psync *d = (const struct psync *)src;
    if (d->silent)
        alarm_add(b, any, "master-silent");
    if (d->orphaned)
        alarm_add(b, any, "source-link-down");
}

static void add_fields(const struct source *src, struct buf *b)
{
    const struct psync *d = (const struct psync *)src;
    uint64_t known = d->head_at > d->session->phase_since ? d->head_at : d->session->phase_since;
    (void)buf_addstr(b, "unit=bytes ");
    if (d->stream->info.server[0] != '\0')
        (void)buf_addf(b, "server=%s ", d->stream->info.server);
    if (d->stream->info.version[0] != '\0')
        (void)buf_addf(b, "version=%s ", d->stream->info.version);
    if (d->session->live)
        (void)buf_addf(b, "heads_age=%llu ", (unsigned long long)((mono_us() - known) / US));
    if (d->backlog > 0)
        (void)buf_addf(b, "backlog_bytes=%llu ", (unsigned long long)d->backlog);
    if (d->replid[0][0] != '\0')
        (void)buf_addf(b, "replid=%s ", d->replid[0]);
}

/* ---- all ---- */

/* In the process of a flow: where the session's own process is connected to. */
static void take_address(struct psync *d)
{
    const struct sessinfo *info = &d->stream->info;
    struct url said;
    if (d->session != NULL ||
        url_parse(&said, info->server[0] != '\0' ? info->server : info->address) != NULL)
        return;
    d->at = d->stream->o->url;
    d->at.seed[0] = said.seed[0];
    d->at.seeds = 1;
}

static void server_of(struct flow *f, struct psync_server *where)
{
    struct psync *d = psync_of(f->stream->source);
    take_address(d);
    *where = (struct psync_server){
        .at = &d->at, .like = d->conn.open ? &d->conn : NULL, .version = f->stream->info.version};
}

static struct source *create(struct stream *st, struct session *s)
{
    struct psync *d = xcalloc(1, sizeof *d);
    d->base.source.kind = &source_psync;
    d->base.server = server_of;
    d->stream = st;
    d->session = s;
    d->at = st->o->url;
    d->conn.w.fd = -1;
    return &d->base.source;
}

static void destroy(struct source *src)
{
    struct psync *d = psync_of(src);
    buf_free(&d->info);
    free(d);
}

const struct source_kind source_psync = {
    .name = "redis",
    .live = true,
    .slow_answers = true,
    .shown = psync_offset,
    .create = create,
    .free = destroy,
    .flow_open = psync_flow_open,
    .flow_readable = psync_flow_readable,
    .flow_read = psync_flow_read,
    .flow_lineage = psync_flow_lineage,
    .flow_acknowledge = psync_flow_acknowledge,
    .flow_finish = psync_flow_finish,
    .flow_close = psync_flow_close,
    .work = work,
    .open = open_source,
    .opening = opening,
    .flows_up = on_flows_up,
    .cut = on_cut,
    .synced = on_synced,
    .tick = on_tick,
    .close = close_source,
    .alarms = add_alarms,
    .fields = add_fields,
};
