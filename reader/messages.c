/* What peers say on the control socket. dfrecord(5), CONTROL PROTOCOL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "counting.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "session.h"

/* A flow process may be blocked in a connect while its parser asks for many keys. */
#define FLOW_OUT_MAX ((size_t)8 << 20)

/* ---- joining ---- */

static bool join_flow(struct session *s, struct peer *p, const char *line, const char **refusal)
{
    uint64_t flow;
    struct peer *other;
    if (!s->o->session_only) {
        *refusal = "flows-are-not-remote";
        return false;
    }
    if (!ctl_getu(line, "flow", &flow) || flow >= REC_FLOWS_MAX || (s->flows.n > 0 && flow >= s->flows.n)) {
        *refusal = "no-such-flow";
        return false;
    }
    TAILQ_FOREACH(other, &s->control.peers, link)
    {
        if (other != p && other->role == ROLE_FLOW && other->flow == flow && !other->gone) {
            *refusal = "flow-is-taken";
            return false;
        }
    }
    if (session_ending(s)) {
        bool failed = s->stream.status != EXIT_DONE && s->stream.status != EXIT_PARTIAL;
        *refusal = failed ? "session-has-failed" : "session-is-ending";
        return false;
    }
    p->flow = (unsigned)flow;
    p->ctl.out.max = FLOW_OUT_MAX;
    return true;
}

static bool on_hello(void *ctx, struct peer *p, const char *line, const char **refusal)
{
    struct session *s = ctx;
    if (p->role == ROLE_FLOW && !join_flow(s, p, line, refusal))
        return false;
    if (p->role == ROLE_WRITER && s->o->resume && s->control.count[ROLE_WRITER] > 0) {
        *refusal = "resume-takes-one-writer"; /* each would have a past of its own */
        return false;
    }
    control_send(p, "welcome nonce=%s epoch=%u flows=%u phase=%s",
                 p->role == ROLE_SUPERVISOR ? "-" : s->control.nonce, (unsigned)s->stream.info.epoch,
                 s->stream.info.flows, session_phase(s));
    if (p->role == ROLE_PARSER && s->target[0] != '\0')
        control_send(p, "%s", s->target);
    if (p->role == ROLE_WRITER && s->limit[0] != '\0')
        control_send(p, "%s", s->limit);
    if (p->role == ROLE_FLOW)
        flows_start_process(s, p);
    return true;
}

/* One number per flow. */
static uint64_t *numbers_of(struct peer *p, unsigned flows)
{
    if (p->applied == NULL) {
        p->applied = xcalloc(flows, sizeof *p->applied);
        p->napplied = flows;
    }
    return p->applied;
}

/* ---- flow processes ---- */

static void on_flow_line(struct session *s, struct peer *p, const char *line)
{
    unsigned i;
    uint64_t number;
    char text[400];
    struct fault fault;
    struct source *src = s->stream.source;
    if (ctl_is(line, "stop")) {
        session_asked_to_stop(s);
        return;
    }
    struct session_flow *f = session_flows_find(&s->flows, s->stream.info.epoch, line, &i);
    if (f == NULL || f->process != p || session_ending(s))
        return;
    if (ctl_is(line, "flowup") || ctl_is(line, "moved"))
        (void)ctl_get(line, "replid", f->replid, sizeof f->replid);
    if (ctl_is(line, "flowup") && !f->up) {
        (void)ctl_get(line, "mode", text, sizeof text);
        f->anew = ctl_getu(line, "anew", &number) && number != 0;
        session_flow_up(s, i, strcmp(text, "PARTIAL") == 0);
    } else if (ctl_is(line, "announced")) {
        if (src->kind->announced != NULL)
            src->kind->announced(src);
    } else if (ctl_is(line, "moved") && ctl_getu(line, "bytes", &number)) {
        if (number != f->bytes)
            f->moved_at = mono_us();
        f->bytes = number;
        (void)ctl_getu(line, "queued", &f->queued);
        f->blocked = ctl_getu(line, "blocked", &number) && number != 0;
        f->full = ctl_getu(line, "full", &number) && number != 0;
        f->away = ctl_getu(line, "away", &number) && number != 0;
        if (ctl_getu(line, "reconnects", &number) && number <= UINT32_MAX)
            f->reconnects = (unsigned)number;
    } else if (ctl_is(line, "lost")) {
        int status = ctl_getu(line, "status", &number) && number < 256 ? (int)number : EXIT_RETRY;
        (void)ctl_get(line, "reason", text, sizeof text);
        if (ctl_getu(line, "refused", &number) && number != 0 && session_flow_refused(s))
            return;
        fault_set(&fault, status, "flow %u: %s", i, text);
        session_fail_soon(s, &fault);
    } else if (src->kind->parser_message != NULL) {
        src->kind->parser_message(src, i, line);
    }
}

