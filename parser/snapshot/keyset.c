#include "keyset.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define FIRST ((size_t)1024)
#define KEEP  ((size_t)1 << 16) /* slots that are kept from one container to the next */

/* An empty set with room for that many slots. */
static void allocate(struct keyset *s, size_t slots)
{
    *s = (struct keyset){.slot = xcalloc(slots, sizeof *s->slot), .cap = slots, .mask = slots - 1};
}

static void clear(struct keyset *s)
{
    if (s->cap > 0)
        memset(s->slot, 0, (s->mask + 1) * sizeof *s->slot);
    s->n = 0;
}

static void grow(struct keyset *s)
{
    struct keyset old = *s;
    allocate(s, old.cap > 0 ? 2 * old.cap : FIRST);
    s->n = old.n;
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i] != 0)
            *keyset_place(s, old.slot[i]) = old.slot[i];
    free(old.slot);
}

bool keyset_add(struct keyset *s, uint64_t hash)
{
    if (2 * s->n >= s->cap)
        grow(s);
    uint64_t *at = keyset_place(s, hash);
    bool new = *at == 0;
    s->n += new;
    *at = hash;
    return new;
}

bool keyset_has(const struct keyset *s, uint64_t hash)
{
    return s->n > 0 && *keyset_place(s, hash) == hash;
}

void keyset_free(struct keyset *s)
{
    free(s->slot);
    *s = (struct keyset){0};
}

void distinct_begin(struct keyset *s, uint64_t n)
{
    size_t want = 16;
    s->mask = 0;
    if (n < 2 || n > DISTINCT_MAX)
        return;
    while (want < 4 * n) /* so that most have a place of their own */
        want *= 2;
    if (want > s->cap || (s->cap > KEEP && want <= KEEP)) {
        free(s->slot);
        allocate(s, want);
    } else {
        s->mask = want - 1;
        clear(s);
    }
}

bool recent_has(struct recent *r, uint64_t hash)
{
    if (r->now.n >= RECENT_KEYS) { /* the generation is full: the one before it is forgotten */
        struct keyset old = r->before;
        r->before = r->now;
        clear(&old);
        r->now = old;
    }
    return !keyset_add(&r->now, hash) || keyset_has(&r->before, hash);
}

void recent_free(struct recent *r)
{
    keyset_free(&r->now);
    keyset_free(&r->before);
}
