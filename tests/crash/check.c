/* What the target has to be like. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "psync.h"

static bool all_there(const uint64_t pos[MAX_FLOWS])
{
    for (unsigned i = 0; i < now.source.flows; i++)
        if (!pos[i])
            return false;
    return true;
}

static void from_file(uint64_t pos[MAX_FLOWS])
{
    char line[256];
    unsigned flow, whole = 0;
    unsigned long long p;
    FILE *f = fopen(file("positions"), "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "whole=%u", &whole) == 1)
            continue;
        if (sscanf(line, "f%u=%llu", &flow, &p) == 2 && flow < MAX_FLOWS && whole)
            pos[flow] = p;
    }
    if (f)
        fclose(f);
}

static void from_key(uint64_t pos[MAX_FLOWS])
{
    redisReply *r = server_call(&now.target[0], "HGETALL df2redis:{default}");
    for (size_t i = 0; r && r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
        unsigned flow;
        unsigned long long p;
        if (sscanf(r->element[i]->str, "f%u", &flow) == 1 && flow < MAX_FLOWS &&
            sscanf(r->element[i + 1]->str, "%*u %*u %llu", &p) == 1)
            pos[flow] = p;
        if (strcmp(r->element[i]->str, "sweep") == 0) { /* keys may be left that are to go */
            memset(pos, 0, MAX_FLOWS * sizeof *pos);
            break;
        }
    }
    freeReplyObject(r);
}

bool check_positions(uint64_t pos[MAX_FLOWS])
{
    memset(pos, 0, MAX_FLOWS * sizeof *pos);
    if (opt.cluster || now.connections > 1)
        from_file(pos);
    else
        from_key(pos);
    return all_there(pos);
}

/* True when the target has everything up to the heads. */
static bool arrived(const uint64_t head[MAX_FLOWS])
{
    uint64_t pos[MAX_FLOWS];
    if (!check_positions(pos))
        return false;
    for (unsigned i = 0; i < now.source.flows; i++) {
        if (opt.redis)
            pos[i] = psync_offset(pos[i]);
        if (pos[i] > head[i])
            fail("flow %u: the target is at %llu, the master at %llu", i, (unsigned long long)pos[i],
                 (unsigned long long)head[i]);
        if (pos[i] < head[i])
            return false;
    }
    return true;
}

static void drain(void)
{
    uint64_t head[MAX_FLOWS], pos[MAX_FLOWS];
    int64_t limit = now_us() + DRAIN_LIMIT;
    for (;; attend(10000)) {
        source_heads(&now.source, head); /* a real master's own PINGs count, too */
        if (arrived(head) && (!now.source.omits || pipeline_has_verified(&now.pipeline)))
            return;
        if (now_us() > limit)
            break;
    }
    check_positions(pos);
    for (unsigned i = 0; i < now.source.flows; i++)
        say("flow %u: the target is at %llu, the master at %llu", i, (unsigned long long)pos[i],
            (unsigned long long)head[i]);
    fail("what was written does not arrive (session phase %s)", pipeline_phase(&now.pipeline));
}

int check_diff(const char *log, const char *list)
{
    char a[80], b[80];
    const char *dbs = now.source.dbs == 1 ? "0" : now.source.dbs == 2 ? "0,1" : "0,1,2";
    struct command c = {.in = -1, .out = -1, .log = log, .group = -1};
    snprintf(a, sizeof a, "redis://127.0.0.1:%u?dbs=%s", now.source.oracle.port, dbs);
    snprintf(b, sizeof b, opt.cluster ? "redis-cluster://127.0.0.1:%u" : "redis://127.0.0.1:%u?dbs=%s",
             now.target[0].port, dbs);
    unlink(log);
    /* The time to live of a key that is read again counts from when dfreader gets it: it may have been
     * stopped.
     */
    const char *slack = now.source.omits ? "5000" : "1500";
    const char *const words[] = {"dfstate", "diff", "--ttl-slack", slack, "--list", list, a, b};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(&c, words[i]);
    return run(&c);
}

static void compare(void)
{
    int status = check_diff(file("diff.log"), "40");
    if (status)
        fail("the data sets differ (diff.log; dfstate: status %d)", status);
    now.compared++;
}

void check_equal(void)
{
    source_pause(&now.source);
    recover();
    drain();
    if (now.targets > 1)
        cluster_wait(now.target, now.targets);
    compare();
    if (opt.service)
        service_check();
    source_check(&now.source);
    now.complete = true;
    source_go(&now.source);
}
