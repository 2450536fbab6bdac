#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

static bool is_extra; /* the fault does not count */

/* What is said of a fault, and stands in the report of a failure. */
static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(now.last_fault, sizeof now.last_fault, format, args);
    va_end(args);
    say("%4u%c %s", now.fault, is_extra ? '+' : ' ', now.last_fault);
}

/* Mostly short, now and then as long as the brief promise of "a while". */
static int64_t a_while(void)
{
    return (int64_t)(100000 + below(one_in(8) ? 2900000 : 500000));
}

static struct server *some_target(void)
{
    return &now.target[below(now.targets)];
}

static void kill_stage(void)
{
    pipeline_list(&now.pipeline);
    unsigned i = (unsigned)below(now.pipeline.stages);
    tell("SIGKILL %s", now.pipeline.stage[i].name);
    pipeline_signal(&now.pipeline, i, SIGKILL);
}

static void stop_stage(void)
{
    pipeline_list(&now.pipeline);
    unsigned i = (unsigned)below(now.pipeline.stages), run = now.pipeline.runs;
    int64_t us = a_while();
    tell("SIGSTOP %s for %lld ms", now.pipeline.stage[i].name, (long long)us / 1000);
    pipeline_signal(&now.pipeline, i, SIGSTOP);
    attend(us);
    if (now.pipeline.runs == run)
        pipeline_signal(&now.pipeline, i, SIGCONT);
}

static void kill_all(void)
{
    tell("SIGKILL all stages");
    pipeline_signal_all(&now.pipeline, SIGKILL);
}

/* An orderly stop: everything that was forwarded is applied and acknowledged. */
static void end_all(void)
{
    tell("SIGTERM all stages");
    pipeline_signal_all(&now.pipeline, SIGTERM);
}

static struct proxy *some_proxy(void)
{
    return &now.source.proxy[below(now.source.proxies)];
}

/* Of a cluster's node any connection: control connections and streams have no order there. */
static void cut_flow(void)
{
    struct proxy *p = some_proxy();
    unsigned first = now.source.cluster ? 0 : 1, n = proxy_connections(p);
    unsigned which = n > first ? first + (unsigned)below(n - first) : 0;
    bool reset = one_in(2);
    tell("%s of source connection %u", reset ? "reset" : "end", which);
    proxy_cut(p, which, reset);
}

static void cut_control(void)
{
    bool reset = one_in(2);
    tell("%s of the control connection", reset ? "reset" : "end");
    proxy_cut(some_proxy(), 0, reset);
}

static void stall_source(void)
{
    int64_t us = a_while();
    tell("nothing from the source for %lld ms", (long long)us / 1000);
    proxy_stall(some_proxy(), us);
    attend(us);
}

/* Numbers of the connections that bear the task's name. */
static unsigned writer_clients(struct server *s, unsigned long long id[16])
{
    unsigned n = 0;
    redisReply *r = server_call(s, "CLIENT LIST");
    for (char *line = r && r->type == REDIS_REPLY_STRING ? r->str : NULL; line && *line && n < 16;) {
        char *end = strchr(line, '\n');
        if (end)
            *end++ = '\0';
        if (strstr(line, " name=df2redis"))
            n += sscanf(line, "id=%llu", &id[n]) == 1;
        line = end;
    }
    freeReplyObject(r);
    return n;
}

static void cut_target(void)
{
    unsigned long long id[16];
    struct server *s = some_target();
    unsigned n = writer_clients(s, id);
    tell("CLIENT KILL at %s%s", s->name, n ? "" : " (nobody is there)");
    if (n)
        freeReplyObject(server_call(s, "CLIENT KILL ID %llu", id[below(n)]));
}

/* A Redis whose append-only file was cut within MULTI leaves that MULTI in the file: from the next start on
 * it executes what stands there a second time.  A new file has no such end. */
static void bring_back(struct server *s, int64_t after)
{
    server_kill(s);
    attend(after);
    server_restart(s);
    for (int64_t limit = now_us() + 30 * SECOND; !server_is_up(s) && now_us() < limit;)
        attend(20000);
    freeReplyObject(server_call(s, "BGREWRITEAOF"));
}

static void kill_target(void)
{
    struct server *s = some_target();
    int64_t us = (int64_t)below(700000);
    tell("SIGKILL %s, again after %lld ms", s->name, (long long)us / 1000);
    bring_back(s, us);
}

