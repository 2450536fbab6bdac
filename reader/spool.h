/* A queue of records that wait for the output: the oldest in memory, the rest in files without a name, in
 * segments that are freed as they are read. There are two places for segments: the spool, which the operator
 * gave so that the source need not be slowed down, and the spill, for what has to be read whatever happens.
 */
#ifndef READER_SPOOL_H
#define READER_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"

struct segment;

struct spool_place {
    const char *dir;   /* NULL: $TMPDIR or /tmp */
    uint64_t max;      /* bytes that all its segments may have */
    uint64_t used;     /* that they have */
    size_t segment;    /* size of one */
    uint64_t retry_at; /* mono_us; before that it is not tried again: it was full */
    int error;         /* errno of the last failure, 0 none since */
};

struct spool {
    struct buf mem;
    size_t start; /* of the oldest byte in mem */
    size_t memmax;
    STAILQ_HEAD(, segment) segments;
    struct segment *last; /* of them, if there are any */
    uint64_t disk;        /* unread bytes in them */
    struct spool_place spool, spill;
};

/* spool_dir NULL: without a spool. Places with less than 256 KiB hold nothing. */
void spool_init(struct spool *q, size_t memmax, const char *spool_dir, uint64_t spool_max,
                const char *spill_dir, uint64_t spill_max);
void spool_free(struct spool *q);

static inline uint64_t spool_len(const struct spool *q)
{
    return q->mem.len - q->start + q->disk;
}

/* The spool takes a record of n bytes, if need be in a new segment. False without a spool, when it has
 * reached its bound, or its disk is full. */
bool spool_ready(struct spool *q, size_t n);

/* Append, first to memory, then to the spool, then to the spill. beyond: where even that has reached its
 * bound, one segment more. Returns 0, or -1 with errno (EFBIG: bounds reached); nothing is appended then. */
int spool_put(struct spool *q, const void *data, size_t n, bool beyond);

/* Oldest bytes, *n of them: 0 when it is empty. NULL with errno when reading back failed. */
const uint8_t *spool_peek(struct spool *q, size_t *n);
void spool_drop(struct spool *q, size_t n);

#endif
