/* Records in: which way a request goes, and whether it may go now. */
#include "cluster.h"
#include "exact.h"
#include "gather.h"
#include "request.h"
#include "writer.h"

static bool may_go(struct cluster *cl, const struct rec *r, unsigned slot)
{
    if (cl->keys.count >= IN_FLIGHT)
        return false;
    uint16_t one = (uint16_t)slot;
    return (r->flags & RF_MULTIKEY) != 0 ? cluster_slots_free(cl, r->flow, &one, 1)
                                         : !slot_closed(cl, r->flow, slot);
}

static void fill_unit(struct cluster *cl, struct cunit *u, const struct rec *r, uint8_t vclass, bool own)
{
    unsigned flags = r->flags;
    u->kind = CU_ONE;
    u->calls = &cluster_request;
    u->time = r->time;
    u->db = r->db;
    u->flow = r->flow < cl->w->positions.n ? r->flow : 0;
    u->vclass = vclass;
    u->keyarg = r->keyarg;
    u->probe = own ? 0 : cl->w->probes.now;
    u->flags =
        (uint8_t)(((flags & RF_LIVE) != 0 ? CF_LIVE : 0) |
                  ((flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                  ((flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0) | ((flags & RF_FIRST) != 0 ? CF_FIRST : 0));
    if (own) {
        u->flags |= CF_OWN;
        u->mark = r->flow == SWEEP_FLOW;
        cl->own++;
        cl->w->sweep.on_way += r->flow == SWEEP_FLOW;
    } else if ((flags & RF_LIVE) != 0)
        u->mark = positions_mark(&cl->w->positions, r->flow, r->seq, r->pos, false);
    else {
        positions_snapshot_add(&cl->w->positions, r->flow);
        u->mark = cl->w->splits.ticket;
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
    cluster_everywhere(cl->w, &u, payload);
    return PUT_DONE;
}

/* Does a single server have the database? */
static enum put db_known(struct cluster *cl, uint32_t db, unsigned slot)
{
    int state = node_db_state(&cl->w->node, db);
    struct conn *c = state == 0 ? cluster_conn(cl, slot, 64) : NULL;
    if (c != NULL)
        return cluster_want_db(c, db);
    return state > 0 ? PUT_DONE : state < 0 ? PUT_FAIL : PUT_WAIT;
}

static enum put put_request(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                            bool own)
{
    struct cluster *cl = w->cluster;
    if (cl->slots && r->db != 0)
        return PUT_FAIL;
    unsigned slot = cluster_scope(w, r, payload, r->len);
    if (!own && gather_wants(w, r, slot)) {
        enum put got = cl->slots ? PUT_DONE : db_known(cl, r->db, slot);
        return got == PUT_DONE ? gather_put(w, r, slot, payload, vclass) : got;
    }
    uint16_t one = (uint16_t)slot; /* it cannot join what gathers: the slot is kept for it */
    if (w->exact.on && (gather_waits(cl, slot) || cl->reserved_for == (int)r->flow) &&
        !cluster_slots_free(cl, r->flow, &one, 1)) {
        gather_cut(w, r->flow);
        return PUT_WAIT;
    }
    if (!may_go(cl, r, slot))
        return PUT_WAIT;
    struct conn *c = cluster_conn(cl, slot, r->len);
    if (c == NULL)
        return PUT_WAIT;
    if (!cl->slots) {
        enum put got = cluster_want_db(c, r->db);
        if (got != PUT_DONE || c->yield)
            return got == PUT_DONE ? PUT_WAIT : got;
        c->since_select++;
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
    conn_add(c, &u, payload, r->len);
    if ((u.flags & CF_ALONE) != 0) {
        cl->alone[slot] = 1;
        cl->exclusive = !cl->slots;
    }
    return PUT_DONE;
}

enum put cluster_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = w->cluster;
    if (cl->slots && r->db == 0 && r->slot >= SLOTS && r->keyarg == 0)
        return put_everywhere(cl, r, payload, vclass);
    return put_request(w, r, payload, vclass, false);
}

enum put cluster_put_own(struct writer *w, const struct rec *r, const uint8_t *request)
{
    return put_request(w, r, request, 0, true);
}
