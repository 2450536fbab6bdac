/* A set of 128-bit hashes of keys, or of elements, exact for all practical purposes: of a thousand million
 * members two that differ are taken for one with a probability below 2^-68. It takes 16 bytes a place, at
 * most half of the places are used, and a large one lies in an unlinked file that is mapped, so that the
 * system may write it back. */
#ifndef DFP_REPEATS_H
#define DFP_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Both 0: none. */
struct khash {
    uint64_t lo, hi;
};

/* Of a key in a database. XXH3 adds the seed to the bits of a short key: a small one would make keys of two
 * databases the same. */
static inline struct khash khash_of(uint32_t db, const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(p, n, db * 0x9e3779b97f4a7c15u);
    return (struct khash){(h.low64 | h.high64) != 0 ? h.low64 : 1, h.high64};
}

struct repeats {
    int fd;              /* of the file; -1: it is small */
    struct khash *place; /* NULL: there are none yet */
    uint64_t places, n;
    int fault; /* errno; 0: none */
};

/* Put one in. False: it was there. With a fault: true. */
bool repeats_first(struct repeats *r, struct khash h);

/* Was it put in? */
bool repeats_has(const struct repeats *r, struct khash h);

/* It is empty again, and holds little memory; none. */
void repeats_clear(struct repeats *r);
void repeats_free(struct repeats *r);

#endif
