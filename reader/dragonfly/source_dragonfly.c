/* The control connection to a Dragonfly master. dragonfly-replication(7). */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "dragonfly.h"
#include "exits.h"
#include "io.h"
#include "log.h"

#define OFFSETS_EVERY (2 * US)
#define SILENT_AFTER  (5 * US)

/* The control connection broke. */
static void lost(struct dragonfly *d, const char *why)
{
    struct fault f;
    conn_close(&d->conn);
    d->await = AWAIT_NONE;
    fault_set(&f, EXIT_RETRY, "control connection to %s: %s", d->stream->o->shown, why);
    if (session_ending(d->session))
        log_event(LOG_INFO, NO_FLOW, "event=control_closed error=%s", log_quote(why, strlen(why)));
    else
        session_fail_soon(d->session, &f);
}

static void request(struct dragonfly *d, enum await await, int n, const char *const *args)
{
    d->await = await;
    d->await_since = mono_us();
    if (conn_request(&d->conn, n, args) < 0)
        lost(d, "the master closed it");
}

/* ---- full sync, live changes ---- */

static void sync(struct dragonfly *d)
{
    const char *const args[] = {"DFLY", "SYNC", d->stream->info.session};
    session_enter(d->session, PHASE_FULL);
    if (d->session->flows.partial == 0)
        verify_flows(&d->verify);
    request(d, AWAIT_SYNC, 3, args);
}

/* Until it is answered no client command runs on the master, so whatever it sends must be taken: everything
 * is read on, from before the master gets to know. dragonfly-replication(7), DFLY STARTSTABLE. */
static void startstable(struct dragonfly *d)
{
    const char *const args[] = {"DFLY", "STARTSTABLE", d->stream->info.session};
    session_enter(d->session, PHASE_STARTING);
    session_read_on(d->session, true);
    request(d, AWAIT_STARTSTABLE, 3, args);
}

/* All flows are cut: only now, and once. */
static void try_startstable(struct dragonfly *d)
{
    const struct session *s = d->session;
    if (s->phase == PHASE_FULL && d->sync_ok && s->flows.cut == d->stream->info.flows &&
        d->await == AWAIT_NONE)
        startstable(d);
}

static void verified(struct dragonfly *d)
{
    d->verified = true;
    if (d->stream->o->until_synced)
        session_stop(d->session, "complete", d->verify.state == VERIFY_FAILED ? EXIT_DATA : EXIT_DONE);
}

static void try_stable(struct dragonfly *d)
{
    const struct session *s = d->session;
    if (s->phase != PHASE_STARTING || !s->live || s->flows.synced < d->stream->info.flows)
        return;
    session_enter(d->session, PHASE_STABLE);
    if (!verify_start(&d->verify))
        verified(d);
}

static void on_cut(struct source *src)
{
    try_startstable(dragonfly_of(src));
}

static void on_synced(struct source *src)
{
    try_stable(dragonfly_of(src));
}

/* ---- going on where an earlier session ended: spec sections 2.2, 2.5, 6.3 ---- */

static void opening(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    if (d->session->resume.going_on)
        verify_owed(&d->verify);
    else
        verify_full_sync(&d->verify, &d->handshake);
}

/* Positions are of another master. */
static bool foreign(const struct dragonfly *d)
{
    const struct resume *r = &d->session->resume;
    bool any = false;
    for (unsigned i = 0; i < r->flows; i++)
        any = any || dragonfly_foreign_id(&r->flow[i].lineage, &d->stream->info.lineage) != NULL;
    return any;
}

static void on_flows_up(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    struct session *s = d->session;
    if (!s->resume.going_on) {
        sync(d);
    } else if (s->flows.partial == d->stream->info.flows) {
        d->resync = RESYNC_STARTING;
        startstable(d);
    } else {
        session_full_resync(s, s->flows.partial > 0 ? "mixed" : foreign(d) ? "replid" : "backlog");
    }
}

static void announce(struct dragonfly *d, enum flow_form form)
{
    flows_announce(d->session, form);
    d->announced = d->stream->n; /* processes report theirs */
    verify_flows(&d->verify);
}

static void on_first_bytes(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    if (d->resync == RESYNC_STARTING)
        announce(d, FORM_JOURNAL);
}

/* STARTSTABLE was answered by OK: journal entries come at once. */
static void resync_stable(struct dragonfly *d)
{
    if (d->resync != RESYNC_STARTING)
        return;
    d->resync = RESYNC_OFF;
    announce(d, FORM_JOURNAL);
    session_flows_all_synced(&d->session->flows);
}

