/* Streams: types 15, 19 and 21. dragonfly-wire.md 4.4; rdb-format.md 5.7, 6.2. */
#include <stdio.h>

#include "listpack.h"
#include "value.h"

#define DELETED    1
#define SAMEFIELDS 2
#define PEL_ENTRY  32
#define PEL_MAX    ((size_t)64 << 20)

enum phase { PH_COUNT, PH_NODES, PH_TAIL, PH_GROUP, PH_PEL, PH_CONSUMERS, PH_CONSUMER, PH_IDS, PH_NACKS, PH_NACK };

/* Where the entries of a node go; NULL: they are only checked. */
struct sink {
    struct value *v;
    struct emit *e;
    struct origin *o;
    struct scratch *s;
};

struct node {
    const uint8_t *lp;
    size_t n;
    const uint8_t *it;
    uint64_t ms, seq;
    uint64_t fields;          /* of the master entry */
    const uint8_t *fields_at; /* iterator in front of them */
};

struct id_text {
    uint8_t p[44];
    size_t n;
};

static struct slice id_slice(struct id_text *t, uint64_t ms, uint64_t seq)
{
    t->n = dec_u64(t->p, ms);
    t->p[t->n++] = '-';
    t->n += dec_u64(t->p + t->n, seq);
    return (struct slice){t->p, t->n};
}

static bool node_elem(struct node *nd, struct elem *el)
{
    return listpack_next(nd->lp, nd->n, &nd->it, el) == 1;
}

static bool node_int(struct node *nd, int64_t *v)
{
    struct elem el;
    if (!node_elem(nd, &el) || !el.is_int)
        return false;
    *v = el.v;
    return true;
}

/* Head of the node: the numbers of entries, and the master entry's fields. */
static bool node_open(struct node *nd, uint64_t *entries)
{
    int64_t count, deleted, fields, zero;
    struct elem el;
    if (!node_int(nd, &count) || !node_int(nd, &deleted) || !node_int(nd, &fields) || count < 0 || deleted < 0 ||
        fields < 0)
        return false;
    *entries = (uint64_t)count + (uint64_t)deleted;
    nd->fields = (uint64_t)fields;
    nd->fields_at = nd->it;
    for (int64_t i = 0; i < fields; i++)
        if (!node_elem(nd, &el))
            return false;
    return node_int(nd, &zero) && zero == 0;
}

static void take_arg(const struct sink *to, const struct elem *el)
{
    if (to == NULL)
        return;
    if (el->n > to->e->target.maxbulk || resp_add_bulk(&to->s->body, el->p, el->n) < 0)
        to->v->st.too_large = true;
    to->v->nbody++;
}

/* Fields and values of one entry. */
static bool node_pairs(struct node *nd, bool same, uint64_t fields, const struct sink *to)
{
    struct node master = *nd;
    struct elem f, val;
    master.it = nd->fields_at;
    for (uint64_t i = 0; i < fields; i++) {
        if (!node_elem(same ? &master : nd, &f))
            return false;
        take_arg(to, &f);
        if (!node_elem(nd, &val))
            return false;
        take_arg(to, &val);
    }
    return true;
}

static void write_entry(const struct sink *to, uint64_t ms, uint64_t seq)
{
    struct value *v = to->v;
    struct id_text id;
    struct slice head[3] = {SLICE("XADD"), {v->key.p, v->key.n}, id_slice(&id, ms, seq)};
    value_start(v, to->e, to->o);
    if (!v->dropped && v->st.too_large)
        emit_report(to->e, to->o, true, "element-too-large", v->key.p, v->key.n,
                    "a message exceeds 64 MiB or proto-max-bulk-len");
    else if (!v->dropped)
        emit_body(to->e, to->o, &v->key, v->vclass, 0, head, 3, &to->s->body, v->nbody);
    if (!v->st.too_large)
        v->st.written++;
}

