/* Lanes: the flows of a session, and the barriers (FLUSHALL, FLUSHDB) at which they wait for each other, or
 * at which one of them waits alone. A pure structure: it keeps the records that have to wait and says when
 * all flows have reached the barrier; sending is the caller's work. df2redis(7), Order and positions,
 * dfrecord(5) BARRIER. Used by rediswriter and by dfparse --resp.
 *
 * A lane runs, or it waits at a barrier. The records of a lane that waits, or whose queue is not yet empty
 * again, go to its queue, in memory first and then in files without a name:
 *
 *     if (lanes_blocked(l, r.flow))            lanes_queue(l, &r, payload);
 *     else if (r.type == REC_BARRIER)          switch (lanes_arrive(l, &r, payload)) ...
 *     else                                     apply it
 *
 * A barrier has a scope: all flows, or one. Once all flows stand at theirs (LANES_COMPLETE), or the one at
 * its own (LANES_ALONE), lanes_ready tells it: apply everything before in these flows, run the request
 * (lanes_request, lanes_db), then lanes_release. The other flows go on meanwhile. Afterwards take what was
 * queued, lane by lane: lanes_pick, lanes_peek, lanes_drop; a BARRIER among these records goes to
 * lanes_arrive (drop it from the queue first or after, both work) and stops its lane. */
#ifndef DF_LANES_H
#define DF_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"
#include "spool.h"

/* Longest request a barrier may carry; FLUSHALL and FLUSHDB are far below. */
#define LANES_REQUEST_MAX ((size_t)4096)

#define LANES_ALL         (-1) /* a barrier's scope; else the number of its flow */

struct lane {
    bool waiting;       /* at a barrier ... */
    bool alone;         /* ... of its own */
    struct rec at;      /* the BARRIER record at which it waits or waited last */
    struct buf request; /* alone: of that */
    struct spool q;
};

struct lanes {
    unsigned n;       /* flows of the session */
    unsigned arrived; /* lanes that wait at the barrier of all flows */
    unsigned alone;   /* lanes that wait at one of their own */
    unsigned queued;  /* lanes whose queue is not empty */
    struct lane *lane;
    uint64_t txid; /* of the barrier at which the first lane arrived */
    uint32_t db;
    struct buf request;
    struct buf whole; /* of a record, until it is in a queue */
};

enum lanes_result {
    LANES_WAIT,     /* the lane waits now for others */
    LANES_COMPLETE, /* all flows have reached the barrier */
    LANES_ALONE,    /* the lane waits at a barrier of its own: no other has to come */
    LANES_WIDE,     /* that is a request by which others would lose keys: the lane does not wait */
    LANES_CONFLICT, /* another lane waits at another barrier: neither can ever be complete */
    LANES_BAD,      /* the record is malformed, or differs from that of another flow */
};

/* n: flows (1 to REC_FLOWS_MAX). memmax: bytes that a lane keeps in memory (all lanes together keep at most
 * 4 MiB, so with many flows it is less); cap: bytes of its files; dir: where they are made (NULL: $TMPDIR or
 * /tmp; not copied). */
void lanes_init(struct lanes *l, unsigned n, size_t memmax, uint64_t cap, const char *dir);

/* Forget everything, barrier and queues. lanes_init may follow. */
void lanes_free(struct lanes *l);

/* Must a record of this flow that comes now be queued? */
static inline bool lanes_blocked(const struct lanes *l, unsigned flow)
{
    const struct lane *lane = &l->lane[flow];
    return lane->waiting || spool_len(&lane->q) > 0;
}

/* Append a record to its lane's queue. Returns 0, or -1 with errno: EFBIG when the cap of its files is
 * reached (the record was not taken: stop reading that input), otherwise why a file could not be written. */
int lanes_queue(struct lanes *l, const struct rec *r, const uint8_t *payload);

/* A lane that is not waiting has come to a BARRIER record; r->len bytes of payload. */
enum lanes_result lanes_arrive(struct lanes *l, const struct rec *r, const uint8_t *payload);

/* Does any lane wait at a barrier of all flows? */
static inline bool lanes_at_barrier(const struct lanes *l)
{
    return l->arrived > 0;
}

/* Does any lane wait at a barrier, of whatever scope? */
static inline bool lanes_stand(const struct lanes *l)
{
    return l->arrived + l->alone > 0;
}

/* Is there a barrier whose flows all stand at it? Its scope; of those of one flow the next one from "from" on
 * and round again. */
bool lanes_ready(const struct lanes *l, unsigned from, int *scope);

/* Does a barrier of that scope concern the flow? */
static inline bool lanes_within(int scope, unsigned flow)
{
    return scope == LANES_ALL || (unsigned)scope == flow;
}

/* The request of a barrier at which lanes wait, and its database. */
static inline const uint8_t *lanes_request(const struct lanes *l, int scope, size_t *n)
{
    const struct buf *b = scope == LANES_ALL ? &l->request : &l->lane[scope].request;
    *n = b->len;
    return b->p;
}

static inline uint32_t lanes_db(const struct lanes *l, int scope)
{
    return scope == LANES_ALL ? l->db : l->lane[scope].at.db;
}

/* The request was run: the lanes within its scope go on. */
void lanes_release(struct lanes *l, int scope);

/* A lane, from "from" on and round again, that does not wait and has queued records; -1: none. */
int lanes_pick(const struct lanes *l, unsigned from);

/* The oldest queued record of a flow; *r and *payload stay valid until the next call that concerns this
 * flow's queue. Returns 1, 0 when the queue is empty, -1 with errno when a file cannot be read. */
int lanes_peek(struct lanes *l, unsigned flow, struct rec *r, const uint8_t **payload);

/* Remove the record that lanes_peek returned last for this flow. */
void lanes_drop(struct lanes *l, unsigned flow, const struct rec *r);

/* The first flow that has not come to the barrier of all flows, from "from" on; -1: none. For messages, and
 * to see whether an input that cannot be read further is the one for which the others wait. */
int lanes_missing(const struct lanes *l, unsigned from);

/* Most bytes that the queue of any flow held. */
uint64_t lanes_peak(const struct lanes *l);

#endif
