#include "gather.h"

#include "../input.h"
#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../target/holds.h"
#include "bundle_parts.h"
#include "io.h"
#include "probes.h"

#define GATHER_RECORDS 65536u /* that gather, of all slots */
#define GATHER_BYTES   ((size_t)4 << 20)
#define STAY_MAX       32u               /* are looked at in vain before others have their turn */
#define WAIT_MAX       ((uint64_t)50000) /* us for the rest of a transaction of the source, or of a key */

#define MORE           1024u /* to complete a transaction of the source, with a quarter of the bytes more */

enum gathers gather_wants(const struct bundles *b, const struct rec *r, unsigned slot)
{
    if (!b->use.exact->on || b->use.splits->ticket != TICKET_NONE ||
        (!b->use.cl->nodes.slots && r->db >= SHARED_DBS))
        return GATHERS_NOT;
    if ((r->flags & RF_LIVE) != 0 || (r->flags & RF_IDEMPOTENT) == 0 || gather_waits(b, slot))
        return GATHERS;
    /* Of a small key two requests one behind the other cost less than a transaction. */
    bool several = (r->flags & RF_FIRST) != 0
                       ? r->vclass == CLASS_LIST ||
                             r->vclass == CLASS_STREAM /* what follows must not be repeated alone */
                       : (r->flags & RF_LAST) == 0 && splits_third(b->use.splits, r);
    if (several)
        return GATHERS;
    return cluster_apart(&b->use.cl->nodes, slot, r->db) ? GATHERS_LAST : GATHERS_NOT;
}

bool gather_waits(const struct bundles *b, unsigned slot)
{
    return b->collecting > 0 && b->at[slot] != NULL;
}

bool bundle_awaits(const struct bundles *b, unsigned flow)
{
    return b->of[flow] != NULL;
}

/* ---- the rest of a transaction ---- */

static void close_flow(struct bundles *b, unsigned flow)
{
    if (b->of[flow] == NULL)
        return;
    b->of[flow]->open--;
    b->of[flow] = NULL;
}

void gather_cut(struct bundles *b, unsigned flow)
{
    if (flow < REC_FLOWS_MAX)
        close_flow(b, flow);
}

/* Does it wait for a record of this flow, or for one that may stand behind it? */
static bool leads_on(const struct bundles *b, const struct bundle *t, unsigned flow)
{
    const struct session *s = b->use.session;
    if (t->open == 0 || b->of[flow] == t)
        return t->open > 0;
    for (unsigned i = 0; i < s->flows; i++)
        if (b->of[i] == t && s->flow[i].input == s->flow[flow].input)
            return true;
    return false;
}

/* Nothing joins what only waits for others: it would never be complete. */
bool gather_next(struct bundles *b, const struct rec *r)
{
    const struct bundle *of = b->of[r->flow];
    if (of != NULL) {
        bool here = b->use.cl->nodes.whole || r->slot == of->slot;
        bool goes_on = r->type == REC_REQUEST ? here && (r->flags & RF_MORE) == 0
                                              : r->type == REC_POSITION && (r->flags & RF_TOGETHER) != 0;
        if (!goes_on)
            close_flow(b, r->flow);
    }
    if (b->collecting == 0 || !b->use.cl->nodes.whole)
        return true;
    const struct bundle *t = b->at[WHOLE_SCOPE];
    return t == NULL || t->held == 0 || leads_on(b, t, r->flow);
}

void gather_blocked(struct bundles *b, unsigned flow)
{
    const struct session *s = b->use.session;
    const struct bundle *t = b->use.cl->nodes.whole ? b->at[WHOLE_SCOPE] : NULL;
    if (t == NULL || !leads_on(b, t, flow))
        return;
    for (unsigned i = 0; i < s->flows; i++) /* it may wait for this very transaction */
        if (i == flow || s->flow[i].input == s->flow[flow].input)
            close_flow(b, i);
}

/* ---- gathering ---- */

static void list(struct bundles *b, struct bundle *t)
{
    if (t->listed)
        return;
    t->listed = true;
    TAILQ_INSERT_TAIL(&b->ready, t, ready);
    b->unseen = ++b->nready;
}

static bool slot_free(const struct cluster *cl, unsigned slot)
{
    return cl->busy[slot] == 1 && !cl->alone[slot]; /* what gathers is all there is */
}

void gather_release(struct bundles *b, unsigned slot)
{
    if (gather_waits(b, slot) && slot_free(b->use.cl, slot))
        list(b, b->at[slot]);
}