static bool node_entry(struct node *nd, const struct sink *to)
{
    int64_t flags, dms, dseq, n = 0, said;
    if (!node_int(nd, &flags) || !node_int(nd, &dms) || !node_int(nd, &dseq))
        return false;
    bool same = (flags & SAMEFIELDS) != 0;
    if (!same && (!node_int(nd, &n) || n < 0))
        return false;
    uint64_t fields = same ? nd->fields : (uint64_t)n;
    bool live = (flags & DELETED) == 0;
    if (!node_pairs(nd, same, fields, live ? to : NULL) || !node_int(nd, &said))
        return false;
    if ((uint64_t)said != (same ? fields + 3 : 2 * fields + 4))
        return false;
    if (live && to != NULL)
        write_entry(to, nd->ms + (uint64_t)dms, nd->seq + (uint64_t)dseq);
    if (to != NULL) {
        to->s->body.len = 0;
        to->v->nbody = 0;
        to->v->st.too_large = false;
    }
    return true;
}

/* All entries of a node. False: it is corrupt. */
static bool node_walk(const struct slice *lp, uint64_t ms, uint64_t seq, const struct sink *to)
{
    struct node nd = {.lp = lp->p, .n = lp->n, .ms = ms, .seq = seq};
    uint64_t entries;
    struct elem el;
    if (listpack_check(lp->p, lp->n) < 0 || !node_open(&nd, &entries))
        return false;
    for (uint64_t i = 0; i < entries; i++)
        if (!node_entry(&nd, to))
            return false;
    return listpack_next(nd.lp, nd.n, &nd.it, &el) == 0;
}

/* One (id, listpack) pair; c moves only when both are there. */
static enum got take_node(struct cur *c, struct scratch *s, const struct sink *to)
{
    struct cur t = *c;
    struct pstr id, ps;
    struct slice lp;
    enum got g = cur_pstr(&t, &id);
    if (g == GOT)
        g = cur_pstr(&t, &ps);
    if (g == GOT && (id.clen > 0 || id.n != 16))
        g = cur_bad(&t, "a stream node's id of 16 bytes");
    if (g == GOT && !value_text(s, 0, &ps, &lp))
        g = cur_bad(&t, "a string that unpacks (LZF) to its length");
    if (g == GOT && !node_walk(&lp, be64(id.p), be64(id.p + 8), to))
        g = cur_bad(&t, "a valid stream node");
    return cur_settle(c, &t, g);
}

/* n plens, all or none. */
static enum got take_plens(struct cur *c, uint64_t *v, unsigned n)
{
    struct cur t = *c;
    for (unsigned i = 0; i < n; i++) {
        enum got g = cur_plen(&t, &v[i]);
        if (g != GOT)
            return cur_settle(c, &t, g);
    }
    c->p = t.p;
    return GOT;
}

/* What follows the nodes: length, last id, [first id, greatest deleted id, entries added,] groups. */
static unsigned tail_plens(unsigned type)
{
    return type == 15 ? 4 : 9;
}

/* Redis 8.6: identifiers of producers' messages behind the groups; 8.8: pending entries that nobody owns. */
static bool has_producers(unsigned type)
{
    return type >= T_REDIS + 26;
}

static bool has_nacks(unsigned type)
{
    return type >= T_REDIS + 27;
}

/* A pending entry: 16 bytes of id, delivery time, delivery count. */
static enum got take_pending(struct cur *c, const uint8_t **p, uint64_t *count)
{
    struct cur t = *c;
    enum got g = cur_raw(&t, 24, p);
    if (g == GOT)
        g = cur_plen(&t, count);
    return cur_settle(c, &t, g);
}

/* Group: name, last delivered id, [entries read,] number of pending entries. Consumer: name, seen, [active,] number
 * of ids. */
static enum got take_head(struct cur *c, struct pstr *name, size_t raw, const uint8_t **at, uint64_t *v,
                          unsigned plens)
{
    struct cur t = *c;
    enum got g = cur_pstr(&t, name);
    if (g == GOT)
        g = cur_raw(&t, raw, at);
    if (g == GOT)
        g = take_plens(&t, v, plens);
    return cur_settle(c, &t, g);
}

static unsigned group_plens(unsigned type)
{
    return type == 15 ? 3 : 4;
}

static size_t consumer_raw(unsigned type)
{
    return type >= 21 ? 16 : 8;
}

/* A copy of a value for an older target: without the consumers' active times, which came with type 21, and without
 * what stands behind the groups since type 26. */
struct older {
    struct buf *out;
    const uint8_t *from; /* copied up to here */
    bool no_active;
};

static void leave_out(struct older *old, const uint8_t *at, size_t n)
{
    (void)buf_add(old->out, old->from, (size_t)(at - old->from)); /* never longer than the original */
    old->from = at + n;
}

