/* How far a session is, in words: the line on a terminal. */
#ifndef READER_PROGRESS_H
#define READER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct progress {
    const char *phase;
    unsigned flows, up, synced;
    uint64_t bytes; /* read so far */
    double rate;    /* of them, per second */
    uint64_t size;  /* of a file; 0: not known */
    uint64_t keys;  /* at the target */
    uint64_t all;   /* that the source has; 0: not known, or no full sync is under way */
    uint64_t us;    /* since it began */
    bool lag_known;
    uint64_t lag; /* positions that the target is behind */
    bool full;    /* the output takes nothing */
};

/* Seconds that the rest will take when done of all took so many microseconds; -1: not known. */
long progress_left(uint64_t done, uint64_t all, uint64_t us);

void progress_text(const struct progress *p, struct buf *b);

#endif
