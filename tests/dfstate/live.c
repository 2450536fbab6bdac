/* The keys of a running server as records in (db, key) order, read in pipelined batches. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dfstate.h"

enum {
    BATCH_KEYS = 500,
    BATCH_NAMES = 1 << 16,   /* bytes of key names: a batch must fit into the socket's buffers */
    BATCH_REPLIES = 8 << 20, /* bytes of text aimed at: servers hold a whole batch of replies */
};

typedef struct slot {
    const keyref *ref;
    redisReply *type;
    redisReply *groups; /* of a stream */
    enum kind kind;
    enum outcome outcome;
    long long ttl;
    size_t start, len; /* of its line in live.text */
} slot;

struct live {
    server srv;
    keylist keys;
    live_options o;
    size_t asked;       /* keys of the list taken into batches */
    size_t batch_limit; /* keys in the next batch */
    bool use_pttl;      /* the server has no PEXPIRETIME */
    slot slots[BATCH_KEYS];
    size_t n, pos;
    buf text;
};

live *live_open(const target *t, live_options o)
{
    live *l = xcalloc(1, sizeof(*l));

    l->o = o;
    l->batch_limit = BATCH_KEYS;
    server_open(&l->srv, t);
    keylist_scan(&l->keys, &l->srv, t);
    keylist_sort(&l->keys, o.one_a_key);
    return l;
}

static node *node_of(live *l, const slot *s)
{
    return &l->srv.nodes[s->ref->node];
}

static bytes name_of(const slot *s)
{
    return (bytes){s->ref->key, s->ref->len};
}

static void forget_slot(slot *s)
{
    if (s->type)
        freeReplyObject(s->type);
    if (s->groups)
        freeReplyObject(s->groups);
    s->type = s->groups = NULL;
}

static void forget_batch(live *l)
{
    for (size_t i = 0; i < l->n; i++)
        forget_slot(&l->slots[i]);
    l->n = l->pos = l->text.len = 0;
}

/* The next keys of one database, since a connection has one database selected. */
static void take_keys(live *l)
{
    size_t names = 0;

    while (l->n < l->batch_limit && l->asked < l->keys.n) {
        const keyref *k = &l->keys.refs[l->asked];

        names += k->len;
        if (l->n && (k->db != l->slots[0].ref->db || names > BATCH_NAMES))
            break;
        l->slots[l->n++] = (slot){.ref = k};
        l->asked++;
        node_select(&l->srv.nodes[k->node], k->db);
    }
}

static long long now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (long long)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* False if the server has no PEXPIRETIME; all replies are taken nevertheless. */
static bool read_ttl(live *l, slot *s)
{
    redisReply *r = wire_reply(node_of(l, s));
    bool ok = r->type == REDIS_REPLY_INTEGER;

    if (!ok && l->use_pttl)
        die("PTTL: %s", r->str ? r->str : "unexpected reply");
    if (ok)
        s->ttl = !l->use_pttl || r->integer == -2 ? r->integer : r->integer < 0 ? -1 : now_ms() + r->integer;
    freeReplyObject(r);
    return ok;
}

static bool ask_types(live *l)
{
    bytes expiry = lit(l->use_pttl ? "PTTL" : "PEXPIRETIME");
    bool ok = true;

    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];

        wire_put(node_of(l, s), (bytes[]){lit("TYPE"), name_of(s)}, 2);
        if (!l->o.no_ttl)
            wire_put(node_of(l, s), (bytes[]){expiry, name_of(s)}, 2);
    }
    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];

        forget_slot(s);
        s->type = wire_reply_ok(node_of(l, s), "TYPE");
        if (!s->type->str)
            die("TYPE: unexpected reply");
        s->kind = kind_of(s->type->str);
        if (!l->o.no_ttl && !read_ttl(l, s))
            ok = false;
        if (s->ttl == -2) /* expired since it was listed */
            s->kind = K_NONE;
    }
    return ok;
}

/* The commands that read a stream depend on its groups, so these are asked for beforehand. */
static void ask_groups(live *l)
{
    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];

        if (s->kind == K_STREAM)
            wire_put(node_of(l, s), (bytes[]){lit("XINFO"), lit("GROUPS"), name_of(s)}, 3);
    }
    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];

        if (s->kind != K_STREAM)
            continue;
        s->groups = wire_reply(node_of(l, s));
        if (s->groups->type == REDIS_REPLY_ARRAY) {
            groups_sort(s->groups);
        } else {
            s->kind = K_NONE;
            s->outcome = V_ERROR;
        }
    }
}

static void read_record(live *l, slot *s)
{
    buf *out = &l->text;

    s->start = out->len;
    buf_text(out, "{\"db\": ");
    buf_int(out, s->ref->db);
    buf_text(out, ", \"key\": ");
    buf_json(out, name_of(s));
    if (!l->o.no_ttl) {
        buf_text(out, ", \"ttl\": ");
        buf_int(out, s->ttl);
    }
    buf_text(out, ", \"type\": ");
    buf_json(out, lit(s->type->str));
    buf_text(out, ", \"value\": ");
    s->outcome = value_read(node_of(l, s), s->kind, s->type->str, s->groups, &l->o, out);
    buf_add(out, "}", 1);
    s->len = out->len - s->start;
}

static void read_values(live *l)
{
    for (size_t i = 0; i < l->n; i++)
        value_ask(node_of(l, &l->slots[i]), l->slots[i].kind, name_of(&l->slots[i]), l->slots[i].groups);
    for (size_t i = 0; i < l->n; i++)
        if (l->slots[i].kind != K_NONE)
            read_record(l, &l->slots[i]);
}

/* Leaves out the keys that expired while they were read; what is empty and still there stays, for
 * a server that keeps empty containers is to be found out. */
static void check_suspects(live *l)
{
    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];

        if (s->outcome != V_READ)
            wire_put(node_of(l, s), (bytes[]){lit("EXISTS"), name_of(s)}, 2);
    }
    for (size_t i = 0; i < l->n; i++) {
        slot *s = &l->slots[i];
        redisReply *r;

        if (s->outcome == V_READ)
            continue;
        r = wire_reply_ok(node_of(l, s), "EXISTS");
        if (r->integer && s->outcome == V_ERROR)
            die("the stream \"%.*s\" cannot be read", (int)s->ref->len, s->ref->key);
        if (!r->integer)
            s->kind = K_NONE;
        freeReplyObject(r);
    }
}

/* Big values in this batch make the next one small. */
static void set_batch_limit(live *l)
{
    size_t average = l->text.len / l->n + 1;
    size_t fit = BATCH_REPLIES / average;

    l->batch_limit = fit < 1 ? 1 : fit > BATCH_KEYS ? BATCH_KEYS : fit;
}

static bool next_batch(live *l)
{
    forget_batch(l);
    take_keys(l);
    if (!l->n)
        return false;
    if (!ask_types(l)) {
        l->use_pttl = true;
        (void)ask_types(l);
    }
    ask_groups(l);
    read_values(l);
    check_suspects(l);
    set_batch_limit(l);
    return true;
}

bool live_next(live *l, record *r)
{
    for (;;) {
        if (l->pos == l->n && !next_batch(l))
            return false;
        slot *s = &l->slots[l->pos++];

        if (s->kind == K_NONE)
            continue;
        *r = (record){s->ref->db, name_of(s), {l->text.p + s->start, s->len}, s->type->str};
        return true;
    }
}

void live_close(live *l)
{
    forget_batch(l);
    buf_free(&l->text);
    keylist_free(&l->keys);
    server_close(&l->srv);
    free(l);
}
