/* A child that writes what traffic.c makes to a real master, as its clients do. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

#include "crash.h"
#include "traffic.h"

#define WARM 5000u

static pid_t feeder;
static int feeder_fd = -1;

struct client {
    unsigned port, db;
    redisContext *c; /* NULL: the server has gone, and may come back */
    struct traffic *t;
    uint64_t rng;
    const struct sources *sources; /* a cluster, and the way to its nodes */
    struct routes *routes;
};

static void connect_again(struct client *w)
{
    struct timeval limit = {5, 0};
    w->c = redisConnectWithTimeout("127.0.0.1", (int)w->port, limit);
    w->db = 0;
    if (w->c && !w->c->err)
        return;
    if (w->c)
        redisFree(w->c);
    w->c = NULL;
    sleep_us(20000);
}

/* An answer, error or not, is nothing to us; a lost connection ends one with a Dragonfly, which is not to
 * end. */
static void answered(struct client *w, void *reply)
{
    if (reply) {
        freeReplyObject(reply);
        return;
    }
    if (!opt.redis)
        _exit(1);
    redisFree(w->c);
    w->c = NULL;
}

static void feed_command(struct client *w)
{
    struct traffic_command t;
    traffic_next(w->t, &t);
    if (t.db != w->db)
        answered(w, redisCommand(w->c, "SELECT %u", t.db));
    w->db = t.db;
    if (w->c)
        answered(w, redisCommandArgv(w->c, (int)t.argc, t.argv, t.len));
}

/* What only a PSYNC stream has: transactions, of several databases too, and the effects of scripts. */
static void feed_transaction(struct client *w)
{
    answered(w, redisCommand(w->c, "MULTI"));
    for (uint64_t n = 1 + traffic_below(&w->rng, 6); w->c && n; n--)
        feed_command(w);
    if (w->c)
        answered(w, redisCommand(w->c, "EXEC"));
}

static void feed_script(struct client *w)
{
    static const char script[] =
        "redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[2], ARGV[1]); "
        "if redis.call('LLEN', KEYS[2]) > 50 then redis.call('LTRIM', KEYS[2], 0, 5) end";
    unsigned n = (unsigned)traffic_below(&w->rng, 20);
    answered(w, redisCommand(w->c, "EVAL %s 2 count:0:%u list:0:%u text-%u", script, n, n, n));
}

static void feed_one(struct client *w)
{
    if (w->sources) {
        feed_cluster(w->t, w->routes, w->sources, &w->rng);
        return;
    }
    if (!w->c)
        connect_again(w);
    if (!w->c)
        return;
    uint64_t r = traffic_below(&w->rng, 100);
    if (opt.redis && r < 5)
        feed_transaction(w);
    else if (opt.redis && r < 7)
        feed_script(w);
    else
        feed_command(w);
}

/* "g" go, "p" pause; each is answered when it is so. */
static void feed(struct client *w, int orders)
{
    bool going = false;
    int64_t at = now_us();
    for (unsigned i = 0; i < WARM; i++)
        feed_one(w);
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
            feed_one(w);
        if (going)
            sleep_us(1000);
    }
}

/* A FLUSHALL ends an atomic migration of slots; behind that of a cluster's master all its slots are taken
 * anew, which is to come to its end before the next one. */
static unsigned flush_every(uint64_t seed)
{
    if (!opt.redis || opt.atomic || seed % 3 != 0)
        return 0;
    return opt.source_cluster ? 150000 : 30000;
}

static void feeder_run(const struct source *s, uint64_t seed, int orders)
{
    struct traffic t;
    struct routes routes;
    struct client w = {.port = s->master.port, .t = &t, .rng = seed, .sources = s->cluster};
    traffic_init(&t, &(struct traffic_options){.seed = seed,
                                               .flows = s->cluster ? TAGS : s->flows,
                                               .dbs = s->dbs,
                                               .keys = s->cluster ? 2 : 20,
                                               .flush_every = flush_every(seed),
                                               .safe = opt.cluster && !opt.exact,
                                               .tag = s->cluster ? s->cluster->tag : NULL});
    if (s->cluster) {
        routes_init(&routes, s->cluster->node);
        w.routes = &routes;
    }
    feed(&w, orders);
}

void feeder_start(const struct source *s, uint64_t seed)
{
    int sp[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0)
        fail("socketpair");
    feeder = fork();
    if (feeder < 0)
        fail("fork");
    if (feeder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sp[0]);
        feeder_run(s, seed, sp[1]);
    }
    close(sp[1]);
    feeder_fd = sp[0];
}

void feeder_order(char order)
{
    char answer;
    if (send(feeder_fd, &order, 1, MSG_NOSIGNAL) != 1 || recv(feeder_fd, &answer, 1, 0) != 1)
        fail("the writing client has gone");
}

void feeder_end(void)
{
    if (feeder_fd >= 0)
        close(feeder_fd);
    feeder_fd = -1;
    end_child(&feeder);
}
