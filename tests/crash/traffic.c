#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAR_FUTURE UINT64_C(4102444800000) /* 2100: nothing expires during a test */

uint64_t traffic_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t traffic_below(uint64_t *state, uint64_t n)
{
    return traffic_random(state) % n;
}

void traffic_init(struct traffic *t, const struct traffic_options *o)
{
    *t = (struct traffic){.o = *o, .state = o->seed};
    t->arena = malloc(TRAFFIC_ARENA);
    if (!t->arena)
        abort();
}

void traffic_free(struct traffic *t)
{
    free(t->arena);
}

/* ---- arguments ---- */

static void add(struct traffic *t, struct traffic_command *c, const char *p, size_t n)
{
    if (c->argc == TRAFFIC_ARGS || n > TRAFFIC_ARENA - t->used)
        abort(); /* the table below asks for too much */
    char *to = t->arena + t->used;
    memcpy(to, p, n);
    t->used += n;
    c->argv[c->argc] = to;
    c->len[c->argc++] = n;
}

static void text(struct traffic *t, struct traffic_command *c, const char *word)
{
    add(t, c, word, strlen(word));
}

static void number(struct traffic *t, struct traffic_command *c, int64_t n)
{
    char s[24];
    add(t, c, s, (size_t)snprintf(s, sizeof s, "%lld", (long long)n));
}

static uint64_t below(struct traffic *t, uint64_t n)
{
    return traffic_below(&t->state, n);
}

static const struct traffic_hot *some_hot(struct traffic *t)
{
    unsigned n = t->hots < TRAFFIC_HOT ? t->hots : TRAFFIC_HOT;
    return n > 0 && below(t, 2) ? &t->hot[below(t, n)] : NULL;
}

static void key_of(struct traffic *t, struct traffic_command *c, const char *kind, unsigned flow)
{
    char s[48];
    const struct traffic_hot *h = some_hot(t);
    unsigned number = h && h->db == t->db && h->flow == flow && !strcmp(h->kind, kind)
                          ? h->number
                          : (unsigned)below(t, t->o.keys);
    int n = t->o.tag ? snprintf(s, sizeof s, "%s:{%u}:%u", kind, t->o.tag[flow], number)
                     : snprintf(s, sizeof s, "%s:%u:%u", kind, flow, number);
    add(t, c, s, (size_t)n);
    c->keys++;
}

/* Of a key that need not be where the others of its command are. */
static unsigned any_flow(struct traffic *t)
{
    return t->o.tag ? t->flow : (unsigned)below(t, t->o.flows);
}

void traffic_heat(struct traffic *t, const struct traffic_command *c)
{
    char s[48];
    struct traffic_hot *h = &t->hot[t->hots % TRAFFIC_HOT];
    snprintf(s, sizeof s, "%.*s", (int)c->len[1], c->argv[1]);
    if (sscanf(s, "%7[a-z]:%u:%u", h->kind, &h->flow, &h->number) != 3)
        abort();
    h->db = c->db;
    t->hots++;
}

static void key(struct traffic *t, struct traffic_command *c, const char *kind)
{
    key_of(t, c, kind, t->flow);
}

/* A member of a small set, so that members meet each other. */
static void member(struct traffic *t, struct traffic_command *c)
{
    char s[24];
    add(t, c, s, (size_t)snprintf(s, sizeof s, "member-%u", (unsigned)below(t, 200)));
}

static void bytes(struct traffic *t, struct traffic_command *c, size_t n)
{
    char *to = t->arena + t->used;
    if (n > TRAFFIC_ARENA - t->used)
        abort();
    for (size_t i = 0; i < n; i += 8) {
        uint64_t r = traffic_random(&t->state);
        memcpy(to + i, &r, n - i < 8 ? n - i : 8);
    }
    t->used += n;
    c->argv[c->argc] = to;
    c->len[c->argc++] = n;
}

/* Most values are small, some larger than a RESTORE may be, few larger than a record. */
static void value(struct traffic *t, struct traffic_command *c)
{
    uint64_t r = below(t, 4000);
    size_t n = r == 0 ? 1100000 : r < 8 ? 70000 : r < 200 ? 2000 : 4;
    bytes(t, c, n + below(t, n));
}

/* ---- commands ---- */

typedef void make(struct traffic *t, struct traffic_command *c);

