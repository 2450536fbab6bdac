#include "handover.h"

#include <string.h>

#define RETRY_MAX 32u /* ticks between two takes, when they fail */
#define MORE      4u  /* times the slots of the take before at most */

void handover_init(struct handover *h, unsigned flows, const struct slotset *share)
{
    memset(h, 0, sizeof *h);
    h->flows = flows;
    h->share = *share;
    for (unsigned i = 0; i < SLOTS; i++)
        h->slot[i] = (struct ho_slot){.flow = HO_NOBODY, .owner = HO_NOBODY, .sweep = true};
    for (unsigned i = 0; i < flows; i++)
        h->flow[i].most = HO_FEW;
}

void handover_holds(struct handover *h, unsigned flow, const struct slotset *held, bool restored, bool *twice)
{
    *twice = false;
    for (unsigned i = slotset_next(held, 0); i < SLOTS; i = slotset_next(held, i + 1)) {
        struct ho_slot *s = &h->slot[i];
        if (!slotset_has(&h->share, i))
            continue;
        if (s->state != HO_FREE) {
            *twice = true;
            continue;
        }
        s->state = HO_HELD;
        s->flow = (uint16_t)flow;
        s->restored = restored;
    }
}

void handover_ready(struct handover *h, unsigned flow, bool ready)
{
    h->flow[flow].ready = ready;
}

/* A new order to a flow, without slots. */
static void begin(struct handover *h, enum ho_what what, unsigned flow, struct ho_order *order)
{
    memset(order, 0, sizeof *order);
    order->what = what;
    order->flow = flow;
    order->number = h->flow[flow].order + 1;
}

/* It is given if slots have come to it. */
static bool given(struct handover *h, const struct ho_order *order)
{
    if (slotset_next(&order->slots, 0) == SLOTS)
        return false;
    h->flow[order->flow].order = order->number;
    return true;
}

static void let_go(struct ho_slot *s, unsigned i, struct ho_order *order)
{
    s->state = HO_RELEASING;
    s->order = order->number;
    s->sweep = true;
    s->lost = s->restored = false;
    slotset_add(&order->slots, i);
}

bool handover_look(struct handover *h, unsigned flow, const struct ho_look *look, struct ho_order *order)
{
    begin(h, HO_RELEASE, flow, order);
    order->at = look->at;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct ho_slot *s = &h->slot[i];
        bool owned = slotset_has(&look->owned, i) && slotset_has(&h->share, i);
        if (owned)
            s->owner = (uint16_t)flow;
        else if (s->owner == flow)
            s->owner = HO_NOBODY;
        if (s->flow != flow)
            continue;
        s->lost |= s->state == HO_TAKING && !owned;
        if (s->state != HO_HELD || (owned && !s->lost))
            continue;
        s->empty = !s->lost && !s->restored && slotset_has(&look->empty, i);
        let_go(s, i, order);
    }
    return given(h, order);
}

void handover_clean(struct handover *h, unsigned flow, uint32_t number, const struct slotset *slots)
{
    for (unsigned i = slotset_next(slots, 0); i < SLOTS; i = slotset_next(slots, i + 1)) {
        struct ho_slot *s = &h->slot[i];
        if (s->state == HO_RELEASING && s->flow == flow && s->order == number && s->empty)
            s->sweep = false;
    }
}

bool handover_dropped(struct handover *h, unsigned flow, const struct slotset *slots, bool failed,
                      struct ho_order *order)
{
    struct ho_flow *f = &h->flow[flow];
    begin(h, HO_RELEASE, flow, order);
    for (unsigned i = slotset_next(slots, 0); i < SLOTS; i = slotset_next(slots, i + 1)) {
        struct ho_slot *s = &h->slot[i];
        if (s->flow != flow || s->state == HO_FREE)
            continue;
        s->empty = false;
        let_go(s, i, order);
    }
    if (failed) {
        f->taking = 0;
        f->failed++;
        f->retry_at = h->ticks + (f->failed < 6 ? 1u << f->failed : RETRY_MAX);
    }
    return given(h, order);
}

void handover_listed(struct handover *h, unsigned flow, unsigned slots, uint64_t keys)
{
    uint64_t most = slots * MORE;
    if (keys > HO_KEYS / MORE)
        most = (uint64_t)slots * HO_KEYS / keys;
    h->flow[flow].most = most == 0 ? 1 : most < SLOTS ? (unsigned)most : SLOTS;
}

bool handover_take(struct handover *h, unsigned max, struct ho_order *order)
{
    unsigned n = 0;
    order->what = HO_NOTHING;
    for (unsigned i = 0; i < SLOTS && n < max; i++) {
        struct ho_slot *s = &h->slot[i];
        if (s->state != HO_FREE || s->owner == HO_NOBODY)
            continue;
        const struct ho_flow *f = &h->flow[s->owner];
        if (!f->ready || f->taking != 0 || h->ticks < f->retry_at)
            continue;
        if (order->what == HO_NOTHING)
            begin(h, HO_TAKE, s->owner, order);
        if (s->owner != order->flow || (n > 0 && s->sweep != order->sweep))
            continue;
        if (n == f->most)
            break;
        s->state = HO_TAKING;
        s->flow = s->owner;
        s->order = order->number;
        slotset_add(&order->slots, i);
        order->sweep = s->sweep;
        s->sweep = true; /* if it is not brought to its end */
        n++;
    }
    if (order->what == HO_NOTHING)
        return false;
    h->flow[order->flow].taking = order->number;
    return given(h, order);
}

void handover_saved(struct handover *h, unsigned flow, uint32_t number)
{
    if (h->flow[flow].taking == number)
        h->flow[flow].taking = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct ho_slot *s = &h->slot[i];
        if (s->flow != flow || s->order != number)
            continue;
        if (s->state == HO_TAKING) {
            s->state = HO_HELD;
            h->flow[flow].failed = 0;
        } else if (s->state == HO_RELEASING) {
            s->state = HO_FREE;
            s->flow = HO_NOBODY;
        }
    }
}

void handover_tick(struct handover *h)
{
    h->ticks++;
}

unsigned handover_open(const struct handover *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        n += slotset_has(&h->share, i) && h->slot[i].state != HO_HELD;
    return n;
}

unsigned handover_busy(const struct handover *h)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS; i++)
        n += h->slot[i].state != HO_HELD && (h->slot[i].state != HO_FREE || h->slot[i].owner != HO_NOBODY);
    return n;
}

void handover_set(const struct handover *h, unsigned flow, struct slotset *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < SLOTS; i++)
        if (h->slot[i].state == HO_HELD && h->slot[i].flow == flow)
            slotset_add(out, i);
}
