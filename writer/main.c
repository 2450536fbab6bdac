/* rediswriter: command records into a Redis server. rediswriter(1). */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "exits.h"
#include "position/forget.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "signals.h"
#include "writer.h"

/* After the last record: what is missing, what was wrong, what the source may forget. */
static void end_sessions(struct writer *w)
{
    if (!w->outcome.failed && signals_seen() < 2)
        session_check_end(w, w->outcome.stopped);
    w->saved.ended_quiet = cluster_quiet(w->cluster);
    saved_write(&w->saved, mono_us(), true);
    if (signals_seen() >= 2) {
        bool whole = w->cluster->nodes.whole;
        bool synced = whole ? positions_all_saved_synced(&w->positions) : positions_all_synced(&w->positions);
        outcome_fail(&w->outcome, synced ? EXIT_RETRY : EXIT_PARTIAL, "event=interrupted in_flight=%u",
                     nodes_in_flight(&w->cluster->nodes));
    }
    if (w->stats.errors.total > 0 || w->stats.lost > 0 || w->stats.doubtful.total > 0 || w->stats.evicted > 0)
        w->outcome.status = exit_worse(w->outcome.status, EXIT_DATA);
    forget_files(&w->opt, &w->outcome);
    live_finish(&w->live);
}

int main(int argc, char **argv)
{
    static struct writer w;
    /* What a large key took goes back at once: free() would raise the limit, and the heap would keep holes of
     * MiBs. */
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    options_parse(&w.opt, argc, argv);
    int wake_fd = signals_catch();
    raise_limits();
    writer_init(&w);
    if (events_open(&w.events))
        events_watch(&w.events, wake_fd, TAG_SIGNAL, EPOLLIN);
    if (!w.outcome.failed && failures_check(&w.failures) && (w.opt.forget || inputs_open(&w.inputs))) {
        cluster_open(w.cluster);
        loop_run(&w);
    }
    end_sessions(&w);
    failures_end(&w.failures);
    struct told told = {.status = w.outcome.status,
                        .epoch = w.session.epoch,
                        .spill_peak = w.lanes.n > 0 ? lanes_peak(&w.lanes) : 0,
                        .stats = &w.stats,
                        .positions = &w.positions};
    if (summary_write(&w.opt, &told) < 0)
        outcome_fail(&w.outcome, EXIT_CANNOT, "event=summary_not_written file=%s error=%s",
                     log_quote(w.opt.summary, strlen(w.opt.summary)),
                     log_quote(strerror(errno), strlen(strerror(errno))));
    writer_free(&w);
    return w.outcome.status;
}
