#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "counting.h"
#include "events.h"
#include "exits.h"
#include "position/forget.h"
#include "io.h"
#include "log.h"
#include "engine/router.h"
#include "signals.h"
#include "writer.h"

#define EVENTS        64
#define OPENING_MS    20
#define FAIL_DEADLINE ((uint64_t)1500000)

/* Returns whether inputs gave something. */
static bool handle(struct writer *w, const struct epoll_event *e, int n)
{
    bool got = false;
    for (int i = 0; i < n; i++) {
        switch (e[i].data.u32) {
        case TAG_CONTROL: live_receive(&w->live); break;
        case TAG_LISTEN: inputs_accept(&w->inputs); break;
        case TAG_SIGNAL: signals_woken(); break;
        default:
            if (e[i].data.u32 >= TAG_CONN) {
                nodes_event(&w->cluster->nodes, e[i].data.u32 - TAG_CONN, e[i].events);
                break;
            }
            input_ready(&w->inputs, e[i].data.u32 - TAG_INPUT);
            got = !w->outcome.failed;
        }
    }
    return got;
}

static int least(int a, int b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int timeout_of(struct writer *w, uint64_t now)
{
    int ms = cluster_timeout(w->cluster);
    if (w->marks.doing != MARKS_IDLE)
        ms = least(ms, ROUND / 1000);
    ms = least(ms, whole_timeout(&w->whole, now));
    if (w->inputs.deadline != 0)
        ms = least(ms, w->inputs.deadline > now ? (int)((w->inputs.deadline - now) / 1000) + 1 : 0);
    if (w->inputs.end_at != 0)
        ms = least(ms, w->inputs.end_at > now ? (int)((w->inputs.end_at - now) / 1000) + 1 : 0);
    if (w->inputs.listen_at != 0)
        ms = least(ms, w->inputs.listen_at > now ? (int)((w->inputs.listen_at - now) / 1000) + 1 : 0);
    ms = least(ms, saved_timeout(&w->saved, now));
    ms = least(ms, sweep_timeout(&w->sweep, now));
    ms = least(ms, listing_timeout(&w->listing));
    ms = least(ms, watch_timeout(&w->watch, now));
    if (w->live.pending)
        ms = least(ms, w->session.scans ? 1 : 20);
    if (w->limit.on)
        ms = least(ms, limit_timeout(&w->limit, now));
    if (w->outcome.failed)
        ms = least(ms, 50);
    return ms;
}

/* What is gathered goes, and the positions. */
static void write_all(struct writer *w)
{
    w->cluster->hurry(w->cluster);
    w->whole.save_now |= w->whole.dirty;
}

static bool all_written(struct writer *w)
{
    return cluster_quiet(w->cluster) && (!w->whole.dirty || w->session.stage != ST_RUN) &&
           saved_settled(&w->saved);
}

/* The first signal changes nothing here; where no dfreader got it too, whoever sent it should know that. */
static void note_signal(struct writer *w)
{
    if (signals_seen() != 1 || w->signal_noted)
        return;
    w->signal_noted = true;
    log_event(w->live.ctl.fd >= 0 || w->ends > 0 ? LOG_INFO : LOG_WARN, NO_FLOW, "event=signal note=%s",
              "\"goes on to the end of the input; a second one ends at once\"");
}

/* What has no journal cannot be gone on from: it leaves no position keys. */
static bool dropped(struct writer *w)
{
    const struct session *s = &w->session;
    if (s->stage != ST_RUN || s->journal)
        return true;
    return w->cluster->nodes.whole ? whole_drop(&w->whole)
                                   : forget_slots(&w->exact, w->cluster) && cluster_quiet(w->cluster);
}

/* Is everything done? When failed, only what is in flight counts, and not for ever. */
static bool finished(struct writer *w)
{
    if (signals_seen() >= 2 || (w->outcome.failed && !w->cluster->nodes.opened))
        return true;
    if (!w->cluster->nodes.opened)
        return false;
    if (!w->outcome.failed && (w->inputs.unfinished > 0 || router_waits(w) || sweep_runs(&w->sweep)))
        return false;
    if (w->outcome.failed && (w->outcome.dead || mono_us() - w->outcome.failed_at > FAIL_DEADLINE))
        return true;
    if (all_written(w))
        return w->outcome.failed || (watch_finished(&w->watch) && dropped(w));
    write_all(w);
    return false;
}

static bool streams_ended(const struct writer *w)
{
    for (unsigned i = 0; i < w->inputs.n; i++) {
        const struct input *in = &w->inputs.v[i];
        if (!in->finished && (!in->in.ended || in->have))
            return false;
    }
    return true;
}

/* Nothing is in flight at the end of all inputs: only the position may still have to be written. */
static bool at_end(const struct writer *w)
{
    bool over = w->inputs.unfinished == 0 || (w->live.ctl.fd >= 0 && w->ends > 0 && streams_ended(w));
    return over && !w->outcome.failed && !router_waits(w) && !sweep_runs(&w->sweep) &&
           !nodes_expect(&w->cluster->nodes) && w->cluster->nodes.needed_since == 0 &&
           cluster_quiet(w->cluster) && w->marks.doing == MARKS_IDLE;
}

/* dfreader waits for our last report before it ends, and only then do the inputs end: report and take leave
 * as soon as what the END records closed is applied. */
static void leave_live(struct writer *w)
{
    if (w->live.ctl.fd < 0 || w->outcome.failed || w->ends == 0 || !streams_ended(w) || router_waits(w) ||
        sweep_runs(&w->sweep))
        return;
    if (cluster_quiet(w->cluster) && !w->whole.dirty) {
        if (!watch_finished(&w->watch))
            return;
        events_drop(&w->events, w->live.ctl.fd);
        counting_say(w, mono_us(), true);
        live_finish(&w->live);
        return;
    }
    write_all(w);
}

/* Nothing was read until now. */
static void begin_reading(struct writer *w)
{
    if (w->inputs.deadline != 0)
        w->inputs.deadline = mono_us() + (uint64_t)w->opt.input_timeout * 1000000;
    if (w->opt.forget) /* what is to be forgotten depends on what the target is */
        (void)inputs_open(&w->inputs);
}

/* Whatever is due at the target. */
static void work(struct writer *w, uint64_t now)
{
    if (!cluster_work(w->cluster, now))
        return;
    flushes_work(&w->flushes);
    marks_work(&w->marks, now);
    if (w->cluster->nodes.whole)
        whole_work(&w->whole, now);
    sweep_cluster(&w->sweep, now);
    listing_work(&w->listing, now);
    cluster_send(w->cluster, now);
}

void loop_run(struct writer *w)
{
    struct epoll_event e[EVENTS];
    struct cluster *cl = w->cluster;
    bool reading = false;
    for (;;) {
        if (cl->nodes.opened && !reading) {
            reading = true;
            begin_reading(w);
        }
        bool progress = cl->nodes.opened && !w->outcome.failed && router_pump(w);
        note_signal(w);
        if (finished(w))
            return;
        leave_live(w);
        uint64_t now = mono_us();
        work(w, now);
        if (!cl->nodes.opened) {
            int n = epoll_wait(w->events.fd, e, EVENTS, OPENING_MS);
            if (n > 0)
                (void)handle(w, e, n);
            continue;
        }
        live_report(&w->live, now, false);
        watch_work(&w->watch, now);
        counting_say(w, now, false);
        saved_write(&w->saved, now, false);
        inputs_check(&w->inputs, now);
        bool fed = !w->outcome.failed && inputs_feed(&w->inputs);
        int got = epoll_wait(w->events.fd, e, EVENTS, 0);
        bool read = got > 0 && handle(w, e, got);
        if (got > 0 || fed || progress) {
            if (read || fed || progress)
                continue;
            /* Only replies: go on at once, but gather no longer when no input has anything. */
            if (!router_stalled(w))
                cl->hurry(cl);
            continue;
        }
        /* Idle: what was gathered goes off now. Sleep only if no record can go after that either. */
        cl->hurry(cl);
        work(w, mono_us());
        if (router_pump(w) || router_stuck(w) || at_end(w))
            continue;
        now = mono_us();
        bool flight = nodes_in_flight(&cl->nodes) > 0;
        got = epoll_wait(w->events.fd, e, EVENTS, timeout_of(w, now));
        *(flight ? &w->stats.waited.output : &w->stats.waited.input) += mono_us() - now;
        if (got > 0)
            (void)handle(w, e, got);
    }
}
