#include "session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

#define CAUSE_WAIT (US / 10) /* for word of the true cause of a lost connection */

/* ---- the end ---- */

static void fail(struct session *s, enum log_level level, int status, char *text)
{
    if (s->phase <= PHASE_FLOWS && signals_seen() > 0) { /* the signal ended a connect */
        s->pending.status = 0;
        session_stop(s, "stop", EXIT_PARTIAL);
        return;
    }
    s->orderly = false;
    s->restart_wanted = false;
    stream_fail(&s->stream, level, "error", status, text);
    flows_stop(&s->control, "error", status, text);
}

void session_fail(struct session *s, int status, const char *fmt, ...)
{
    char text[600];
    if (session_ending(s))
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail(s, LOG_ERROR, status, text);
}

void session_follow(struct session *s, int status, const char *why)
{
    struct fault f;
    fault_set(&f, status, "%s", why);
    if (!session_ending(s))
        fail(s, LOG_DEBUG, status, f.text);
}

void session_fail_soon(struct session *s, const struct fault *f)
{
    if (!s->o->session_only) {
        session_fail(s, f->status, "%s", f->text);
    } else if (s->pending.status == 0) {
        s->pending = *f;
        s->pending_at = mono_us();
    }
}

void session_check_pending(struct session *s, uint64_t now)
{
    if (s->pending.status != 0 && us_since(now, s->pending_at) >= CAUSE_WAIT)
        session_fail(s, s->pending.status, "%s", s->pending.text);
}

void session_stop(struct session *s, const char *reason, int status)
{
    if (s->stream.state != STREAM_RUNS)
        return;
    if (s->pending.status != 0) { /* the session was lost before it was stopped */
        session_fail(s, s->pending.status, "%s", s->pending.text);
        return;
    }
    log_event(LOG_INFO, NO_FLOW, "event=stopping reason=%s status=%d phase=%s", reason, status,
              session_phase(s));
    s->orderly = true;
    s->complete = strcmp(reason, "complete") == 0;
    s->restart_wanted = false;
    stream_stop(&s->stream, reason, status);
    flows_stop(&s->control, reason, status, "");
}

void session_asked_to_stop(struct session *s)
{
    bool complete = s->stream.source->kind->live && s->flows.n > 0 && s->flows.synced == s->flows.n;
    session_stop(s, "stop", complete ? EXIT_DONE : EXIT_PARTIAL);
}

/* ---- phases ---- */

const char *session_phase(const struct session *s)
{
    static const char *const names[] = {"connect", "resume", "flows", "fullsync", "starting", "stable"};
    static const char *const ends[] = {"ending", "ending", "linger", "done"};
    return session_ending(s) ? ends[s->stream.state - STREAM_ENDING] : names[s->phase];
}

void session_enter(struct session *s, enum phase phase)
{
    s->phase = phase;
    s->phase_since = mono_us();
    if (phase == PHASE_FULL)
        s->full_since = s->phase_since;
    for (unsigned i = 0; phase == PHASE_FULL && i < s->flows.n; i++)
        s->flows.flow[i].idle_since = s->full_since;
    log_event(LOG_INFO, NO_FLOW, "event=phase name=%s epoch=%u", session_phase(s),
              (unsigned)s->stream.info.epoch);
}

void session_read_on(struct session *s, bool on)
{
    s->read_on = on;
    flows_read_on(&s->control, &s->stream.out, (on || s->barrier_since != 0) && !session_ending(s));
}

void session_barrier(struct session *s, bool pending)
{
    if (pending && s->barrier_since == 0)
        s->barrier_since = mono_us();
    if (!pending) {
        if (s->alarms & ALARM_BARRIER)
            log_event(LOG_WARN, NO_FLOW, "event=barrier_complete");
        s->barrier_since = 0;
        s->alarms &= ~(unsigned)ALARM_BARRIER;
    }
    session_read_on(s, s->read_on);
}

static void open_flows(struct session *s)
{
    struct source *src = s->stream.source;
    if (src->kind->opening != NULL)
        src->kind->opening(src);
    session_enter(s, PHASE_FLOWS);
    flows_open(s);
}

void session_opened(struct session *s)
{
    flows_reset(s);
    (void)stream_announce(&s->stream); /* a failure is noticed in the next turn */
    if (!s->stream.info.resume) {
        open_flows(s);
        return;
    }
    session_enter(s, PHASE_RESUME); /* the writer finds us by the SESSION record, and answers */
    flows_start_processes(s);
}

