/* A key as a stream of commands told it (told.h): type, expiry, size, and digests of what it holds, by which
 * two values are the same or not, and in which part. The bytes that are kept of it, in memory and in files.
 */
#ifndef CHECK_ENTRY_H
#define CHECK_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "finding.h"
#include "resp.h"
#include "value.h"

#define ENTRY_PARTS 7u

/* The parts of a stream, in their order; those of other types: entry_part. */
enum stream_part {
    PART_ENTRIES,
    PART_IDS,   /* lo the last one, hi the greatest that was deleted, 0: not told */
    PART_ADDED, /* lo: one more than the number, 0: not told */
    PART_GROUPS,
    PART_READ, /* lo: what groups have read; hi: the groups that say so */
    PART_CONSUMERS,
    PART_PENDING,
};

/* A digest; sums of digests where an order does not matter. */
struct part {
    uint64_t lo, hi;
};

enum {
    ENTRY_UNKNOWN = 1, /* something of it could not be told: it cannot be compared */
    ENTRY_MARK = 2,    /* no key: n is the print of what was found of it before */
};

/* Behind the head: parts, the name in the target, the name in the source if that is another one. */
struct entry {
    uint32_t size; /* bytes of all of it; a multiple of 8 */
    uint32_t db, source_db;
    uint32_t len, source_len; /* of the names; source_len 0: it is the same */
    uint8_t type;             /* enum value_type */
    uint8_t parts, flags, zero;
    int64_t ttl; /* ms since the epoch; -1 never */
    uint64_t n;  /* bytes, elements, fields, members, entries */
};

static inline const struct part *entry_part(const struct entry *e)
{
    return (const struct part *)(const void *)(e + 1);
}

static inline struct slice entry_name(const struct entry *e)
{
    return (struct slice){(const uint8_t *)(entry_part(e) + e->parts), e->len};
}

/* Its name in the source. */
static inline struct slice entry_source_name(const struct entry *e)
{
    struct slice s = entry_name(e);
    return e->source_len == 0 ? s : (struct slice){s.p + s.n, e->source_len};
}

/* How many parts a value of that type has. */
unsigned entry_parts(enum value_type type);

/* Where a key belongs: the same on both sides. */
uint64_t entry_hash(uint32_t db, const void *name, size_t n);

/* Append one to b, which the head, the parts and the names make. -1: b is full. */
int entry_put(struct buf *b, const struct entry *head, const struct part *part, struct slice name,
              struct slice source_name);

/* What differs; either may be NULL, not both. False: nothing, as far as d looks. */
bool entry_differs(const struct depth *d, const struct entry *source, const struct entry *target,
                   struct finding *f);

#endif
