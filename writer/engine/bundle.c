/* Transactions: made, added to, and done with. */
#include "bundle_parts.h"

#include <stdlib.h>
#include <string.h>

#include "../outcome.h"
#include "../summary.h"
#include "../target/holds.h"
#include "exact.h"
#include "io.h"
#include "probes.h"
#include "../target/suspect.h"

#define SPARE_MAX 1024u /* kept for the next ones */

struct bundles *bundles_new(const struct bundle_uses *use, const struct unit_calls *calls)
{
    struct bundles *b = xcalloc(1, sizeof *b);
    b->use = *use;
    b->calls = calls;
    TAILQ_INIT(&b->used);
    TAILQ_INIT(&b->spare);
    TAILQ_INIT(&b->ready);
    return b;
}

void bundles_gather(struct bundles *b, const struct store *store, void *key)
{
    b->store = store;
    b->key = key;
    b->at = xcalloc(SLOTS, sizeof(struct bundle *));
}

static void bundle_free(struct bundle *t)
{
    buf_free(&t->req);
    buf_free(&t->faults);
    buf_free(&t->hset);
    hashset_free(&t->keys);
    free(t->cmd);
    free(t->e);
    free(t);
}

static void free_list(struct bundle_list *l)
{
    for (struct bundle *t; (t = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, t, link);
        bundle_free(t);
    }
}

void bundles_free(struct bundles *b)
{
    if (b == NULL)
        return;
    free_list(&b->used);
    free_list(&b->spare);
    free(b->at);
    free(b);
}

bool bundles_quiet(const struct bundles *b)
{
    return b->collecting == 0 && b->flying == 0;
}

bool bundles_unseen(const struct bundles *b)
{
    return b->unseen > 0;
}

bool bundles_hold(const struct bundles *b, uint32_t key)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct bundle *t = i == 0 ? b->at[WHOLE_SCOPE] : b->whole;
        if (t != NULL && (t->multikey || (t->keys.count > 0 && hashset_has(&t->keys, key))))
            return true;
    }
    return false;
}

struct bundle *bundle_new(struct bundles *b, unsigned slot)
{
    struct bundle *t = TAILQ_FIRST(&b->spare);
    if (t != NULL) {
        TAILQ_REMOVE(&b->spare, t, link);
        b->nspare--;
    } else {
        t = xcalloc(1, sizeof *t);
        t->all = b;
        t->req.max = BUNDLE_BYTES + REC_PAYLOAD_MAX;
        t->faults.max = BUNDLE_MAX * (sizeof(struct fault) + 256);
        t->hset.max =
            2 * EXACT_HSET_MAX + REC_FLOWS_MAX * (EXACT_FIELD_MAX + LINEAGE_MAX + SLOTSET_TEXT + 64);
    }
    TAILQ_INSERT_TAIL(&b->used, t, link);
    t->n = t->open = t->selects = t->ncmd = 0;
    t->req.len = t->faults.len = t->hset.len = 0;
    t->slot = (uint16_t)slot;
    t->calls = b->calls;
    t->saves = t->doubt = t->listed = t->strange = false;
    t->multikey = t->barrier = t->parts = false;
    t->held = 0;
    t->flows = b->flows;
    t->more = b->use.holds->room;
    t->token = 0;
    t->node = NULL;
    t->plight = (struct plight){0};
    t->single = false;
    t->step = -1;
    t->why_len = t->tries = 0;
    t->fn = NULL;
    t->since = mono_us();
    return t;
}

static void bundle_retire(struct bundles *b, struct bundle *t)
{
    TAILQ_REMOVE(&b->used, t, link);
    if (b->nspare >= SPARE_MAX) {
        bundle_free(t);
        return;
    }
    b->nspare++;
    t->req.len = t->faults.len = t->hset.len = 0;
    buf_trim(&t->req, (size_t)16 << 10);
    buf_trim(&t->faults, (size_t)1 << 10);
    buf_trim(&t->hset, (size_t)4 << 10);
    if (t->cap > 64) {
        free(t->e);
        free(t->cmd);
        t->e = NULL;
        t->cmd = NULL;
        t->cap = t->cmd_cap = 0;
    }
    TAILQ_INSERT_HEAD(&b->spare, t, link);
}

struct element *bundle_element(struct bundle *t, const struct rec *r, uint32_t off, uint8_t vclass)
{
    if (t->n == t->cap) {
        t->cap = t->cap > 0 ? 4 * t->cap : 4;
        t->e = xrealloc(t->e, t->cap * sizeof *t->e);
    }
    t->selects += t->n > 0 && t->e[t->n - 1].r.db != r->db;
    struct element *e = &t->e[t->n++];
    *e = (struct element){.r = *r, .off = off, .vclass = vclass};
    return e;
}

struct element *bundle_add(struct bundle *t, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct element *e = bundle_element(t, r, (uint32_t)t->req.len, vclass);
    (void)buf_add(&t->req, payload, r->len); /* within its bound: who adds has looked */
    return e;
}

