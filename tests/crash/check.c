/* What the target has to be like. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "psync.h"

void places_free(struct place place[MAX_FLOWS])
{
    for (unsigned i = 0; i < MAX_FLOWS; i++)
        free(place[i].slots);
    memset(place, 0, MAX_FLOWS * sizeof *place);
}

static void take_slots(struct place *p, const char *text)
{
    free(p->slots);
    p->slots = strndup(text, strcspn(text, "\n"));
}

static void from_file(struct place place[MAX_FLOWS])
{
    static char line[8192];
    unsigned flow, whole = 0;
    unsigned long long pos;
    char replid[41];
    FILE *f = fopen(file("positions"), "r");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "whole=%u", &whole) == 1 || !whole)
            continue;
        if (sscanf(line, "f%u=%llu", &flow, &pos) == 2 && flow < MAX_FLOWS)
            place[flow].pos = pos;
        if (sscanf(line, "l%u=%40[0-9a-f]", &flow, replid) == 2 && flow < MAX_FLOWS)
            memcpy(place[flow].replid, replid, sizeof replid);
        if (sscanf(line, "s%u=", &flow) == 1 && flow < MAX_FLOWS)
            take_slots(&place[flow], strchr(line, '=') + 1);
    }
    if (f)
        fclose(f);
}

static void from_key(struct place place[MAX_FLOWS])
{
    redisReply *r = server_call(&now.target[0], "HGETALL df2redis:{default}");
    for (size_t i = 0; r && r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
        const char *name = r->element[i]->str, *value = r->element[i + 1]->str;
        unsigned flow;
        unsigned long long p;
        if (sscanf(name, "f%u", &flow) == 1 && flow < MAX_FLOWS && sscanf(value, "%*u %*u %llu", &p) == 1)
            place[flow].pos = p;
        if (sscanf(name, "l%u", &flow) == 1 && flow < MAX_FLOWS)
            (void)sscanf(value, "%40s", place[flow].replid);
        if (sscanf(name, "s%u", &flow) == 1 && flow < MAX_FLOWS)
            take_slots(&place[flow], value);
        if (strcmp(name, "sweep") == 0) { /* keys may be left that are to go */
            places_free(place);
            break;
        }
    }
    freeReplyObject(r);
}

bool check_places(struct place place[MAX_FLOWS])
{
    memset(place, 0, MAX_FLOWS * sizeof *place);
    if (opt.cluster || now.connections > 1)
        from_file(place);
    else
        from_key(place);
    for (unsigned i = 0; i < now.source.flows; i++)
        if (!place[i].pos)
            return false;
    return true;
}

bool check_positions(uint64_t pos[MAX_FLOWS])
{
    struct place place[MAX_FLOWS];
    bool all = check_places(place);
    for (unsigned i = 0; i < MAX_FLOWS; i++)
        pos[i] = place[i].pos;
    places_free(place);
    return all;
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
    uint64_t head[MAX_FLOWS] = {0}, pos[MAX_FLOWS];
    int64_t limit = now_us() + DRAIN_LIMIT;
    for (;; attend(10000)) {
        if (!now.source.cluster)
            source_heads(&now.source, head); /* a real master's own PINGs count, too */
        if ((now.source.cluster ? sources_reached(&now.source) : arrived(head)) &&
            (!now.source.omits || pipeline_has_verified(&now.pipeline)))
            return;
        if (now_us() > limit)
            break;
    }
    check_positions(pos);
    for (unsigned i = 0; i < now.source.flows && !now.source.cluster; i++)
        say("flow %u: the target is at %llu, the master at %llu", i, (unsigned long long)pos[i],
            (unsigned long long)head[i]);
    fail("what was written does not arrive (session phase %s)", pipeline_phase(&now.pipeline));
}

/* dfstate knows no other names. */
static int diff_renamed(struct command *c, char *a, char *b)
{
    const char *const words[] = {"df2redis-check", "--rounds", "2", "--delay", "300"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(c, words[i]);
    for (size_t i = 0; opt.rename[i]; i++) {
        arg(c, "--rename-prefix");
        arg(c, opt.rename[i]);
    }
    a[strcspn(a, "?")] = b[strcspn(b, "?")] = '\0'; /* all databases */
    arg(c, a);
    arg(c, b);
    return run(c);
}

int check_diff(const char *log, const char *list)
{
    char a[80], b[80];
    const char *dbs = now.source.dbs == 1 ? "0" : now.source.dbs == 2 ? "0,1" : "0,1,2";
    struct command c = {.in = -1, .out = -1, .log = log, .group = -1};
    snprintf(a, sizeof a, now.source.cluster ? "redis-cluster://127.0.0.1:%u" : "redis://127.0.0.1:%u?dbs=%s",
             now.source.oracle.port, dbs);
    snprintf(b, sizeof b, opt.cluster ? "redis-cluster://127.0.0.1:%u" : "redis://127.0.0.1:%u?dbs=%s",
             now.target[0].port, dbs);
    unlink(log);
    if (opt.rename[0])
        return diff_renamed(&c, a, b);
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
        fail("the data sets differ (diff.log; status %d)", status);
    now.compared++;
}

void check_equal(void)
{
    moves_finish();
    source_pause(&now.source);
    recover();
    drain();
    if (now.targets > 1)
        cluster_wait(now.target, now.targets);
    compare();
    answers_check(&now.pipeline);
    if (opt.service)
        service_check();
    source_check(&now.source);
    now.complete = true;
    source_go(&now.source);
}
