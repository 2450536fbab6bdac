/* Sets of 64-bit hashes, of keys and of elements. 0 is no hash. */
#ifndef DFP_KEYSET_H
#define DFP_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct keyset {
    uint64_t *slot; /* 0: free */
    size_t n;       /* hashes that keyset_add has put in */
    size_t cap;     /* allocated slots, a power of two */
    size_t mask;    /* of the slots in use; 0: none */
};

/* XXH3 adds the seed to the bits of a short key: a small one would make "a:l" in database 0 and "a:n" in
 * database 2 the same. */
static inline uint64_t keyset_hash(uint32_t db, const void *key, size_t n)
{
    uint64_t h = XXH3_64bits_withSeed(key, n, db * 0x9e3779b97f4a7c15u);
    return h != 0 ? h : 1;
}

/* Where the hash is, or may be put. */
static inline uint64_t *keyset_place(const struct keyset *s, uint64_t hash)
{
    size_t i = (size_t)(hash >> 20) & s->mask;
    while (__builtin_expect(s->slot[i] != 0 && s->slot[i] != hash, 0))
        i = (i + 1) & s->mask;
    return &s->slot[i];
}

/* Put one in. False: it was there. */
bool keyset_add(struct keyset *s, uint64_t hash);
bool keyset_has(const struct keyset *s, uint64_t hash);
void keyset_free(struct keyset *s);

/* ---- is an element of a container there twice? ---- */

/* Larger containers are not looked at: they are never sent in one piece. */
#define DISTINCT_MAX ((uint64_t)1 << 18)

/* Up to n elements follow. */
void distinct_begin(struct keyset *s, uint64_t n);

/* Put one in. False: it was there. */
static inline bool distinct_add(struct keyset *s, const uint8_t *p, size_t n)
{
    if (s->mask == 0)
        return true;
    uint64_t h = XXH3_64bits(p, n) | 1; /* two that differ are taken for one once in 2^63 pairs */
    uint64_t *at = keyset_place(s, h);
    bool new = *at == 0;
    *at = h;
    return new;
}

/* ---- the keys that a file had last: is one there twice? ---- */

/* Memory is bounded, and so is how far back this sees: at least RECENT_KEYS keys. */
#define RECENT_KEYS ((size_t)1 << 19)

struct recent {
    struct keyset now, before; /* those that come in; the generation before, when that was full */
};

/* Put one in. True: it was there. */
bool recent_has(struct recent *r, uint64_t hash);
void recent_free(struct recent *r);

#endif
