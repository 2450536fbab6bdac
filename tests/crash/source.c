/*
 * The master: the stand-in with --live and its oracle; or a Dragonfly or Redis, to which a child of ours
 * writes what traffic.c makes (feeder.c), and which is its own oracle.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "crash.h"
#include "psync.h"

/* ---- a Dragonfly ---- */

static void dragonfly_start(struct source *s, uint64_t seed)
{
    char port[32], threads[40], dir[PATH_ROOM + 40];
    struct command c = {.in = -1, .out = -1, .log = file("master.log"), .group = 0};
    s->master = (struct server){.name = "master", .port = free_port()};
    make_dir(file("master"));
    snprintf(port, sizeof port, "--port=%u", s->master.port);
    snprintf(threads, sizeof threads, "--proactor_threads=%u", s->flows);
    snprintf(dir, sizeof dir, "--dir=%s", file("master"));
    const char *const words[] = {opt.dragonfly,
                                 port,
                                 threads,
                                 dir,
                                 "--bind=127.0.0.1",
                                 "--dbfilename=",
                                 "--logtostderr",
                                 "--version_check=false",
                                 "--maxmemory=2gb"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(&c, words[i]);
    s->master.pid = start(&c);
    redisReply *r;
    for (int64_t limit = now_us() + 20 * SECOND; !(r = server_call(&s->master, "PING")); sleep_us(50000))
        if (now_us() > limit)
            fail("%s does not come up", opt.dragonfly);
    freeReplyObject(r);
    s->oracle = s->master;
    feeder_start(s, seed);
    feeder_order('p'); /* the data is there */
}

/* ---- a Redis ---- */

void source_options(struct server *s, bool small_backlog)
{
    static const char *const options[] = {
        "--repl-backlog-size", NULL, "--repl-diskless-sync-delay",   "0",
        "--shutdown-timeout",  "2",  "--client-output-buffer-limit", "replica 64mb 0 0"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        s->option[i] = options[i] ? options[i] : small_backlog ? "1mb" : "128mb";
}

static void redis_start(struct source *s, uint64_t seed)
{
    bool small = !opt.service && one_in(5);
    bool slow = one_in(2); /* so that the full sync takes a while */
    s->flows = 1;
    s->master = (struct server){.name = "master", .source = true};
    remove_tree(file("master"));
    source_options(&s->master, small);
    s->master.option[8] = slow ? "--rdb-key-save-delay" : NULL; /* microseconds */
    s->master.option[9] = slow ? "3000" : NULL;
    server_start(&s->master);
    s->oracle = s->master;
    feeder_start(s, seed);
    feeder_order('p'); /* the data is there */
}

enum cover server_covers(struct server *s, uint64_t offset)
{
    uint64_t first, size, head;
    if (!server_number(s, "repl_backlog_first_byte_offset", &first) ||
        !server_number(s, "master_repl_offset", &head) || !server_number(s, "repl_backlog_size", &size))
        return COVER_UNKNOWN;
    if (offset == head)
        return COVER_ALL; /* nothing has happened since */
    if (!first || offset + 1 < first || offset > head)
        return COVER_NONE;
    return head - offset < size / 2 ? COVER_ALL : COVER_UNKNOWN; /* it moves while we look */
}

enum cover source_covers(struct source *s, uint64_t pos)
{
    return opt.redis ? server_covers(&s->master, psync_offset(pos)) : COVER_ALL;
}

void source_restart(struct source *s)
{
    int status;
    struct server *m = s->cluster ? sources_some(s, true) : &s->master;
    if (s->cluster) /* it does not answer while it saves: others would take it for dead */
        freeReplyObject(server_call(m, "CONFIG SET rdb-key-save-delay 0"));
    redisReply *r = server_call(m, "SHUTDOWN SAVE");
    freeReplyObject(r);
    for (int64_t limit = now_us() + 20 * SECOND; waitpid(m->pid, &status, WNOHANG) != m->pid; attend(10000))
        if (now_us() > limit)
            fail("%s does not shut down", m->name);
    server_restart(m);
    server_wait(m);
    s->oracle.pid = s->master.pid;
}

/* ---- the stand-in ---- */

static void standin_start(struct source *s, uint64_t seed)
{
    char text[8][24];
    struct command c = {.in = -1, .out = -1, .log = file("standin.out"), .group = 0};
    s->oracle = (struct server){.name = "oracle"};
    server_start(&s->oracle);
    s->master = (struct server){.name = "standin", .port = free_port()};
    /* Small data sets, and some whose full sync takes a while; slow clients and such as keep everybody busy.
     */
    s->omits = opt.omit || one_in(3);
    const uint64_t values[] = {s->oracle.port,
                               s->master.port,
                               s->flows,
                               s->dbs,
                               seed,
                               opt.rate * (1 + 5 * below(3)) / 4,
                               one_in(2) || s->omits ? 5000 : 30000,
                               s->omits    ? 1000
                               : one_in(2) ? 20
                                           : 150};
    const char *const names[] = {"--live", "--port",         "--flows",     "--live-dbs",
                                 "--seed", "--journal-rate", "--live-warm", "--live-keys"};
    arg(&c, "standin");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        snprintf(text[i], sizeof text[i], "%llu", (unsigned long long)values[i]);
        arg(&c, names[i]);
        arg(&c, text[i]);
    }
    arg(&c, "--log");
    arg(&c, file("standin.log"));
    arg(&c, "--backlog");
    arg(&c, "65536");
    if (opt.cluster && !opt.exact)
        arg(&c, "--live-safe");
    if ((!opt.cluster || opt.exact) && one_in(3)) {
        arg(&c, "--live-flush");
        arg(&c, "20000");
    }
    if (s->omits) {
        arg(&c, "--live-omit");
        arg(&c, "2");
    }
    if (s->omits || one_in(2)) { /* so that the full sync takes a while */
        static const char *const rates[] = {"150000", "400000", "1500000"};
        arg(&c, "--slow");
        arg(&c, rates[below(s->omits ? 2 : 3)]);
    }
    /* As v1.31 to v1.34, but by its name of our time: dfparse follows what RENAME did in those days. */
    if (one_in(3))
        arg(&c, "--partial-by-sync");
    s->master.pid = start(&c);
    redisReply *r;
    for (int64_t limit = now_us() + 20 * SECOND; !(r = server_call(&s->master, "PING")); sleep_us(20000))
        if (now_us() > limit)
            fail("the stand-in does not come up");
    freeReplyObject(r);
}

/* ---- both ---- */

void source_start(struct source *s, uint64_t seed)
{
    *s = (struct source){.flows = 1 + (unsigned)below(4), .dbs = opt.cluster ? 1 : 1 + (unsigned)below(3)};
    if (opt.source_cluster) {
        sources_start(s, seed);
        return;
    }
    if (opt.redis)
        redis_start(s, seed);
    else if (opt.dragonfly)
        dragonfly_start(s, seed);
    else
        standin_start(s, seed);
    proxy_start(&s->proxy[0], distance_to(s->master.port, &s->relay), 0);
    s->proxies = 1;
}

void source_stop(struct source *s)
{
    feeder_end();
    for (unsigned i = 0; i < s->proxies; i++)
        proxy_stop(&s->proxy[i]);
    end_child(&s->relay);
    if (s->cluster) {
        sources_stop(s);
        return;
    }
    if (s->oracle.pid == s->master.pid)
        s->oracle.pid = 0;
    server_kill(&s->master);
    server_kill(&s->oracle);
}

static void standin_order(struct source *s, const char *order)
{
    redisReply *r = server_call(&s->master, "STANDIN %s", order);
    if (!r || r->type != REDIS_REPLY_STATUS)
        fail("the stand-in does not obey");
    freeReplyObject(r);
}

void source_go(struct source *s)
{
    if (opt.dragonfly || opt.redis)
        feeder_order('g');
    else
        standin_order(s, "GO");
}

void source_pause(struct source *s)
{
    if (opt.dragonfly || opt.redis)
        feeder_order('p');
    else
        standin_order(s, "PAUSE");
}

void source_heads(struct source *s, uint64_t head[MAX_FLOWS])
{
    if (opt.redis) {
        uint64_t offset;
        if (!server_number(&s->master, "master_repl_offset", &offset))
            fail("the master does not tell its offset");
        head[0] = offset;
        return;
    }
    redisReply *r = server_call(&s->master, "DFLY REPLICAOFFSET");
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != s->flows)
        fail("the master does not tell its offsets");
    for (unsigned i = 0; i < s->flows; i++)
        head[i] = (uint64_t)r->element[i]->integer;
    freeReplyObject(r);
}

void source_check(struct source *s)
{
    unsigned long long refused, omits;
    unsigned long illegal;
    if (opt.dragonfly || opt.redis)
        return;
    redisReply *r = server_call(&s->master, "STANDIN INFO");
    if (!r || r->type != REDIS_REPLY_STRING ||
        sscanf(r->str, "writes=%*s full=%*s partial=%*s refused=%llu sessions=%*u illegal=%lu omits=%llu",
               &refused, &illegal, &omits) != 3)
        fail("the stand-in does not tell its counts");
    freeReplyObject(r);
    s->omitted = omits;
    if (refused || illegal)
        fail("the stand-in saw something illegal, or entries had left its backlog (standin.log)");
}
