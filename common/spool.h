/* A queue of bytes that has to take what comes: the oldest bytes in memory, the rest in files without a name,
 * in segments that grow with the queue and are freed as they are read. There are two places for segments: the
 * spool, which the operator gave so that the source need not be slowed down, and the spill, for what must be
 * read in any case. */
#ifndef DF_SPOOL_H
#define DF_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"

struct segment;

struct spool_place {
    const char *dir;   /* NULL: $TMPDIR or /tmp; not copied */
    uint64_t max;      /* limit of the bytes in its segments */
    uint64_t used;     /* bytes in its segments */
    uint64_t retry_at; /* mono_us; its disk was full and is not tried again before that time */
    int error;         /* errno of the last failure, 0 none since */
};

struct spool {
    struct buf mem;
    size_t start; /* of the oldest byte in mem */
    size_t memmax;
    STAILQ_HEAD(, segment) segments;
    struct segment *last; /* of them, if there are any */
    uint64_t disk;        /* unread bytes in them */
    uint64_t peak;        /* most bytes it ever held */
    struct spool_place spool, spill;
};

/* memmax: bytes that are kept in memory before files are used. spool_dir NULL: without a spool. */
void spool_init(struct spool *q, size_t memmax, const char *spool_dir, uint64_t spool_max,
                const char *spill_dir, uint64_t spill_max);
void spool_free(struct spool *q);

static inline uint64_t spool_len(const struct spool *q)
{
    return q->mem.len - q->start + q->disk;
}

/* The spool takes a record of n bytes, if necessary in a new segment. False without a spool, when it has
 * reached its limit, or its disk is full. */
bool spool_ready(struct spool *q, size_t n);

/* Append, first to memory, then to the spool, then to the spill. beyond: also if the spill has reached its
 * limit. Returns 0, or -1 with errno (EFBIG: limits reached); nothing is appended then. */
int spool_put(struct spool *q, const void *data, size_t n, bool beyond);

/* The oldest bytes in one piece: at least want of them (at most 2 MiB) if the queue holds so many. *n is 0
 * when it is empty. NULL with errno when reading a file failed. */
const uint8_t *spool_peek(struct spool *q, size_t want, size_t *n);
void spool_drop(struct spool *q, size_t n);

#endif
