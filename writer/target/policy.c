#include "policy.h"

#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "../options.h"
#include "../outcome.h"
#include "../session.h"

void policy_refuse(struct policy *p)
{
    outcome_fail(
        p->outcome, EXIT_CANNOT, "event=target_not_empty target=%s note=%s", p->opt->shown,
        "\"it holds keys: --on-existing flush removes them all, --on-existing overwrite keeps those that "
        "the source does not have\"");
}

bool policy_began_empty(const struct policy *p)
{
    return p->session->going_on == 0 && (p->was_empty || p->opt->on_existing == EXISTING_FLUSH);
}

/* It was to go on, and cannot: what --on-full-resync says. */
bool policy_full_resync(struct policy *p, bool *flush)
{
    const struct session *s = p->session;
    if (p->opt->on_full_resync == FULL_FAIL) {
        outcome_fail(p->outcome, EXIT_CANNOT, "event=full_resync reason=%s note=%s",
                     log_quote(s->refused, strlen(s->refused)),
                     "\"--on-full-resync says what to do with the target: flush or overwrite\"");
        return false;
    }
    *flush = p->opt->on_full_resync == FULL_FLUSH;
    log_event(LOG_WARN, NO_FLOW, "event=full_resync reason=%s action=%s target=%s",
              log_quote(s->refused, strlen(s->refused)), *flush ? "flush" : "overwrite", p->opt->shown);
    p->was_empty = *flush;
    return *flush || !policy_guarded_void(p);
}

bool policy_guarded_void(struct policy *p)
{
    if (!existing_guards(p->opt->on_existing))
        return false;
    outcome_fail(
        p->outcome, EXIT_CANNOT, "event=cannot_begin_anew target=%s note=%s", p->opt->shown,
        "\"the full sync has to begin anew, and what it wrote so far cannot be told from keys that were "
        "there before: remove it, or use --on-existing overwrite\"");
    return true;
}

bool policy_may_take_over(const struct policy *p)
{
    return p->opt->takeover && (p->session->stage == ST_NONE || p->session->stage == ST_FLOWS);
}

bool policy_rival(struct policy *p, const char *who, char *why, size_t cap)
{
    uint64_t now = mono_us();
    if (p->rival_since == 0)
        p->rival_since = now;
    snprintf(why, cap,
             "another writer of task %s is at work there (%s): give each its own --task, or end that one",
             p->opt->task, log_quote(who, strlen(who)));
    return now - p->rival_since >= RIVAL_WAIT;
}