struct cunit bundle_unit(struct bundle *t)
{
    return (struct cunit){.kind = CU_EXEC,
                          .calls = t->calls,
                          .arg = t,
                          .db = t->n > 0 ? t->e[0].r.db : 0,
                          .slot = t->slot,
                          .flags = t->parts ? 0 : CF_LIVE | CF_ALONE,
                          .tries = t->tries,
                          .plight = t->plight};
}

void bundle_saves(struct bundle *t)
{
    struct exact *x = t->all->use.exact;
    t->saves = true;
    if (t->token == 0 && x->on)
        t->token = exact_token(x);
}

/* The first request that is left; t->n: none is. */
unsigned bundle_first_left(const struct bundle *t)
{
    unsigned i = 0;
    while (i < t->n && t->e[i].out)
        i++;
    return i;
}

/* Requests of our own, which somebody waits for. */
bool bundle_is_ours(const struct bundle *t)
{
    return t->fn != NULL && (t->n == 0 || t->e[0].own);
}

/* A request of it as a unit of its own, for what is said about it. */
struct cunit bundle_element_unit(const struct element *e)
{
    return (struct cunit){
        .time = e->r.time,
        .mark = e->ticket,
        .key = hashset_key(e->r.hash, e->r.db),
        .db = e->r.db,
        .len = e->r.len,
        .flow = e->r.flow,
        .slot = e->r.slot,
        .vclass = e->vclass,
        .keyarg = e->r.keyarg,
        .flags = (uint16_t)((e->r.flags & CF_RECORD) | (e->ticket != TICKET_NONE ? CF_GUARDED : 0))};
}

void bundle_again(const struct cunit *u, uint64_t due, struct cnode *ask)
{
    const struct bundle *t = u->arg;
    struct cunit v = *u;
    v.len = 0; /* the requests are in the bundle */
    v.plight = t->plight;
    cluster_displace(t->all->use.cl, &v, (const uint8_t *)"", due, ask);
}

/* One of its requests was carried out. The others follow. */
void bundle_stepped(struct bundle *t)
{
    struct exact *x = t->all->use.exact;
    struct element *e = &t->e[t->step];
    struct cunit one = bundle_element_unit(e);
    if (!e->out && !e->own)
        cluster_count(t->all->use.cl, &one);
    e->out = true;
    t->plight.lost = SUSPECT_AFTER; /* the next one goes alone, too */
    t->plight.alone = 0;
    t->doubt = false;
    t->token = x->on ? exact_token(x) : 0;
}

/* It is under way no more. */
void bundle_back(struct bundle *t)
{
    if (t->node != NULL)
        t->node->under_way -= t->n;
    t->node = NULL;
}

static void step_finish(struct bundle *t)
{
    bundle_fn *fn = t->fn;
    void *arg = t->arg;
    char why[sizeof t->why];
    size_t len = t->why_len;
    memcpy(why, t->why, sizeof why);
    bundle_retire(t->all, t);
    fn(arg, len > 0 ? why : NULL, len);
}

static void element_finish(struct bundle *t, const struct element *e, uint64_t now)
{
    const struct bundle_uses *use = &t->all->use;
    struct cluster *cl = use->cl;
    bool live = (e->r.flags & RF_LIVE) != 0;
    if (e->holds)
        hashset_remove(t->parts ? &cl->keys : &t->keys, hashset_key(e->r.hash, e->r.db));
    if (e->own) {
        cl->own--;
        return;
    }
    cluster_passed(cl, live, e->r.flow, e->mark);
    cl->exclusive &= cl->nodes.slots || cl->nodes.whole || (e->r.flags & RF_MULTIKEY) == 0;
    if (now > 0 && !e->out)
        guard_reply(use->splits, e->ticket, SPLIT_OPEN);
    if (e->probe != 0)
        probe_done(use->probes, e->probe);
    else if (now > 0 && !e->out && !use->outcome->dead && t->barrier)
        use->stats->requests++;
    else if (now > 0 && !e->out && !use->outcome->dead)
        cluster_count_at(cl, live, e->vclass, e->r.time, now);
}

void bundle_finish(const struct cunit *u, bool counted)
{
    struct bundle *t = u->arg;
    struct bundles *b = t->all;
    b->flying--;
    b->parts -= t->parts;
    if (b->whole == t)
        b->whole = NULL;
    if (t->fn != NULL) {
        step_finish(t);
        return;
    }
    uint64_t now = counted ? now_us() : 0;
    if (!t->parts)
        cluster_leave_slot(b->use.cl, u->slot, (u->flags & CF_ALONE) != 0);
    for (unsigned i = 0; i < t->n; i++)
        element_finish(t, &t->e[i], now);
    if (b->store != NULL)
        b->store->finished(b->key, t);
    bundle_retire(b, t);
}
