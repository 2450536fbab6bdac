/* Transactions of the source: live records of a flow that are marked TOGETHER and stand in one slot. */
#include "bundle_parts.h"
#include "gather.h"
#include "hashset.h"
#include "io.h"

/* ---- collecting ---- */

static struct bundle *begin(struct bundles *b, const struct rec *r)
{
    struct bundle *t = bundle_new(b, r->slot);
    t->flow = r->flow;
    t->collecting = true;
    b->of[r->flow] = t;
    b->collecting++;
    return t;
}

static void collected(struct bundles *b, struct bundle *t)
{
    t->collecting = false;
    b->of[t->flow] = NULL;
    b->collecting--;
}

static bool joins(const struct bundle *t, const struct rec *r)
{
    if (t->closed || t->n >= BUNDLE_MAX)
        return false;
    if (r->type == REC_POSITION)
        return true;
    return r->type == REC_REQUEST && (r->flags & (RF_LIVE | RF_MORE)) == RF_LIVE && r->slot == t->slot &&
           r->db == 0 && t->req.len + r->len <= BUNDLE_BYTES;
}

/* Mark its records as under way. */
static void mark_all(struct writer *w, struct bundle *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        bool position = e->r.type == REC_POSITION;
        e->resent = !position && sent_repeats(&w->sent, &e->r);
        if (!position)
            sent_take(w, &w->sent, &e->r, t->req.p + e->off, e->r.len);
        e->mark = positions_mark(&w->positions, t->flow, e->r.seq, e->r.pos, position);
    }
}

/* Returns whether it could go. */
static bool send_first(struct writer *w, struct bundle *t)
{
    struct cluster *cl = w->cluster;
    struct bundles *b = cl->bundles;
    const struct rec *first = &t->e[0].r;
    t->closed = true;
    if (t->n == 1) { /* as if nothing were with it */
        uint32_t now = w->probes.now;
        w->probes.now = t->e[0].probe;
        enum put got = cluster_put(w, first, t->req.p, t->e[0].vclass);
        w->probes.now = now;
        if (got != PUT_DONE)
            return false;
        collected(b, t);
        bundle_retire(b, t);
        return true;
    }
    struct cunit u = bundle_unit(t);
    if (cl->keys.count >= IN_FLIGHT || !cluster_slots_free(cl, t->flow, &t->slot, 1))
        return false;
    struct conn *c = cluster_conn(cl, t->slot, bundle_size(&u));
    if (c == NULL || !bundle_fits(c, &u) || !hashset_add(&cl->keys, u.key))
        return false;
    cluster_take_slot(cl, t->slot);
    mark_all(w, t);
    collected(b, t);
    bundle_transmit(c, &u);
    return true;
}

bool bundle_ready(struct writer *w, const struct rec *r)
{
    struct bundle *t = w->cluster->bundles->of[r->flow];
    if (w->exact.on) {
        gather_next(w, r);
        return true;
    }
    return t == NULL || joins(t, r) || send_first(w, t);
}

bool bundle_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = w->cluster;
    struct bundle *t = cl->bundles->of[r->flow];
    bool more = (r->flags & RF_TOGETHER) != 0;
    if (w->exact.on)
        return false;
    if (t == NULL) {
        bool begins = more && cl->slots && r->type == REC_REQUEST && (r->flags & RF_LIVE) != 0 &&
                      r->slot < SLOTS && r->db == 0 && r->len <= BUNDLE_BYTES;
        if (!begins)
            return false;
        t = begin(cl->bundles, r);
    }
    bundle_add(t, r, payload, vclass)->probe = w->probes.now;
    if (!more)
        (void)send_first(w, t);
    return true;
}

void bundles_work(struct writer *w, uint64_t now)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t, *next;
    if (w->exact.on) {
        gather_work(w, now);
        return;
    }
    if (b->collecting == 0)
        return;
    if (w->failed) {
        bundles_forget(w);
        return;
    }
    for (t = TAILQ_FIRST(&b->used); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->collecting && (t->closed || now > t->since + WAIT_MAX || w->inputs.unfinished == 0))
            (void)send_first(w, t);
    }
}

void bundles_forget(struct writer *w)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t, *next;
    if (w->exact.on) {
        gather_forget(w);
        return;
    }
    for (t = TAILQ_FIRST(&b->used); t != NULL && b->collecting > 0; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->collecting) {
            collected(b, t);
            bundle_retire(b, t);
        }
    }
}
