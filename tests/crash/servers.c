/* redis-servers that are started, killed and started again. */
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

#define UP_LIMIT (30 * SECOND)

static void spawn(struct server *s)
{
    const char *dir = file("%s", s->name), *log = file("%s.log", s->name);
    struct command c = {.in = -1, .out = -1, .log = log, .group = 0};
    char port[16], far[16], bus[16];
    make_dir(dir);
    snprintf(port, sizeof port, "%u", s->port);
    snprintf(far, sizeof far, "%u", s->far);
    snprintf(bus, sizeof bus, "%u", s->port + 10000);
    const char *binary = getenv(s->source ? "REDIS_SOURCE" : "REDIS_SERVER");
    if (!s->persists && !s->source)
        binary = NULL; /* the oracle */
    arg(&c, binary ? binary : "redis-server");
    const char *const words[] = {
        "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir, "--proto-max-bulk-len", "64mb"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(&c, words[i]);
    const char *const aof[] = {"--appendonly", "yes", "--appendfsync", "always"};
    for (size_t i = 0; s->persists && i < sizeof aof / sizeof *aof; i++)
        arg(&c, aof[i]);
    for (size_t i = 0; i < sizeof s->option / sizeof *s->option && s->option[i]; i++)
        arg(&c, s->option[i]);
    const char *const node[] = {"--cluster-enabled",       "yes", "--cluster-node-timeout",      "2000",
                                "--cluster-announce-port", far,   "--cluster-announce-bus-port", bus};
    for (size_t i = 0; s->cluster && i < sizeof node / sizeof *node; i++)
        arg(&c, node[i]);
    s->pid = start(&c);
}

redisReply *server_call(struct server *s, const char *format, ...)
{
    struct timeval limit = {5, 0};
    redisContext *c = redisConnectWithTimeout("127.0.0.1", (int)s->port, limit);
    redisReply *r = NULL;
    va_list args;
    if (c && !c->err) {
        redisSetTimeout(c, limit);
        va_start(args, format);
        r = redisvCommand(c, format, args);
        va_end(args);
    }
    if (c)
        redisFree(c);
    return r;
}

bool server_number(struct server *s, const char *field, uint64_t *n)
{
    char name[64];
    redisReply *r = server_call(s, "INFO replication");
    snprintf(name, sizeof name, "\n%s:", field);
    const char *at = r && r->type == REDIS_REPLY_STRING ? strstr(r->str, name) : NULL;
    if (at)
        *n = strtoull(at + strlen(name), NULL, 10);
    freeReplyObject(r);
    return at != NULL;
}

/* It, and not some other server that happens to be there. */
bool server_is_up(struct server *s)
{
    char want[40];
    redisReply *r = server_call(s, "INFO");
    snprintf(want, sizeof want, "\r\nprocess_id:%ld\r\n", (long)s->pid);
    bool up =
        r && r->type == REDIS_REPLY_STRING && strstr(r->str, want) && strstr(r->str, "\r\nloading:0\r\n");
    freeReplyObject(r);
    return up;
}

void server_wait(struct server *s)
{
    for (int64_t limit = now_us() + UP_LIMIT; !server_is_up(s); sleep_us(20000))
        if (now_us() > limit)
            fail("%s does not come up (port %u)", s->name, s->port);
}

void server_start(struct server *s)
{
    if (!s->port)
        s->port = free_port();
    if (!s->far)
        s->far = s->persists ? distance_to(s->port, &s->relay) : s->port;
    spawn(s);
    server_wait(s);
}

void server_restart(struct server *s)
{
    spawn(s);
}

void server_kill(struct server *s)
{
    end_child(&s->pid);
}

void server_end(struct server *s)
{
    end_child(&s->pid);
    end_child(&s->relay);
}

void cluster_make(struct server *node, unsigned n)
{
    char name[NODES][32];
    struct command c = {.in = -1, .out = -1, .log = file("cluster.log"), .group = -1};
    arg(&c, "redis-cli");
    arg(&c, "--cluster");
    arg(&c, "create");
    for (unsigned i = 0; i < n; i++) {
        snprintf(name[i], sizeof name[i], "127.0.0.1:%u", node[i].port);
        arg(&c, name[i]);
    }
    arg(&c, "--cluster-yes");
    if (run(&c) != 0)
        fail("redis-cli --cluster create failed");
    cluster_wait(node, n);
}

static bool node_is_ok(struct server *s)
{
    redisReply *r = server_call(s, "CLUSTER INFO");
    bool ok = r && r->type == REDIS_REPLY_STRING && strstr(r->str, "cluster_state:ok") &&
              strstr(r->str, "cluster_slots_ok:16384");
    freeReplyObject(r);
    return ok;
}

void cluster_wait(struct server *node, unsigned n)
{
    int64_t limit = now_us() + UP_LIMIT;
    for (unsigned i = 0; i < n; i++)
        for (; !node_is_ok(&node[i]); sleep_us(20000))
            if (now_us() > limit)
                fail("the cluster does not come up");
}
