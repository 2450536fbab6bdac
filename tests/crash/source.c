/*
 * The master: the stand-in with --live and its oracle; or a Dragonfly, to which a child of ours writes what
 * traffic.c makes, and which is its own oracle.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crash.h"
#include "traffic.h"

#define WARM 5000u

static pid_t feeder;
static int feeder_fd = -1;

/* ---- a Dragonfly and its clients ---- */

static void feed_one(redisContext *c, struct traffic *t)
{
    struct traffic_command w;
    static unsigned db;
    traffic_next(t, &w);
    if (w.db != db)
        freeReplyObject(redisCommand(c, "SELECT %u", w.db));
    db = w.db;
    void *r = redisCommandArgv(c, (int)w.argc, w.argv, w.len);
    if (!r)
        _exit(1);
    freeReplyObject(r);
}

/* "g" go, "p" pause; each is answered when it is so. */
static void feed(unsigned port, int orders, struct traffic *t)
{
    redisContext *c = redisConnect("127.0.0.1", (int)port);
    bool going = false;
    int64_t at = now_us();
    if (!c || c->err)
        _exit(1);
    for (unsigned i = 0; i < WARM; i++)
        feed_one(c, t);
    for (;;) {
        char order;
        ssize_t n = recv(orders, &order, 1, going ? MSG_DONTWAIT : 0);
        if (n == 0)
            _exit(0);
        if (n == 1) {
            going = order == 'g';
            at = now_us();
            if (send(orders, &order, 1, 0) != 1)
                _exit(0);
        }
        for (; going && at < now_us(); at += SECOND / (int64_t)opt.rate)
            feed_one(c, t);
        if (going)
            sleep_us(1000);
    }
}

static void feeder_start(const struct source *s, uint64_t seed)
{
    int sp[2];
    struct traffic t;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0)
        fail("socketpair");
    feeder = fork();
    if (feeder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sp[0]);
        traffic_init(&t, &(struct traffic_options){.seed = seed,
                                                   .flows = s->flows,
                                                   .dbs = s->dbs,
                                                   .keys = 20,
                                                   .safe = opt.cluster && !opt.exact});
        feed(s->master.port, sp[1], &t);
    }
    close(sp[1]);
    feeder_fd = sp[0];
}

static void feeder_order(char order)
{
    char answer;
    if (send(feeder_fd, &order, 1, MSG_NOSIGNAL) != 1 || recv(feeder_fd, &answer, 1, 0) != 1)
        fail("the writing client has gone");
}

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
    if (opt.dragonfly)
        dragonfly_start(s, seed);
    else
        standin_start(s, seed);
    s->proxy = proxy_start(distance_to(s->master.port, &s->relay));
}

void source_stop(struct source *s)
{
    proxy_stop();
    end_child(&s->relay);
    if (feeder_fd >= 0)
        close(feeder_fd);
    feeder_fd = -1;
    end_child(&feeder);
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
    if (opt.dragonfly)
        feeder_order('g');
    else
        standin_order(s, "GO");
}

void source_pause(struct source *s)
{
    if (opt.dragonfly)
        feeder_order('p');
    else
        standin_order(s, "PAUSE");
}

void source_heads(struct source *s, uint64_t head[MAX_FLOWS])
{
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
    if (opt.dragonfly)
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
