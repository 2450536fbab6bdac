#include "probed.h"

#include <stdlib.h>
#include <string.h>

/* Of a key the table has its hash, with the flags in the lowest bits; 0: free. */
#define FLAGS ((uint64_t)3)

static uint64_t *set_of(const struct rereads *r, uint64_t hash)
{
    return r->probed[hash / (FLAGS + 1) % REREAD_SETS];
}

/* NULL: it is not there. */
static uint64_t *find(const struct rereads *r, uint32_t db, const struct slice *key)
{
    if (r->probed == NULL)
        return NULL;
    uint64_t h = keyset_hash(db, key->p, key->n) | FLAGS, *set = set_of(r, h);
    for (unsigned i = 0; i < REREAD_WAYS; i++)
        if ((set[i] | FLAGS) == h)
            return &set[i];
    return NULL;
}

bool probed_has(const struct rereads *r, uint32_t db, const struct slice *key)
{
    return find(r, db, key) != NULL;
}

bool probed_told(const struct rereads *r, uint32_t db, const struct slice *key)
{
    const uint64_t *slot = find(r, db, key);
    return slot != NULL && (*slot & PROBED_EARLY) == 0;
}

/* It comes first in its set. */
bool probed_put(struct rereads *r, uint32_t db, const struct slice *key, unsigned flags)
{
    uint64_t h = (keyset_hash(db, key->p, key->n) & ~FLAGS) | flags, *slot = find(r, db, key);
    if (r->probed == NULL)
        r->probed = xcalloc(REREAD_SETS, sizeof *r->probed);
    uint64_t *set = set_of(r, h);
    bool known = slot != NULL && *slot == h;
    size_t n = slot != NULL ? (size_t)(slot - set) : REREAD_WAYS - 1;
    memmove(set + 1, set, n * sizeof *set);
    set[0] = h;
    return known;
}

void probed_forget(struct rereads *r, uint32_t db, const struct slice *key)
{
    uint64_t *slot = find(r, db, key);
    if (slot != NULL)
        *slot |= PROBED_FORGOTTEN;
}

void probed_drop(struct rereads *r, uint32_t db, const struct slice *key)
{
    uint64_t *slot = find(r, db, key);
    if (slot != NULL)
        *slot = 0;
}

void probed_reset(struct rereads *r)
{
    free(r->probed);
    r->probed = NULL;
}
