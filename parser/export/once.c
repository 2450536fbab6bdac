#include "once.h"

#include <stdlib.h>

#include "buf.h"

void once_grow(struct once *s)
{
    if (s->n == ONCE_TABLES)
        return;
    size_t words = ONCE_FIRST << s->n;
    s->table[s->n++] = xcalloc(words, sizeof(uint64_t));
    s->left = words * 64 / 12;
}

void once_free(struct once *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->table[i]);
    *s = (struct once){.n = 0};
}
