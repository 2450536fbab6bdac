#include "recent.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define FIRST_CAP ((size_t)1 << 10)
#define LAST_CAP  (2 * RECENT_KEYS)

void recent_free(struct recent *r)
{
    free(r->slot[0]);
    free(r->slot[1]);
    memset(r, 0, sizeof *r);
}

/* Where the hash is, or would be. */
static uint64_t *find(uint64_t *slot, size_t cap, uint64_t h)
{
    size_t i = (size_t)(h >> 20) & (cap - 1);
    while (slot[i] != 0 && slot[i] != h)
        i = (i + 1) & (cap - 1);
    return &slot[i];
}

static void grow(struct recent *r)
{
    size_t cap = r->cap == 0 ? FIRST_CAP : 2 * r->cap;
    uint64_t *slot = xcalloc(cap, sizeof *slot);
    for (size_t i = 0; i < r->cap; i++)
        if (r->slot[0][i] != 0)
            *find(slot, cap, r->slot[0][i]) = r->slot[0][i];
    free(r->slot[0]);
    r->slot[0] = slot;
    r->cap = cap;
}

/* The generation is full: the one before it is forgotten. */
static void turn(struct recent *r)
{
    uint64_t *old = r->slot[1] != NULL ? r->slot[1] : xcalloc(r->cap, sizeof *old);
    r->slot[1] = r->slot[0];
    r->slot[0] = memset(old, 0, r->cap * sizeof *old);
    r->n = 0;
}

bool recent_has(struct recent *r, uint64_t hash)
{
    hash |= 1;
    if (2 * r->n >= r->cap) {
        if (r->cap < LAST_CAP)
            grow(r);
        else
            turn(r);
    }
    uint64_t *at = find(r->slot[0], r->cap, hash);
    if (*at != 0 || (r->slot[1] != NULL && *find(r->slot[1], r->cap, hash) != 0))
        return true;
    *at = hash;
    r->n++;
    return false;
}
