#include "owner.h"

#include <string.h>
#include <stdlib.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"

/* Read the flows that have something, one record each and in turn. Returns true when there is more to read at
 * once. */
static bool pump(struct owner *w)
{
    bool discard = owner_ending(w);
    if (w->flows == NULL || w->o->session_only)
        return false;
    unsigned n = w->info.flows;
    bool more = !discard && reread_pump(&w->reread, &w->control, &w->out);
    if (w->stop_reason != NULL)
        return more; /* what was read last must not bring further requests */
    for (unsigned k = 0; k < n; k++) {
        unsigned i = w->cursor;
        struct flow *f = &w->flows[i].local;
        if (!flow_readable(f)) {
            w->cursor = i + 1 < n ? i + 1 : 0;
            continue;
        }
        if (!discard && output_full(&w->out))
            return false; /* the output says when to go on, and the cursor where */
        w->cursor = i + 1 < n ? i + 1 : 0;
        if (!flow_read(f, &w->out, discard))
            return false;
        if (owner_ending(w) != discard)
            return true; /* this flow was lost, and with it the session */
        more = more || flow_readable(f);
    }
    return more && (discard || !output_full(&w->out));
}

/* The first signal is a request to stop, one more ends at once. */
static void take_signals(struct owner *w)
{
    unsigned n = signals_seen();
    if (n > 0 && !owner_ending(w))
        owner_stop_asked(w);
    if (n > w->signals_before && w->phase != PHASE_DONE) {
        bool whole = output_flushed(&w->out) && !w->out.dead;
        if (!whole)
            w->status = exit_worse(w->status, w->status == EXIT_DONE ? EXIT_RETRY : w->status);
        log_event(LOG_WARN, NO_FLOW, "event=ended-at-once stream=%s", whole ? "whole" : "cut-short");
        w->phase = PHASE_DONE;
    }
}

static void restart(struct owner *w)
{
    w->restart_wanted = false;
    if (owner_ending(w))
        return;
    if (++w->restarts > RESTARTS_MAX) {
        owner_fail(w, EXIT_RETRY, "the session was begun anew %d times without coming to an end",
                   RESTARTS_MAX);
        return;
    }
    session_close(w);
    session_begin(w);
}

static void tick(struct owner *w)
{
    uint64_t now = mono_us();
    if (!owner_ending(w)) {
        health_check(w, now);
        if (!owner_ending(w))
            health_ping(w, now);
    }
    peers_positions(w, now, false);
    owner_stop_now(w, now);
    ending_step(w, now);
    status_progress(w, now);
}

static void run(struct owner *w)
{
    bool more = false;
    uint64_t ticked = 0;
    while (w->phase != PHASE_DONE) {
        int most = verify_timeout(w, w->phase >= PHASE_ENDING ? LOOP_TICK / 10 : LOOP_TICK);
        loop_wait(&w->loop, more ? 0 : most);
        more = pump(w);
        verify_pump(w);
        hub_reap(&w->hub);
        if (w->out.dead)
            owner_output_died(w);
        else if (w->out.spill_error != 0)
            owner_spill_failed(w);
        take_signals(w);
        if (w->restart_wanted)
            restart(w);
        uint64_t now = mono_us();
        if (now - ticked >= (owner_ending(w) ? US / 100 : US / 10)) {
            ticked = now;
            tick(w);
        }
    }
}

/* The stream begins, whatever becomes of the session: its END says it to the stages behind us. */
static void begin(struct owner *w, const struct hub_observer *observer)
{
    char why[300];
    fatal_stream(-1, KIND_RAW);
    if (output_stream(&w->out) < 0)
        return;
    if (hub_open(&w->hub, &w->loop, w->o->control, observer, why, sizeof why) < 0) {
        owner_fail(w, EXIT_CANNOT, "%s", why);
        return;
    }
    log_event(LOG_INFO, NO_FLOW, "event=listening control=%s", w->hub.path);
    session_begin(w);
}

int owner_run(const struct options *o)
{
    struct owner *w = xcalloc(1, sizeof *w);
    w->o = o;
    w->begun_at = mono_us();
    w->control.w.fd = w->hub.w.fd = -1;
    loop_init(&w->loop);
    reread_init(&w->reread, o, &w->loop);
    verify_init(&w->verify);
    struct hub_observer observer = peers_template;
    observer.ctx = w;
    if (o->session_only)
        output_none(&w->out);
    else
        w->status = output_open(&w->out, &w->loop, o);
    if (w->status != EXIT_DONE)
        w->phase = PHASE_DONE;
    else
        begin(w, &observer);
    run(w);
    session_close(w);
    reread_reset(&w->reread, 0);
    verify_reset(w);
    output_close(&w->out);
    if (w->out.dead)
        owner_output_died(w);
    output_free(&w->out);
    hub_close(&w->hub);
    loop_free(&w->loop);
    int status = w->status;
    resume_free(&w->resume);
    free(w->heads);
    free(w->flows);
    free(w);
    return status;
}
