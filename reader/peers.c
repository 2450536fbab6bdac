#include "owner.h"

#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

/* A flow process may be blocked in a connect while its parser asks for many keys. */
#define FLOW_OUT_MAX ((size_t)8 << 20)

/* ---- flow processes ---- */

void peers_start_flow(struct owner *w, struct peer *p)
{
    if (p->flow >= w->info.flows) {
        hub_send(p, "stop final=1 reason=error status=%d message=no%%20such%%20flow", EXIT_USAGE);
        return;
    }
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addstr(&b, "start ");
    sessinfo_format(&w->info, &b, ' ');
    (void)buf_add(&b, "", 1);
    w->flows[p->flow].remote = p;
    hub_send(p, "%s", (const char *)b.p);
    buf_free(&b);
}

static bool join_flow(struct owner *w, struct peer *p, const char *line, const char **refusal)
{
    uint64_t flow;
    struct peer *other;
    if (!w->o->session_only) {
        *refusal = "flows-are-not-remote";
        return false;
    }
    if (!ctl_getu(line, "flow", &flow) || flow >= REC_FLOWS_MAX ||
        (w->flows != NULL && flow >= w->info.flows)) {
        *refusal = "no-such-flow";
        return false;
    }
    TAILQ_FOREACH(other, &w->hub.peers, link)
    {
        if (other != p && other->role == ROLE_FLOW && other->flow == flow && !other->gone) {
            *refusal = "flow-is-taken";
            return false;
        }
    }
    if (owner_ending(w)) {
        *refusal = "session-is-ending";
        return false;
    }
    p->flow = (unsigned)flow;
    p->ctl.out.max = FLOW_OUT_MAX;
    return true;
}

static bool on_hello(void *ctx, struct peer *p, const char *line, const char **refusal)
{
    struct owner *w = ctx;
    if (p->role == ROLE_FLOW && !join_flow(w, p, line, refusal))
        return false;
    if (p->role == ROLE_WRITER && w->o->resume && w->hub.count[ROLE_WRITER] > 0) {
        *refusal = "resume-takes-one-writer"; /* each would have a past of its own */
        return false;
    }
    hub_send(p, "welcome nonce=%s epoch=%u flows=%u phase=%s",
             p->role == ROLE_SUPERVISOR ? "-" : w->hub.nonce, (unsigned)w->info.epoch, w->info.flows,
             phase_name(w->phase));
    relay_welcome(&w->relay, p);
    if (p->role == ROLE_FLOW && (w->phase == PHASE_RESUME || w->phase == PHASE_FLOWS))
        peers_start_flow(w, p);
    if (p->role == ROLE_FLOW && w->out.read_on)
        hub_send(p, "readon on=1");
    if (p->role == ROLE_FLOW && w->phase == PHASE_FLOWS && w->info.resume && w->flows[p->flow].remote == p)
        resync_open_remote(w, p);
    return true;
}

/* The flow of this epoch that a line speaks of, or NULL. */
static struct oflow *flow_of(struct owner *w, const char *line, unsigned *index)
{
    uint64_t flow, epoch;
    if (w->flows == NULL || !ctl_getu(line, "flow", &flow) || flow >= w->info.flows)
        return NULL;
    if (!ctl_getu(line, "epoch", &epoch) || epoch != w->info.epoch)
        return NULL;
    *index = (unsigned)flow;
    return &w->flows[flow];
}

