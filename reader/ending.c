#include "owner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"

#define LAST_ACK   (US / 10) /* for the master to read the last acknowledgements */
#define CAUSE_WAIT (US / 10) /* for word of the true cause of a lost connection */
#define LAST_CLOSE (US / 2)  /* for the master to close its side */

static void announce_end(struct owner *w, const char *reason, const char *message)
{
    struct buf b = {.max = 3072};
    meta_adds(&b, "reason", reason);
    meta_addu(&b, "status", (uint64_t)w->status);
    /* The flows were left where they happened to be read to. */
    if (strcmp(reason, "complete") == 0)
        meta_addu(&b, "partial", 1);
    if (message[0] != '\0')
        meta_adds(&b, "message", message);
    meta_addu(&b, "n.bytes", w->out.bytes);
    meta_addu(&b, "n.records", w->out.records);
    meta_addu(&b, "n.flows", w->info.flows);
    meta_addu(&b, "n.restarts", w->restarts);
    if (!w->out.dead)
        (void)output_meta(&w->out, REC_END, 0, w->info.epoch > 0 ? w->info.epoch : 1,
                          &b); /* a failure is noticed in the main loop */
    buf_free(&b);
}

/* The processes of the flows write END into their own streams. */
static void tell_flows(struct owner *w, const char *reason, const char *message)
{
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addf(&b, "stop reason=%s status=%d", reason, w->status);
    if (message[0] != '\0') {
        (void)buf_addstr(&b, " message=");
        meta_escape(&b, message, strlen(message), 500);
    }
    (void)buf_add(&b, "", 1);
    hub_send_role(&w->hub, ROLE_FLOW, (const char *)b.p);
    buf_free(&b);
}

static void begin_ending(struct owner *w, const char *reason, const char *message)
{
    w->phase = PHASE_ENDING;
    w->phase_since = mono_us();
    w->signals_before = signals_seen();
    w->restart_wanted = false;
    reread_reset(&w->reread, w->info.epoch);
    announce_end(w, reason, message);
    tell_flows(w, reason, message);
}

static void fail(struct owner *w, enum log_level level, int status, char *text)
{
    if (w->phase <= PHASE_FLOWS && signals_seen() > 0) { /* the signal ended a connect */
        w->pending.status = 0;
        owner_stop(w, "stop", EXIT_PARTIAL);
        return;
    }
    log_clean(text);
    log_event(level, NO_FLOW, "event=failed status=%d reason=\"%s\"", status, text);
    w->status = status;
    w->graceful = false;
    session_close(w);
    begin_ending(w, "error", text);
}

void owner_fail(struct owner *w, int status, const char *fmt, ...)
{
    char text[600];
    if (owner_ending(w))
        return;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail(w, LOG_ERROR, status, text);
}

void owner_follow(struct owner *w, int status, const char *why)
{
    char text[200];
    if (owner_ending(w))
        return;
    snprintf(text, sizeof text, "%s", why);
    fail(w, LOG_DEBUG, status, text);
}

void owner_fail_soon(struct owner *w, int status, const char *fmt, ...)
{
    struct fault f = {.status = status};
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(f.text, sizeof f.text, fmt, ap);
    va_end(ap);
    if (!w->o->session_only) {
        owner_fail(w, f.status, "%s", f.text);
    } else if (w->pending.status == 0) {
        w->pending = f;
        w->pending_at = mono_us();
    }
}

void owner_stop_now(struct owner *w, uint64_t now)
{
    if (w->stop_reason == NULL || owner_ending(w))
        return;
    bool late = now - w->stop_at >= REREAD_GRACE;
    if (late && reread_busy(&w->reread))
        log_event(LOG_WARN, NO_FLOW, "event=rereads-given-up requests=%u", w->reread.queued);
    if (late || !reread_busy(&w->reread))
        owner_stop(w, w->stop_reason, w->stop_status);
}

