/* Sets of hashes of keys. */
#ifndef DFP_KEYSET_H
#define DFP_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct keyset {
    uint64_t *slot; /* 0: free */
    size_t n, cap;  /* a power of two */
};

/* Never 0. */
static inline uint64_t keyset_hash(uint32_t db, const void *key, size_t n)
{
    uint64_t h = XXH3_64bits_withSeed(key, n, db);
    return h != 0 ? h : 1;
}

/* Put one in. False: it was there. */
bool keyset_add(struct keyset *s, uint64_t hash);
bool keyset_has(const struct keyset *s, uint64_t hash);
void keyset_free(struct keyset *s);

/* The keys that a file had last: is one there twice? Memory is bounded, and so is how far back this sees: at
 * least RECENT_KEYS keys. */
#define RECENT_KEYS ((size_t)1 << 19)

struct recent {
    struct keyset now, before; /* those that come in; the generation before, when that was full */
};

/* Put one in. True: it was there. */
bool recent_has(struct recent *r, uint64_t hash);
void recent_free(struct recent *r);

#endif
