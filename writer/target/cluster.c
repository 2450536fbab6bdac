/* Records in: which way a request goes, and whether it may go now. */
#include "cluster.h"
#include "../engine/exact.h"
#include "../engine/bundle.h"
#include "../engine/gather.h"
#include "../engine/request.h"
#include "../engine/flushes.h"
#include "../engine/probes.h"
#include "../engine/splits.h"
#include "../engine/whole.h"
#include "../position/positions.h"
#include "../session.h"
#include "sweep.h"

#define FREE_SLOTS 8192u /* that requests of a whole server are spread over which need no transaction */

_Static_assert(WHOLE_SCOPE + FREE_SLOTS < SLOTS, "more slots than there are");

static bool may_go(struct cluster *cl, unsigned flow, unsigned slot, bool alone)
{
    if (cl->keys.count >= IN_FLIGHT)
        return false;
    uint16_t one = (uint16_t)slot;
    return alone ? cluster_slots_free(cl, flow, &one, 1) : !slot_closed(cl, flow, slot);
}

static void fill_unit(struct cluster *cl, struct cunit *u, const struct rec *r, uint8_t vclass, bool own)
{
    u->kind = CU_ONE;
    u->calls = &cluster_request;
    u->time = r->time;
    u->db = r->db;
    u->flow = r->flow < cl->positions->n ? r->flow : 0;
    u->vclass = vclass;
    u->keyarg = r->keyarg;
    u->probe = own ? 0 : cl->probes->now;
    u->flags = r->flags & CF_RECORD;
    if (own) {
        u->flags |= CF_OWN;
        u->mark = r->flow == SWEEP_FLOW;
        cl->own++;
        cl->own_sweep += r->flow == SWEEP_FLOW;
    } else if ((r->flags & RF_LIVE) != 0)
        u->mark = positions_mark(cl->positions, r, false);
    else {
        positions_snapshot_add(cl->positions, r->flow);
        u->mark = cl->splits->ticket;
        if (u->mark != TICKET_NONE)
            u->flags |= CF_GUARDED;
    }
}

static enum put put_everywhere(struct cluster *cl, const struct rec *r, const uint8_t *payload,
                               uint8_t vclass)
{
    struct cunit u = {.slot = REC_NO_SLOT, .len = r->len};
    if (!cluster_alone(cl, r->flow))
        return PUT_WAIT;
    fill_unit(cl, &u, r, vclass, false);
    flushes_record(cl->flushes, &u, payload);
    return PUT_DONE;
}

static enum put put_request(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                            bool own)
{
    if (cl->nodes.slots && r->db != 0)
        return PUT_FAIL;
    unsigned slot = cluster_scope(cl, r, payload, r->len);
    enum gathers gathers = own ? GATHERS_NOT : gather_wants(cl->bundles, r, slot);
    if (gathers == GATHERS_LAST && !cl->nodes.allow_select)
        return PUT_WAIT;
    if (gathers != GATHERS_NOT) {
        enum put got = cl->nodes.slots ? PUT_DONE : cluster_db_known(&cl->nodes, r->db, slot);
        return got == PUT_DONE ? gather_put(cl->bundles, r, slot, payload, vclass) : got;
    }
    uint16_t one = (uint16_t)slot; /* it cannot join what gathers: the slot is kept for it */
    if (cl->exact->on && (gather_waits(cl->bundles, slot) || cl->reserved_for == (int)r->flow) &&
        !cluster_slots_free(cl, r->flow, &one, 1)) {
        gather_cut(cl->bundles, r->flow);
        return PUT_WAIT;
    }
    if (!may_go(cl, r->flow, slot, (r->flags & RF_MULTIKEY) != 0))
        return PUT_WAIT;
    struct conn *c = cluster_conn(&cl->nodes, slot, r->len);
    if (c == NULL)
        return PUT_WAIT;
    if (!cl->nodes.slots) {
        enum put got = cluster_want_db(c, r->db, true);
        if (got != PUT_DONE)
            return got;
    }
    struct cunit u = {.key = hashset_key(r->hash, r->db), .slot = (uint16_t)slot, .len = r->len};
    bool park = cl->alone[slot] || !TAILQ_EMPTY(&cl->parked[slot]) || !hashset_add(&cl->keys, u.key);
    if (park && (cl->nparked >= PARKED_MAX || cl->parked_bytes > PARKED_SIZE))
        return PUT_WAIT;
    fill_unit(cl, &u, r, vclass, own);
    cl->busy[slot]++;
    if (park) {
        slot_park(cl, &u, payload);
        return PUT_DONE;
    }
    line_add(&c->line, &u, payload, r->len);
    if ((u.flags & CF_ALONE) != 0) {
        cl->alone[slot] = 1;
        cl->exclusive = !cl->nodes.slots;
    }
    return PUT_DONE;
}

