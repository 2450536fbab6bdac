#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "bundle_parts.h"
#include "../options.h"
#include "../position/positions.h"
#include "splits.h"

#define PARTS_MAX 4096u
#define PARTS_BYTES                                                                                          \
    (((size_t)1 << 20) + ((size_t)64 << 10)) /* a MiB of values in pieces, with what is around them */
#define ENOUGH   ((size_t)32 << 10)          /* one of whole keys need not grow further */
#define BEHIND   16u
#define OPEN_MAX 32u /* keys that are not complete: with more nobody looks for those that are */

/* A request that is gathered. */
struct part {
    struct rec r;
    uint32_t key; /* hashset_key */
    uint32_t off;
    uint32_t first; /* of its key's requests here: its number */
    uint8_t vclass;
    bool holds;  /* its key is held because of it */
    bool resets; /* what follows of its key does not depend on what was there before */
};

struct parts {
    struct cluster *cl;
    struct buf req;
    struct part *v; /* PARTS_MAX, from the first on */
    unsigned n;
    uint32_t behind[BEHIND]; /* keys whose requests before are in flight: their replies are awaited */
    unsigned nbehind;
    uint32_t looked_at; /* bytes gathered when complete keys were looked for last */
};

struct parts *parts_new(struct cluster *cl)
{
    struct parts *p = xcalloc(1, sizeof *p);
    p->cl = cl;
    p->req.max = PARTS_BYTES + REC_PAYLOAD_MAX;
    return p;
}

void parts_free(struct parts *p)
{
    if (p == NULL)
        return;
    buf_free(&p->req);
    free(p->v);
    free(p);
}

bool parts_hold(const struct parts *p, uint32_t key)
{
    for (unsigned i = 0; i < p->nbehind; i++)
        if (p->behind[i] == key)
            return true;
    return false;
}

/* ---- gathering ---- */

/* The number of the first request of this key; p->n: there is none. */
static unsigned first_of(const struct parts *p, uint32_t key)
{
    for (unsigned i = p->n; i-- > 0;)
        if (p->v[i].key == key)
            return p->v[i].first;
    return p->n;
}

/* Is this request, which must not be repeated, one of a key that a DEL before it removes? A hash may be that
 * of two keys. */
static bool repeatable(const struct parts *p, const struct rec *r, const uint8_t *payload)
{
    uint32_t key = hashset_key(r->hash, r->db);
    for (unsigned i = p->n; i-- > 0;) {
        const struct part *v = &p->v[i];
        if (v->key == key && v->resets)
            return splits_same_key(p->req.p + v->off, v->r.len, r, payload);
    }
    return false;
}

bool parts_want(const struct parts *p, const struct rec *r, const uint8_t *payload)
{
    bool again = (r->flags & RF_IDEMPOTENT) != 0;
    if ((r->flags & RF_FIRST) != 0)
        return again;
    return p->cl->splits->n > 0 && (again ? splits_open(p->cl->splits, r) : repeatable(p, r, payload));
}

static bool full(const struct parts *p, uint32_t len)
{
    size_t most = p->cl->opt->window < PARTS_BYTES ? p->cl->opt->window : PARTS_BYTES;
    return p->n > 0 && (p->n >= PARTS_MAX || p->req.len + len > most);
}

/* A cut that leaves requests of no key on both sides of it: what is left of a key that is not held any more
 * would be passed by a live change. */
static unsigned between_keys(const struct parts *p, unsigned cut)
{
    for (unsigned i = cut; i < p->n && cut > 0; i++)
        if (p->v[i].first < cut) {
            cut = p->v[i].first;
            i = cut; /* its own first is not before it */
        }
    return cut;
}

/* How many requests at the front are of keys that are complete? A key is not to be torn apart for nothing. */
static unsigned complete(const struct parts *p)
{
    const struct splits *s = p->cl->splits;
    unsigned whole = s->n < OPEN_MAX ? p->n : 0;
    for (unsigned k = 0; k < s->n && whole > 0; k++)
        for (unsigned i = 0; i < whole; i++)
            if (p->v[i].key == s->v[k].key)
                whole = i;
    return between_keys(p, whole);
}

/* A key that is not here yet. v->holds: it is free, else requests of it are in flight. */
static bool begins(struct parts *p, struct part *v)
{
    struct cluster *cl = p->cl;
    v->holds = hashset_add(&cl->keys, v->key);
    if (v->holds)
        return true;
    if ((v->r.flags & (RF_FIRST | RF_IDEMPOTENT)) != RF_IDEMPOTENT || p->nbehind == BEHIND) {
        parts_flush(p);
        return false;
    }
    p->behind[p->nbehind++] = v->key;
    return true;
}

/* Keys whose earlier requests were in flight are held from now on by their first one here. False: they still
 * are. */
static bool catch_up(struct parts *p, unsigned count)
{
    struct hashset *keys = &p->cl->keys;
    if (p->nbehind == 0)
        return true;
    for (int take = 0; take < 2; take++)
        for (unsigned i = 0; i < count; i++)
            for (unsigned k = 0; k < p->nbehind; k++) {
                if (p->behind[k] != p->v[i].key)
                    continue;
                if (take == 0 && hashset_has(keys, p->behind[k]))
                    return false;
                if (take == 1) {
                    p->v[i].holds = hashset_add(keys, p->v[i].key);
                    p->behind[k] = p->behind[--p->nbehind];
                }
                break;
            }
    return true;
}

