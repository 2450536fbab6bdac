/* A queue of bytes that has to take what comes: in memory up to a bound, then in an unlinked file up to a
 * cap. */
#ifndef DF_SPILLQ_H
#define DF_SPILLQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

struct spillq {
    struct buf mem; /* the oldest bytes, from start on */
    size_t start;
    size_t memmax;
    int fd;          /* the bytes after those in mem; -1: none */
    uint64_t rd, wr; /* offsets in the file */
    uint64_t cap;    /* bound of the file */
    uint64_t peak;   /* most bytes it ever held */
    const char *dir;
};

void spillq_init(struct spillq *q, size_t memmax, uint64_t cap, const char *dir);
void spillq_free(struct spillq *q);

static inline uint64_t spillq_len(const struct spillq *q)
{
    return (q->mem.len - q->start) + (q->wr - q->rd);
}

/* Bytes of memory that may be filled before the file is used. */
static inline size_t spillq_memroom(const struct spillq *q)
{
    size_t used = q->mem.len - q->start;
    return q->wr > q->rd || used >= q->memmax ? 0 : q->memmax - used;
}

/* Append. Returns 0, or -1 with errno: EFBIG when the cap is reached, or what writing the file said. Nothing
 * is appended then. */
int spillq_put(struct spillq *q, const void *data, size_t n);

/* The oldest bytes in one piece: at least want of them if the queue holds so many (want at most memmax or 2
 * MiB), else all that fit. *n is 0 when it is empty. NULL with errno when reading the file failed. */
const uint8_t *spillq_peek(struct spillq *q, size_t want, size_t *n);

void spillq_drop(struct spillq *q, size_t n);

#endif