/* The connection for len bytes, in the database of the request; NULL: what became of it instead. */
static enum put way_of_free(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                            size_t len, struct conn **way)
{
    struct conn *c = cluster_conn(&cl->nodes, WHOLE_SCOPE, len + mset_gathered(cl->msets));
    if (c == NULL)
        return PUT_WAIT;
    *way = c->line.db == r->db ? c : NULL;
    if (*way != NULL)
        return PUT_DONE;
    if (cl->probes->now == 0 && cluster_apart(&cl->nodes, WHOLE_SCOPE, r->db))
        return cl->nodes.allow_select ? parts_put(cl->parts, r, payload, vclass) : PUT_WAIT;
    enum put got = cluster_want_db(c, r->db, true);
    if (got == PUT_DONE)
        *way = c;
    return got;
}

/* Such a request waits for another one of its slot. */
static void park_free(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                      unsigned slot)
{
    struct cunit u = {.key = hashset_key(r->hash, r->db), .slot = (uint16_t)slot, .len = r->len};
    fill_unit(cl, &u, r, vclass, false);
    cl->busy[slot]++;
    slot_park(cl, &u, payload);
}

/* One of the snapshot that may be repeated, and needs no transaction. */
static enum put put_free(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    uint32_t key = hashset_key(r->hash, r->db);
    unsigned slot = WHOLE_SCOPE + 1 + r->hash % FREE_SLOTS;
    bool small = cl->msets != NULL && (r->flags & RF_PLAINSET) != 0 && r->len <= MSET_SINGLE;
    if (cl->keys.count >= IN_FLIGHT || cl->drain || slot_closed(cl, r->flow, slot) ||
        bundles_hold(cl->bundles, key))
        return PUT_WAIT;
    struct conn *c = small ? mset_joins(cl->msets, r->db, r->len) : NULL;
    if (c == NULL) {
        enum put got = way_of_free(cl, r, payload, vclass, small ? MSET_ROOM : r->len, &c);
        if (c == NULL)
            return got;
    }
    bool park = (cl->nparked > 0 && !TAILQ_EMPTY(&cl->parked[slot])) || parts_hold(cl->parts, key) ||
                !hashset_add(&cl->keys, key);
    if (park && (small || cl->nparked >= PARKED_MAX || cl->parked_bytes > PARKED_SIZE ||
                 parts_hold(cl->parts, key))) {
        cl->hurry(cl);
        return PUT_WAIT;
    }
    if (small) {
        positions_snapshot_add(cl->positions, r->flow);
        mset_add(cl->msets, c, r, payload, key, vclass);
        return PUT_DONE;
    }
    if (park) {
        park_free(cl, r, payload, vclass, slot);
        return PUT_DONE;
    }
    struct cunit *u = line_append(&c->line, payload, r->len);
    u->key = key;
    u->slot = (uint16_t)slot;
    fill_unit(cl, u, r, vclass, false);
    cl->busy[slot]++;
    return PUT_DONE;
}

/* To a whole server. */
static enum put put_whole(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    bool any = (r->flags & (RF_LIVE | RF_MULTIKEY)) != 0, guarded = cl->splits->ticket != TICKET_NONE;
    if (cl->session->journal && !whole_reaches(cl->whole, r)) /* its keys will be changed */
        return PUT_WAIT;
    if (!any && !guarded && ((r->flags & RF_FIRST) != 0 || cl->splits->n > 0) &&
        parts_want(cl->parts, r, payload))
        return parts_put(cl->parts, r, payload, vclass);
    if (!any && !guarded && (r->flags & RF_IDEMPOTENT) != 0)
        return put_free(cl, r, payload, vclass);
    if (!whole_reaches(cl->whole, r))
        return PUT_WAIT;
    enum put got = cluster_db_known(&cl->nodes, r->db, WHOLE_SCOPE);
    return got == PUT_DONE ? gather_put(cl->bundles, r, WHOLE_SCOPE, payload, vclass) : got;
}

enum put cluster_put(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    if (cl->nodes.slots && r->db == 0 && r->slot >= SLOTS && r->keyarg == 0)
        return put_everywhere(cl, r, payload, vclass);
    if (cl->nodes.whole)
        return put_whole(cl, r, payload, vclass);
    return put_request(cl, r, payload, vclass, false);
}

enum put cluster_put_own(struct cluster *cl, const struct rec *r, const uint8_t *request, uint32_t behind)
{
    if (!cl->nodes.whole)
        return put_request(cl, r, request, 0, true);
    if (!whole_reaches(cl->whole, r))
        return PUT_WAIT;
    enum put got = cluster_db_known(&cl->nodes, r->db, WHOLE_SCOPE);
    return got == PUT_DONE ? gather_put_own(cl->bundles, r, request, behind) : got;
}
