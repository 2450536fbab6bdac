#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "events.h"
#include "exits.h"
#include "forget.h"
#include "io.h"
#include "log.h"
#include "router.h"
#include "signals.h"
#include "writer.h"

#define EVENTS        64
#define FAIL_DEADLINE ((uint64_t)1500000)

/* Returns whether inputs gave something. */
static bool handle(struct writer *w, const struct epoll_event *e, int n)
{
    bool got = false;
    for (int i = 0; i < n; i++) {
        switch (e[i].data.u32) {
        case TAG_NODE:
            if ((e[i].events & ~(uint32_t)EPOLLOUT) != 0 || w->node.wire.t.read_wants_out)
                node_receive(&w->node);
            if ((e[i].events & EPOLLOUT) != 0 || w->node.wire.t.write_wants_in)
                node_send(&w->node);
            break;
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
    int ms = w->cluster != NULL ? cluster_timeout(w) : node_timeout(&w->node, now);
    if (w->inputs.deadline != 0)
        ms = least(ms, w->inputs.deadline > now ? (int)((w->inputs.deadline - now) / 1000) + 1 : 0);
    if (w->inputs.end_at != 0)
        ms = least(ms, w->inputs.end_at > now ? (int)((w->inputs.end_at - now) / 1000) + 1 : 0);
    if (w->inputs.listen_at != 0)
        ms = least(ms, w->inputs.listen_at > now ? (int)((w->inputs.listen_at - now) / 1000) + 1 : 0);
    ms = least(ms, saved_timeout(w, now));
    ms = least(ms, sweep_timeout(w, now));
    ms = least(ms, watch_timeout(w, now));
    if (w->live.pending)
        ms = least(ms, 20);
    if (w->limit.on)
        ms = least(ms, limit_timeout(&w->limit, now));
    if (w->failed)
        ms = least(ms, 50);
    return ms;
}

/* The socket's interest follows want_out. */
static void watch_node(struct writer *w, bool *watched_out, int *watched_fd)
{
    struct node *n = &w->node;
    bool out = transport_wants_out(&n->wire.t, n->wire.want_out);
    if (n->wire.t.fd < 0 || n->lost || (*watched_fd == n->wire.t.fd && *watched_out == out))
        return;
    events_watch(w, n->wire.t.fd, TAG_NODE, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
    *watched_fd = n->wire.t.fd;
    *watched_out = out;
}

static bool all_written(struct writer *w)
{
    return writer_quiet(w) && (!w->node.b.dirty || w->session.stage != ST_RUN) && saved_settled(w);
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

/* What has no journal cannot be gone on from: it leaves no position keys in a cluster. */
static bool dropped(struct writer *w)
{
    const struct session *s = &w->session;
    return s->stage != ST_RUN || s->journal || (forget_slots(w) && writer_quiet(w));
}

/* Is everything done? When failed, only what is in flight counts, and not for ever. */
static bool finished(struct writer *w)
{
    struct node *n = &w->node;
    if (signals_seen() >= 2)
        return true;
    if (!w->failed && (w->inputs.unfinished > 0 || router_waits(w) || sweep_runs(w)))
        return false;
    if (w->failed &&
        (n->dead || (w->cluster != NULL && w->cluster->dead) || mono_us() - w->failed_at > FAIL_DEADLINE))
        return true;
    if (all_written(w))
        return w->failed || (dropped(w) && watch_finished(w));
    pipeline_flush(n);
    n->b.save_now = n->b.dirty;
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
    const struct node *n = &w->node;
    bool over = w->inputs.unfinished == 0 || (w->live.ctl.fd >= 0 && w->ends > 0 && streams_ended(w));
    return over && !w->failed && !router_waits(w) && !sweep_runs(w) && n->un == 0 && n->patience.until == 0 &&
           groups_quiet(n) && writer_quiet(w) && w->marks.doing == MARKS_IDLE;
}

/* dfreader waits for our last report before it ends, and only then do the inputs end: report and take leave
 * as soon as what the END records closed is applied. */
static void leave_live(struct writer *w)
{
    struct node *n = &w->node;
    if (w->live.ctl.fd < 0 || w->failed || w->ends == 0 || !streams_ended(w) || router_waits(w) ||
        sweep_runs(w))
        return;
    if (writer_quiet(w) && !n->b.dirty) {
        if (!watch_finished(w))
            return;
        events_drop(w, w->live.ctl.fd);
        live_finish(w);
        return;
    }
    pipeline_flush(n);
    n->b.save_now = n->b.dirty;
}

static void work(struct writer *w, uint64_t now)
{
    if (w->cluster != NULL)
        cluster_work(w, now);
    else
        node_work(&w->node, now);
}

void loop_run(struct writer *w)
{
    struct epoll_event e[EVENTS];
    struct node *n = &w->node;
    bool watched_out = false;
    int watched_fd = -1;
    for (;;) {
        bool sweep = sweep_due(w, mono_us());
        if (sweep && writer_quiet(w))
            sweep_step(w);
        else if (sweep)
            pipeline_flush(n);
        bool progress = !sweep && !w->failed && router_pump(w);
        if (n->lost && !n->dead) {
            watched_fd = -1;
            if (!node_reconnect(n))
                return;
            continue;
        }
        note_signal(w);
        if (finished(w))
            return;
        leave_live(w);
        uint64_t now = mono_us();
        work(w, now);
        live_report(w, now, false);
        watch_work(w, now);
        saved_write(w, now, false);
        inputs_check(w, now);
        bool fed = !w->failed && inputs_feed(w);
        watch_node(w, &watched_out, &watched_fd);
        int got = epoll_wait(w->epoll, e, EVENTS, 0);
        bool read = got > 0 && handle(w, e, got);
        if (got > 0 || fed || progress || n->lost) {
            if (read || fed || progress)
                continue;
            /* Only replies: go on at once, but gather no longer when no input has anything. */
            if (!router_stalled(w))
                pipeline_flush(n);
            continue;
        }
        /* Idle: what was gathered goes off now. Sleep only if no record can go after that either, and
         * offering them left nothing to be sent. */
        pipeline_flush(n);
        work(w, mono_us());
        if (router_pump(w) || n->lost || (ring_unsent(&n->wire.ring) > 0 && !n->wire.want_out) ||
            router_stuck(w) || at_end(w))
            continue;
        watch_node(w, &watched_out, &watched_fd);
        got = epoll_wait(w->epoll, e, EVENTS, timeout_of(w, mono_us()));
        if (got > 0)
            (void)handle(w, e, got);
    }
}
