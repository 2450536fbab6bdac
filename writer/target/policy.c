#include "policy.h"

#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "../writer.h"

void policy_refuse(struct writer *w)
{
    outcome_fail(
        &w->outcome, EXIT_CANNOT, "event=target_not_empty target=%s note=%s", w->opt.shown,
        "\"it holds keys: --on-existing flush removes them all, --on-existing overwrite keeps those that "
        "the source does not have\"");
}

bool policy_began_empty(const struct writer *w)
{
    return w->session.going_on == 0 && (w->was_empty || w->opt.on_existing == EXISTING_FLUSH);
}

/* It was to go on, and cannot: what --on-full-resync says. */
bool policy_full_resync(struct writer *w, bool *flush)
{
    struct session *s = &w->session;
    if (w->opt.on_full_resync == FULL_FAIL) {
        outcome_fail(&w->outcome, EXIT_CANNOT, "event=full_resync reason=%s note=%s",
                     log_quote(s->refused, strlen(s->refused)),
                     "\"--on-full-resync says what to do with the target: flush or overwrite\"");
        return false;
    }
    *flush = w->opt.on_full_resync == FULL_FLUSH;
    log_event(LOG_WARN, NO_FLOW, "event=full_resync reason=%s action=%s target=%s",
              log_quote(s->refused, strlen(s->refused)), *flush ? "flush" : "overwrite", w->opt.shown);
    w->was_empty = *flush;
    return *flush || !policy_guarded_void(w);
}

bool policy_guarded_void(struct writer *w)
{
    if (!existing_guards(w->opt.on_existing))
        return false;
    outcome_fail(
        &w->outcome, EXIT_CANNOT, "event=cannot_begin_anew target=%s note=%s", w->opt.shown,
        "\"the full sync has to begin anew, and what it wrote so far cannot be told from keys that were "
        "there before: remove it, or use --on-existing overwrite\"");
    return true;
}

bool policy_may_take_over(const struct writer *w)
{
    return w->opt.takeover && (w->session.stage == ST_NONE || w->session.stage == ST_FLOWS);
}

bool policy_rival(struct writer *w, const char *who, char *why, size_t cap)
{
    uint64_t now = mono_us();
    if (w->rival_since == 0)
        w->rival_since = now;
    snprintf(why, cap,
             "another writer of task %s is at work there (%s): give each its own --task, or end that one",
             w->opt.task, log_quote(who, strlen(who)));
    return now - w->rival_since >= RIVAL_WAIT;
}
