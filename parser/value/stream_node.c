/* The nodes of streams: listpacks of entries that share the fields of the first. */
#include "listpack.h"
#include "stream.h"

#define DELETED    1
#define SAMEFIELDS 2

struct node {
    const uint8_t *lp;
    size_t n;
    const uint8_t *it;
    uint64_t ms, seq;
    uint64_t fields;          /* of the master entry */
    const uint8_t *fields_at; /* iterator in front of them */
    int64_t live, deleted;    /* entries that it says it has, less those passed */
    struct stream_order *order;
};

struct slice stream_id(struct id_text *t, uint64_t ms, uint64_t seq)
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
    int64_t fields, zero;
    struct elem el;
    if (!node_int(nd, &nd->live) || !node_int(nd, &nd->deleted) || !node_int(nd, &fields) || nd->live < 0 ||
        nd->deleted < 0 || fields < 0)
        return false;
    *entries = (uint64_t)nd->live + (uint64_t)nd->deleted;
    nd->fields = (uint64_t)fields;
    nd->fields_at = nd->it;
    for (int64_t i = 0; i < fields; i++)
        if (!node_elem(nd, &el))
            return false;
    return node_int(nd, &zero) && zero == 0;
}

static void take_arg(struct value *to, const struct elem *el)
{
    if (to == NULL)
        return;
    if (el->n > to->e->target.maxbulk || resp_add_bulk(&to->s->body, el->p, el->n) < 0)
        to->st.too_large = true;
    to->nbody++;
}

/* Fields and values of one entry. */
static bool node_pairs(struct node *nd, bool same, uint64_t fields, struct value *to)
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

static void write_entry(struct value *v, uint64_t ms, uint64_t seq)
{
    struct id_text id;
    struct slice head[3] = {SLICE("XADD"), {v->key.p, v->key.n}, stream_id(&id, ms, seq)};
    value_start(v);
    if (!v->dropped && v->st.too_large)
        emit_report(v->e, v->o, true, "element-too-large", v->key.p, v->key.n,
                    "a message exceeds 64 MiB or proto-max-bulk-len");
    else if (!v->dropped)
        emit_body(v->e, v->o, &v->key, v->vclass, 0, head, 3, &v->s->body, v->nbody);
    if (!v->st.too_large)
        v->st.written++;
}

/* Each entry has a greater id than the one before it. Deleted ones do not count: before Redis 7.0 XSETID went
 * below them. */
static bool node_order(struct node *nd, uint64_t ms, uint64_t seq, bool live)
{
    struct stream_order *o = nd->order;
    if (live && o->live > 0 && (ms < o->ms || (ms == o->ms && seq <= o->seq)))
        return false;
    if (live) {
        o->ms = ms;
        o->seq = seq;
        o->live++;
    }
    return --*(live ? &nd->live : &nd->deleted) >= 0;
}

static bool node_entry(struct node *nd, struct value *to)
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
    if (to == NULL && !node_order(nd, nd->ms + (uint64_t)dms, nd->seq + (uint64_t)dseq, live))
        return false;
    if (live && to != NULL)
        write_entry(to, nd->ms + (uint64_t)dms, nd->seq + (uint64_t)dseq);
    if (to != NULL) {
        to->s->body.len = 0;
        to->nbody = 0;
        to->st.too_large = false;
    }
    return true;
}

/* All entries of a node: they are checked, or written. False: it is corrupt. */
static bool node_walk(const struct slice *lp, const uint8_t *id, struct value *to, struct stream_order *order)
{
    struct node nd = {.lp = lp->p, .n = lp->n, .ms = be64(id), .seq = be64(id + 8), .order = order};
    uint64_t entries;
    struct elem el;
    if (!node_open(&nd, &entries) || entries == 0)
        return false;
    for (uint64_t i = 0; i < entries; i++)
        if (!node_entry(&nd, to))
            return false;
    return listpack_next(nd.lp, nd.n, &nd.it, &el) == 0;
}

/* Servers have the nodes in a tree by their ids. */
static void follow(struct stream_order *o, uint64_t ms, uint64_t seq)
{
    o->tangled |= o->any && (ms < o->node[0] || (ms == o->node[0] && seq <= o->node[1]));
    o->node[0] = ms;
    o->node[1] = seq;
    o->any = true;
}

enum got stream_node(struct cur *c, struct scratch *s, struct value *to, struct stream_order *order,
                     const char **damage)
{
    struct cur t = *c;
    struct pstr id, ps;
    struct slice lp;
    enum got g = cur_pstr(&t, &id);
    if (g == GOT)
        g = cur_pstr(&t, &ps);
    *damage = NULL;
    if (g != GOT)
        return cur_settle(c, &t, g);
    if (id.clen > 0 || id.n != 16)
        *damage = "a stream node's id of 16 bytes";
    else if (!value_text(s, 0, &ps, &lp))
        *damage = UNPACKS;
    else if (listpack_check(lp.p, lp.n) < 0 || !node_walk(&lp, id.p, NULL, order))
        *damage = "a valid stream node behind the one before";
    else if (to != NULL)
        (void)node_walk(&lp, id.p, to, order);
    if (*damage == NULL)
        follow(order, be64(id.p), be64(id.p + 8));
    c->p = t.p;
    return GOT;
}