static void try_detour(struct dragonfly *d)
{
    if (d->resync != RESYNC_DETOUR || d->announced < d->stream->info.flows)
        return;
    d->resync = RESYNC_OFF;
    sync(d);
}

static void on_announced(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    d->announced++;
    try_detour(d);
}

/* STARTSTABLE was answered by this error: masters v1.31 to v1.34 want a DFLY SYNC first. */
static bool invalid_state(struct dragonfly *d)
{
    const struct item *top = &d->conn.reply.top;
    if (d->resync != RESYNC_STARTING || top->type != REDIS_REPLY_ERROR ||
        strcasestr(top->text, "invalid state") == NULL)
        return false;
    log_event(LOG_INFO, NO_FLOW, "event=resume_by_sync");
    d->resync = RESYNC_DETOUR;
    announce(d, FORM_SNAPSHOT);
    try_detour(d);
    return true;
}

/* ---- pings ---- */

/* A writer that does not know what runs before it have sent: nothing behind where the master stands now. */
static void tell_heads(struct dragonfly *d)
{
    char line[96];
    for (unsigned i = 0; i < d->stream->info.flows; i++) {
        snprintf(line, sizeof line, "head flow=%u epoch=%u pos=%llu", i, d->stream->info.epoch,
                 (unsigned long long)d->session->flows.flow[i].head);
        control_send_role(&d->session->control, ROLE_WRITER, line);
    }
}

/* The answer to PING, or to DFLY REPLICAOFFSET, which in the stable sync says as well how far the master is.
 */
static void on_pong(struct dragonfly *d, bool offsets)
{
    const struct reply *r = &d->conn.reply;
    if (d->silent)
        log_event(LOG_WARN, NO_FLOW, "event=master_answers");
    d->silent = false;
    bool known = offsets && r->top.type == REDIS_REPLY_ARRAY;
    for (unsigned i = 0; known && i < d->stream->info.flows; i++)
        d->session->flows.flow[i].head = (unsigned)r->count > i ? d->heads[i] : 0;
    d->conn.reply.numbers = NULL;
    if (known && d->heads_at == 0 && d->session->flows.partial > 0)
        tell_heads(d);
    if (known)
        d->heads_at = mono_us();
}

static void ping(struct dragonfly *d, uint64_t now)
{
    const char *const words[] = {"PING"}, *const offsets[] = {"DFLY", "REPLICAOFFSET"};
    bool live = d->session->live;
    uint64_t every = (uint64_t)d->stream->o->ping_timeout * US / 6;
    if (live && every > OFFSETS_EVERY)
        every = OFFSETS_EVERY;
    if ((!live && (d->session->phase != PHASE_FULL || !d->sync_ok)) || d->await != AWAIT_NONE ||
        now - d->pinged_at < every)
        return;
    d->pinged_at = now;
    d->conn.reply.numbers = live ? d->heads : NULL;
    d->conn.reply.numbers_cap = live ? d->stream->info.flows : 0;
    request(d, live ? AWAIT_OFFSETS : AWAIT_PING, live ? 2 : 1, live ? offsets : words);
}

/* µs that an answer may take. */
static uint64_t limit_of(const struct dragonfly *d)
{
    const struct options *o = d->stream->o;
    bool pinged = d->await == AWAIT_PING || d->await == AWAIT_OFFSETS;
    int seconds = d->await == AWAIT_HANDSHAKE ? o->connect_timeout
                  : pinged                    ? o->ping_timeout
                                              : o->stall_timeout;
    return (uint64_t)seconds * US;
}

/* STARTSTABLE may take long as long as the flows move. */
static void excuse_startstable(struct dragonfly *d)
{
    for (unsigned i = 0; i < d->stream->info.flows; i++)
        if (d->session->flows.flow[i].moved_at > d->await_since)
            d->await_since = d->session->flows.flow[i].moved_at;
}

