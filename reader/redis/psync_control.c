/* The control connection to a Redis or Valkey server: its kind, whether it answers, its offset; and finding
 * it again after the connection was lost. */
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

/* A try, and what a sentinel is waited for in it: nothing else is done meanwhile. */
#define TRY_SECONDS 3
#define LASTS       (5 * US) /* a connection that lasts so long is none that is lost again and again */

/* It is made again, as long as the flows need nothing from it. */
static bool again(struct psync *d, struct fault *f)
{
    const struct options *o = d->stream->o;
    if (d->session->phase < PHASE_FULL)
        return false;
    if (!retry_failed(&d->retry, mono_us(), (uint64_t)o->reconnect_timeout * US)) {
        char why[FAULT_TEXT];
        strlcpy(why, f->text, sizeof why);
        if (d->retry.tries > 0)
            fault_set(f, EXIT_RETRY, "not connected again within %d seconds: %s", o->reconnect_timeout, why);
        return false;
    }
    if (!d->away)
        log_event(LOG_WARN, NO_FLOW, "event=control_connection_lost error=%s",
                  log_quote(f->text, strlen(f->text)));
    else
        log_event(LOG_INFO, NO_FLOW, "event=control_not_reconnected tries=%u error=%s", d->retry.tries,
                  log_quote(f->text, strlen(f->text)));
    d->away = true;
    return true;
}

/* The control connection, or a try to make it again, broke. */
static void lost(struct psync *d, const char *why)
{
    struct fault f;
    conn_close(&d->conn);
    d->ask = ASK_NONE;
    fault_set(&f, EXIT_RETRY, "control connection to %s: %s", shown(d), why);
    if (session_ending(d->session))
        log_event(LOG_INFO, NO_FLOW, "event=control_closed error=%s", log_quote(why, strlen(why)));
    else if (!again(d, &f))
        session_fail_soon(d->session, &f);
}

/* What it says cannot be gone on with, at least not now. */
static void fails(struct psync *d, const struct fault *f)
{
    if (d->away && f->status == EXIT_RETRY)
        lost(d, f->text);
    else
        session_fail(d->session, f->status, "%s: %s", shown(d), f->text);
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

/* ---- the beginning, and later ones ---- */

/* The flows follow to where the source is now. */
static void move_flows(struct psync *d)
{
    struct sessinfo *info = &d->stream->info;
    char shown_at[sizeof info->server];
    struct fault why;
    url_show(&d->at, shown_at, sizeof shown_at);
    if (info->server[0] == '\0' || strcmp(shown_at, info->server) == 0)
        return;
    strlcpy(info->server, shown_at, sizeof info->server);
    reread_move(&d->reread);
    fault_set(&why, EXIT_RETRY, "the source is %s now", shown_at);
    for (unsigned i = 0; i < d->stream->n && !session_ending(d->session); i++)
        psync_flow_move(&d->stream->flows[i], &why);
    flows_moved(&d->session->control, info);
}

static void opened_again(struct psync *d)
{
    uint64_t now = mono_us();
    d->ask = ASK_NONE;
    d->away = false;
    d->back_at = now;
    log_event(LOG_WARN, NO_FLOW, "event=control_reconnected server=%s tries=%u ms=%llu", shown(d),
              d->retry.tries + 1, (unsigned long long)(retry_lasts(&d->retry, now) / 1000));
    move_flows(d);
}

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
    struct fault f;
    if (!o->url.sentinel || o->from != FROM_MASTER || !info_field(text, "role", role, sizeof role) ||
        strcmp(role, "master") == 0)
        return;
    fault_set(&f, EXIT_RETRY, "it is no longer the master of %s", o->url.name);
    fails(d, &f);
}

/* A writer that does not know what runs before it have sent: nothing behind where the source stands now. */
static void tell_head(const struct psync *d)
{
    char line[96];
    snprintf(line, sizeof line, "head flow=0 epoch=%u pos=%llu", (unsigned)d->stream->info.epoch,
             (unsigned long long)d->session->flows.flow[0].head);
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
    if (d->session->flows.n == 0 || !info_number(text, "master_repl_offset", &offset) ||
        offset > PSYNC_OFFSET_MAX)
        return;
    d->session->flows.flow[0].head = psync_position(offset, PSYNC_DB_MAX);
    if (d->head_at == 0 && d->session->live && d->session->flows.partial > 0)
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
    fails(d, &f);
    return true;
}

static void on_reply(void *ctx)
{
    struct psync *d = ctx;
    enum psync_ask asked = d->ask;
    if (d->silent)
        log_event(LOG_WARN, NO_FLOW, "event=master_answers");
    d->silent = false;
    if (asked == ASK_NONE || fatal_reply(d))
        return;
    if (is_info(asked))
        take_info(d);
    if (session_ending(d->session) || !d->conn.open)
        return;
    if (asked > ASK_OPENED)
        d->ask = ASK_NONE;
    else if (d->away && (asked == ASK_REPLICATION || (d->no_info && asked >= ASK_SERVER)))
        opened_again(d);
    else if (asked == ASK_KEYSPACE || (d->no_info && asked >= ASK_SERVER))
        opened(d);
    else
        ask(d, asked + 1);
}

