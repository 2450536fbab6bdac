/* Expiries that have to wait until an append-only file is read. Its commands are of the past: a key whose
 * time has come by now was there when later ones were written, which may have given it another time (EXPIRE,
 * PERSIST). A target that is told the true time would remove it before they come. So a time that may come
 * while the file is read is written as a later one; which keys that concerns is kept here, and behind the
 * last command they get their true time. What is kept is a superset: a key that lost its expiry, or has
 * another, stays as it is. This file only keeps; dfparse(1), Append-only files. */
#ifndef DFP_LATE_H
#define DFP_LATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* By so much they are later: five years, and an odd number of days so that nothing else expires then. It is
 * within what a Dragonfly takes, which is eight. */
#define LATE_MS     ((uint64_t)1953 * 86400000)

#define LATE_RECENT 4096u /* keys that are not kept a second time */
#define LATE_SWAPS  64u

struct late {
    uint64_t from, before; /* times up to before wait; those before from as if they were from; 0: none */
    bool pending;          /* the key of the next request has such a time */
    uint64_t count;        /* keys kept */
    struct buf b;          /* the newest of them */
    int fd;                /* the others; valid if stored > 0 */
    uint64_t stored;       /* bytes */
    uint64_t *recent;      /* their hashes */
    int fault;             /* errno: the file could not be written */
    uint32_t swapped[LATE_SWAPS]; /* databases whose contents were exchanged */
    unsigned nswapped;
};

/* From now on times up to now + ms wait. */
void late_begin(struct late *l, uint64_t now_ms, uint64_t ms);
void late_free(struct late *l);

static inline bool late_waits(const struct late *l, uint64_t ms)
{
    return __builtin_expect(ms <= l->before, 0);
}

/* What is written in place of a time that waits; its key is that of the next request. */
uint64_t late_time(struct late *l, uint64_t ms);

/* Keep a key. */
void late_keep(struct late *l, uint32_t db, const uint8_t *key, size_t n);

/* Two databases were exchanged: a key may be in any of them that ever were. */
void late_swap(struct late *l, uint32_t a, uint32_t b);

/* All keys in turn; take returns false to end it. Returns 0, or -1 with errno: they could not be read. */
int late_each(struct late *l, bool (*take)(void *ctx, uint32_t db, const uint8_t *key, size_t n), void *ctx);

#endif
