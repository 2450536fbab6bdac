/* What does not go on: noticed in time, said once, shown in the status, and ended when it takes too long. */
#include "owner.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

#define OFFSETS_EVERY (2 * US)
#define SILENT_AFTER  (5 * US)

/* ---- the master ---- */

/* A writer that does not know what runs before it have sent: nothing behind where the master stands now. */
static void tell_heads(struct owner *w)
{
    char line[96];
    for (unsigned i = 0; i < w->info.flows; i++) {
        snprintf(line, sizeof line, "head flow=%u epoch=%u pos=%llu", i, w->info.epoch,
                 (unsigned long long)w->flows[i].head);
        hub_send_role(&w->hub, ROLE_WRITER, line);
    }
}

/* The answer to PING, or to DFLY REPLICAOFFSET, which in the stable sync says as well how far the master is.
 */
void health_pong(struct owner *w, bool offsets)
{
    const struct reply *r = &w->control.reply;
    if (w->alarms & ALARM_MASTER)
        log_event(LOG_WARN, NO_FLOW, "event=master-answers");
    w->alarms &= ~(unsigned)ALARM_MASTER;
    bool known = offsets && r->top.type == REDIS_REPLY_ARRAY;
    for (unsigned i = 0; known && i < w->info.flows; i++)
        w->flows[i].head = (unsigned)r->count > i ? w->heads[i] : 0;
    w->control.reply.numbers = NULL;
    if (known && w->heads_at == 0 && w->partial > 0)
        tell_heads(w);
    if (known)
        w->heads_at = mono_us();
}

void health_ping(struct owner *w, uint64_t now)
{
    const char *const ping[] = {"PING"};
    const char *const offsets[] = {"DFLY", "REPLICAOFFSET"};
    bool stable = w->stable_ok;
    uint64_t every = (uint64_t)w->o->ping_timeout * US / 6;
    if (stable && every > OFFSETS_EVERY)
        every = OFFSETS_EVERY;
    if ((!stable && (w->phase != PHASE_FULL || !w->sync_ok)) || w->await != AWAIT_NONE ||
        now - w->pinged_at < every)
        return;
    w->pinged_at = now;
    w->control.reply.numbers = stable ? w->heads : NULL;
    w->control.reply.numbers_cap = stable ? w->info.flows : 0;
    (void)session_request(w, stable ? AWAIT_OFFSETS : AWAIT_PING, stable ? 2 : 1, stable ? offsets : ping);
}

static uint64_t patience(const struct owner *w)
{
    switch (w->await) {
    case AWAIT_HANDSHAKE: return (uint64_t)w->o->connect_timeout * US;
    case AWAIT_PING:
    case AWAIT_OFFSETS: return (uint64_t)w->o->ping_timeout * US;
    default: return (uint64_t)w->o->stall_timeout * US;
    }
}

static const char *await_name(enum await await)
{
    static const char *const names[] = {"nothing",          "the handshake", "DFLY SYNC",
                                        "DFLY STARTSTABLE", "PING",          "DFLY REPLICAOFFSET"};
    return names[await];
}

/* STARTSTABLE may take long as long as the flows move. */
static void excuse_startstable(struct owner *w)
{
    for (unsigned i = 0; i < w->info.flows; i++) {
        uint64_t moved = w->o->session_only ? w->flows[i].moved_at : w->flows[i].local.moved_at;
        if (moved > w->await_since)
            w->await_since = moved;
    }
}

/* A master answers PING and REPLICAOFFSET at once: seconds of silence are worth an alarm. The others may take
 * their time. */
static uint64_t quick(const struct owner *w)
{
    uint64_t third = patience(w) / 3;
    bool ping = w->await == AWAIT_PING || w->await == AWAIT_OFFSETS;
    return ping && third > SILENT_AFTER ? SILENT_AFTER : third;
}

static void check_master(struct owner *w, uint64_t now)
{
    if (w->await == AWAIT_STARTSTABLE)
        excuse_startstable(w);
    if (w->await == AWAIT_NONE || now <= w->await_since)
        return;
    uint64_t silent = now - w->await_since;
    if (silent >= patience(w))
        owner_fail(w, EXIT_RETRY, "%s: no answer to %s for %llu seconds", w->o->shown, await_name(w->await),
                   (unsigned long long)(patience(w) / US));
    else if (silent >= quick(w) && w->await != AWAIT_HANDSHAKE && !(w->alarms & ALARM_MASTER)) {
        w->alarms |= ALARM_MASTER;
        log_event(LOG_WARN, NO_FLOW, "event=master-silent seconds=%llu request=\"%s\"",
                  (unsigned long long)(silent / US), await_name(w->await));
    }
}

/* ---- flows ---- */

/* When did f last move, or was last unable to? */
static uint64_t last_move(const struct owner *w, const struct oflow *f)
{
    uint64_t moved = w->o->session_only ? f->moved_at : f->local.moved_at;
    return moved > f->idle_since ? moved : f->idle_since;
}

uint64_t health_silent(const struct owner *w, const struct oflow *f, uint64_t now)
{
    uint64_t moved = last_move(w, f);
    return w->phase == PHASE_FULL && !f->cut && now > moved ? now - moved : 0;
}