void owner_stop(struct owner *w, const char *reason, int status)
{
    if (owner_ending(w))
        return;
    if (w->stop_reason == NULL && reread_busy(&w->reread)) {
        w->stop_reason = reason;
        w->stop_status = status;
        w->stop_at = mono_us();
        w->signals_before = signals_seen();
        return;
    }
    if (w->stop_reason != NULL && reread_busy(&w->reread) && mono_us() - w->stop_at < REREAD_GRACE)
        return;                   /* already on its way */
    if (w->pending.status != 0) { /* the session was lost before it was stopped */
        owner_fail(w, w->pending.status, "%s", w->pending.text);
        return;
    }
    log_event(LOG_INFO, NO_FLOW, "event=stopping reason=%s status=%d phase=%s", reason, status,
              phase_name(w->phase));
    w->status = status;
    w->graceful = true;
    begin_ending(w, reason, "");
}

void owner_stop_asked(struct owner *w)
{
    owner_stop(w, "stop", w->info.flows > 0 && w->synced == w->info.flows ? EXIT_DONE : EXIT_PARTIAL);
}

void owner_output_died(struct owner *w)
{
    int status;
    if (w->output_reported || (owner_ending(w) && !w->out.lost)) /* with END delivered its reader may go */
        return;
    w->output_reported = true;
    const char *why = output_report(&w->out, NO_FLOW, &status);
    w->status = exit_worse(w->status, status);
    tell_flows(w, "error", why);
    w->phase = PHASE_DONE;
}

void owner_spill_failed(struct owner *w)
{
    int status;
    const char *why = output_fault(&w->out, &status);
    owner_fail(w, status, "%s", why);
}

/* Nothing more will be confirmed: let the last acknowledgements reach the master, and then close in order. */
static void begin_linger(struct owner *w, uint64_t now)
{
    bool any = false;
    peers_positions(w, now, true);
    for (unsigned i = 0; w->flows != NULL && i < w->info.flows; i++)
        any = any || (w->flows[i].local.state == FLOW_UP && w->flows[i].local.acked > 0);
    w->phase = any ? PHASE_LINGER : PHASE_DONE;
    w->phase_since = now;
}

static void linger(struct owner *w, uint64_t now)
{
    bool up = false;
    if (now - w->phase_since < LAST_ACK)
        return;
    for (unsigned i = 0; i < w->info.flows; i++) {
        if (!w->shut)
            flow_shutdown(&w->flows[i].local);
        up = up || w->flows[i].local.state == FLOW_UP;
    }
    w->shut = true;
    if (!up || now - w->phase_since >= LAST_ACK + LAST_CLOSE)
        w->phase = PHASE_DONE;
}

/* Flow processes close their own connections, and go. */
static void finish_flows(struct owner *w, uint64_t now)
{
    if (!w->final_sent) {
        peers_positions(w, now, true);
        hub_send_role(&w->hub, ROLE_FLOW, "stop final=1");
        w->final_sent = true;
    }
    if (w->hub.count[ROLE_FLOW] == 0)
        w->phase = PHASE_DONE;
}

/* Are there writers that may still confirm something? Not for ever: a shell that holds the pipe open behind
 * our back (a wrapper of this process) keeps them waiting for an end of file that comes only after us. What
 * is not acknowledged any more is applied all the same. */
static bool await_writers(struct owner *w, uint64_t now)
{
    uint64_t since = w->writer_heard_at > w->flushed_at ? w->writer_heard_at : w->flushed_at;
    if (w->hub.count[ROLE_WRITER] == 0)
        return false;
    if (us_since(now, since) < QUIET_PEERS)
        return true;
    log_event(LOG_WARN, NO_FLOW, "event=writers-quiet seconds=%d", (int)(QUIET_PEERS / US));
    return false;
}

void ending_step(struct owner *w, uint64_t now)
{
    if (w->pending.status != 0 && us_since(now, w->pending_at) >= CAUSE_WAIT)
        owner_fail(w, w->pending.status, "%s", w->pending.text);
    if (w->phase == PHASE_LINGER)
        linger(w, now);
    if (w->phase != PHASE_ENDING || !output_flushed(&w->out))
        return;
    output_close(&w->out); /* the stages behind us end with the stream, not with this process */
    if (w->flushed_at == 0)
        w->flushed_at = now;
    if (!w->graceful)
        w->phase = PHASE_DONE;
    else if (!w->final_sent && await_writers(w, now))
        return;
    else if (w->o->session_only)
        finish_flows(w, now);
    else
        begin_linger(w, now);
}
