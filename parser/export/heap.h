/* Bytes of values that cannot be written yet, of any number of values and any size: in memory as long as that
 * is little, else in one unlinked file. */
#ifndef DFP_EXPORT_HEAP_H
#define DFP_EXPORT_HEAP_H

#include "out.h"

struct heap {
    const char *dir; /* of the file; NULL: $TMPDIR or /tmp */
    int fd;          /* -1: not needed yet */
    uint64_t end;
    unsigned users; /* values that have something in it, or in memory */
    unsigned filed; /* of them, in the file */
    int fault;      /* errno of the first failure; 0: none */
};

/* What the heap has of one value; its buffers are used again for the next. All zero: nothing. */
struct heaped {
    struct buf mem;    /* the last bytes */
    struct buf pieces; /* those before, in the file: offset and length, 8 bytes each */
    uint64_t n;        /* all of them */
};

void heap_init(struct heap *h, const char *dir);
void heap_free(struct heap *h);

void heaped_begin(struct heap *h, struct heaped *v);

/* Append. Faults are kept in h->fault. */
void heaped_add(struct heap *h, struct heaped *v, const void *p, size_t n);

/* Write all of it to o. */
void heaped_write(struct heap *h, const struct heaped *v, struct out *o);

/* Forget it. */
void heaped_end(struct heap *h, struct heaped *v);

void heaped_free(struct heaped *v);

#endif