/* Flows that are not cut and could move, but do not. */
static void check_flows(struct owner *w, uint64_t now)
{
    uint64_t limit = (uint64_t)w->o->stall_timeout * US;
    bool behind = output_behind(&w->out), any = false;
    for (unsigned i = 0; i < w->info.flows && !owner_ending(w); i++) {
        struct oflow *f = &w->flows[i];
        if (w->o->session_only ? f->blocked : behind)
            f->idle_since = now;
        uint64_t silent = health_silent(w, f, now);
        if (silent >= limit)
            owner_fail(w, EXIT_RETRY,
                       "flow %u has not moved for %d seconds in the full sync (after %llu bytes)", i,
                       w->o->stall_timeout, (unsigned long long)flow_bytes(w, f));
        else if (silent >= limit / 10 && !f->warned)
            log_event(LOG_WARN, (int)i, "event=flow-silent seconds=%llu bytes=%llu",
                      (unsigned long long)(silent / US), (unsigned long long)flow_bytes(w, f));
        f->warned = silent >= limit / 10;
        any = any || f->warned;
    }
    w->alarms = (w->alarms & ~(unsigned)ALARM_FLOW) | (any ? ALARM_FLOW : 0);
}

static void check_flows_up(struct owner *w, uint64_t now)
{
    bool remote = w->o->session_only;
    uint64_t limit =
        (uint64_t)(remote ? w->o->parser_timeout + w->o->connect_timeout : w->o->connect_timeout) * US;
    if (now - w->phase_since < limit)
        return;
    unsigned i = 0;
    while (i < w->info.flows && w->flows[i].up)
        i++;
    if (remote && w->flows[i].remote == NULL)
        owner_fail(w, EXIT_CANNOT, "flow %u: no process has joined (dfreader --flow %u --session %s %s)", i,
                   i, w->hub.path, w->o->shown);
    else
        owner_fail(w, EXIT_RETRY, "flow %u: the master does not answer DFLY FLOW", i);
}

static void check_parser(struct owner *w, uint64_t now)
{
    if (w->hub.ever[ROLE_PARSER] == 0 && now - w->sync_at >= (uint64_t)w->o->parser_timeout * US)
        owner_fail(w, EXIT_CANNOT,
                   "nobody parses the stream, so the full sync cannot be completed: pipe it into dfparse; "
                   "to keep it in a file: df2redis record %s FILE",
                   w->o->shown);
}

/* ---- barriers ---- */

void health_barrier(struct owner *w, bool pending)
{
    if (pending && w->barrier_since == 0)
        w->barrier_since = mono_us();
    if (!pending) {
        if (w->alarms & ALARM_BARRIER)
            log_event(LOG_WARN, NO_FLOW, "event=barrier-complete");
        w->barrier_since = 0;
        w->alarms &= ~(unsigned)ALARM_BARRIER;
    }
    session_read_on(w);
}

static void check_barrier(struct owner *w, uint64_t now)
{
    uint64_t limit = (uint64_t)w->o->barrier_timeout * US;
    uint64_t since = w->barrier_since != 0 && now > w->barrier_since ? now - w->barrier_since : 0;
    if (since >= limit) {
        owner_fail(w, EXIT_RETRY, "a FLUSH of the source has waited for %d seconds for all flows to reach it",
                   w->o->barrier_timeout);
    } else if (since >= limit / 2 && !(w->alarms & ALARM_BARRIER)) {
        w->alarms |= ALARM_BARRIER;
        log_event(LOG_WARN, NO_FLOW, "event=barrier-waits seconds=%llu", (unsigned long long)(since / US));
    }
}

/* ---- all ---- */

void health_reset(struct owner *w)
{
    w->alarms = 0;
    w->heads_at = 0;
}

void health_check(struct owner *w, uint64_t now)
{
    check_master(w, now);
    if (!owner_ending(w))
        check_barrier(w, now);
    if (owner_ending(w))
        return;
    if (w->phase == PHASE_RESUME)
        resync_deadline(w, now);
    else if (w->phase == PHASE_FLOWS)
        check_flows_up(w, now);
    else if (w->phase == PHASE_FULL)
        check_parser(w, now);
    if (w->phase == PHASE_FULL)
        check_flows(w, now);
    else
        w->alarms &= ~(unsigned)ALARM_FLOW;
}

/* Here, or in the process of a flow. */
static bool spool_full(const struct owner *w)
{
    bool full = output_spool_full(&w->out);
    for (unsigned i = 0; !full && w->flows != NULL && i < w->info.flows; i++)
        full = w->flows[i].remote != NULL && w->flows[i].full;
    return full;
}

bool health_alarms(const struct owner *w, struct buf *b)
{
    static const char *const names[] = {"master-silent", "flow-silent", "barrier"};
    bool any = false;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (w->alarms & (1u << i)) {
            (void)buf_addf(b, "%s%s", any ? "," : "", names[i]);
            any = true;
        }
    if (w->verify.state == VERIFY_FAILED) {
        (void)buf_addf(b, "%sverify-failed", any ? "," : "");
        any = true;
    }
    if (!spool_full(w))
        return any;
    (void)buf_addf(b, "%sspool-full", any ? "," : "");
    return true;
}
