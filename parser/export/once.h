/* Has a key occurred before? A filter that may answer yes wrongly, but never no. It grows with the number of
 * keys, 12 bits or more for each, up to ONCE_MEM; beyond that it is wrong more often. */
#ifndef DFP_EXPORT_ONCE_H
#define DFP_EXPORT_ONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ONCE_FIRST ((size_t)1 << 20) /* bytes of the first table */
#define ONCE_MEM   ((size_t)64 << 20)

struct once {
    uint64_t *table;
    size_t words;  /* a power of two; 0: none yet */
    uint64_t left; /* hashes that there is room for */
};

/* There is no room: the next table, which is empty, for all hashes so far to be put in anew. False: it cannot
 * be larger, and stays as it is. */
bool once_grow(struct once *s);

/* Bits within a word, of the lower part of the hash; the word is that of the upper part. */
static inline uint64_t once_bits(uint64_t hash)
{
    return UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63) | UINT64_C(1) << (hash >> 12 & 63) |
           UINT64_C(1) << (hash >> 18 & 63);
}

static inline uint64_t *once_word(const struct once *s, uint64_t hash)
{
    return &s->table[hash >> 24 & (s->words - 1)];
}

/* Put one in. False: it may have been there. */
static inline bool once_first(struct once *s, uint64_t hash)
{
    uint64_t bits = once_bits(hash), *word = once_word(s, hash);
    if ((*word & bits) == bits)
        return false;
    *word |= bits;
    s->left--;
    return true;
}

void once_free(struct once *s);

#endif
