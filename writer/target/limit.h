/* --max-ops and --max-bytes: how many requests, and bytes of them, the target may get in a second. Two
 * buckets of tokens, each filled by time and never with more than a tenth of a second's worth; a request that
 * is let through may overdraw them, and what follows waits until that is paid. */
#ifndef RW_LIMIT_H
#define RW_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bucket {
    uint64_t rate;  /* a second; 0: no limit */
    int64_t tokens; /* millionths */
};

struct limit {
    struct bucket ops, bytes;
    uint64_t filled; /* mono_us */
    bool on;         /* one of them limits */
    bool waiting;    /* a request was held back */
};

#define LIMIT_MAX UINT64_C(1000000000000) /* bytes or requests a second */

void limit_set(struct limit *l, uint64_t ops, uint64_t bytes);

/* May a request go? */
bool limit_open(struct limit *l);

/* A record of so many bytes has gone: a request, or a part of one (whole false: not its last). */
void limit_spend(struct limit *l, size_t bytes, bool whole);

/* Milliseconds until a request may go; -1: none is held back. */
int limit_timeout(const struct limit *l, uint64_t now);

#endif