static void check_answer(struct dragonfly *d, uint64_t now)
{
    static const char *const names[] = {"nothing",          "the handshake", "DFLY SYNC",
                                        "DFLY STARTSTABLE", "PING",          "DFLY REPLICAOFFSET"};
    if (d->await == AWAIT_STARTSTABLE)
        excuse_startstable(d);
    if (d->await == AWAIT_NONE)
        return;
    uint64_t silent = us_since(now, d->await_since), limit = limit_of(d), soon = limit / 3;
    if ((d->await == AWAIT_PING || d->await == AWAIT_OFFSETS) && soon > SILENT_AFTER)
        soon = SILENT_AFTER; /* these are answered at once: seconds are worth an alarm */
    if (silent >= limit) {
        session_fail(d->session, EXIT_RETRY, "%s: no answer to %s for %llu seconds", d->stream->o->shown,
                     names[d->await], (unsigned long long)(limit / US));
    } else if (silent >= soon && d->await != AWAIT_HANDSHAKE && !d->silent) {
        d->silent = true;
        log_event(LOG_WARN, NO_FLOW, "event=master_silent seconds=%llu request=\"%s\"",
                  (unsigned long long)(silent / US), names[d->await]);
    }
}

static void on_tick(struct source *src, uint64_t now)
{
    struct dragonfly *d = dragonfly_of(src);
    check_answer(d, now);
    if (!session_ending(d->session))
        ping(d, now);
}

/* ---- control connection ---- */

static void handshake_done(struct dragonfly *d, unsigned flows_before)
{
    const struct sessinfo *info = &d->stream->info;
    d->await = AWAIT_NONE;
    log_event(LOG_INFO, NO_FLOW, "event=session id=%s epoch=%u flows=%u replid=%s protocol=%u", info->session,
              (unsigned)info->epoch, info->flows, info->lineage.replid, info->protocol);
    if (d->stream->o->session_only && flows_before != 0 && flows_before != info->flows) {
        session_fail(d->session, EXIT_RETRY, "the master has %u flows now instead of %u", info->flows,
                     flows_before);
        return;
    }
    d->heads = xrealloc(d->heads, info->flows * sizeof *d->heads);
    session_opened(d->session);
}

/* SYNC or STARTSTABLE. */
static void on_answer(struct dragonfly *d, enum await await)
{
    struct fault f;
    if (await == AWAIT_STARTSTABLE && invalid_state(d))
        return;
    if (!reply_is(&d->conn.reply, "OK")) {
        fault_reply(&f, await == AWAIT_SYNC ? "DFLY SYNC" : "DFLY STARTSTABLE", &d->conn.reply);
        session_fail(d->session, f.status, "%s", f.text);
    } else if (await == AWAIT_SYNC) {
        d->sync_ok = true;
        try_startstable(d);
    } else {
        d->session->live = true;
        resync_stable(d);
        try_stable(d);
    }
}

static void on_reply(void *ctx)
{
    struct dragonfly *d = ctx;
    struct fault f;
    unsigned flows_before = d->stream->info.flows;
    enum await await = d->await;
    d->await_since = mono_us();
    if (await == AWAIT_HANDSHAKE) {
        int rc = handshake_reply(&d->handshake, &d->conn, &d->stream->info, &f);
        if (rc < 0)
            session_fail(d->session, f.status, "%s: %s", d->stream->o->shown, f.text);
        else if (rc > 0)
            handshake_done(d, flows_before);
        return;
    }
    d->await = AWAIT_NONE;
    session_read_on(d->session, false);
    if (await == AWAIT_PING || await == AWAIT_OFFSETS) {
        on_pong(d, await == AWAIT_OFFSETS);
        try_startstable(d);
    } else if (await != AWAIT_NONE) {
        on_answer(d, await);
    }
}

static void on_lost(void *ctx, const struct fault *f)
{
    struct dragonfly *d = ctx;
    if (f->status == EXIT_RETRY || session_ending(d->session))
        lost(d, f->text);
    else
        session_fail(d->session, f->status, "%s: %s", d->stream->o->shown, f->text);
}

static const struct conn_user user = {.reply = on_reply, .lost = on_lost};

static void on_ready(struct watch *w, uint32_t events)
{
    struct dragonfly *d = w->ctx;
    conn_serve(&d->conn, events, &user, d);
}

static void open_master(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    struct sessinfo *info = &d->stream->info;
    const struct options *o = d->stream->o;
    struct fault f;
    strlcpy(info->address, o->shown, sizeof info->address);
    info->journal = true;
    d->sync_ok = d->silent = d->verified = false;
    d->resync = RESYNC_OFF;
    d->announced = 0;
    d->heads_at = 0;
    verify_reset(&d->verify);
    d->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = d};
    d->await = AWAIT_HANDSHAKE;
    if (conn_open(&d->conn, &d->stream->loop, &o->url, o->connect_timeout * 1000, 0, &f) < 0) {
        /* A master that has been there may come back. */
        bool known = d->stream->restarts > 0 || o->resume;
        session_fail(d->session, f.status == EXIT_RETRY && !known ? EXIT_CANNOT : f.status, "%s", f.text);
        return;
    }
    d->await_since = mono_us();
    if (handshake_begin(&d->handshake, &d->conn, &o->url) < 0) {
        conn_fault(&d->conn, &f);
        session_fail(d->session, f.status, "%s: %s", o->shown, f.text);
    }
}

