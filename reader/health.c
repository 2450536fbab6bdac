/* What does not go on: noticed in time, said once, shown in the status, and ended when it takes too long. */
#include "exits.h"
#include "io.h"
#include "log.h"
#include "session.h"

/* When did f last move, or was last unable to? */
uint64_t health_silent(const struct session *s, const struct session_flow *f, uint64_t now)
{
    uint64_t moved = f->moved_at > f->idle_since ? f->moved_at : f->idle_since;
    return s->phase == PHASE_FULL && !session_ending(s) && !f->cut && s->stream.source->kind->live
               ? us_since(now, moved)
               : 0;
}

/* Flows that are not cut and could move, but do not. */
static void check_flows(struct session *s, uint64_t now)
{
    uint64_t limit = (uint64_t)s->o->stall_timeout * US;
    bool any = false;
    for (unsigned i = 0; i < s->flows.n && !session_ending(s); i++) {
        struct session_flow *f = &s->flows.flow[i];
        if (f->blocked)
            f->idle_since = now;
        uint64_t silent = health_silent(s, f, now);
        if (silent >= limit)
            session_fail(s, EXIT_RETRY,
                         "flow %u has not moved for %d seconds in the full sync (after %llu bytes)", i,
                         s->o->stall_timeout, (unsigned long long)f->bytes);
        else if (silent >= limit / 10 && !f->warned)
            log_event(LOG_WARN, (int)i, "event=flow_silent seconds=%llu bytes=%llu",
                      (unsigned long long)(silent / US), (unsigned long long)f->bytes);
        f->warned = silent >= limit / 10;
        any = any || f->warned;
    }
    s->alarms = (s->alarms & ~(unsigned)ALARM_FLOW) | (any ? ALARM_FLOW : 0);
}

/* Does the source, or the process that asks it, take too long? */
static bool is_late(const struct session *s, unsigned i)
{
    bool missing = s->o->session_only && s->flows.flow[i].process == NULL;
    return !s->flows.flow[i].up && (missing || !s->stream.source->kind->slow_answers);
}

static void check_flows_up(struct session *s, uint64_t now)
{
    bool processes = s->o->session_only;
    int limit = s->o->connect_timeout + (processes ? s->o->parser_timeout : 0);
    if (us_since(now, s->phase_since) < (uint64_t)limit * US)
        return;
    unsigned i = 0;
    while (i < s->flows.n && !is_late(s, i))
        i++;
    if (i == s->flows.n)
        return;
    if (processes && s->flows.flow[i].process == NULL)
        session_fail(s, EXIT_CANNOT, "flow %u: no process has joined (dfreader --flow %u --session %s %s)", i,
                     i, s->control.path, s->o->shown);
    else
        session_fail(s, EXIT_RETRY, "flow %u: the source does not answer", i);
}

static void check_positions(struct session *s, uint64_t now)
{
    if (us_since(now, s->phase_since) >= (uint64_t)(s->o->parser_timeout + s->o->connect_timeout) * US)
        session_fail(s, EXIT_RETRY,
                     "no writer has said from where to go on (--resume needs one that keeps positions)");
}

static void check_parser(struct session *s, uint64_t now)
{
    if (s->control.ever[ROLE_PARSER] == 0 &&
        us_since(now, s->full_since) >= (uint64_t)s->o->parser_timeout * US)
        session_fail(s, EXIT_CANNOT,
                     "nobody parses the stream, so the full sync cannot be completed: pipe it into dfparse; "
                     "to keep it in a file: df2redis record %s FILE",
                     s->o->shown);
}

static void check_barrier(struct session *s, uint64_t now)
{
    uint64_t limit = (uint64_t)s->o->barrier_timeout * US;
    uint64_t since = s->barrier_since != 0 ? us_since(now, s->barrier_since) : 0;
    if (since >= limit) {
        session_fail(s, EXIT_RETRY,
                     "a FLUSH of the source has waited for %d seconds for all flows to reach it",
                     s->o->barrier_timeout);
    } else if (since >= limit / 2 && !(s->alarms & ALARM_BARRIER)) {
        s->alarms |= ALARM_BARRIER;
        log_event(LOG_WARN, NO_FLOW, "event=barrier_waits seconds=%llu", (unsigned long long)(since / US));
    }
}

void health_check(struct session *s, uint64_t now)
{
    check_barrier(s, now);
    if (session_ending(s))
        return;
    if (s->phase == PHASE_RESUME)
        check_positions(s, now);
    else if (s->phase == PHASE_FLOWS)
        check_flows_up(s, now);
    else if (s->phase == PHASE_FULL)
        check_parser(s, now);
    if (s->phase == PHASE_FULL)
        check_flows(s, now);
    else
        s->alarms &= ~(unsigned)ALARM_FLOW;
}

void health_alarms(const struct session *s, struct buf *b, bool *any)
{
    const struct source *src = s->stream.source;
    if (src->kind->alarms != NULL)
        src->kind->alarms(src, b, any);
    if (s->alarms & ALARM_FLOW)
        alarm_add(b, any, "flow-silent");
    if (s->alarms & ALARM_BARRIER)
        alarm_add(b, any, "barrier");
    if (output_spool_full(&s->stream.out) || session_flows_full(&s->flows)) /* here, or in a process */
        alarm_add(b, any, "spool-full");
}
