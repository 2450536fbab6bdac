/* An append-only file (AOF): one or more files, the first of which may begin with a snapshot, and then
 * commands as in a stream of replication (psync_stream.h), with lines between them that begin with '#'. What
 * redis-server takes at the end of a file, and what it refuses, is decided here. dfreader(1), Append-only
 * files. */
#ifndef DFP_AOF_H
#define DFP_AOF_H

#include "psync_stream.h"

/* A file of the flow, as its FILE record describes it: dfrecord(5). */
struct aof_file {
    char name[256];
    bool append_only;  /* known to be one; else its bytes say it */
    bool base;         /* it is the state of one moment, to which increments follow */
    bool last;         /* no other follows */
    bool truncated_ok; /* its end may be cut off */
    uint64_t rest;     /* bytes of it and of those behind it; 0: not known */
    uint64_t until;    /* Unix time up to which commands are wanted; 0: all */
};

struct aof {
    struct aof_file file; /* the one that is being read */
    bool known;           /* there is one, and file describes it */
    bool on;              /* it is an append-only file */
    uint64_t begins;      /* where it begins in the flow */
    bool dated;           /* something said when it was written */
    bool any;             /* something of it was taken */
    bool over;            /* nothing more is wanted: the next time is later than until */
    char text[160];       /* for why */
    struct psync *psync;  /* takes its commands */
    struct psync_file hooks;
};

void aof_init(struct aof *a, struct psync *s);

/* The next file begins at offset of the flow. */
void aof_next(struct aof *a, const struct aof_file *file, uint64_t offset);

/* How long, from its beginning on, expiries of keys may have to wait for what is still to be read (late.h):
 * as if that were a MiB a second, and some minutes; a day where nobody knows how much it is. */
uint64_t aof_wait_ms(const struct aof *a);

/* One command, or what stands between commands, of the file. */
enum got aof_feed(struct aof *a, struct cur *c);

/* A snapshot was made at this time, in seconds. False: it is later than what is wanted. */
bool aof_made_at(struct aof *a, uint64_t seconds);

/* The file has ended, n bytes behind its last command, or its last transaction, that was complete. Returns
 * NULL: it may end there; with *cut true something was cut off. Else what is wrong. */
const char *aof_end(const struct aof *a, const uint8_t *p, uint64_t n, bool *cut);

/* ---- aof_lines.c: pure functions over bytes ---- */

/* A line "#…" at c, and in *time what it says if that is a time in seconds, else 0. NEED: it has no end yet.
 */
enum got aof_annotation(struct cur *c, uint64_t *time);

/* A request at p that is damaged in a way that redis-server, which checks less, takes for one that is cut
 * off: NEED as long as that may be so with the bytes up to end, and *want how many more decide that; else
 * BAD. */
enum got aof_looks_cut(const uint8_t *p, const uint8_t *end, uint64_t *want);

#endif