/* ---- parsers ---- */

static void on_parser_line(struct session *s, struct peer *p, const char *line)
{
    unsigned i;
    struct session_flow *f = session_flows_find(&s->flows, s->stream.info.epoch, line, &i);
    bool synced = ctl_is(line, "synced");
    if (f == NULL)
        return;
    if (ctl_is(line, "reread")) {
        if (!session_ending(s))
            flows_reread(s, i, line);
        return;
    }
    if (!synced && !ctl_is(line, "cut")) {
        struct source *src = s->stream.source;
        if (src->kind->parser_message != NULL && !session_ending(s))
            src->kind->parser_message(src, i, line);
        return;
    }
    if (synced && numbers_of(p, s->flows.n)[i] == 0) {
        p->applied[i] = 1;
        p->nsynced++;
    }
    session_flow_cut(s, i, synced);
}

/* ---- writers ---- */

/* The lowest position of the writers that have spoken of flow i; 0 when none has. */
static uint64_t lowest(const struct control *c, unsigned i)
{
    const struct peer *p;
    uint64_t low = 0;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (p->role == ROLE_WRITER && i < p->napplied && p->applied[i] > 0 &&
            (low == 0 || p->applied[i] < low))
            low = p->applied[i];
    }
    return low;
}

static void on_applied(struct session *s, struct peer *p, const char *line)
{
    unsigned i;
    uint64_t pos;
    struct session_flow *f = session_flows_find(&s->flows, s->stream.info.epoch, line, &i);
    if (f == NULL || !ctl_getu(line, "pos", &pos))
        return;
    numbers_of(p, s->flows.n)[i] = pos;
    uint64_t low = lowest(&s->control, i);
    if (low > f->applied)
        f->applied = low;
}

/* Of a live source: another epoch, or the lack of one, or a barrier. */
static void on_epoch_line(struct session *s, const char *line)
{
    uint64_t epoch, pending;
    char reason[200];
    if (!ctl_getu(line, "epoch", &epoch) || epoch != s->stream.info.epoch || session_ending(s))
        return;
    if (ctl_is(line, "barrier")) {
        session_barrier(s, ctl_getu(line, "pending", &pending) && pending != 0);
    } else if (!s->restart_wanted) {
        (void)ctl_get(line, "reason", reason, sizeof reason);
        log_event(LOG_WARN, NO_FLOW, "event=restart epoch=%u error=%s", (unsigned)epoch,
                  log_quote(reason, strlen(reason)));
        s->restart_wanted = true;
    }
}

static void on_writer_line(struct session *s, struct peer *p, const char *line)
{
    struct source *src = s->stream.source;
    if (ctl_is(line, "applied")) {
        on_applied(s, p, line);
    } else if (ctl_is(line, "health")) {
        target_health_take(&p->health, line, mono_us());
    } else if (ctl_is(line, "resume") || ctl_is(line, "from")) {
        session_positions(s, line);
    } else if (ctl_is(line, "failed")) {
        p->failed = true;
    } else if (ctl_is(line, "target")) {
        if (strlcpy(s->target, line, sizeof s->target) < sizeof s->target)
            control_send_role(&s->control, ROLE_PARSER, s->target);
    } else if (src->kind->live && (ctl_is(line, "barrier") || ctl_is(line, "restart"))) {
        on_epoch_line(s, line);
    } else if (src->kind->message != NULL) {
        src->kind->message(src, p, line);
    }
}

