/* After a full sync over data that are there (--on-full-resync overwrite): keys that the source does not have
 * any more are found and removed. While the full sync runs, a 64-bit hash of each key that comes is kept, 8
 * bytes a key in an unlinked file; when every flow has ended it, they are sorted, the target is scanned, and
 * what is not among them goes. Keys that are written meanwhile are noted, too. */
#ifndef RW_SWEEP_H
#define RW_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"

struct writer;

enum sweep_state { SWEEP_OFF, SWEEP_MARKS, SWEEP_SCANS };

struct sweep {
    enum sweep_state state;
    int fd;
    struct buf out; /* hashes on their way to the file */
    uint64_t n;     /* hashes in the file */
    uint64_t *mark; /* the file, sorted */
    uint64_t *late; /* written since it was sorted: open addressing */
    size_t late_n, late_cap;
    uint32_t db;        /* being scanned */
    uint32_t dbs[1024]; /* databases that hold keys */
    unsigned ndbs, at;
    char cursor[32];
    uint64_t next; /* mono_us: the next step is not due before */
    uint64_t scanned, removed;
};

/* The full sync begins. False: the writer has failed. */
bool sweep_begin(struct writer *w);
void sweep_free(struct sweep *s);

/* A request is taken: its keys stay. */
void sweep_note(struct writer *w, const struct rec *r, const uint8_t *payload);

/* Does a step wait for everything in flight to be answered? Then nothing new is begun. */
bool sweep_due(const struct writer *w, uint64_t now);

/* One step; nothing is in flight. */
void sweep_step(struct writer *w);

/* Not over yet: the end of the input has to wait. */
static inline bool sweep_runs(const struct sweep *s)
{
    return s->state == SWEEP_SCANS;
}

#endif
