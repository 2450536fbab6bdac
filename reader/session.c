#include "owner.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

static void enter(struct owner *w, enum phase phase)
{
    w->phase = phase;
    w->phase_since = mono_us();
    log_event(LOG_INFO, NO_FLOW, "event=phase name=%s epoch=%u", phase_name(phase), (unsigned)w->info.epoch);
}

int session_request(struct owner *w, enum await await, int n, const char *const *args)
{
    w->await = await;
    w->await_since = mono_us();
    if (link_request(&w->control, n, args) == 0)
        return 0;
    owner_fail_soon(w, EXIT_RETRY, "the master closed the control connection");
    return -1;
}

/* ---- full sync ---- */

void session_sync(struct owner *w)
{
    const char *const args[] = {"DFLY", "SYNC", w->info.session};
    enter(w, PHASE_FULL);
    w->sync_at = w->phase_since;
    for (unsigned i = 0; i < w->info.flows; i++)
        w->flows[i].idle_since = w->sync_at;
    if (w->partial == 0)
        verify_flows(w);
    (void)session_request(w, AWAIT_SYNC, 3, args);
}

/* While the master cannot run any command of its clients, or a FLUSH waits for all flows, everything is read.
 */
void session_read_on(struct owner *w)
{
    bool on = w->phase == PHASE_STARTING && w->await == AWAIT_STARTSTABLE;
    on = (on || w->barrier_since != 0) && !owner_ending(w);
    if (on != w->out.read_on)
        hub_send_role(&w->hub, ROLE_FLOW, on ? "readon on=1" : "readon on=0");
    w->out.read_on = on;
}

/* Until it is answered no client command runs on the master, so whatever it sends must be taken. Spec section
 * 2.4. */
void session_startstable(struct owner *w)
{
    const char *const args[] = {"DFLY", "STARTSTABLE", w->info.session};
    enter(w, PHASE_STARTING);
    w->await = AWAIT_STARTSTABLE;
    session_read_on(w); /* before the master gets to know */
    (void)session_request(w, AWAIT_STARTSTABLE, 3, args);
}

/* All flows are cut: only now, and once. */
static void try_startstable(struct owner *w)
{
    if (w->phase == PHASE_FULL && w->sync_ok && w->cut == w->info.flows && w->await == AWAIT_NONE)
        session_startstable(w);
}

static void try_stable(struct owner *w)
{
    if (w->phase != PHASE_STARTING || !w->stable_ok || w->synced < w->info.flows)
        return;
    enter(w, PHASE_STABLE);
    if (!verify_start(w))
        session_verified(w);
}

void session_verified(struct owner *w)
{
    if (w->o->until_synced)
        owner_stop(w, "complete", w->verify.state == VERIFY_FAILED ? EXIT_DATA : EXIT_DONE);
}

void session_cut(struct owner *w)
{
    w->cut++;
    try_startstable(w);
}

void session_synced(struct owner *w)
{
    w->synced++;
    try_stable(w);
}

/* ---- flows ---- */

void session_flow_up(struct owner *w, unsigned i, bool partial)
{
    struct oflow *f = &w->flows[i];
    f->up = true;
    w->up++;
    w->partial += partial ? 1 : 0;
    log_event(LOG_INFO, (int)i, "event=flow-up mode=%s", partial ? "PARTIAL" : "FULL");
    if (w->up == w->info.flows && w->phase == PHASE_FLOWS && !resync_flows_up(w))
        session_sync(w);
}

static void on_flow_up(void *ctx, struct flow *f)
{
    struct owner *w = ctx;
    if (w->resync == RESYNC_ASKED ||
        flow_announce(f, &w->out, FORM_FULL) == 0) /* a failing output is noticed in the main loop */
        session_flow_up(w, f->id, f->partial);
}

