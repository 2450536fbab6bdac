/* A Redis or Valkey server as the source: the session with it. The data come over the connection of the flow,
 * which needs nothing from the control connection once it is open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "psync.h"
#include "psync_source.h"

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
    session_flows_all_synced(&s->flows);
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
    if (!d->session->resume.going_on)
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
    if (s->phase == PHASE_FULL && s->flows.cut == d->stream->info.flows)
        session_enter(s, PHASE_STARTING);
    if (s->phase != PHASE_STARTING || s->flows.synced < d->stream->info.flows)
        return;
    session_enter(s, PHASE_STABLE);
    if (d->stream->o->until_synced)
        session_stop(s, "complete", EXIT_DONE);
}

static void on_flows_up(struct source *src)
{
    struct psync *d = psync_of(src);
    struct session *s = d->session;
    if (!s->resume.going_on) {
        live(d, PHASE_FULL);
        advance(d);
    } else if (s->flows.partial == s->flows.n) {
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

/* To the server that keys are read from. */
static const struct conn *like_of(const struct psync *d)
{
    if (d->session != NULL)
        return d->conn.open && !d->away ? &d->conn : NULL;
    return d->stream->n > 0 ? psync_flow_conn(&d->stream->flows[0]) : NULL;
}

static bool work(struct source *src)
{
    struct psync *d = psync_of(src);
    uint64_t now = mono_us();
    const struct conn *like = like_of(d);
    psync_watch_spool(&d->base, &d->stream->out);
    for (unsigned i = 0; i < d->stream->n; i++)
        psync_flow_turn(&d->stream->flows[i], now);
    /* What is asked for waits until the server is there again. */
    return like != NULL && reread_pump(&d->reread, like, &d->stream->out);
}

static void on_tick(struct source *src, uint64_t now)
{
    psync_control_tick(psync_of(src), now);
}

static void open_source(struct source *src)
{
    psync_control_open(psync_of(src));
}

static void close_source(struct source *src)
{
    psync_control_close(psync_of(src));
}

/* The session's own process has found the server elsewhere. */
static void on_told(struct source *src, const char *line)
{
    struct psync *d = psync_of(src);
    struct sessinfo *info = &d->stream->info;
    struct fault why;
    if (!ctl_is(line, "server") || ctl_get(line, "at", info->server, sizeof info->server) <= 0)
        return;
    fault_set(&why, EXIT_RETRY, "the source is %s now", info->server);
    reread_move(&d->reread);
    for (unsigned i = 0; i < d->stream->n; i++)
        psync_flow_move(&d->stream->flows[i], &why);
}

/* ---- keys ---- */

static void on_reread(struct source *src, unsigned flow, const char *line)
{
    reread_ask(&psync_of(src)->reread, flow, line);
}

static unsigned count_rereads(const struct source *src)
{
    return ((const struct psync *)src)->reread.queued;
}

static void drop_rereads(struct source *src)
{
    struct psync *d = psync_of(src);
    reread_reset(&d->reread, d->stream->info.epoch);
}

/* ---- status ---- */

static void add_alarms(const struct source *src, struct buf *b, bool *any)
{
    const struct psync *d = (const struct psync *)src;
    if (d->silent)
        alarm_add(b, any, "master-silent");
    if (d->orphaned)
        alarm_add(b, any, "source-link-down");
    if (d->away || session_flows_away(&d->session->flows))
        alarm_add(b, any, "source-reconnecting");
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
    *where = (struct psync_server){.wait = d->away,
                                   .at = &d->at,
                                   .like = d->conn.open ? &d->conn : NULL,
                                   .version = f->stream->info.version};
}

static void open_flow(struct flow *f)
{
    struct psync *d = psync_of(f->stream->source);
    take_address(d);
    psync_commands(&d->base, d->stream, &d->at);
    psync_flow_open(f);
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
    reread_init(&d->reread, st->o, &st->loop);
    d->reread.psync = true;
    return &d->base.source;
}

static void destroy(struct source *src)
{
    struct psync *d = psync_of(src);
    reread_reset(&d->reread, 0);
    buf_free(&d->base.commands);
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
    .flow_open = open_flow,
    .flow_readable = psync_flow_readable,
    .flow_read = psync_flow_read,
    .flow_lineage = psync_flow_lineage,
    .flow_acknowledge = psync_flow_acknowledge,
    .flow_finish = psync_flow_finish,
    .flow_close = psync_flow_close,
    .told = on_told,
    .reread = on_reread,
    .rereads = count_rereads,
    .drop_rereads = drop_rereads,
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
