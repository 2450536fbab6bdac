/* Compressed blobs of a flow: one LZ4 frame or zstd frame each. rdb(5), Compressed blobs. */
#ifndef DFP_BLOB_H
#define DFP_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "../value/prim.h"

/* A blob that says to unpack to more than this is refused. */
#define BLOB_CONTENT_MAX ((uint64_t)1 << 30)

struct blob {
    bool active;
    bool zstd;
    bool finished;    /* the frame's end was seen */
    bool direct;      /* all content fits the buffer: unpacked at once */
    bool sized;       /* the frame's header was read */
    uint64_t left;    /* compressed bytes still to come */
    uint64_t content; /* bytes it says to unpack to */
    uint64_t produced;
    struct buf out; /* unpacked bytes from start on */
    size_t start;
    size_t need; /* bytes from start on without which looking at them again is of no use */
    void *lz4;   /* LZ4F_dctx */
    void *zs;    /* ZSTD_DCtx */
};

void blob_begin(struct blob *b, bool zstd, uint64_t len);

/* Unpack from c (never beyond the blob) until the output holds a useful amount or the input ends. Returns GOT
 * when there is output to look at or the blob is finished, NEED when more input is needed, BAD when corrupt.
 */
enum got blob_unpack(struct blob *b, struct cur *c);

void blob_free(struct blob *b);

#endif