static enum got scan_group(unsigned type, struct cur *c, struct older *old)
{
    struct pstr name;
    uint64_t v[4], n, count;
    const uint8_t *p;
    unsigned np = group_plens(type);
    enum got g = take_head(c, &name, 0, &p, v, np);
    for (uint64_t i = 0; g == GOT && i < v[np - 1]; i++)
        g = take_pending(c, &p, &count);
    if (g == GOT)
        g = cur_plen(c, &n);
    for (uint64_t i = 0; g == GOT && i < n; i++) {
        uint64_t ids;
        g = take_head(c, &name, consumer_raw(type), &p, &ids, 1);
        if (g == GOT && old != NULL && old->no_active)
            leave_out(old, p + 8, 8);
        if (g == GOT && ids > PSTR_MAX)
            g = cur_bad(c, "a possible number of pending ids");
        if (g == GOT)
            g = cur_raw(c, ids * 16, &p);
    }
    if (g == GOT && has_nacks(type)) {
        g = cur_plen(c, &n);
        if (g == GOT && n > PSTR_MAX)
            g = cur_bad(c, "a possible number of pending ids");
        if (g == GOT)
            g = cur_raw(c, n * 16, &p);
    }
    return g;
}

/* duration, most entries, producers; each: id, n, n x (string, ms, seq); two counters. Nothing of it is a command. */
static enum got pass_producers(struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    uint64_t v[3] = {0, 0, 0}, n = 0, id[2];
    enum got g = take_plens(&t, v, 3);
    for (uint64_t i = 0; g == GOT && i < v[2]; i++) {
        g = cur_pstr(&t, &ps);
        if (g == GOT)
            g = cur_plen(&t, &n);
        for (uint64_t k = 0; g == GOT && k < n; k++) {
            g = cur_pstr(&t, &ps);
            if (g == GOT)
                g = take_plens(&t, id, 2);
        }
    }
    if (g == GOT)
        g = take_plens(&t, v, 2);
    return cur_settle(c, &t, g);
}

static enum got scan(unsigned type, struct cur *c, struct scratch *s, struct older *old)
{
    uint64_t nodes, v[9];
    unsigned np = tail_plens(type);
    enum got g = cur_plen(c, &nodes);
    for (uint64_t i = 0; g == GOT && i < nodes; i++)
        g = take_node(c, s, NULL);
    if (g == GOT)
        g = take_plens(c, v, np);
    for (uint64_t i = 0; g == GOT && i < v[np - 1]; i++)
        g = scan_group(type, c, old);
    if (g == GOT && has_producers(type)) {
        const uint8_t *tail = c->p;
        g = pass_producers(c);
        if (g == GOT && old != NULL)
            leave_out(old, tail, (size_t)(c->p - tail));
    }
    return g;
}

enum got stream_scan(unsigned type, struct cur *c, struct scratch *s)
{
    return scan(type, c, s, NULL);
}

enum got stream_to_older(unsigned type, bool no_active, struct cur *c, struct scratch *s, struct slice *out)
{
    struct older old = {&s->copy, c->p, no_active};
    s->copy.len = 0;
    enum got g = scan(type, c, s, &old);
    if (g != GOT)
        return g;
    leave_out(&old, c->p, 0);
    *out = (struct slice){s->copy.p, s->copy.len};
    return GOT;
}

/* ---- decoding into commands ---- */

static void send(struct value *v, struct emit *e, struct origin *o, unsigned keyarg, const struct slice *argv,
                 size_t argc)
{
    if (!v->dropped)
        emit_argv(e, o, &v->key, keyarg, v->vclass, 0, argv, argc);
}

/* A stream without entries comes into being by a group that is taken away again. */
static void write_empty(struct value *v, struct emit *e, struct origin *o)
{
    struct slice key = {v->key.p, v->key.n};
    struct slice create[6] = {SLICE("XGROUP"), SLICE("CREATE"), key, SLICE("df2redis"), SLICE("0"), SLICE("MKSTREAM")};
    struct slice destroy[4] = {SLICE("XGROUP"), SLICE("DESTROY"), key, SLICE("df2redis")};
    value_start(v, e, o);
    send(v, e, o, 2, create, 6);
    send(v, e, o, 2, destroy, 4);
}

static bool knows_counters(const struct emit *e)
{
    return e->target.version >= VERSION(7, 0) && e->target.kind != TARGET_DRAGONFLY;
}

