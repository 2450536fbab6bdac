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
        case TAG_CONTROL: live_receive(w); break;
        case TAG_LISTEN: inputs_accept(w); break;
        case TAG_SIGNAL: signals_woken(); break;
        default:
            if (e[i].data.u32 >= TAG_CONN) {
                cluster_event(w, e[i].data.u32 - TAG_CONN, e[i].events);
                break;
            }
            input_ready(w, e[i].data.u32 - TAG_INPUT);
            got = !w->failed;
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
    int ms = cluster_timeout(w);
    if (w->inputs.deadline != 0)
        ms = least(ms, w->inputs.deadline > now ? (int)((w->inputs.deadline - now) / 1000) + 1 : 0);
    if (w->inputs.end_at != 0)
        ms = least(ms, w->inputs.end_at > now ? (int)((w->inputs.end_at - now) / 1000) + 1 : 0);
    if (w->inputs.listen_at != 0)
        ms = least(ms, w->inputs.listen_at > now ? (int)((w->inputs.listen_at - now) / 1000) + 1 : 0);
    ms = least(ms, saved_timeout(w, now));
    ms = least(ms, sweep_timeout(w, now));
    ms = least(ms, listing_timeout(w));
    ms = least(ms, watch_timeout(w, now));
    if (w->live.pending)
        ms = least(ms, 20);
    if (w->limit.on)
        ms = least(ms, limit_timeout(&w->limit, now));
    if (w->failed)
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
    return writer_quiet(w) && (!w->whole.dirty || w->session.stage != ST_RUN) && saved_settled(w);
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
    return w->cluster->whole ? whole_drop(w) : forget_slots(w) && writer_quiet(w);
}

/* Is everything done? When failed, only what is in flight counts, and not for ever. */
static bool finished(struct writer *w)
{
    if (signals_seen() >= 2 || (w->failed && !w->cluster->opened))
        return true;
    if (!w->cluster->opened)
        return false;
    if (!w->failed && (w->inputs.unfinished > 0 || router_waits(w) || sweep_runs(w)))
        return false;
    if (w->failed && (w->cluster->dead || mono_us() - w->failed_at > FAIL_DEADLINE))
        return true;
    if (all_written(w))
        return w->failed || (watch_finished(w) && dropped(w));
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
    return over && !w->failed && !router_waits(w) && !sweep_runs(w) && !cluster_expects(w->cluster) &&
           w->cluster->needed_since == 0 && writer_quiet(w) && w->marks.doing == MARKS_IDLE;
}

/* dfreader waits for our last report before it ends, and only then do the inputs end: report and take leave
 * as soon as what the END records closed is applied. */
static void leave_live(struct writer *w)
{
    if (w->live.ctl.fd < 0 || w->failed || w->ends == 0 || !streams_ended(w) || router_waits(w) ||
        sweep_runs(w))
        return;
    if (writer_quiet(w) && !w->whole.dirty) {
        if (!watch_finished(w))
            return;
        events_drop(w, w->live.ctl.fd);
        counting_say(w, mono_us(), true);
        live_finish(w);
        return;
    }
    write_all(w);
}

void loop_run(struct writer *w)
{
    struct epoll_event e[EVENTS];
    struct cluster *cl = w->cluster;
    for (;;) {
        bool progress = cl->opened && !w->failed && router_pump(w);
        note_signal(w);
        if (finished(w))
            return;
        leave_live(w);
        uint64_t now = mono_us();
        cluster_work(w, now);
        if (!cl->opened) {
            int n = epoll_wait(w->epoll, e, EVENTS, OPENING_MS);
            if (n > 0)
                (void)handle(w, e, n);
            continue;
        }
        live_report(w, now, false);
        watch_work(w, now);
        counting_say(w, now, false);
        saved_write(w, now, false);
        inputs_check(w, now);
        bool fed = !w->failed && inputs_feed(w);
        int got = epoll_wait(w->epoll, e, EVENTS, 0);
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
        cluster_work(w, mono_us());
        if (router_pump(w) || router_stuck(w) || at_end(w))
            continue;
        now = mono_us();
        bool flight = cluster_in_flight(cl) > 0;
        got = epoll_wait(w->epoll, e, EVENTS, timeout_of(w, now));
        *(flight ? &w->stats.waited.output : &w->stats.waited.input) += mono_us() - now;
        if (got > 0)
            (void)handle(w, e, got);
    }
}
