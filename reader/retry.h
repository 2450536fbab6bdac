/* Retries with growing pauses, up to a time limit. The caller passes the time (mono_us). */
#ifndef READER_RETRY_H
#define READER_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry {
    uint64_t since; /* it failed first; 0: nothing is wrong */
    uint64_t next;  /* the next try */
    unsigned tries; /* so many failed */
};

/* It, or another try, has failed. False: for limit µs by now, or the limit is 0. */
bool retry_failed(struct retry *r, uint64_t now, uint64_t limit);

/* Is it time for a try? */
static inline bool retry_due(const struct retry *r, uint64_t now)
{
    return r->since != 0 && now >= r->next;
}

/* µs since it failed first. */
static inline uint64_t retry_lasts(const struct retry *r, uint64_t now)
{
    return r->since != 0 && now > r->since ? now - r->since : 0;
}

#endif
