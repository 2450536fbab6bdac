/* A set of 128-bit hashes of keys, or of elements, exact for all practical purposes: of a thousand million
 * members two that differ are taken for one with a probability below 2^-68. It takes 16 bytes a place, at
 * most half of the places are used, and a large one lies in an unlinked file that is mapped, so that the
 * system may write it back. */
#ifndef DFP_REPEATS_H
#define DFP_REPEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct repeats {
    int fd;          /* of the file; -1: it is small */
    uint64_t *place; /* two words each, both 0: free; NULL: there are none yet */
    uint64_t places, n;
    int fault; /* errno; 0: none */
};

/* Put one in. False: it was there. With a fault: true. */
bool repeats_first(struct repeats *r, uint32_t db, const void *p, size_t n);

/* Was it put in? */
bool repeats_has(const struct repeats *r, uint32_t db, const void *p, size_t n);

/* It is empty again, and holds little memory; none. */
void repeats_clear(struct repeats *r);
void repeats_free(struct repeats *r);

#endif
