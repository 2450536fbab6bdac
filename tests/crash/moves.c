/*
 * A child that moves the slots of the window to another master and back: key by key, as redis-cli --cluster
 * reshard does, or as a whole (--atomic).  Orders, each of which is answered: 'm' move, 'u' are they under
 * way?, 'h' hold when no slot is half moved, 'r' go on.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crash.h"
#include "slotset.h"
#include "traffic.h"

#define MOVE_LIMIT (120 * SECOND) /* of a slot, or of all of them as a whole */

static pid_t mover;
static int orders = -1;

/* ---- the child ---- */

struct move {
    struct sources *s;
    redisContext *c[SOURCES];
    uint64_t rng;
    unsigned to, legs, done; /* the other shard; ways to go; slots of this way that are done */
    bool held, valkey;
};

static redisReply *call(struct move *m, unsigned i, const char *format, ...)
{
    struct timeval limit = {10, 0};
    va_list args;
    if (m->c[i] && m->c[i]->err) {
        redisFree(m->c[i]);
        m->c[i] = NULL;
    }
    if (!m->c[i]) {
        m->c[i] = redisConnectWithTimeout("127.0.0.1", (int)m->s->node[i].port, limit);
        if (!m->c[i] || m->c[i]->err)
            return NULL;
        redisSetTimeout(m->c[i], limit);
    }
    va_start(args, format);
    redisReply *r = redisvCommand(m->c[i], format, args);
    va_end(args);
    return r;
}

/* The node that is now the master of one of the three parts. */
static unsigned master_of(struct move *m, unsigned shard)
{
    const unsigned nodes[] = {shard, shard == 0 ? SOURCES - 1 : shard};
    for (unsigned i = 0; i < 2; i++) {
        redisReply *r = call(m, nodes[i], "ROLE");
        bool master =
            r && r->type == REDIS_REPLY_ARRAY && r->elements > 0 && strcmp(r->element[0]->str, "master") == 0;
        freeReplyObject(r);
        if (master)
            return nodes[i];
    }
    return shard;
}

static void id_of(struct move *m, unsigned i, char id[41])
{
    redisReply *r = call(m, i, "CLUSTER MYID");
    snprintf(id, 41, "%s", r && r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);
}

static bool is_ok(redisReply *r)
{
    bool ok = r && r->type != REDIS_REPLY_ERROR;
    freeReplyObject(r);
    return ok;
}

static bool has(struct move *m, unsigned i, unsigned first, unsigned count)
{
    struct slotset owned;
    unsigned n = 0;
    if (server_slots(&m->s->node[i], &owned))
        while (n < count && slotset_has(&owned, first + n))
            n++;
    return n == count;
}

/* The keys of a slot; with REPLACE once it failed, as then a key may be on both. */
static bool move_keys(struct move *m, unsigned slot, unsigned from, unsigned to, bool again)
{
    for (;;) {
        redisReply *keys = call(m, from, "CLUSTER GETKEYSINSLOT %u 64", slot);
        const char *argv[80] = {"MIGRATE", "127.0.0.1", NULL, "", "0", "5000"};
        char port[16];
        int n = 6;
        if (!keys || keys->type != REDIS_REPLY_ARRAY || keys->elements == 0) {
            bool none = keys && keys->type == REDIS_REPLY_ARRAY;
            freeReplyObject(keys);
            return none;
        }
        snprintf(port, sizeof port, "%u", m->s->node[to].port);
        argv[2] = port;
        if (again)
            argv[n++] = "REPLACE";
        argv[n++] = "KEYS";
        for (size_t i = 0; i < keys->elements; i++)
            argv[n++] = keys->element[i]->str;
        bool ok = is_ok(redisCommandArgv(m->c[from], n, argv, NULL));
        freeReplyObject(keys);
        if (!ok)
            return false;
    }
}

static bool move_slot(struct move *m, unsigned slot, unsigned from, unsigned to, bool again)
{
    char source[41], target[41];
    id_of(m, from, source);
    id_of(m, to, target);
    if (!is_ok(call(m, to, "CLUSTER SETSLOT %u IMPORTING %s", slot, source)) && !again)
        return false;
    if (!is_ok(call(m, from, "CLUSTER SETSLOT %u MIGRATING %s", slot, target)) && !again)
        return false;
    if (!move_keys(m, slot, from, to, again) ||
        !is_ok(call(m, to, "CLUSTER SETSLOT %u NODE %s", slot, target)) ||
        !is_ok(call(m, from, "CLUSTER SETSLOT %u NODE %s", slot, target)))
        return again && has(m, to, slot, 1);
    for (unsigned i = 0; i < NODES; i++)
        if (i != from && i != to)
            is_ok(call(m, i, "CLUSTER SETSLOT %u NODE %s", slot, target));
    return true;
}

