#include "keyset.h"

#include <stdlib.h>

#include "buf.h"

#define FIRST 1024u

/* Where the hash is, or may be put. */
static uint64_t *place(const struct keyset *s, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (s->cap - 1);
    while (s->slot[at] != 0 && s->slot[at] != hash)
        at = (at + 1) & (s->cap - 1);
    return &s->slot[at];
}

static void grow(struct keyset *s)
{
    struct keyset old = *s;
    s->cap = old.cap > 0 ? 2 * old.cap : FIRST;
    s->slot = xcalloc(s->cap, sizeof *s->slot);
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.slot[i] != 0)
            *place(s, old.slot[i]) = old.slot[i];
    free(old.slot);
}

void keyset_add(struct keyset *s, uint64_t hash)
{
    if (!s->on || s->n >= KEYSET_MAX)
        return;
    if (2 * s->n >= s->cap)
        grow(s);
    uint64_t *at = place(s, hash);
    s->n += *at == 0;
    *at = hash;
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