static void stop_target(void)
{
    struct server *s = some_target();
    int64_t us = a_while();
    tell("SIGSTOP %s for %lld ms", s->name, (long long)us / 1000);
    s->stopped = true;
    kill(s->pid, SIGSTOP);
    attend(us);
    kill(s->pid, SIGCONT);
    s->stopped = false;
}

static void kill_everything(void)
{
    struct server *s = some_target();
    int64_t us = (int64_t)below(700000);
    tell("SIGKILL all stages and %s, again after %lld ms", s->name, (long long)us / 1000);
    pipeline_signal_all(&now.pipeline, SIGKILL);
    bring_back(s, us);
}

static void restart_source(void)
{
    tell("SHUTDOWN SAVE of a master, and a new start");
    moves_hold();
    source_restart(&now.source);
    if (now.source.cluster)
        sources_wait(&now.source);
    moves_release();
}

static void kill_replicas(void)
{
    struct source *s = &now.source;
    tell("CLIENT KILL TYPE replica at a master");
    freeReplyObject(server_call(s->cluster ? sources_some(s, true) : &s->master, "CLIENT KILL TYPE replica"));
}

static void move_slots(void)
{
    moves_finish();
    tell("%u slots to another master, and back", now.source.cluster->window.count);
    moves_begin();
    moves_finish();
    /* Writes go on while the slots are taken: what is read later would hide what was done wrong now. */
    bool all = one_in(2);
    for (int64_t limit = now_us() + DRAIN_LIMIT; all && !pipeline_has_all_slots(&now.pipeline); attend(50000))
        if (now_us() > limit)
            fail("slots are written by nobody for long");
    attend((int64_t)below(all ? 1500000 : 5000000));
}

static void fail_over(void)
{
    moves_hold();
    bool done = sources_fail_over(&now.source);
    tell("a replica takes over%s", done ? "" : " (it was not ready)");
    sources_wait(&now.source);
    moves_release();
}

enum where { ANY_SOURCE, A_REDIS, A_CLUSTER };

static const struct {
    const char *name;
    void (*run)(void);
    unsigned weight;
    enum where where;
} faults[] = {
    {"kill-stage", kill_stage, 22, ANY_SOURCE},
    {"stop-stage", stop_stage, 10, ANY_SOURCE},
    {"kill-all", kill_all, 12, ANY_SOURCE},
    {"end-all", end_all, 5, ANY_SOURCE},
    {"cut-flow", cut_flow, 12, ANY_SOURCE},
    {"cut-control", cut_control, 6, ANY_SOURCE},
    {"stall-source", stall_source, 4, ANY_SOURCE},
    {"cut-target", cut_target, 10, ANY_SOURCE},
    {"kill-target", kill_target, 9, ANY_SOURCE},
    {"stop-target", stop_target, 6, ANY_SOURCE},
    {"kill-everything", kill_everything, 4, ANY_SOURCE},
    {"restart-source", restart_source, 5, A_REDIS},
    {"kill-replicas", kill_replicas, 8, A_REDIS},
    {"move-slots", move_slots, 8, A_CLUSTER},
    {"fail-over", fail_over, 6, A_CLUSTER},
};
#define FAULTS (sizeof faults / sizeof *faults)

static bool chosen(size_t i)
{
    const char *name = faults[i].name;
    size_t len = strlen(name);
    if ((faults[i].where == A_REDIS && !opt.redis) || (faults[i].where == A_CLUSTER && !opt.source_cluster))
        return false;
    if (opt.service && faults[i].run == restart_source)
        return false; /* what df2redis has not yet applied then needs a full sync */
    for (const char *p = opt.only; p; p = strchr(p, ','), p += p ? 1 : 0)
        if (!strncmp(p, name, len) && (p[len] == ',' || !p[len]))
            return true;
    return !opt.only;
}

void fault_run(bool extra)
{
    unsigned all = 0;
    is_extra = extra;
    for (size_t i = 0; i < FAULTS; i++)
        all += chosen(i) ? faults[i].weight : 0;
    if (!all)
        fail("--only %s: no such fault", opt.only);
    unsigned r = (unsigned)below(all);
    for (size_t i = 0; i < FAULTS; i++) {
        unsigned weight = chosen(i) ? faults[i].weight : 0;
        if (r < weight) {
            faults[i].run();
            return;
        }
        r -= weight;
    }
}
