/* rediswriter: command records into a Redis server. rediswriter(1). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "events.h"
#include "exits.h"
#include "position/forget.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "ours.h"
#include "tls.h"
#include "signals.h"
#include "writer.h"

/* After the last record: what is missing, what was wrong, what the source may forget. */
static void end_sessions(struct writer *w)
{
    if (!w->outcome.failed && signals_seen() < 2)
        session_check_end(w, w->outcome.stopped);
    w->ended_quiet = writer_quiet(w);
    saved_write(w, mono_us(), true);
    if (signals_seen() >= 2) {
        bool whole = w->cluster != NULL && w->cluster->whole;
        bool synced = whole ? positions_all_saved_synced(&w->positions) : positions_all_synced(&w->positions);
        outcome_fail(&w->outcome, synced ? EXIT_RETRY : EXIT_PARTIAL, "event=interrupted in_flight=%u",
                     cluster_in_flight(w->cluster));
    }
    if (w->stats.errors.total > 0 || w->stats.lost > 0 || w->stats.doubtful.total > 0 || w->stats.evicted > 0)
        w->outcome.status = exit_worse(w->outcome.status, EXIT_DATA);
    forget_files(w);
    live_finish(w);
}

static void writer_init(struct writer *w, int wake_fd)
{
    snprintf(w->session.position_key, sizeof w->session.position_key, OUR_KEYS "%s}", w->opt.task);
    w->session.void_flush.max = LANES_REQUEST_MAX;
    random_hex(w->run);
    rival_self(&w->self, w->opt.task);
    w->stats.started = mono_us();
    limit_set(&w->limit, w->opt.max_ops, w->opt.max_bytes);
    w->inputs.listen_fd = -1;
    live_init(&w->live);
    node_init(&w->node, w);
    w->tls = w->opt.url.tls;
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll < 0)
        outcome_fail(&w->outcome, EXIT_CANNOT, "event=epoll error=%s",
                     log_quote(strerror(errno), strlen(strerror(errno))));
    else
        events_watch(w, wake_fd, TAG_SIGNAL, EPOLLIN);
}

int main(int argc, char **argv)
{
    static struct writer w;
    options_parse(&w.opt, argc, argv);
    int wake_fd = signals_catch();
    raise_limits();
    writer_init(&w, wake_fd);
    if (!w.outcome.failed && failures_check(&w) && (w.opt.forget || inputs_open(&w))) {
        cluster_open(&w);
        loop_run(&w);
    }
    end_sessions(&w);
    failures_end(&w);
    if (summary_write(&w, w.outcome.status) < 0)
        outcome_fail(&w.outcome, EXIT_CANNOT, "event=summary_not_written file=%s error=%s",
                     log_quote(w.opt.summary, strlen(w.opt.summary)),
                     log_quote(strerror(errno), strlen(strerror(errno))));
    inputs_free(&w);
    session_free(&w.session);
    if (w.lanes.n > 0)
        lanes_free(&w.lanes);
    positions_free(&w.positions);
    splits_free(&w.splits);
    sweep_free(&w.sweep);
    holds_free(&w.holds);
    listing_free(&w.listing);
    probes_free(&w.probes);
    exact_free(&w);
    marks_free(&w.marks);
    whole_free(&w.whole);
    buf_free(&w.saved_body);
    cluster_free(&w);
    node_free(&w.node);
    tls_free(w.opt.url.tls);
    return w.outcome.status;
}