static void make_set(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "SET");
    key(t, c, "str");
    value(t, c);
    if (below(t, 12) == 0) {
        text(t, c, "KEEPTTL");
    } else if (below(t, 8) == 0) {
        text(t, c, "PXAT");
        number(t, c, (int64_t)(FAR_FUTURE + below(t, 1000000)));
    }
}

static void make_append(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "APPEND");
    key(t, c, "str");
    bytes(t, c, 1 + below(t, 20));
}

static void make_setrange(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "SETRANGE");
    key(t, c, "str");
    number(t, c, (int64_t)below(t, 500));
    bytes(t, c, 1 + below(t, 20));
}

static void make_setbit(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "SETBIT");
    key(t, c, "bits");
    number(t, c, (int64_t)below(t, 4000));
    number(t, c, (int64_t)below(t, 2));
}

static void make_incr(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "INCR");
    key(t, c, "count");
}

static void make_incrby(struct traffic *t, struct traffic_command *c)
{
    text(t, c, below(t, 2) ? "INCRBY" : "DECRBY");
    key(t, c, "count");
    number(t, c, (int64_t)below(t, 1000));
}

static void make_set_number(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "SET");
    key(t, c, "count");
    number(t, c, (int64_t)below(t, 1000));
}

static void make_push(struct traffic *t, struct traffic_command *c)
{
    unsigned n = below(t, 50) ? 1 : 12; /* some long ones, so that there are lists in several parts */
    text(t, c, below(t, 2) ? "RPUSH" : "LPUSH");
    key(t, c, "list");
    for (unsigned i = 0; i < n; i++)
        bytes(t, c, 4 + below(t, n == 1 ? 30 : 3000));
}

static void make_pop(struct traffic *t, struct traffic_command *c)
{
    text(t, c, below(t, 2) ? "RPOP" : "LPOP");
    key(t, c, "list");
}

static void make_ltrim(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "LTRIM");
    key(t, c, "list");
    number(t, c, (int64_t)below(t, 3));
    number(t, c, (int64_t)(10 + below(t, 100)));
}

static void make_lset(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "LSET");
    key(t, c, "list");
    number(t, c, (int64_t)below(t, 5));
    bytes(t, c, 10);
}

static void make_lmove(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "RPOPLPUSH");
    key(t, c, "list");
    key(t, c, "list");
}

static void make_hset(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "HSET");
    key(t, c, "hash");
    member(t, c);
    bytes(t, c, 4 + below(t, 60));
}

static void make_hincrby(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "HINCRBY");
    key(t, c, "tally");
    member(t, c);
    number(t, c, (int64_t)below(t, 100));
}

static void make_hdel(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "HDEL");
    key(t, c, below(t, 2) ? "hash" : "tally");
    member(t, c);
}

static void make_sadd(struct traffic *t, struct traffic_command *c)
{
    text(t, c, below(t, 3) ? "SADD" : "SREM");
    key(t, c, "set");
    member(t, c);
}

static void make_smove(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "SMOVE");
    key(t, c, "set");
    key(t, c, "set");
    member(t, c);
}

static void make_zadd(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "ZADD");
    key(t, c, "zset");
    number(t, c, (int64_t)below(t, 10000));
    member(t, c);
}

static void make_zincrby(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "ZINCRBY");
    key(t, c, "zset");
    number(t, c, (int64_t)below(t, 100));
    member(t, c);
}

static void make_zrem(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "ZREM");
    key(t, c, "zset");
    member(t, c);
}

static void make_zpop(struct traffic *t, struct traffic_command *c)
{
    text(t, c, below(t, 2) ? "ZPOPMIN" : "ZPOPMAX");
    key(t, c, "zset");
}

static void make_xadd(struct traffic *t, struct traffic_command *c)
{
    char id[32];
    text(t, c, "XADD");
    key(t, c, "stream");
    snprintf(id, sizeof id, "%llu-%u", (unsigned long long)(1 + t->made), (unsigned)below(t, 3));
    text(t, c, id);
    text(t, c, "field");
    bytes(t, c, 4 + below(t, 40));
}

static void make_xtrim(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "XTRIM");
    key(t, c, "stream");
    text(t, c, "MAXLEN");
    number(t, c, (int64_t)(20 + below(t, 100)));
}