static struct bundle *begin(struct bundles *b, unsigned slot)
{
    struct bundle *t = bundle_new(b, slot);
    b->at[slot] = t;
    b->collecting++;
    b->use.cl->busy[slot]++;
    gather_release(b, slot);
    return t;
}

/* Is this one of a key that a DEL in the transaction removes? Then all of it may be repeated. */
static bool repeatable(const struct bundle *t, const struct rec *r, const uint8_t *payload)
{
    if ((r->flags & RF_LIVE) != 0)
        return false;
    for (unsigned i = t->n; i-- > 0;) {
        const struct element *e = &t->e[i];
        if (e->resets && e->r.hash == r->hash)
            return splits_same_key(t->req.p + e->off, e->r.len, r, payload);
    }
    return false;
}

static bool has_room(const struct bundles *b, const struct bundle *t, unsigned flow, uint32_t len)
{
    size_t most = b->use.opt->window < BUNDLE_BYTES ? b->use.opt->window : BUNDLE_BYTES;
    if (t == NULL || t->n == 0 || (t->n < BUNDLE_MAX && t->req.len + len <= most))
        return true;
    return t->n < BUNDLE_MAX + MORE && t->req.len + len <= most + most / 4 && leads_on(b, t, flow);
}

/* Of a whole server: the snapshot must have nothing of the key on its way, and nothing at all where the keys
 * of the request cannot be told. */
static bool clear_of_snapshot(struct cluster *cl, uint32_t key, bool any)
{
    bool clear = any ? cl->keys.count == 0 && cl->ngathered == 0 && cl->nparked == 0
                     : (cl->keys.count == 0 || !hashset_has(&cl->keys, key)) && !parts_hold(cl->parts, key);
    if (any)
        cl->drain = !clear;
    if (!clear)
        cl->hurry(cl);
    return clear;
}

/* It holds the keys of its requests. */
static void hold(struct bundle *t, struct element *e)
{
    if ((e->r.flags & RF_MULTIKEY) != 0) {
        t->multikey = true;
        return;
    }
    if (t->keys.slot == NULL)
        hashset_init(&t->keys, BUNDLE_MAX + MORE);
    e->holds = hashset_add(&t->keys, hashset_key(e->r.hash, e->r.db));
}

/* A request of our own that goes before a record's. */
enum put gather_put_own(struct bundles *b, const struct rec *r, const uint8_t *request, uint32_t behind)
{
    struct cluster *cl = b->use.cl;
    struct bundle *t = b->at[WHOLE_SCOPE];
    if (!has_room(b, t, r->flow, r->len + behind) || slot_closed(cl, r->flow, WHOLE_SCOPE) ||
        !clear_of_snapshot(cl, hashset_key(r->hash, r->db), (r->flags & RF_MULTIKEY) != 0))
        return PUT_WAIT;
    if (t == NULL)
        t = begin(b, WHOLE_SCOPE);
    bundle_saves(t);
    struct element *e = bundle_add(t, r, request, 0);
    e->own = true;
    hold(t, e);
    cl->own++;
    b->gathered++;
    b->bytes += r->len;
    return PUT_DONE;
}

/* A position that is to be saved with what gathers. False: nothing does. */
bool gather_position(struct bundles *b, const struct rec *r)
{
    struct bundle *t = b->at[WHOLE_SCOPE];
    struct rec place = *r;
    if (t == NULL || t->n >= BUNDLE_MAX + MORE)
        return false;
    place.len = 0;
    if (r->type == REC_HOLDS)
        t->more = b->use.holds->room;
    place.db = t->e[t->n - 1].r.db;
    place.flags = RF_LIVE;
    struct element *e = bundle_add(t, &place, NULL, 0);
    e->out = true;
    e->mark = positions_mark(b->use.positions, r, false);
    b->gathered++;
    return true;
}

/* Is another request of the same transaction of the source, or of the same key, to come? */
static bool goes_on(const struct bundles *b, const struct rec *r)
{
    if ((r->flags & RF_LIVE) != 0)
        return (r->flags & RF_TOGETHER) != 0;
    return (r->flags & RF_LAST) == 0 && ((r->flags & RF_FIRST) != 0 || splits_open(b->use.splits, r));
}

