/* Before the first request of a session: what the masters hold, and what is to become of it. */
#include <string.h>

#include "target/cluster.h"
#include "log.h"
#include "target/policy.h"
#include "target/taken.h"
#include "writer.h"

static const char flushall[] = "*1\r\n$8\r\nFLUSHALL\r\n";

static bool decide(struct writer *w)
{
    struct cluster *cl = w->cluster;
    w->was_empty = !cl->found || w->session.repeats;
    if (cl->found && w->session.repeats) {
        flush_everywhere(cl, flushall, sizeof flushall - 1, 0, EVERYBODY_START);
        cl->start = START_FLUSH;
        return true;
    }
    if (!cl->found || w->opt.on_existing == EXISTING_OVERWRITE || existing_guards(w->opt.on_existing))
        return true;
    if (w->opt.on_existing == EXISTING_FLUSH) {
        log_event(LOG_INFO, NO_FLOW, "event=flush_target target=%s", w->opt.shown);
        flush_everywhere(cl, flushall, sizeof flushall - 1, 0, EVERYBODY_START);
        cl->start = START_FLUSH;
        return true;
    }
    policy_refuse(w);
    return false;
}

/* What the epoch before left in the target. */
static void clear_after_void(struct writer *w)
{
    struct session *s = &w->session;
    struct cluster *cl = w->cluster;
    cl->start = START_READY;
    if (w->sweep.state != SWEEP_OFF && !sweep_begin(w))
        return;
    if (w->was_empty || w->opt.on_existing == EXISTING_FLUSH) {
        log_event(LOG_INFO, NO_FLOW, "event=flush_target note=session_begins_anew target=%s", w->opt.shown);
        flush_everywhere(cl, flushall, sizeof flushall - 1, 0, EVERYBODY_START);
        cl->start = START_FLUSH;
    } else if (policy_guarded_void(w)) {
        return;
    } else if (s->void_flush.len > 0) {
        log_event(LOG_WARN, NO_FLOW, "event=source_flushed db=%u note=%s", s->void_db,
                  "\"keys of the target go as well\"");
        flush_everywhere(cl, s->void_flush.p, s->void_flush.len, s->void_db, EVERYBODY_START);
        cl->start = START_FLUSH;
    } else {
        log_event(LOG_WARN, NO_FLOW, "event=session_begins_anew note=%s",
                  "\"keys that the source removed meanwhile stay in the target\"");
    }
}

enum put cluster_start(struct writer *w)
{
    struct cluster *cl = w->cluster;
    if (!cluster_quiet(w))
        return PUT_WAIT;
    bool flush;
    if (w->session.going_on > 0) { /* nothing is to be done: it is as it was left */
        w->was_empty = false;
        return cl->whole ? whole_begin(w) : taken_marked(w) ? PUT_DONE : PUT_WAIT;
    }
    if (cl->start == START_NONE && w->session.refused[0] != '\0' && !w->session.wrote) {
        if (!policy_full_resync(w, &flush))
            return PUT_FAIL;
        w->policy_done = true;
        cl->start = START_READY;
        if (!flush && !sweep_begin(w))
            return PUT_FAIL;
        if (flush) {
            flush_everywhere(cl, flushall, sizeof flushall - 1, 0, EVERYBODY_START);
            cl->start = START_FLUSH;
        }
    } else if (cl->start == START_NONE && w->policy_done) {
        if (w->session.wrote)
            clear_after_void(w);
        else
            cl->start = START_READY;
    } else if (cl->start == START_NONE) {
        for (unsigned i = 0; i < cl->nnodes; i++)
            cl->node[i]->flushed = false;
        cl->found = false;
        cl->start = START_SURVEY;
        cl->stir = true;
    } else if (cl->start == START_READY && !w->policy_done) {
        w->policy_done = true; /* a flush that follows comes back here as ready again */
        if (!decide(w))
            return PUT_FAIL;
    }
    if (cl->start != START_READY || (cl->whole ? whole_begin(w) != PUT_DONE : !taken_marked(w)))
        return PUT_WAIT;
    cl->start = START_NONE;
    return PUT_DONE;
}
