/* Entries spread over piles by the hash of their keys, so that the two sides of a key are found in piles of
 * the same number: in one file without a name, a block of a pile behind the other. In memory is only one
 * block of each pile, and where the others are. */
#ifndef CHECK_PILES_H
#define CHECK_PILES_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "entry.h"

#define PILES_BITS 8u
#define PILES      (1u << PILES_BITS)

struct pile_block {
    uint64_t at;
    uint32_t n;
};

struct pile {
    struct buf buf; /* not written yet */
    struct pile_block *block;
    unsigned blocks;
    uint64_t bytes; /* of all entries */
};

struct piles {
    int fd; /* -1: nothing was written so far */
    uint64_t end;
    unsigned shift; /* bits of hashes that other piles have used */
    uint64_t entries;
    struct pile pile[PILES];
};

/* shift: bits of the hashes that are the same in all entries that will come. */
void piles_init(struct piles *p, unsigned shift);
void piles_free(struct piles *p);

/* Ends the process with status 1 when there is no room. */
void piles_add(struct piles *p, uint64_t hash, const struct entry *e);

/* Nothing more will be added: what is in memory goes to the file. */
void piles_close(struct piles *p);

/* Append all entries of a pile that is closed to b. */
void piles_load(const struct piles *p, unsigned i, struct buf *b);

/* Call each for the entries of a pile that is closed, in their order; scratch is reused. */
void piles_each(const struct piles *p, unsigned i, struct buf *scratch,
                void (*each)(void *ctx, const struct entry *e), void *ctx);

#endif
