/* Before the first request of a session: what the masters hold, and what is to become of it. */
#include "start.h"

#include "log.h"
#include "target/taken.h"
#include "writer.h"

static void flush_all(struct flushes *f)
{
    static const char flushall[] = "*1\r\n$8\r\nFLUSHALL\r\n";
    flush_everywhere(f, flushall, sizeof flushall - 1, 0, EVERYBODY_START);
}

/* The target is to hold nothing else than what comes now. Of a share of a cluster source that goes for its
 * slots only: what the other shares write stays. False: the run has failed. */
static bool empty_target(const struct policy *p, struct flushes *f, struct sweep *sweep)
{
    if (p->session->share.of > 0)
        return sweep->state != SWEEP_OFF || sweep_begin(sweep);
    flush_all(f);
    return true;
}

/* The masters have said what they hold. */
static bool decide(struct policy *p, struct flushes *f, struct sweep *sweep)
{
    enum on_existing existing = p->opt->on_existing;
    bool repeats = p->session->repeats;
    p->was_empty = !f->found || repeats;
    if (f->found && repeats)
        return empty_target(p, f, sweep);
    if (!f->found || existing == EXISTING_OVERWRITE || existing_guards(existing))
        return true;
    if (existing == EXISTING_FLUSH) {
        log_event(LOG_INFO, NO_FLOW, "event=flush_target target=%s", p->opt->shown);
        return empty_target(p, f, sweep);
    }
    policy_refuse(p);
    return false;
}

/* What the epoch before left in the target. */
static void clear_after_void(struct policy *p, struct flushes *f, struct sweep *sweep)
{
    const struct session *s = p->session;
    f->start = START_READY;
    if (sweep->state != SWEEP_OFF && !sweep_begin(sweep))
        return;
    if (p->was_empty || p->opt->on_existing == EXISTING_FLUSH) {
        log_event(LOG_INFO, NO_FLOW, "event=flush_target note=session_begins_anew target=%s", p->opt->shown);
        (void)empty_target(p, f, sweep);
    } else if (policy_guarded_void(p)) {
        return;
    } else if (s->void_flush.len > 0) {
        log_event(LOG_WARN, NO_FLOW, "event=source_flushed db=%u note=%s", s->void_db,
                  "\"keys of the target go as well\"");
        flush_everywhere(f, s->void_flush.p, s->void_flush.len, s->void_db, EVERYBODY_START);
    } else {
        log_event(LOG_WARN, NO_FLOW, "event=session_begins_anew note=%s",
                  "\"keys that the source removed meanwhile stay in the target\"");
    }
}

/* It was to go on where it was, and cannot. */
static bool begin_anew(struct policy *p, struct flushes *f, struct sweep *sweep)
{
    bool flush;
    if (!policy_full_resync(p, &flush))
        return false;
    p->done = true;
    f->start = START_READY;
    return flush ? empty_target(p, f, sweep) : sweep_begin(sweep);
}

enum put start_target(struct writer *w)
{
    struct cluster *cl = w->cluster;
    struct policy *p = &w->policy;
    struct flushes *f = &w->flushes;
    bool whole = cl->nodes.whole;
    if (!cluster_quiet(cl))
        return PUT_WAIT;
    if (w->session.going_on > 0) { /* nothing is to be done: it is as it was left */
        p->was_empty = false;
        return whole ? whole_begin(&w->whole) : taken_marked(cl) ? PUT_DONE : PUT_WAIT;
    }
    if (f->start == START_NONE && w->session.refused[0] != '\0' && !w->session.wrote) {
        if (!begin_anew(p, f, &w->sweep))
            return PUT_FAIL;
    } else if (f->start == START_NONE && p->done) {
        if (w->session.wrote)
            clear_after_void(p, f, &w->sweep);
        else
            f->start = START_READY;
    } else if (f->start == START_NONE) {
        flushes_survey(f);
    } else if (f->start == START_READY && !p->done) {
        p->done = true; /* a flush that follows comes back here as ready again */
        if (!decide(p, f, &w->sweep))
            return PUT_FAIL;
    }
    if (f->start != START_READY || (whole ? whole_begin(&w->whole) != PUT_DONE : !taken_marked(cl)))
        return PUT_WAIT;
    f->start = START_NONE;
    return PUT_DONE;
}