static void on_flow_lost(void *ctx, struct flow *f, const struct fault *why)
{
    struct owner *w = ctx;
    if (owner_ending(w)) {
        log_event(LOG_INFO, (int)f->id, "event=flow-closed reason=%s",
                  log_quote(why->text, strlen(why->text)));
        return;
    }
    if (f->refused && resync_flow_refused(w)) {
        log_event(LOG_INFO, (int)f->id, "event=flow-refused reason=%s",
                  log_quote(why->text, strlen(why->text)));
        return;
    }
    if (w->restart_wanted)
        return;
    owner_fail(w, why->status, "flow %u: %s (after %llu bytes)", f->id, why->text,
               (unsigned long long)f->bytes);
}

static void on_flow_bytes(void *ctx, struct flow *f)
{
    (void)f;
    resync_bytes(ctx);
}

static void announce_session(struct owner *w)
{
    struct buf b = {.max = 4096};
    sessinfo_format(&w->info, &b, '\n');
    (void)output_meta(&w->out, REC_SESSION, 0, w->info.epoch, &b); /* as above */
    buf_free(&b);
}

/* Let all flow processes do their part. */
static void each_remote(struct owner *w, void (*call)(struct owner *w, struct peer *p))
{
    struct peer *p;
    TAILQ_FOREACH(p, &w->hub.peers, link)
    {
        if (p->role == ROLE_FLOW && !p->gone)
            call(w, p);
    }
}

void session_open_flows(struct owner *w)
{
    if (w->resync == RESYNC_ASKED)
        verify_owed(w);
    else
        verify_full_sync(w);
    static struct flow_observer observer;
    observer =
        (struct flow_observer){.ctx = w, .up = on_flow_up, .lost = on_flow_lost, .bytes = on_flow_bytes};
    enter(w, PHASE_FLOWS);
    if (w->o->session_only) {
        each_remote(w, w->info.resume ? resync_open_remote : peers_start_flow);
        return;
    }
    for (unsigned i = 0; i < w->info.flows && w->phase == PHASE_FLOWS; i++) {
        struct flow_ask ask = resync_ask(w, i);
        flow_start(&w->flows[i].local, i, &w->loop, &w->o->url, &w->control, &w->info, &ask, 0, &observer);
    }
}

/* ---- control connection ---- */

static void handshake_done(struct owner *w, unsigned flows_before)
{
    w->await = AWAIT_NONE;
    log_event(LOG_INFO, NO_FLOW, "event=session id=%s epoch=%u flows=%u replid=%s protocol=%u",
              w->info.session, (unsigned)w->info.epoch, w->info.flows, w->info.replid, w->info.protocol);
    if (w->o->session_only && flows_before != 0 && flows_before != w->info.flows) {
        owner_fail(w, EXIT_RETRY, "the master has %u flows now instead of %u", w->info.flows, flows_before);
        return;
    }
    w->flows = xcalloc(w->info.flows, sizeof *w->flows);
    w->heads = xrealloc(w->heads, w->info.flows * sizeof *w->heads);
    announce_session(w);
    if (!w->info.resume) {
        session_open_flows(w);
        return;
    }
    enter(w, PHASE_RESUME); /* the writer finds us by the SESSION record, and answers */
    if (w->o->session_only)
        each_remote(w, peers_start_flow);
}

static void on_reply(struct owner *w)
{
    struct fault f;
    unsigned flows_before = w->info.flows;
    enum await await = w->await;
    w->await_since = mono_us();
    if (await == AWAIT_HANDSHAKE) {
        int rc = handshake_reply(&w->handshake, &w->control, &w->info, &f);
        if (rc < 0)
            owner_fail(w, f.status, "%s: %s", w->o->shown, f.text);
        else if (rc > 0)
            handshake_done(w, flows_before);
        return;
    }
    w->await = AWAIT_NONE;
    session_read_on(w);
    if (await == AWAIT_NONE)
        return;
    if (await == AWAIT_PING || await == AWAIT_OFFSETS) {
        health_pong(w, await == AWAIT_OFFSETS);
        try_startstable(w);
        return;
    }
    if (await == AWAIT_STARTSTABLE && w->control.reply.top.type == REDIS_REPLY_ERROR &&
        strcasestr(w->control.reply.top.text, "invalid state") != NULL && resync_invalid_state(w))
        return;
    if (!reply_is(&w->control.reply, "OK")) {
        fault_reply(&f, await == AWAIT_SYNC ? "DFLY SYNC" : "DFLY STARTSTABLE", &w->control.reply);
        owner_fail(w, f.status, "%s", f.text);
    } else if (await == AWAIT_SYNC) {
        w->sync_ok = true;
        try_startstable(w);
    } else {
        w->stable_ok = true;
        resync_stable(w);
        try_stable(w);
    }
}

