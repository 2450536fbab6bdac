/* The keys that a file had last, by their 64-bit hashes: is one there twice? Memory is bounded, and so is how
 * far back this sees: at least RECENT_KEYS keys. */
#ifndef DFP_RECENT_H
#define DFP_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_KEYS ((size_t)1 << 19)

struct recent {
    uint64_t *slot[2]; /* those that come in; the generation before, when that was full. 0: free */
    size_t cap;        /* slots of each; a power of two */
    size_t n;          /* used of the first */
};

void recent_free(struct recent *r);

/* Put one in. True: it was there. */
bool recent_has(struct recent *r, uint64_t hash);

#endif
