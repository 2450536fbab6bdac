/* Who may go: a slot that is kept for a request which has to be alone in it, and requests that are parked
 * until another of their slot, or of their key's hash, is done. */
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "../engine/bundle_parts.h"
#include "../engine/exact.h"
#include "../engine/request.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "lanes.h"

unsigned cluster_scope(const struct cluster *cl, const struct rec *r, const uint8_t *request, size_t n)
{
    struct slice key;
    if (cl->nodes.whole)
        return WHOLE_SCOPE;
    if (!cl->nodes.slots && cl->exact->on)
        return (r->hash & (SHARES - 1)) + r->db % SHARED_DBS * SHARES;
    if (r->slot < SLOTS)
        return r->slot;
    if (cl->exact->on && request_arg(request, n, r->keyarg, &key))
        return key_slot(key.p, key.n); /* its position has to lie there, too */
    return r->hash & (SLOTS - 1);
}

/* ---- what is on its way ---- */

bool cluster_quiet(const struct cluster *cl)
{
    return cl->keys.count == 0 && cl->ngathered == 0 && cl->nparked == 0 && cl->nspans == 0 &&
           cl->big == NULL && !cl->flushing && cl->errands == 0 && cl->bundles->collecting == 0 &&
           cl->bundles->flying == 0;
}

void cluster_passed(struct cluster *cl, bool live, unsigned flow, uint64_t mark)
{
    if (cl->outcome->dead)
        return;
    if (live)
        positions_mark_done(cl->positions, flow, mark);
    else
        positions_snapshot_done(cl->positions, flow);
}

void cluster_own_done(struct cluster *cl, const struct cunit *u)
{
    cl->own--;
    cl->own_sweep -= u->mark != 0;
}

void cluster_position(struct cluster *cl, const struct rec *r)
{
    if (!positions_pass(cl->positions, r))
        (void)positions_mark(cl->positions, r, true);
}

/* ---- who may go ---- */

static bool reserved(const struct cluster *cl, unsigned flow, unsigned slot)
{
    if (cl->reserved_for < 0 || cl->reserved_for == (int)flow)
        return false;
    for (unsigned i = 0; i < cl->nreserved; i++)
        if (cl->reserved[i] == slot)
            return true;
    return cl->nreserved == 0; /* all of them */
}

static bool alone_in(struct cluster *cl, unsigned flow, const uint16_t *slot, unsigned n)
{
    unsigned free = 0;
    for (unsigned i = 0; i < n; i++)
        free += cl->busy[slot[i]] == 0;
    if (free == n) {
        if (cl->reserved_for == (int)flow)
            cl->reserved_for = -1;
        return true;
    }
    if (cl->reserved_for < 0) { /* or others would keep one of them busy for ever */
        cl->reserved_for = (int)flow;
        cl->nreserved = n;
        memcpy(cl->reserved, slot, n * sizeof *slot);
    }
    return false;
}

bool cluster_alone(struct cluster *cl, unsigned flow)
{
    if (cluster_quiet(cl)) {
        if (cl->reserved_for == (int)flow)
            cl->reserved_for = -1;
        return true;
    }
    cl->hurry(cl);
    if (cl->reserved_for < 0) {
        cl->reserved_for = (int)flow;
        cl->nreserved = 0;
    }
    return false;
}

bool slot_is_closed(const struct cluster *cl, unsigned flow, unsigned slot)
{
    return (cl->flushing && cl->scope == LANES_ALL) || cl->exclusive || reserved(cl, flow, slot);
}

bool cluster_slots_free(struct cluster *cl, unsigned flow, const uint16_t *slot, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (slot_closed(cl, flow, slot[i]) || (cl->nodes.slots && cl->alone[slot[i]]))
            return false;
    /* Without slots only one thing is sure to be alone with its keys: what is alone altogether. */
    return cl->nodes.slots ? alone_in(cl, flow, slot, n) : cluster_alone(cl, flow);
}

void cluster_take_slot(struct cluster *cl, unsigned slot)
{
    cl->busy[slot]++;
    cl->alone[slot] = 1;
}

/* A request that has to wait for another of its slot. */
void slot_park(struct cluster *cl, const struct cunit *u, const uint8_t *bytes)
{
    struct moved *m = moved_new(u, bytes);
    TAILQ_INSERT_TAIL(&cl->parked[u->slot], m, link);
    cl->parked_in[u->slot]++;
    cl->nparked++;
    cl->recheck |= cl->busy[u->slot] == cl->parked_in[u->slot];
    cl->parked_bytes += u->len;
}

/* Something of the slot is done: what waited for it may go, in its order. */
static void let_go(struct cluster *cl, unsigned slot)
{
    struct moved *m;
    while ((m = TAILQ_FIRST(&cl->parked[slot])) != NULL && !cl->alone[slot] &&
           hashset_add(&cl->keys, m->u.key)) {
        TAILQ_REMOVE(&cl->parked[slot], m, link);
        cl->parked_in[slot]--;
        cl->nparked--;
        cl->parked_bytes -= m->u.len;
        if ((m->u.flags & CF_ALONE) != 0) /* it was parked for its hash: what came behind it waits on */
            cl->alone[slot] = 1;
        moved_enqueue(cl, m);
    }
    /* Nothing of the slot is under way that would call again. */
    cl->recheck |= m != NULL && cl->busy[slot] == cl->parked_in[slot];
}

void slots_recheck(struct cluster *cl)
{
    cl->recheck = false;
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        if (cl->parked_in[i] > 0 && cl->busy[i] == cl->parked_in[i])
            let_go(cl, i);
}

void cluster_leave_slot(struct cluster *cl, unsigned slot, bool alone)
{
    cl->busy[slot]--;
    if (alone)
        cl->alone[slot] = 0;
    if (cl->nparked > 0)
        let_go(cl, slot);
    cl->freed(cl->bundles, slot);
}

static void forget(struct cluster *cl, struct moved *m, unsigned slot)
{
    TAILQ_REMOVE(&cl->parked[slot], m, link);
    cl->parked_in[slot]--;
    cl->nparked--;
    cl->parked_bytes -= m->u.len;
    cl->busy[slot]--;
    if ((m->u.flags & CF_OWN) != 0)
        cluster_own_done(cl, &m->u);
    else
        cluster_passed(cl, (m->u.flags & CF_LIVE) != 0, m->u.flow, m->u.mark);
    free(m);
}

void slots_forget(struct cluster *cl)
{
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        for (struct moved *m = TAILQ_FIRST(&cl->parked[i]), *next; m != NULL; m = next) {
            next = TAILQ_NEXT(m, link);
            forget(cl, m, i);
        }
    cl->reserved_for = -1;
}
