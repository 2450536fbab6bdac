/* Has a key been there? A filter that may say so wrongly, but never the opposite. It grows with the number of
 * keys, 12 bits for each, up to ONCE_MEM; beyond that it is wrong more often. */
#ifndef DFP_EXPORT_ONCE_H
#define DFP_EXPORT_ONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONCE_TABLES 6u
#define ONCE_FIRST  ((size_t)1 << 17) /* words of the first table: 1 MiB; each next one has twice as many */
#define ONCE_MEM    ((ONCE_FIRST << ONCE_TABLES) * 8) /* all of them together have less */

struct once {
    uint64_t *table[ONCE_TABLES];
    unsigned n;    /* tables in use */
    uint64_t left; /* hashes that the last of them has room for */
};

/* A table is full, or there is none yet. */
void once_grow(struct once *s);

/* Bits within a word, of the lower part of the hash. */
static inline uint64_t once_bits(uint64_t hash)
{
    return UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63) | UINT64_C(1) << (hash >> 12 & 63) |
           UINT64_C(1) << (hash >> 18 & 63);
}

static inline uint64_t *once_word(const struct once *s, unsigned table, uint64_t hash)
{
    return &s->table[table][hash >> 24 & ((ONCE_FIRST << table) - 1)];
}

/* Put one in. False: it may have been there. */
static inline bool once_first(struct once *s, uint64_t hash)
{
    uint64_t bits = once_bits(hash);
    for (unsigned i = 0; i < s->n; i++)
        if ((*once_word(s, i, hash) & bits) == bits)
            return false;
    if (__builtin_expect(s->left == 0, 0))
        once_grow(s);
    s->left -= s->left > 0;
    *once_word(s, s->n - 1, hash) |= bits;
    return true;
}

void once_free(struct once *s);

#endif