/* As a whole: asked for again where it does not come to its end. */
static bool move_all(struct move *m, unsigned from, unsigned to)
{
    const struct window *w = &m->s->window;
    char target[41];
    unsigned last = w->first + w->count - 1;
    id_of(m, to, target);
    if (m->valkey)
        is_ok(call(m, from, "CLUSTER MIGRATESLOTS SLOTSRANGE %u %u NODE %s", w->first, last, target));
    else
        is_ok(call(m, to, "CLUSTER MIGRATION IMPORT %u %u", w->first, last));
    for (int64_t limit = now_us() + 5 * SECOND; now_us() < limit; sleep_us(20000))
        if (has(m, to, w->first, w->count))
            return true;
    return false;
}

/* The next slot, or all of them. */
static void move_on(struct move *m)
{
    const struct window *w = &m->s->window;
    bool ok = false, again = false;
    for (int64_t limit = now_us() + MOVE_LIMIT; !ok; again = true) {
        unsigned a = master_of(m, w->shard), b = master_of(m, m->to);
        unsigned from = m->legs == 2 ? a : b, to = m->legs == 2 ? b : a;
        ok = opt.atomic ? move_all(m, from, to) : move_slot(m, w->first + m->done, from, to, again);
        if (!ok && now_us() > limit)
            fail("slot %u does not get from %s to %s", w->first + m->done, m->s->node[from].name,
                 m->s->node[to].name);
        if (!ok)
            sleep_us(20000);
    }
    m->done += opt.atomic ? w->count : 1;
    if (m->done == w->count) {
        m->done = 0;
        m->legs--;
    }
}

static char obey(struct move *m, char order)
{
    if (order == 'm' && m->legs == 0) {
        m->legs = 2;
        m->to = (m->s->window.shard + 1 + (unsigned)traffic_below(&m->rng, NODES - 1)) % NODES;
    }
    if (order == 'h' || order == 'r')
        m->held = order == 'h';
    return order == 'u' && m->legs > 0 ? '1' : '0';
}

static void work(struct move *m, int from)
{
    redisReply *r = call(m, 0, "INFO server");
    m->valkey = r && r->type == REDIS_REPLY_STRING && strstr(r->str, "valkey_version:");
    freeReplyObject(r);
    for (;;) {
        char order;
        bool idle = m->legs == 0 || m->held;
        ssize_t n = recv(from, &order, 1, idle ? 0 : MSG_DONTWAIT);
        if (n == 0)
            _exit(0);
        if (n == 1) {
            order = obey(m, order);
            if (send(from, &order, 1, MSG_NOSIGNAL) != 1)
                _exit(0);
        } else {
            move_on(m);
        }
    }
}

/* ---- the parent ---- */

void moves_start(const struct sources *s)
{
    static struct sources copy;
    int sp[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) != 0)
        fail("socketpair");
    uint64_t seed = below(UINT64_MAX / 2);
    mover = fork();
    if (mover < 0)
        fail("fork");
    if (mover == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sp[0]);
        copy = *s;
        struct move m = {.s = &copy, .rng = seed};
        work(&m, sp[1]);
    }
    close(sp[1]);
    orders = sp[0];
}

static char order(char what)
{
    char answer = '0';
    if (orders >= 0 && (send(orders, &what, 1, MSG_NOSIGNAL) != 1 || recv(orders, &answer, 1, 0) != 1))
        fail("the one that moves slots has gone");
    return answer;
}

void moves_begin(void)
{
    if (orders >= 0 && !moves_under_way()) {
        now.moves++;
        order('m');
    }
}

bool moves_under_way(void)
{
    return order('u') == '1';
}

void moves_hold(void)
{
    order('h');
}

void moves_release(void)
{
    order('r');
}

void moves_finish(void)
{
    while (moves_under_way())
        attend(10000);
}

void moves_end(void)
{
    if (orders >= 0)
        close(orders);
    orders = -1;
    end_child(&mover);
}
