#include "keyset.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define FIRST ((size_t)1024)

/* Where the hash is, or may be put. */
static uint64_t *place(const struct keyset *s, uint64_t hash)
{
    size_t at = (size_t)(hash >> 20) & (s->cap - 1);
    while (s->slot[at] != 0 && s->slot[at] != hash)
        at = (at + 1) & (s->cap - 1);
    return &s->slot[at];
}

static void grow(struct keyset *s)
{
    struct keyset old = *s;
    s->cap = old.cap > 0 ? 2 * old.cap : FIRST;
    s->slot = xcalloc(s->cap, sizeof *s->slot);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i] != 0)
            *place(s, old.slot[i]) = old.slot[i];
    free(old.slot);
}

bool keyset_add(struct keyset *s, uint64_t hash)
{
    if (2 * s->n >= s->cap)
        grow(s);
    uint64_t *at = place(s, hash);
    bool new = *at == 0;
    s->n += new;
    *at = hash;
    return new;
}

bool keyset_has(const struct keyset *s, uint64_t hash)
{
    return s->n > 0 && *place(s, hash) == hash;
}

void keyset_free(struct keyset *s)
{
    free(s->slot);
    *s = (struct keyset){0};
}

bool recent_has(struct recent *r, uint64_t hash)
{
    if (r->now.n >= RECENT_KEYS) { /* the generation is full: the one before it is forgotten */
        struct keyset old = r->before;
        r->before = r->now;
        if (old.cap > 0)
            memset(old.slot, 0, old.cap * sizeof *old.slot);
        old.n = 0;
        r->now = old;
    }
    return !keyset_add(&r->now, hash) || keyset_has(&r->before, hash);
}

void recent_free(struct recent *r)
{
    keyset_free(&r->now);
    keyset_free(&r->before);
}
