/* Streams, copied as they come, into the form of an older type where the target needs it. rdb(5), Streams. */
#ifndef DFP_EXPORT_STREAM_COPY_H
#define DFP_EXPORT_STREAM_COPY_H

#include "heap.h"
#include "../value/stream.h"

struct stream_copy {
    unsigned from, to; /* types */
    int phase;
    uint64_t left; /* nodes, pending entries or ids still to come */
    uint64_t groups, consumers, pending,
        owned; /* consumers, of this group; its pending entries, and how many an owner was named of */
    struct stream_order order;
    struct buf pel; /* ids of the group's pending entries: 16 bytes and whether there is an owner (1) each */
    bool unkept;    /* there was no room for all of them */
    const char *damage; /* what was expected of the content; NULL: it is sound so far */
};

void stream_copy_begin(struct stream_copy *v, unsigned from, unsigned to);

/* Copy what there is; h NULL: only look at it. GOT: complete, also where it is damaged. */
enum got stream_copy(struct stream_copy *v, struct cur *c, struct scratch *s, struct heap *h,
                     struct heaped *out);

#endif
