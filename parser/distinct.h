/* Is an element of a container there twice? A table of 64-bit hashes, of bounded size. */
#ifndef DFP_DISTINCT_H
#define DFP_DISTINCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Larger containers are not looked at: they are never sent in one piece. */
#define DISTINCT_MAX ((uint64_t)1 << 18)

struct distinct {
    uint64_t *slot; /* 0: free */
    size_t cap;     /* slots there are; a power of two */
    size_t mask;    /* of those in use; 0: nothing is looked at */
};

/* Up to n elements follow. */
void distinct_begin(struct distinct *d, uint64_t n);
void distinct_free(struct distinct *d);

/* Put one in. False: it was there. */
static inline bool distinct_add(struct distinct *d, const uint8_t *p, size_t n)
{
    if (d->mask == 0)
        return true;
    uint64_t h = XXH3_64bits(p, n) | 1; /* two that differ are taken for one once in 2^63 pairs */
    size_t i = (size_t)(h >> 20) & d->mask;
    while (__builtin_expect(d->slot[i] != 0, 0)) {
        if (d->slot[i] == h)
            return false;
        i = (i + 1) & d->mask;
    }
    d->slot[i] = h;
    return true;
}

#endif