enum put gather_put(struct bundles *b, const struct rec *r, unsigned slot, const uint8_t *payload,
                    uint8_t vclass)
{
    struct cluster *cl = b->use.cl;
    struct bundle *t = b->at[slot];
    bool full = !has_room(b, t, r->flow, r->len);
    full |= b->gathered >= GATHER_RECORDS || (b->collecting > 0 && b->bytes + r->len > GATHER_BYTES);
    bool everywhere = !cl->nodes.slots && !cl->nodes.whole &&
                      (r->flags & RF_MULTIKEY) != 0; /* its keys may be of any share */
    if (full || slot_closed(cl, r->flow, slot) || (everywhere && !cluster_alone(cl, r->flow)) ||
        (cl->nodes.whole &&
         !clear_of_snapshot(cl, hashset_key(r->hash, r->db), (r->flags & RF_MULTIKEY) != 0))) {
        close_flow(b, r->flow);
        return PUT_WAIT;
    }
    cl->exclusive |= everywhere;
    if (t == NULL)
        t = begin(b, slot);
    if (!t->saves && (cl->nodes.whole || (r->flags & RF_LIVE) != 0 ||
                      ((r->flags & RF_IDEMPOTENT) == 0 && !repeatable(t, r, payload))))
        bundle_saves(t);
    struct element *e = bundle_add(t, r, payload, vclass);
    e->resets = splits_resets(r, payload);
    e->id = b->use.exact->now;
    e->probe = b->use.probes->now;
    e->ticket = b->use.splits->ticket;
    if (cl->nodes.whole)
        hold(t, e);
    if ((r->flags & RF_LIVE) != 0)
        e->mark = positions_mark(b->use.positions, r, false);
    else
        positions_snapshot_add(b->use.positions, r->flow);
    b->gathered++;
    b->bytes += r->len;
    if (!goes_on(b, r)) {
        close_flow(b, r->flow);
    } else if (b->of[r->flow] == NULL) {
        b->of[r->flow] = t;
        t->open++;
    }
    return PUT_DONE;
}

/* ---- sending ---- */

static void taken_out(struct bundles *b, struct bundle *t)
{
    for (unsigned i = 0; i < t->n && t->open > 0; i++)
        if (b->of[t->e[i].r.flow] == t)
            close_flow(b, t->e[i].r.flow);
    if (t->listed) {
        TAILQ_REMOVE(&b->ready, t, ready);
        b->nready--;
    }
    t->listed = false;
    b->at[t->slot] = NULL;
    b->collecting--;
    b->bytes -= t->req.len;
    b->gathered -= t->n;
    b->flying++;
    t->held = 0;
}

/* Is the node busy enough? */
static bool busy(const struct cnode *n)
{
    return n->under_way >= (n->window > 0 ? n->window : WINDOW_MIN);
}

/* Returns whether it went. */
static bool send_one(struct bundles *b, struct bundle *t, uint64_t now)
{
    struct cluster *cl = b->use.cl;
    if (t->open > 0 && t->held == 0)
        t->held = now;
    if (t->open > 0 && now <= t->held + WAIT_MAX && b->use.inputs->unfinished > 0 && !b->use.outcome->failed)
        return false;
    unsigned at = cl->nodes.owner[t->slot];
    if (at != NO_NODE && busy(cl->nodes.node[at]))
        return false;
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(&cl->nodes, t->slot, bundle_size(&u));
    bool select = !cl->nodes.slots && !cl->nodes.within;
    if (c == NULL || (select && cluster_want_db(c, t->e[0].r.db, true) != PUT_DONE))
        return false;
    taken_out(b, t);
    cl->alone[t->slot] = 1;
    if (cl->nodes.whole)
        b->whole = t;
    bundle_transmit(c, &u);
    return true;
}

void gather_work(struct bundles *b, uint64_t now)
{
    struct bundle *t, *next,
        *first = NULL; /* the first one that could not go, which is behind the others then */
    unsigned stay = 0;
    if (us_since(now, b->looked) >= ROUND) {
        b->unseen = b->nready;
        b->looked = now;
    }
    for (t = TAILQ_FIRST(&b->ready); t != NULL && t != first && stay < STAY_MAX; t = next) {
        next = TAILQ_NEXT(t, ready);
        b->unseen -= b->unseen > 0;
        if (send_one(b, t, now))
            continue;
        stay++;
        TAILQ_REMOVE(&b->ready, t, ready);
        TAILQ_INSERT_TAIL(&b->ready, t, ready);
        if (first == NULL)
            first = t;
        if (next == NULL)
            break;
    }
    if (b->unseen > b->nready)
        b->unseen = b->nready;
}

void gather_forget(struct bundles *b)
{
    for (unsigned i = 0; i < SLOTS && b->collecting > 0; i++)
        if (b->at[i] != NULL) {
            struct cunit u = bundle_unit(b->at[i]);
            u.flags &= (uint16_t)~CF_ALONE; /* another one may be under way */
            taken_out(b, b->at[i]);
            bundle_finish(&u, false);
        }
}