/* ---- sending ---- */

static void transmit(struct cluster *cl, struct bundle *t)
{
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(&cl->nodes, WHOLE_SCOPE, bundle_size(&u));
    cl->bundles->flying++;
    cl->bundles->parts++;
    if (c != NULL && (cl->nodes.within || cluster_want_db(c, u.db, true) == PUT_DONE))
        bundle_transmit(c, &u);
    else
        moved_enqueue(cl, moved_new(&u, (const uint8_t *)""));
}

/* The transaction takes the buffer itself, of which the first len bytes are its own; what is behind them is
 * gathered on. */
static void hand_over(struct parts *p, struct bundle *t, size_t len)
{
    struct buf mine = p->req, its = t->req;
    size_t rest = mine.len - len;
    p->req = (struct buf){.p = its.p, .cap = its.cap, .max = mine.max};
    t->req = (struct buf){.p = mine.p, .len = len, .cap = mine.cap, .max = its.max};
    (void)buf_add(&p->req, t->req.p + len, rest); /* it was within the bound before */
}

/* Send the first so many requests, if they may go. */
static void send(struct parts *p, unsigned count)
{
    if (count == 0 || !catch_up(p, count))
        return;
    size_t len = count < p->n ? p->v[count].off : p->req.len;
    struct bundle *t = bundle_new(p->cl->bundles, WHOLE_SCOPE + 1);
    t->parts = true;
    hand_over(p, t, len);
    for (unsigned i = 0; i < count; i++) {
        const struct part *v = &p->v[i];
        struct element *e = bundle_element(t, &v->r, v->off, v->vclass);
        e->holds = v->holds;
        e->resets = v->resets;
    }
    p->n -= count;
    p->cl->ngathered = p->n;
    memmove(p->v, p->v + count, p->n * sizeof *p->v);
    for (unsigned i = 0; i < p->n; i++)
        p->v[i].off -= (uint32_t)len, p->v[i].first -= count;
    p->looked_at = 0;
    transmit(p->cl, t);
}

void parts_flush(struct parts *p)
{
    if (p == NULL || p->n == 0)
        return;
    unsigned count = complete(p);
    send(p, count == 0 && p->cl->bundles->parts == 0 ? p->n : count);
}

/* Before a request joins. */
static void make_room(struct parts *p, const struct part *v)
{
    if (full(p, v->r.len)) {
        unsigned count = complete(p);
        send(p, count > 0 ? count : p->n);
    } else if ((v->r.flags & RF_FIRST) != 0 && p->req.len >= p->looked_at + ENOUGH) {
        p->looked_at =
            (uint32_t)p->req.len; /* where nothing is complete it need not be looked at each time */
        send(p, complete(p));
    }
}

enum put parts_put(struct parts *p, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = p->cl;
    struct part v = {.r = *r, .key = hashset_key(r->hash, r->db), .vclass = vclass};
    struct conn *c = cluster_conn(&cl->nodes, WHOLE_SCOPE, p->req.len + r->len + mset_gathered(cl->msets));
    bool other = !cl->nodes.within && p->n > 0 && p->v[0].r.db != r->db;
    if (other)
        cl->hurry(cl); /* what is gathered is of one database */
    if (c == NULL || other)
        return PUT_WAIT;
    enum put got =
        cl->nodes.within ? cluster_db_known(&cl->nodes, r->db, WHOLE_SCOPE) : cluster_want_db(c, r->db, true);
    if (got != PUT_DONE)
        return got;
    if (p->v == NULL)
        p->v = xcalloc(PARTS_MAX, sizeof *p->v);
    make_room(p, &v);
    if (full(p, r->len) || cl->keys.count >= IN_FLIGHT || bundles_hold(cl->bundles, v.key) ||
        slot_closed(cl, r->flow, WHOLE_SCOPE + 1) || cl->drain ||
        cluster_conn(&cl->nodes, WHOLE_SCOPE, p->req.len + r->len + mset_gathered(cl->msets)) == NULL)
        return PUT_WAIT;
    /* What it could be repeated with may just have been sent to make room. */
    if (first_of(p, v.key) == p->n && ((r->flags & RF_IDEMPOTENT) == 0 || !begins(p, &v)))
        return PUT_WAIT;
    v.off = (uint32_t)p->req.len;
    v.first = first_of(p, v.key);
    v.resets = v.holds && splits_resets(r, payload);
    p->v[p->n++] = v;
    cl->ngathered = p->n;
    (void)buf_add(&p->req, payload, r->len); /* within its bound: see full */
    positions_snapshot_add(cl->positions, r->flow);
    return PUT_DONE;
}

void parts_forget(struct parts *p)
{
    if (p == NULL)
        return;
    struct cluster *cl = p->cl;
    for (unsigned i = 0; i < p->n; i++) {
        if (p->v[i].holds)
            hashset_remove(&cl->keys, p->v[i].key);
        positions_snapshot_done(cl->positions, p->v[i].r.flow);
    }
    p->n = p->nbehind = 0;
    cl->ngathered = 0;
    p->req.len = 0;
}