static void on_lost(void *ctx, const struct fault *f)
{
    struct psync *d = ctx;
    if (f->status == EXIT_RETRY || session_ending(d->session))
        lost(d, f->text);
    else
        session_fail(d->session, f->status, "%s: %s", shown(d), f->text);
}

static const struct conn_user user = {.reply = on_reply, .lost = on_lost};

static void on_ready(struct watch *w, uint32_t events)
{
    struct psync *d = w->ctx;
    conn_serve(&d->conn, events, &user, d);
}

/* ---- opening and closing ---- */

void psync_control_open(struct psync *d)
{
    struct sessinfo *info = &d->stream->info;
    const struct options *o = d->stream->o;
    struct fault f;
    info->journal = true;
    info->flows = 1;
    info->version[0] = info->run_id[0] = '\0';
    d->silent = d->no_info = d->orphaned = d->away = false;
    d->retry = (struct retry){.since = 0};
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

void psync_control_close(struct psync *d)
{
    conn_close(&d->conn);
    d->ask = ASK_NONE;
}

/* A master that fails over has another address by then. */
static void try_again(struct psync *d)
{
    const struct options *o = d->stream->o;
    int seconds = o->connect_timeout < TRY_SECONDS ? o->connect_timeout : TRY_SECONDS;
    struct url at;
    struct fault f;
    if (locate_soon(o, &at, &f) < 0) {
        lost(d, f.text);
        return;
    }
    d->at = at;
    if (conn_open(&d->conn, &d->stream->loop, &d->at, seconds * 1000, 0, &f) == 0)
        ask(d, ASK_AUTH);
    else if (f.status == EXIT_CANNOT)
        session_fail(d->session, f.status, "%s: %s", shown(d), f.text);
    else
        lost(d, f.text);
}

/* ---- now and then ---- */

static void check_answer(struct psync *d, uint64_t now)
{
    const struct options *o = d->stream->o;
    uint64_t silent = us_since(now, d->ask_since);
    uint64_t limit = (uint64_t)(d->ask > ASK_OPENED ? o->ping_timeout : o->connect_timeout) * US;
    uint64_t soon = limit / 3 < SILENT_AFTER ? limit / 3 : SILENT_AFTER;
    char why[80];
    if (d->ask == ASK_NONE)
        return;
    if (silent >= limit) {
        snprintf(why, sizeof why, "no answer to %s for %llu seconds", requests[d->ask].name,
                 (unsigned long long)(limit / US));
        lost(d, why);
    } else if (silent >= soon && d->ask > ASK_OPENED && !d->silent) {
        d->silent = true;
        log_event(LOG_WARN, NO_FLOW, "event=master_silent seconds=%llu request=\"%s\"",
                  (unsigned long long)(silent / US), requests[d->ask].name);
    }
}

/* A master that the sentinels do not reach, but we do, is not told that it is none any more. */
static void check_sentinels(struct psync *d, uint64_t now)
{
    const struct options *o = d->stream->o;
    struct url named;
    struct fault why;
    if (!o->url.sentinel || o->from != FROM_MASTER || d->session->phase != PHASE_STABLE || d->away ||
        us_since(now, d->located_at) < (uint64_t)d->located_every * US)
        return;
    int rc = locate_again(o, &d->at, &named);
    d->located_at = mono_us();
    d->located_every = rc < 0 ? LOCATE_LATER : LOCATE_EVERY;
    if (rc <= 0)
        return;
    fault_set(&why, EXIT_RETRY, "the sentinels name %s:%s as the master now, not %s", named.host, named.port,
              shown(d));
    lost(d, why.text);
    if (session_ending(d->session) || !d->away)
        return;
    d->at = named;
    move_flows(d); /* what it sends from here on is another history */
}

void psync_control_tick(struct psync *d, uint64_t now)
{
    uint64_t every = (uint64_t)d->stream->o->ping_timeout * US / 6;
    check_answer(d, now);
    if (!session_ending(d->session))
        check_sentinels(d, now);
    if (session_ending(d->session))
        return;
    if (d->away && !d->conn.open && retry_due(&d->retry, now))
        try_again(d);
    else if (!d->away && d->retry.since != 0 && us_since(now, d->back_at) >= LASTS)
        d->retry = (struct retry){.since = 0};
    if (d->session->phase >= PHASE_FLOWS && d->ask == ASK_NONE && d->conn.open && !d->away &&
        now - d->asked_at >= (every < OFFSET_EVERY ? every : OFFSET_EVERY))
        ask(d, d->no_info ? ASK_ALIVE : ASK_OFFSET);
}
