#include "holding.h"

#include <string.h>

void holding_begin(struct holding *h, const struct slotset *held)
{
    memset(h, 0, sizeof *h);
    for (unsigned i = slotset_next(held, 0); i < SLOTS; i = slotset_next(held, i + 1))
        h->state[i] = HOLD_HELD;
}

void holding_held(const struct holding *h, struct slotset *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned i = 0; i < SLOTS; i++)
        if (h->state[i] == HOLD_HELD)
            slotset_add(out, i);
}

enum hold_verdict holding_command(struct holding *h, unsigned slot, uint64_t after, bool removes)
{
    switch ((enum hold_state)h->state[slot]) {
    case HOLD_HELD:
        if (!removes)
            h->at[slot] = after;
        return HOLD_APPLY;
    case HOLD_TAKING:
        if (h->at[slot] == 0)
            return HOLD_WANT;
        return after <= h->at[slot] ? HOLD_DROP : HOLD_APPLY;
    case HOLD_NOT:
    case HOLD_FAILED: break;
    }
    return HOLD_DROP;
}

/* ---- letting go ---- */

bool holding_release(struct holding *h, uint32_t number, uint64_t at, const struct slotset *slots)
{
    if (h->releases == HOLDING_RELEASES)
        return false;
    struct hold_release *r = &h->release[(h->first + h->releases++) % HOLDING_RELEASES];
    *r = (struct hold_release){.number = number, .at = at, .slots = *slots};
    return true;
}

bool holding_release_due(struct holding *h, uint64_t pos, uint32_t *number, struct slotset *clean)
{
    const struct hold_release *r = &h->release[h->first];
    if (h->releases == 0 || pos < r->at)
        return false;
    *number = r->number;
    memset(clean, 0, sizeof *clean);
    for (unsigned i = slotset_next(&r->slots, 0); i < SLOTS; i = slotset_next(&r->slots, i + 1)) {
        if (h->state[i] == HOLD_HELD && h->at[i] <= r->at)
            slotset_add(clean, i);
        if (h->state[i] == HOLD_HELD)
            h->state[i] = HOLD_NOT;
    }
    h->first = (h->first + 1) % HOLDING_RELEASES;
    h->releases--;
    return true;
}

/* ---- taking ---- */

bool holding_take(struct holding *h, uint32_t number, const struct slotset *slots, bool sweep)
{
    if (h->take.number != 0)
        return false;
    for (unsigned i = slotset_next(slots, 0); i < SLOTS; i = slotset_next(slots, i + 1))
        if (h->state[i] != HOLD_NOT)
            return false;
    h->take = (struct hold_take){.number = number, .unlisted = slotset_count(slots), .swept = !sweep};
    for (unsigned i = slotset_next(slots, 0); i < SLOTS; i = slotset_next(slots, i + 1)) {
        h->state[i] = HOLD_TAKING;
        h->at[i] = 0;
    }
    return true;
}

void holding_listed(struct holding *h, unsigned slot, uint64_t at)
{
    if (h->state[slot] != HOLD_TAKING || h->at[slot] != 0)
        return;
    h->at[slot] = at;
    h->take.unlisted--;
    if (h->take.listed < at)
        h->take.listed = at;
}

void holding_swept(struct holding *h)
{
    h->take.swept = true;
}

void holding_key_wanted(struct holding *h)
{
    h->take.keys++;
}

void holding_key_done(struct holding *h, bool ok)
{
    h->take.keys--;
    h->take.failed |= !ok;
}

bool holding_key_failed(struct holding *h, unsigned slot)
{
    h->take.failed |= h->state[slot] == HOLD_TAKING;
    return h->state[slot] != HOLD_HELD;
}

static void fail_take(struct holding *h)
{
    h->take.failed = true;
    for (unsigned i = 0; i < SLOTS; i++)
        if (h->state[i] == HOLD_TAKING)
            h->state[i] = HOLD_FAILED;
}

bool holding_flush(struct holding *h, const struct slotset *slots, struct slotset *dropped)
{
    bool any = false, taking = false;
    memset(dropped, 0, sizeof *dropped);
    for (unsigned i = slotset_next(slots, 0); i < SLOTS; i = slotset_next(slots, i + 1)) {
        taking |= h->state[i] == HOLD_TAKING;
        if (h->state[i] != HOLD_HELD)
            continue;
        h->state[i] = HOLD_NOT;
        slotset_add(dropped, i);
        any = true;
    }
    if (taking)
        fail_take(h);
    return any;
}

bool holding_take_over(struct holding *h, uint64_t pos, uint32_t *number, struct slotset *slots, bool *ok)
{
    const struct hold_take *t = &h->take;
    bool waits = t->unlisted > 0 || !t->swept || t->keys > 0 || pos < t->listed;
    if (t->number == 0 || (waits && !t->failed))
        return false;
    *number = t->number;
    *ok = !t->failed;
    memset(slots, 0, sizeof *slots);
    for (unsigned i = 0; i < SLOTS; i++) {
        if (h->state[i] != HOLD_TAKING && h->state[i] != HOLD_FAILED)
            continue;
        slotset_add(slots, i);
        h->state[i] = *ok ? HOLD_HELD : HOLD_NOT;
        h->at[i] = pos; /* which keys were made since they were listed was not noted */
    }
    h->take = (struct hold_take){.number = 0};
    return true;
}