void session_flow_up(struct session *s, unsigned i, bool partial)
{
    struct source *src = s->stream.source;
    s->flows.flow[i].up = true;
    s->flows.up++;
    s->flows.partial += partial ? 1 : 0;
    log_event(LOG_INFO, (int)i, "event=flow_up mode=%s", partial ? "PARTIAL" : "FULL");
    if (s->flows.up == s->flows.n && s->phase == PHASE_FLOWS)
        src->kind->flows_up(src);
}

void session_flow_cut(struct session *s, unsigned i, bool synced)
{
    struct source *src = s->stream.source;
    struct session_flow *f = &s->flows.flow[i];
    if (!f->cut) {
        f->cut = true;
        s->flows.cut++;
        log_event(LOG_INFO, (int)i, "event=cut");
        if (src->kind->cut != NULL && !session_ending(s))
            src->kind->cut(src);
    }
    if (synced && !f->synced) {
        f->synced = true;
        s->flows.synced++;
        log_event(LOG_INFO, (int)i, "event=synced");
        if (src->kind->synced != NULL && !session_ending(s))
            src->kind->synced(src);
    }
}

void session_begin(struct session *s)
{
    struct sessinfo *info = &s->stream.info;
    struct source *src = s->stream.source;
    session_flows_reset(&s->flows, 0);
    s->live = s->resume.going_on = false;
    s->full_since = s->barrier_since = 0;
    s->pending.status = 0;
    s->alarms = 0;
    session_read_on(s, false);
    info->resume = s->o->resume && info->epoch == 0;
    strlcpy(info->nonce, s->control.nonce, sizeof info->nonce);
    strlcpy(info->control, s->listening ? s->control.path : "", sizeof info->control);
    strlcpy(info->source, src->kind->name, sizeof info->source);
    info->started = (uint64_t)time(NULL);
    info->epoch++;
    if (src->kind->drop_rereads != NULL)
        src->kind->drop_rereads(src);
    session_enter(s, PHASE_CONNECT);
    src->kind->open(src);
}

/* ---- going on where an earlier session ended ---- */

static const char *reason_text(const char *name)
{
    static const struct {
        const char *name, *text;
    } reasons[] = {
        {"incomplete", "the full sync before was not complete"},
        {"lost", "the target has lost what was written to it, or is another one"},
        {"flows", "the master has another number of flows now"},
        {"replid", "this is another master, which did not take over from the one before, or lacks the "
                   "entries since then"},
        {"backlog", "the master no longer has the entries since then"},
        {"ahead", "the target has what the source lost when another master took over"},
        {"mixed", "the master no longer has the entries of all flows since then"},
        {"error", "the master refuses to go on from there"},
    };
    size_t i = 0;
    while (i + 1 < sizeof reasons / sizeof *reasons && strcmp(reasons[i].name, name) != 0)
        i++;
    return reasons[i].text;
}

/* Nothing of the session so far counts, and no FLOW record was written in it. */
void session_full_resync(struct session *s, const char *reason)
{
    if (s->o->on_full_resync == FULL_FAIL) {
        session_fail(s, EXIT_CANNOT,
                     "cannot go on where the session before ended: %s; --on-full-resync flush or overwrite "
                     "begins anew",
                     reason_text(reason));
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=full_resync reason=%s note=\"%s\"", reason, reason_text(reason));
    strlcpy(s->stream.info.refused, reason, sizeof s->stream.info.refused);
    s->resume.going_on = false;
    s->restart_wanted = true;
}

bool session_flow_refused(struct session *s)
{
    if (!s->resume.going_on || s->phase != PHASE_FLOWS)
        return false;
    session_full_resync(s, "error");
    return true;
}

void session_positions(struct session *s, const char *line)
{
    if (s->phase != PHASE_RESUME || session_ending(s) || s->restart_wanted || !resume_line(&s->resume, line))
        return;
    switch (s->resume.state) {
    case RESUME_UNKNOWN: return;
    case RESUME_NONE: break; /* the first time */
    case RESUME_LOST: session_full_resync(s, "lost"); return;
    case RESUME_INCOMPLETE: session_full_resync(s, "incomplete"); return;
    case RESUME_SAVED:
        if (s->resume.flows != s->flows.n) {
            session_full_resync(s, "flows");
            return;
        }
        s->resume.going_on = true;
    }
    log_event(LOG_INFO, NO_FLOW, "event=resume from=%s",
              s->resume.going_on ? resume_vector(&s->resume) : "-");
    open_flows(s);
}
