/* A client of a cluster, which follows MOVED and ASK: what changes only one key set is executed where it is
 * now. */
#include <stdlib.h>
#include <string.h>

#include "crash.h"

#define REDIRECTS 8u

void routes_init(struct routes *r, const struct server *node)
{
    memset(r, 0, sizeof *r);
    r->node = node;
}

static redisContext *connection(struct routes *r, unsigned i)
{
    struct timeval limit = {5, 0};
    if (r->c[i] && !r->c[i]->err)
        return r->c[i];
    if (r->c[i])
        redisFree(r->c[i]);
    r->c[i] = redisConnectWithTimeout("127.0.0.1", (int)r->node[i].port, limit);
    if (r->c[i] && !r->c[i]->err) {
        redisSetTimeout(r->c[i], limit);
        return r->c[i];
    }
    if (r->c[i])
        redisFree(r->c[i]);
    r->c[i] = NULL;
    return NULL;
}

redisContext *routes_to(struct routes *r, unsigned slot)
{
    redisContext *c = connection(r, r->owner[slot]);
    if (!c) { /* another one knows who has the slot by then */
        r->owner[slot] = (unsigned char)((r->owner[slot] + 1u) % SOURCES);
        sleep_us(20000);
    }
    return c;
}

void routes_lost(struct routes *r, unsigned slot)
{
    redisContext **c = &r->c[r->owner[slot]];
    if (*c)
        redisFree(*c);
    *c = NULL;
}

/* "MOVED 866 127.0.0.1:7001": the node, or SOURCES. */
static unsigned redirected(const struct routes *r, const redisReply *reply, const char *how)
{
    size_t n = strlen(how);
    if (!reply || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, how, n) != 0)
        return SOURCES;
    const char *colon = strrchr(reply->str, ':');
    unsigned port = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0, i = 0;
    while (i < SOURCES && r->node[i].far != port)
        i++;
    return i;
}

bool routes_learn(struct routes *r, unsigned slot, const redisReply *reply)
{
    unsigned to = redirected(r, reply, "MOVED ");
    if (to == SOURCES)
        return false;
    r->owner[slot] = (unsigned char)to;
    return true;
}

static redisReply *ask(struct routes *r, unsigned node, int argc, const char **argv, const size_t *len)
{
    redisContext *c = connection(r, node);
    if (!c)
        return NULL;
    freeReplyObject(redisCommand(c, "ASKING"));
    return redisCommandArgv(c, argc, argv, len);
}

redisReply *routes_command(struct routes *r, unsigned slot, int argc, const char **argv, const size_t *len)
{
    redisReply *reply = NULL;
    for (unsigned i = 0; i < REDIRECTS; i++) {
        redisContext *c = routes_to(r, slot);
        if (!c)
            return NULL;
        reply = redisCommandArgv(c, argc, argv, len);
        if (!reply) {
            routes_lost(r, slot);
            return NULL;
        }
        unsigned to = redirected(r, reply, "ASK ");
        if (to < SOURCES) {
            freeReplyObject(reply);
            return ask(r, to, argc, argv, len);
        }
        if (!routes_learn(r, slot, reply))
            return reply;
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}