static void write_tail(struct value *v, struct emit *e, struct origin *o, const uint64_t *t)
{
    struct id_text last, del;
    uint8_t added[20];
    if (v->st.written == 0)
        write_empty(v, e, o);
    struct slice argv[7] = {SLICE("XSETID"), {v->key.p, v->key.n}, id_slice(&last, t[1], t[2])};
    size_t argc = 3;
    if (v->type != 15 && knows_counters(e)) {
        argv[3] = SLICE("ENTRIESADDED");
        argv[4] = (struct slice){added, dec_u64(added, t[7])};
        argv[5] = SLICE("MAXDELETEDID");
        argv[6] = id_slice(&del, t[5], t[6]);
        argc = 7;
    }
    v->st.deleted = v->type == 15 || t[7] != t[0];
    send(v, e, o, 1, argv, argc);
}

static void write_group(struct value *v, struct emit *e, struct origin *o, const struct slice *name, const uint64_t *t)
{
    struct id_text last;
    uint8_t read[20];
    struct slice argv[7] = {SLICE("XGROUP"), SLICE("CREATE"), {v->key.p, v->key.n}, *name,
                            id_slice(&last, t[0], t[1])};
    size_t argc = 5;
    if (v->type != 15 && (knows_counters(e) || e->target.kind == TARGET_DRAGONFLY) && t[2] != UINT64_MAX) {
        argv[5] = SLICE("ENTRIESREAD");
        argv[6] = (struct slice){read, dec_u64(read, t[2])};
        argc = 7;
    }
    send(v, e, o, 2, argv, argc);
}

