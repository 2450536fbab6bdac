/* Writes to a cluster: commands, and transactions and scripts whose keys are in one slot. */
#include <string.h>

#include "crash.h"
#include "slot.h"
#include "traffic.h"

static unsigned slot_of(const struct traffic_command *c)
{
    return c->argc > 1 ? key_slot(c->argv[1], c->len[1]) : 0;
}

static void feed_command(struct traffic *t, struct routes *r, uint64_t *rng)
{
    struct traffic_command c;
    traffic_next(t, &c);
    unsigned slot = c.argc > 1 ? slot_of(&c) : (unsigned)traffic_below(rng, SLOTS); /* FLUSHALL of a master */
    freeReplyObject(routes_command(r, slot, (int)c.argc, c.argv, c.len));
}

static redisReply *send_word(struct routes *r, redisContext *c, unsigned slot, const char *word)
{
    redisReply *reply = redisCommand(c, word);
    if (!reply)
        routes_lost(r, slot);
    return reply;
}

/* Where it is redirected, or its slot is on its way, nothing of it is executed. */
static void feed_transaction(struct traffic *t, struct routes *r, uint64_t *rng)
{
    struct traffic_command c;
    redisContext *to = NULL;
    redisReply *reply;
    unsigned slot = 0, n = 1 + (unsigned)traffic_below(rng, 6);
    for (unsigned i = 0; i < n; i++) {
        traffic_next(t, &c);
        t->pinned = true;
        if (c.argc < 2)
            continue;
        if (!to) {
            slot = slot_of(&c);
            to = routes_to(r, slot);
            reply = to ? send_word(r, to, slot, "MULTI") : NULL;
            if (!reply)
                break;
            freeReplyObject(reply);
        }
        reply = redisCommandArgv(to, (int)c.argc, c.argv, c.len);
        if (!reply) {
            routes_lost(r, slot);
            to = NULL;
            break;
        }
        routes_learn(r, slot, reply); /* for the next one; `to` stays */
        freeReplyObject(reply);
    }
    t->pinned = false;
    if (to)
        freeReplyObject(send_word(r, to, slot, "EXEC"));
}

static void feed_script(struct routes *r, const struct sources *s, uint64_t *rng)
{
    static const char script[] =
        "redis.call('INCR', KEYS[1]); redis.call('RPUSH', KEYS[2], ARGV[1]); "
        "if redis.call('LLEN', KEYS[2]) > 50 then redis.call('LTRIM', KEYS[2], 0, 5) end";
    char key[2][40];
    unsigned tag = s->tag[traffic_below(rng, TAGS)];
    snprintf(key[0], sizeof key[0], "count:{%u}:0", tag);
    snprintf(key[1], sizeof key[1], "list:{%u}:0", tag);
    const char *argv[] = {"EVAL", script, "2", key[0], key[1], "text"};
    size_t len[6];
    for (size_t i = 0; i < 6; i++)
        len[i] = strlen(argv[i]);
    freeReplyObject(routes_command(r, key_slot(key[0], len[3]), 6, argv, len));
}

void feed_cluster(struct traffic *t, struct routes *r, const struct sources *s, uint64_t *rng)
{
    uint64_t kind = traffic_below(rng, 100);
    if (kind < 5)
        feed_transaction(t, r, rng);
    else if (kind < 7 && !t->o.safe)
        feed_script(r, s, rng);
    else
        feed_command(t, r, rng);
}