static void control_lost(struct owner *w, const char *why)
{
    if (owner_ending(w)) {
        log_event(LOG_INFO, NO_FLOW, "event=control-closed reason=%s", log_quote(why, strlen(why)));
        link_close(&w->control);
        return;
    }
    link_close(&w->control);
    w->await = AWAIT_NONE;
    owner_fail_soon(w, EXIT_RETRY, "control connection to %s: %s", w->o->shown, why);
}

static void on_control(struct watch *watch, uint32_t events)
{
    struct owner *w = watch->ctx;
    struct link *l = &w->control;
    struct fault f;
    if (link_events(l, events) < 0) {
        link_fault(l, &f);
        control_lost(w, f.text);
        return;
    }
    while (l->open && l->readable) {
        int rc = link_reply(l, &f);
        if (rc < 0 && f.status != EXIT_RETRY && !owner_ending(w))
            owner_fail(w, f.status, "%s: %s", w->o->shown, f.text);
        else if (rc < 0)
            control_lost(w, f.text);
        if (rc <= 0)
            return;
        on_reply(w);
    }
}

void session_close(struct owner *w)
{
    link_close(&w->control);
    w->await = AWAIT_NONE;
    if (w->flows == NULL)
        return;
    for (unsigned i = 0; i < w->info.flows; i++)
        flow_stop(&w->flows[i].local);
}

void session_begin(struct owner *w)
{
    free(w->flows);
    w->flows = NULL;
    w->up = w->cut = w->synced = w->cursor = 0;
    w->partial = w->announced = 0;
    w->info.resume = w->o->resume && w->info.epoch == 0;
    w->resync = w->info.resume ? RESYNC_WAITING : RESYNC_OFF;
    w->sync_at = 0;
    w->sync_ok = w->stable_ok = false;
    w->pending.status = 0;
    health_reset(w);
    w->barrier_since = 0;
    w->await = AWAIT_NONE;
    session_read_on(w);
    peers_forget_positions(w);
    strlcpy(w->info.nonce, w->hub.nonce, sizeof w->info.nonce);
    strlcpy(w->info.control, w->hub.path, sizeof w->info.control);
    strlcpy(w->info.source, "dragonfly", sizeof w->info.source);
    strlcpy(w->info.address, w->o->shown, sizeof w->info.address);
    w->info.journal = true;
    w->info.started = (uint64_t)time(NULL);
    w->info.epoch++;
    reread_reset(&w->reread, w->info.epoch);
    verify_reset(w);
    enter(w, PHASE_CONNECT);
    struct fault f;
    w->control.w = (struct watch){.fd = -1, .ready = on_control, .ctx = w};
    w->await = AWAIT_HANDSHAKE;
    if (link_open(&w->control, &w->loop, &w->o->url, w->o->connect_timeout * 1000, 0, &f) < 0) {
        /* A master that has been there may come back. */
        bool known = w->restarts > 0 || w->o->resume;
        owner_fail(w, f.status == EXIT_RETRY && !known ? EXIT_CANNOT : f.status, "%s", f.text);
        return;
    }
    w->await_since = mono_us();
    if (handshake_begin(&w->handshake, &w->control, &w->o->url) < 0) {
        link_fault(&w->control, &f);
        owner_fail(w, f.status, "%s: %s", w->o->shown, f.text);
    }
}
