/* A set of 64-bit hashes in an unlinked file that is mapped: open addressing, three eighths to three quarters
 * of it used. It doubles step by step, so that nobody waits for that: a place follows from the upper bits of
 * a hash, and what is there moves from beginning to end, a few places with each addition. */
#ifndef RW_SEEN_H
#define RW_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEEN_WAITING 128u

struct places {
    int fd;
    unsigned bits;  /* there are 1 << bits of them */
    uint64_t *slot; /* 0: free; NULL: there are none */
};

struct seen {
    const char *dir; /* where the file is; NULL: $TMPDIR or /tmp */
    struct places now;
    struct places before; /* what is left of it moves to now */
    uint64_t moved;       /* places of it that are done */
    uint64_t n;           /* members in now */
    unsigned waiting;
    uint64_t
        wait[SEEN_WAITING]; /* to be added: so many at once that they need not wait for memory one by one */
};

/* The hash of a key in a database. */
uint64_t seen_hash(uint32_t db, const void *key, size_t n);

/* The same, of a key that comes in pieces: crc is that of all of them, begun with SEEN_CRC. */
#define SEEN_CRC (~UINT64_C(0))
uint64_t seen_hash_crc(uint32_t db, uint64_t crc);

/* Returns 0, or -1 with errno. */
int seen_open(struct seen *s, const char *dir);
void seen_close(struct seen *s);

/* Add what waits. Returns 0, or -1 with errno: then the set is as it was. */
int seen_settle(struct seen *s);

static inline int seen_add(struct seen *s, uint64_t h)
{
    if (s->waiting == SEEN_WAITING && seen_settle(s) < 0)
        return -1;
    s->wait[s->waiting++] = h;
    return 0;
}

/* Is it a member? 1 yes, 0 no, -1 with errno. */
int seen_has(struct seen *s, uint64_t h);

#endif