static void on_flow_line(struct owner *w, struct peer *p, const char *line)
{
    unsigned i;
    uint64_t number;
    char text[400];
    if (ctl_is(line, "stop")) {
        owner_stop_asked(w);
        return;
    }
    struct oflow *f = flow_of(w, line, &i);
    if (f == NULL || f->remote != p || owner_ending(w))
        return;
    if (ctl_is(line, "flowup") && !f->up) {
        (void)ctl_get(line, "mode", text, sizeof text);
        session_flow_up(w, i, strcmp(text, "PARTIAL") == 0);
    } else if (ctl_is(line, "announced")) {
        resync_announced(w);
    } else if (ctl_is(line, "moved") && ctl_getu(line, "bytes", &number)) {
        if (number != f->bytes)
            f->moved_at = mono_us();
        f->bytes = number;
        (void)ctl_getu(line, "queued", &f->queued);
        f->blocked = ctl_getu(line, "blocked", &number) && number != 0;
        f->full = ctl_getu(line, "full", &number) && number != 0;
    } else if (ctl_is(line, "lost")) {
        int status = ctl_getu(line, "status", &number) && number < 256 ? (int)number : EXIT_RETRY;
        (void)ctl_get(line, "reason", text, sizeof text);
        if (ctl_getu(line, "refused", &number) && number != 0 && resync_flow_refused(w))
            return;
        owner_fail_soon(w, status, "flow %u: %s", i, text);
    }
}

/* ---- parsers ---- */

/* The process that has the flow's stream asks the master itself. */
static void reread(struct owner *w, const struct oflow *f, unsigned i, const char *line)
{
    if (!w->o->session_only)
        reread_ask(&w->reread, i, line);
    else if (f->remote != NULL)
        hub_send(f->remote, "%s", line);
}

static void on_parser_line(struct owner *w, const char *line)
{
    unsigned i;
    struct oflow *f = flow_of(w, line, &i);
    bool synced = ctl_is(line, "synced");
    if (f != NULL && !owner_ending(w) && ctl_is(line, "reread")) {
        reread(w, f, i, line);
        return;
    }
    if (f == NULL || owner_ending(w) || (!synced && !ctl_is(line, "cut")))
        return;
    if (!f->cut) {
        f->cut = true;
        log_event(LOG_INFO, (int)i, "event=cut");
        session_cut(w);
    }
    if (synced && !f->synced && !owner_ending(w)) {
        f->synced = true;
        log_event(LOG_INFO, (int)i, "event=synced");
        session_synced(w);
    }
}

/* ---- writers ---- */

/* The lowest position of the writers that have spoken of flow i; 0 when none has. */
static uint64_t lowest(const struct owner *w, unsigned i)
{
    const struct peer *p;
    uint64_t low = 0;
    TAILQ_FOREACH(p, &w->hub.peers, link)
    {
        if (p->role == ROLE_WRITER && i < p->napplied && p->applied[i] > 0 &&
            (low == 0 || p->applied[i] < low))
            low = p->applied[i];
    }
    return low;
}

static void on_applied(struct owner *w, struct peer *p, const char *line)
{
    unsigned i;
    uint64_t pos;
    struct oflow *f = flow_of(w, line, &i);
    if (f == NULL || !ctl_getu(line, "pos", &pos))
        return;
    if (p->applied == NULL) {
        p->applied = xcalloc(w->info.flows, sizeof *p->applied);
        p->napplied = w->info.flows;
    }
    p->applied[i] = pos;
    uint64_t low = lowest(w, i);
    if (low > f->applied)
        f->applied = f->local.applied = low;
}

static void on_writer_line(struct owner *w, struct peer *p, const char *line)
{
    uint64_t epoch, pending;
    char reason[200];
    w->writer_heard_at = mono_us();
    if (ctl_is(line, "applied")) {
        on_applied(w, p, line);
    } else if (ctl_is(line, "health")) {
        condition_take(&p->condition, line, mono_us());
    } else if (ctl_is(line, "resume") || ctl_is(line, "from")) {
        resync_line(w, line);
    } else if (ctl_is(line, "missing") || ctl_is(line, "probed") || ctl_is(line, "unprobed")) {
        verify_line(w, p, line);
    } else if (ctl_is(line, "barrier")) {
        if (ctl_getu(line, "epoch", &epoch) && epoch == w->info.epoch && !owner_ending(w))
            health_barrier(w, ctl_getu(line, "pending", &pending) && pending != 0);
    } else if (ctl_is(line, "failed")) {
        p->failed = true;
    } else if (ctl_is(line, "target")) {
        relay_target(&w->relay, &w->hub, line);
    } else if (ctl_is(line, "restart") && ctl_getu(line, "epoch", &epoch) && epoch == w->info.epoch &&
               !owner_ending(w) && !w->restart_wanted) {
        (void)ctl_get(line, "reason", reason, sizeof reason);
        log_event(LOG_WARN, NO_FLOW, "event=restart epoch=%u reason=%s", (unsigned)epoch,
                  log_quote(reason, strlen(reason)));
        w->restart_wanted = true;
    }
}