void messages_forget_positions(struct control *c)
{
    struct peer *p;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        free(p->applied);
        p->applied = NULL;
        p->napplied = p->nsynced = 0;
        free(p->probed);
        p->probed = NULL;
        p->nprobed = 0;
    }
}

/* ---- supervisors ---- */

/* "name=N", from line or else from what held before; nothing when neither has it. */
static void add_limit(struct buf *b, const char *name, const char *line, const char *before)
{
    uint64_t n;
    if (ctl_getu(line, name, &n) || ctl_getu(before, name, &n))
        (void)buf_addf(b, " %s=%llu", name, (unsigned long long)n);
}

/* What was never named is left to the writers' own options. */
static void on_limit(struct session *s, struct peer *p, const char *line)
{
    struct buf b = {.max = sizeof s->limit};
    (void)buf_addstr(&b, "limit");
    add_limit(&b, "ops", line, s->limit);
    add_limit(&b, "bytes", line, s->limit);
    snprintf(s->limit, sizeof s->limit, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
    control_send_role(&s->control, ROLE_WRITER, s->limit);
    control_send(p, "limited writers=%u", s->control.count[ROLE_WRITER]);
}

static void on_supervisor_line(struct session *s, struct peer *p, const char *line)
{
    if (ctl_is(line, "status") || ctl_is(line, "counters")) {
        status_begin(s, p, ctl_is(line, "counters")); /* and writes "end" itself */
        return;
    }
    if (ctl_is(line, "limit")) {
        on_limit(s, p, line);
    } else if (ctl_is(line, "stop")) {
        session_asked_to_stop(s);
        control_send(p, "stopping");
    } else {
        control_send(p, "unknown");
    }
    control_send(p, "end");
}

/* ---- all ---- */

static void on_line(void *ctx, struct peer *p, const char *line)
{
    struct session *s = ctx;
    if (ctl_is(line, "counters") &&
        p->role != ROLE_SUPERVISOR) { /* no news: nobody is waited for because of it */
        counting_take(p, line);
        return;
    }
    log_event(LOG_DEBUG, NO_FLOW, "event=message role=%s line=%s", role_name(p->role),
              log_quote(line, strlen(line)));
    if (p->role == ROLE_PARSER || p->role == ROLE_WRITER)
        s->heard_at = mono_us();
    switch (p->role) {
    case ROLE_PARSER: on_parser_line(s, p, line); break;
    case ROLE_WRITER: on_writer_line(s, p, line); break;
    case ROLE_FLOW: on_flow_line(s, p, line); break;
    case ROLE_SUPERVISOR: on_supervisor_line(s, p, line); break;
    default: break;
    }
}

static void on_room(void *ctx, struct peer *p)
{
    status_continue(ctx, p);
}

static void on_gone(void *ctx, struct peer *p)
{
    struct session *s = ctx;
    session_flows_forget(&s->flows, p);
    /* Of a file the stream tells: a stage that died is the reader of an output. */
    if (session_ending(s) || !s->stream.source->kind->live)
        return;
    if (p->role == ROLE_WRITER && p->failed)
        session_follow(s, EXIT_RETRY, "a writer has failed");
    else if (p->role == ROLE_WRITER)
        session_fail(s, EXIT_RETRY,
                     "a writer has closed its control connection before the end of the stream");
    else if (p->role == ROLE_FLOW)
        session_fail(s, EXIT_RETRY, "flow %u: its process has gone", p->flow);
    else if (p->role == ROLE_PARSER && s->flows.synced < s->stream.info.flows)
        s->parser_gone_at = mono_us(); /* said soon, unless that follows from the end of a writer */
}

const struct control_events messages = {.hello = on_hello, .line = on_line, .room = on_room, .gone = on_gone};