static void close_master(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    conn_close(&d->conn);
    d->await = AWAIT_NONE;
}

/* ---- keys ---- */

static void on_reread(struct source *src, unsigned flow, const char *line)
{
    reread_ask(&dragonfly_of(src)->reread, flow, line);
}

static unsigned count_rereads(const struct source *src)
{
    return ((const struct dragonfly *)src)->reread.queued;
}

static void drop_rereads(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    reread_reset(&d->reread, d->stream->info.epoch);
}

/* Keys are read over further connections, to the server that the open ones lead to. */
static bool work(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    const struct conn *like = d->session != NULL ? &d->conn
                              : d->stream->n > 0 ? dragonfly_flow_conn(d->stream->flows)
                                                 : NULL;
    bool more = reread_pump(&d->reread, like, &d->stream->out);
    if (d->session == NULL)
        return more;
    more = verify_work(&d->verify) || more;
    if (!d->verified && (d->verify.state == VERIFY_DONE || d->verify.state == VERIFY_FAILED))
        verified(d);
    return more;
}

static int timeout(const struct source *src, int most)
{
    return verify_timeout(&((const struct dragonfly *)src)->verify, most);
}

static void on_message(struct source *src, struct peer *p, const char *line)
{
    if (ctl_is(line, "missing") || ctl_is(line, "probed") || ctl_is(line, "unprobed"))
        verify_line(&dragonfly_of(src)->verify, p, line);
}

/* ---- status ---- */

static const char *shown_phase(const struct source *src)
{
    const struct dragonfly *d = (const struct dragonfly *)src;
    return verify_runs(&d->verify) && d->session->phase == PHASE_STABLE ? "verifying" : NULL;
}

static void add_alarms(const struct source *src, struct buf *b, bool *any)
{
    const struct dragonfly *d = (const struct dragonfly *)src;
    if (d->silent)
        alarm_add(b, any, "master-silent");
    if (d->verify.state == VERIFY_FAILED)
        alarm_add(b, any, "verify-failed");
}

static void add_fields(const struct source *src, struct buf *b)
{
    const struct dragonfly *d = (const struct dragonfly *)src;
    uint64_t known = d->heads_at > d->session->phase_since ? d->heads_at : d->session->phase_since;
    if (d->session->live)
        (void)buf_addf(b, "heads_age=%llu ", (unsigned long long)((mono_us() - known) / US));
    verify_fields(&d->verify, b);
}

/* ---- all ---- */

static struct source *create(struct stream *st, struct session *s)
{
    struct dragonfly *d = xcalloc(1, sizeof *d);
    d->source.kind = &source_dragonfly;
    d->stream = st;
    d->session = s;
    d->conn.w.fd = -1;
    reread_init(&d->reread, st->o, &st->loop);
    verify_init(&d->verify, s, &d->conn);
    return &d->source;
}

static void destroy(struct source *src)
{
    struct dragonfly *d = dragonfly_of(src);
    reread_reset(&d->reread, 0);
    verify_reset(&d->verify);
    free(d->heads);
    free(d);
}

const struct source_kind source_dragonfly = {
    .name = "dragonfly",
    .live = true,
    .create = create,
    .free = destroy,
    .flow_open = dragonfly_flow_open,
    .flow_readable = dragonfly_flow_readable,
    .flow_read = dragonfly_flow_read,
    .flow_acknowledge = dragonfly_flow_acknowledge,
    .flow_finish = dragonfly_flow_finish,
    .flow_close = dragonfly_flow_close,
    .reread = on_reread,
    .rereads = count_rereads,
    .drop_rereads = drop_rereads,
    .work = work,
    .open = open_master,
    .opening = opening,
    .flows_up = on_flows_up,
    .first_bytes = on_first_bytes,
    .announced = on_announced,
    .cut = on_cut,
    .synced = on_synced,
    .message = on_message,
    .tick = on_tick,
    .timeout = timeout,
    .close = close_master,
    .phase = shown_phase,
    .alarms = add_alarms,
    .fields = add_fields,
};