static void make_mset(struct traffic *t, struct traffic_command *c)
{
    text(t, c, "MSET");
    for (unsigned i = 0, n = 2 + (unsigned)below(t, 4); i < n; i++) {
        key_of(t, c, "str", any_flow(t));
        bytes(t, c, 4 + below(t, 30));
    }
    c->spread = true;
    c->step = 2;
}

static void make_del(struct traffic *t, struct traffic_command *c)
{
    static const char *const kinds[] = {"str",   "bits", "count", "list",  "hash",
                                        "tally", "set",  "zset",  "stream"};
    text(t, c, below(t, 2) ? "DEL" : "UNLINK");
    for (unsigned i = 0, n = 1 + (unsigned)below(t, 3); i < n; i++)
        key_of(t, c, kinds[below(t, sizeof kinds / sizeof *kinds)], any_flow(t));
    c->spread = true;
}

static void make_rename(struct traffic *t, struct traffic_command *c)
{
    static const char *const kinds[] = {"str", "count", "list", "list"};
    const char *kind = kinds[below(t, 4)];
    text(t, c, "RENAME");
    key(t, c, kind);
    key(t, c, kind);
}

static void make_copy(struct traffic *t, struct traffic_command *c)
{
    const char *kind = below(t, 2) ? "str" : "count";
    text(t, c, "COPY");
    key(t, c, kind);
    key(t, c, kind);
    text(t, c, "REPLACE");
}

static void make_expiry(struct traffic *t, struct traffic_command *c)
{
    bool set = below(t, 2) == 0;
    text(t, c, set ? "PEXPIREAT" : "PERSIST");
    /* A hash may end by HDEL and take its expiry with it: not the same when that is repeated. */
    key(t, c, below(t, 2) || t->o.safe ? "str" : "hash");
    if (set)
        number(t, c, (int64_t)(FAR_FUTURE + below(t, 1000000)));
}

/* SAFE: the same however often a run of such commands is applied, in order, from an earlier one on. ANY:
 * not so, but see traffic.h. */
enum { ANY, SAFE };

static const struct {
    make *make;
    unsigned weight, use;
} table[] = {
    {make_set, 12, SAFE},   {make_append, 12, ANY}, {make_setrange, 6, SAFE},   {make_setbit, 4, SAFE},
    {make_incr, 14, ANY},   {make_incrby, 6, ANY},  {make_push, 16, ANY},       {make_pop, 10, ANY},
    {make_ltrim, 2, ANY},   {make_lset, 2, ANY},    {make_lmove, 4, ANY},       {make_hset, 10, SAFE},
    {make_hincrby, 8, ANY}, {make_hdel, 4, SAFE},   {make_sadd, 8, SAFE},       {make_smove, 3, ANY},
    {make_zadd, 8, SAFE},   {make_zincrby, 8, ANY}, {make_zrem, 3, SAFE},       {make_zpop, 2, ANY},
    {make_xadd, 8, ANY},    {make_xtrim, 2, ANY},   {make_mset, 4, SAFE},       {make_del, 2, SAFE},
    {make_rename, 2, ANY},  {make_expiry, 4, SAFE}, {make_set_number, 4, SAFE}, {make_copy, 2, ANY},
};
#define TABLE (sizeof table / sizeof *table)

static bool wanted(const struct traffic *t, unsigned use)
{
    return !t->o.safe || use == SAFE;
}

static make *choose(struct traffic *t)
{
    unsigned all = 0, r;
    for (size_t i = 0; i < TABLE; i++)
        all += wanted(t, table[i].use) ? table[i].weight : 0;
    r = (unsigned)below(t, all);
    for (size_t i = 0; i < TABLE; i++) {
        unsigned weight = wanted(t, table[i].use) ? table[i].weight : 0;
        if (r < weight)
            return table[i].make;
        r -= weight;
    }
    abort();
}

void traffic_next(struct traffic *t, struct traffic_command *c)
{
    *c = (struct traffic_command){.step = 1};
    t->used = 0;
    t->made++;
    const struct traffic_hot *h = some_hot(t);
    c->db = t->db = h ? h->db : (unsigned)below(t, t->o.dbs);
    if (!t->pinned)
        t->flow = h ? h->flow : (unsigned)below(t, t->o.flows);
    if (t->o.flush_every && below(t, t->o.flush_every) == 0)
        text(t, c, "FLUSHALL");
    else
        choose(t)(t, c);
}

unsigned traffic_flow(const char *name, size_t len)
{
    const char *colon = memchr(name, ':', len);
    return colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}
