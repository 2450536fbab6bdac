/* Bytes of a flow that could not be parsed yet. They lie in memory; what a single item larger than CARRY_MEM
 * needs is collected in an unlinked file and mapped, so that memory stays bounded whatever lengths the source
 * announces. */
#ifndef DFP_CARRY_H
#define DFP_CARRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define CARRY_MEM ((size_t)1 << 20)

struct carry {
    struct buf mem;
    int fd;       /* of the file; -1 while all lies in memory */
    uint8_t *map; /* the file, while it is parsed */
    size_t mapped;
    uint64_t len;  /* bytes held */
    uint64_t need; /* no use to look before so many are there */
};

void carry_init(struct carry *c);
void carry_free(struct carry *c);

/* Append. Returns 0, or -1 with errno (the file could not be written). */
int carry_add(struct carry *c, const uint8_t *p, size_t n);

/* All bytes in one piece; NULL with errno when the file cannot be mapped. Valid until carry_keep. */
const uint8_t *carry_bytes(struct carry *c);

/* The first used bytes are done with; the rest needs at least `need` bytes to go on. -1 with errno as above.
 */
int carry_keep(struct carry *c, uint64_t used, uint64_t need);

#endif
