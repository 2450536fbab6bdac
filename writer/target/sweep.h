/* A full sync over data that are there (--on-full-resync overwrite): what the source does not have goes.
 *
 * While the sweep lasts, a hash of each key that comes is kept (seen.h). A key that is not among them is one
 * that the source did not have so far, as an existing one always comes before its first change: what the
 * target has of that name is stale, and is removed before the first live record that names it. When every
 * flow has ended its full sync, the target is scanned, and what was not seen goes as well.
 *
 *   sweep.c           keys that come
 *   sweep_cluster.c   the scan, beside the live records
 */
#ifndef RW_SWEEP_H
#define RW_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "../engine/put.h"
#include "record.h"
#include "seen.h"

struct cluster;
struct options;
struct outcome;
struct positions;
struct session;
struct stats;
struct whole;
struct big;

#define SWEEP_COUNT "1000"        /* keys that a step looks at, about */
#define SWEEP_FLOW  REC_FLOWS_MAX /* what the scan removes belongs to no flow */

enum sweep_state { SWEEP_OFF, SWEEP_MARKS, SWEEP_SCANS };

/* What several connections are asked, sweep_cluster.c. SWEEP_ENDS: nothing more, and nothing is stale but
 * what is on its way to be removed. */
enum sweep_phase { SWEEP_LOOKS, SWEEP_READS, SWEEP_LOOKS_AGAIN, SWEEP_ENDS };

struct sweep {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    const struct session *session;
    const struct positions *positions;
    struct cluster *cl;
    struct whole *whole;

    enum sweep_state state;
    struct seen seen;
    struct buf keys; /* of a DEL, as bulk strings */
    struct buf hash; /* of each of them */
    unsigned n;      /* of them */
    struct buf del;  /* the request */
    uint64_t next;   /* mono_us: the next step is not due before */
    uint64_t scanned, removed, cleared;

    enum sweep_phase phase;
    unsigned asked; /* replies that are outstanding */
    uint64_t print; /* of what the masters say of themselves */
    uint64_t print_first;
    unsigned slots;   /* that they say they have */
    bool moving;      /* or are giving away */
    bool waits;       /* for the end of that */
    bool deleting;    /* without slots: alone with a DEL (sweep_deletes) */
    bool going_sent;  /* which is on its way */
    unsigned going_n; /* keys in it */
    uint32_t going_db;
    struct buf going;
    struct buf todo; /* keys that were found: database, length, bytes */
    size_t todo_at;
};

/* The full sync begins. False: the run has failed. */
bool sweep_begin(struct sweep *s);
void sweep_free(struct sweep *s);

/* A snapshot request was taken: its keys stay. */
void sweep_note(struct sweep *s, const struct rec *r, const uint8_t *payload);

/* A live request, or program, is to go: first remove what the target may have of keys that were not seen. The
 * counterpart of putting it: PUT_WAIT: offer it again. */
enum put sweep_before(struct sweep *s, const struct rec *r, const uint8_t *payload);
enum put sweep_before_program(struct sweep *s, const struct rec *r, const uint8_t *payload);

/* The same for one record of several that make a request. They were checked. */
enum put sweep_before_part(struct sweep *s, struct big *big, const struct rec *r, const uint8_t *payload);

/* Was the key seen? */
bool sweep_saw(struct sweep *s, uint32_t db, const void *key, size_t n);

/* One more key for the next DEL: into s->keys. Make s->del of them. */
void sweep_gather(struct sweep *s, const void *key, size_t n);
void sweep_make_del(struct sweep *s);

/* Begin to be alone with a DEL, or end that. */
void sweep_deletes(struct sweep *s, bool on);

/* All of it is done. */
void sweep_done(struct sweep *s);

/* Not over yet: the end of the input has to wait. */
bool sweep_runs(const struct sweep *s);

/* Milliseconds until it wants to go on; -1: not by itself. */
int sweep_timeout(const struct sweep *s, uint64_t now);

/* ---- sweep_cluster.c ---- */

void sweep_cluster(struct sweep *s, uint64_t now);

#endif