static const uint8_t *find_pending(const struct buf *pel, const uint8_t *id)
{
    size_t lo = 0, hi = pel->len / PEL_ENTRY;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int cmp = memcmp(pel->p + mid * PEL_ENTRY, id, 16);
        if (cmp == 0)
            return pel->p + mid * PEL_ENTRY;
        if (cmp < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static void write_claim(struct value *v, struct emit *e, struct origin *o, const uint8_t *id)
{
    const uint8_t *pe = find_pending(&v->st.pel, id);
    struct id_text text;
    uint8_t when[21], count[20];
    struct slice idarg = id_slice(&text, be64(id), be64(id + 8));
    if (v->dropped)
        return;
    if (pe == NULL) {
        emit_report(e, o, true, "pending-entry", v->key.p, v->key.n, "a consumer's pending id is not in its group");
        return;
    }
    struct slice argv[12] = {SLICE("XCLAIM"),
                             {v->key.p, v->key.n},
                             {v->st.group.p, v->st.group.len},
                             {v->st.consumer.p, v->st.consumer.len},
                             SLICE("0"),
                             idarg,
                             SLICE("TIME"),
                             {when, dec_i64(when, (int64_t)le64(pe + 16))},
                             SLICE("RETRYCOUNT"),
                             {count, dec_u64(count, le64(pe + 24))},
                             SLICE("FORCE"),
                             SLICE("JUSTID")};
    send(v, e, o, 1, argv, 12);
    if (v->st.deleted && !v->st.remarked)
        emit_report(e, o, false, "stream-pending", v->key.p, v->key.n,
                    "pending entries of messages deleted at the source are not recreated in a stream this large");
    v->st.remarked = true;
}

static bool set_name(struct scratch *s, struct buf *b, const struct pstr *ps)
{
    struct slice t;
    if (!value_text(s, 0, ps, &t))
        return false;
    b->len = 0;
    return buf_add(b, t.p, t.n) == 0;
}

static enum got feed_tail(struct value *v, struct emit *e, struct origin *o, struct cur *c)
{
    uint64_t t[9] = {0};
    unsigned np = tail_plens(v->type);
    enum got g = take_plens(c, t, np);
    if (g != GOT)
        return g;
    write_tail(v, e, o, t);
    v->st.groups = t[np - 1];
    v->st.phase = PH_GROUP;
    return GOT;
}

static enum got feed_group(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    struct pstr name;
    uint64_t t[4] = {0};
    unsigned np = group_plens(v->type);
    const uint8_t *unused;
    enum got g = take_head(c, &name, 0, &unused, t, np);
    if (g != GOT)
        return g;
    if (!set_name(s, &v->st.group, &name))
        return cur_bad(c, "a group's name");
    struct slice text = {v->st.group.p, v->st.group.len};
    write_group(v, e, o, &text, t);
    v->st.groups--;
    v->st.pels = t[np - 1];
    v->st.pel.len = 0;
    v->st.pel.max = PEL_MAX;
    v->st.phase = PH_PEL;
    return GOT;
}

static enum got feed_pending(struct value *v, struct emit *e, struct origin *o, struct cur *c)
{
    const uint8_t *p = NULL;
    uint64_t count = 0;
    enum got g = take_pending(c, &p, &count);
    if (g != GOT)
        return g;
    v->st.pels--;
    if (buf_add(&v->st.pel, p, 24) < 0 || buf_add(&v->st.pel, &count, 8) < 0)
        emit_report(e, o, true, "pending-entry", v->key.p, v->key.n, "more than 2 million in one group");
    return GOT;
}

static enum got feed_consumer(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    struct pstr name;
    const uint8_t *unused;
    enum got g = take_head(c, &name, consumer_raw(v->type), &unused, &v->st.ids, 1);
    if (g != GOT)
        return g;
    if (!set_name(s, &v->st.consumer, &name))
        return cur_bad(c, "a consumer's name");
    struct slice argv[5] = {SLICE("XGROUP"),
                            SLICE("CREATECONSUMER"),
                            {v->key.p, v->key.n},
                            {v->st.group.p, v->st.group.len},
                            {v->st.consumer.p, v->st.consumer.len}};
    send(v, e, o, 2, argv, 5);
    v->st.consumers--;
    v->st.phase = PH_IDS;
    return GOT;
}

/* A pending entry without a consumer cannot be made by commands. */
static enum got feed_nack(struct value *v, struct emit *e, struct origin *o, struct cur *c)
{
    const uint8_t *p;
    if (v->st.ids == 0) {
        v->st.phase = PH_GROUP;
        return GOT;
    }
    enum got g = cur_raw(c, 16, &p);
    if (g == GOT && v->st.ids-- > 0 && !v->dropped && !v->reported) {
        emit_report(e, o, true, "pending-entry", v->key.p, v->key.n, "pending entries that no consumer owns");
        v->reported = true;
    }
    return g;
}

/* One step of the machine. *done: the value is complete. */
static enum got feed_step(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s,
                          bool *done)
{
    struct stream_state *st = &v->st;
    struct sink to = {v, e, o, s};
    const uint8_t *p;
    enum got g = GOT;
    switch ((enum phase)st->phase) {
    case PH_COUNT:
        g = cur_plen(c, &v->left);
        if (g == GOT)
            st->phase = PH_NODES;
        return g;
    case PH_NODES:
        if (v->left == 0)
            st->phase = PH_TAIL;
        else if ((g = take_node(c, s, &to)) == GOT)
            v->left--;
        return g;
    case PH_TAIL: return feed_tail(v, e, o, c);
    case PH_GROUP:
        if (st->groups > 0)
            return feed_group(v, e, o, c, s);
        if (has_producers(v->type))
            g = pass_producers(c);
        *done = g == GOT;
        return g;
    case PH_PEL:
        if (st->pels > 0)
            return feed_pending(v, e, o, c);
        st->phase = PH_CONSUMERS;
        return GOT;
    case PH_CONSUMERS:
        g = cur_plen(c, &st->consumers);
        if (g == GOT)
            st->phase = PH_CONSUMER;
        return g;
    case PH_CONSUMER:
        if (st->consumers > 0)
            return feed_consumer(v, e, o, c, s);
        st->phase = has_nacks(v->type) ? PH_NACKS : PH_GROUP;
        return GOT;
    case PH_NACKS:
        g = cur_plen(c, &st->ids);
        if (g == GOT)
            st->phase = PH_NACK;
        return g;
    case PH_NACK: return feed_nack(v, e, o, c);
    case PH_IDS: break;
    }
    if (st->ids == 0) {
        st->phase = PH_CONSUMER;
        return GOT;
    }
    g = cur_raw(c, 16, &p);
    if (g == GOT) {
        st->ids--;
        write_claim(v, e, o, p);
    }
    return g;
}

enum got stream_feed(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    bool done = false;
    enum got g = GOT;
    while (g == GOT && !done)
        g = feed_step(v, e, o, c, s, &done);
    return g;
}
