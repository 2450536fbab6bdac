/* Strings unpacked from LZF, of any length: small ones in memory, others in an unlinked file that is mapped,
 * so that memory stays bounded whatever the source packed. rdb(5), LZF. */
#ifndef DFP_UNPACK_H
#define DFP_UNPACK_H

#include "buf.h"
#include "../value/prim.h"
#include "resp.h"

/* Above this they go to a file. */
#define UNPACK_MEM ((size_t)4 << 20)

struct unpacked {
    struct buf mem; /* a string up to UNPACK_MEM, or the window behind which a longer one is made */
    uint8_t *map;   /* a longer one; NULL: none */
    size_t mapped;
    int fault; /* errno: a file could not be made or written */
};

/* Unpack ps, which is packed (clen > 0). *out is valid until the next call with the same u, or unpack_drop.
 * False: the bytes are corrupt, or u->fault says why they could not be kept. */
bool unpack(struct unpacked *u, const struct pstr *ps, struct slice *out);

/* Give a mapped string back. */
void unpack_drop(struct unpacked *u);

void unpack_free(struct unpacked *u);

/* A string that is unpacked piece by piece, in b behind a window of what came before. b is empty at first. */
struct lzf_pieces {
    const uint8_t *in, *end;
    struct buf *b;
    size_t len; /* bytes in b */
};

/* The next piece, of at most so many bytes. Returns 1, 0 at the end, -1: corrupt, or no memory. */
int lzf_piece(struct lzf_pieces *z, size_t most, struct slice *piece);

#endif