/* Pass on what has been applied: acknowledge it, or let the flow's process do so. */
void peers_positions(struct owner *w, uint64_t now, bool at_once)
{
    if (!w->stable_ok) /* with a partial sync in the form of a full one, entries are applied before */
        return;
    for (unsigned i = 0; w->flows != NULL && i < w->info.flows; i++) {
        struct oflow *f = &w->flows[i];
        if (!w->o->session_only) {
            flow_ack(&f->local, now, at_once);
            if (w->flows == NULL)
                return;
        } else if (f->remote != NULL && f->applied > f->told && ctl_idle(&f->remote->ctl)) {
            f->told = f->applied;
            hub_send(f->remote, "ack flow=%u epoch=%u pos=%llu", i, (unsigned)w->info.epoch,
                     (unsigned long long)f->applied);
        }
    }
}

void peers_forget_positions(struct owner *w)
{
    struct peer *p;
    TAILQ_FOREACH(p, &w->hub.peers, link)
    {
        free(p->applied);
        p->applied = NULL;
        p->napplied = 0;
        free(p->probed);
        p->probed = NULL;
        p->nprobed = 0;
    }
}

/* ---- all ---- */

static void on_supervisor_line(struct owner *w, struct peer *p, const char *line)
{
    if (ctl_is(line, "status")) {
        status_begin(w, p);
    } else if (ctl_is(line, "limit")) {
        relay_limit(&w->relay, &w->hub, p, line);
    } else if (ctl_is(line, "stop")) {
        owner_stop_asked(w);
        hub_send(p, "stopping");
        hub_send(p, "end");
    } else {
        hub_send(p, "unknown");
        hub_send(p, "end");
    }
}

static void on_line(void *ctx, struct peer *p, const char *line)
{
    struct owner *w = ctx;
    log_event(LOG_DEBUG, NO_FLOW, "event=message role=%s line=%s", role_name(p->role),
              log_quote(line, strlen(line)));
    switch (p->role) {
    case ROLE_PARSER: on_parser_line(w, line); break;
    case ROLE_WRITER: on_writer_line(w, p, line); break;
    case ROLE_FLOW: on_flow_line(w, p, line); break;
    case ROLE_SUPERVISOR: on_supervisor_line(w, p, line); break;
    default: break;
    }
}

static void on_room(void *ctx, struct peer *p)
{
    status_continue(ctx, p);
}

static void on_gone(void *ctx, struct peer *p)
{
    struct owner *w = ctx;
    for (unsigned i = 0; w->flows != NULL && i < w->info.flows; i++)
        if (w->flows[i].remote == p)
            w->flows[i].remote = NULL;
    if (owner_ending(w))
        return;
    if (p->role == ROLE_WRITER && p->failed)
        owner_follow(w, EXIT_RETRY, "a writer has failed");
    else if (p->role == ROLE_WRITER)
        owner_fail(w, EXIT_RETRY, "a writer has closed its control connection before the end of the stream");
    else if (p->role == ROLE_FLOW)
        owner_fail(w, EXIT_RETRY, "flow %u: its process has gone", p->flow);
    else if (p->role == ROLE_PARSER && w->synced < w->info.flows)
        log_event(LOG_WARN, NO_FLOW, "event=parser-gone phase=%s", phase_name(w->phase));
}

const struct hub_observer peers_template = {
    .hello = on_hello, .line = on_line, .room = on_room, .gone = on_gone};
