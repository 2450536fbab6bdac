/* Exactly once. Where each record stands in its flow, and which records an earlier process carried out beyond
 * the position where the session goes on: keys that are read again hold that back, while later records are
 * carried out. Of a single server over one connection the position key says it (whole.h).
 *
 * Over several connections: in each slot that is written (of a single server in each share of a
 * database, cluster_scope) a hash df2redis:{TAG}:TASK, in the slot itself, is changed in one transaction with
 * the requests it speaks of. Its fields:
 *
 *   w         PROCESS TOKEN: the last transaction. After a lost connection it says whether that was executed.
 *
 *   f<flow>   HISTORY POSITION N STEP HELD: the last record of the flow that was carried out in the slot: the
 *             N-th one of the journal entry whose end is POSITION; of a PROGRAM its STEP, and HELD, a bit for
 *             each of the registers that held a value then. After a restart it says what not to do again.
 *
 * HISTORY names the full sync since which positions count; it is kept in the position file. Positions are
 * saved at the ends of entries only, so a replay numbers its records alike. Records that are FRESH
 * (dfrecord(5)) have no such place: they are always carried out. */
#ifndef RW_EXACT_H
#define RW_EXACT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "record.h"

struct conn;
struct line;
struct redisReply;

#define HISTORY_MAX 32

/* Where a record stands in its flow. pos 0: nowhere that a replay would find again. */
struct exact_id {
    uint64_t pos;
    uint32_t sub;
    uint32_t step;
    uint32_t held;
    bool fresh; /* of no entry, but what it writes contains the entries up to there: done again, and noted */
};

/* What an earlier process carried out in a slot, and the stream has not passed yet. */
struct exact_past {
    struct exact_id id;
    uint16_t flow;
};

struct exact_slot {
    struct exact_past *past;
    uint16_t n;
    bool known;   /* its hash was read, or need not be */
    bool written; /* it has field w */
};

struct exact_flow {
    uint64_t pos; /* of the record before */
    uint32_t sub;
    uint64_t fresh;          /* of the FRESH one before */
    uint64_t start;          /* where the session began */
    uint64_t stamp;          /* of the last position that names it */
    struct exact_id barrier; /* the last one */
};

struct options;
struct positions;
struct session;

struct exact {
    const struct options *opt;
    const struct session *session;
    const struct positions *positions;
    bool on;         /* positions are in hashes of slots or shares */
    unsigned scopes; /* so many, or the one of a whole server; 0: nothing is told apart */
    char history[HISTORY_MAX];
    char saved[HISTORY_MAX]; /* of the position file */
    char process[17];
    uint64_t token;      /* the last one given */
    uint64_t stamp;      /* of the position that is made */
    struct exact_id now; /* of the record that is being offered */
    struct exact_slot *slot;
    struct exact_flow *flow;
    unsigned flows;
};

/* hashes: of SLOTS scopes; else the one of a whole server. run: names this process. */
void exact_open(struct exact *x, bool hashes, const char run[33]);
void exact_free(struct exact *x);

/* A session begins to write. place: of a whole server, the last record of each flow that an earlier process
 * carried out. */
void exact_begin(struct exact *x, const struct exact_id *place);

/* A live record of a flow is offered (any number of times), and was taken. */
void exact_offer(struct exact *x, const struct rec *r);
void exact_taken(struct exact *x, const struct rec *r);

/* One of the snapshot is offered, which stands nowhere. */
static inline void exact_offer_none(struct exact *x)
{
    if (x->now.pos != 0)
        x->now = (struct exact_id){0};
}

/* Was this carried out by an earlier process? Of a slot that is known. */
bool exact_done(struct exact *x, unsigned slot, unsigned flow, const struct exact_id *id);

/* Does the slot's position become that of the record? Not by a fresh one where an earlier process got
 * further.
 */
bool exact_notes(const struct exact *x, unsigned slot, unsigned flow, const struct exact_id *id);

/* How many steps of a program over these slots an earlier process has run (a number above all of them: it was
 * through); held: the registers that held something then. It was alone in its slots until it was through, so
 * whoever came after it shows that it was. */
unsigned exact_steps_done(const struct exact *x, const uint16_t *slot, unsigned n, unsigned flow,
                          const struct exact_id *id, uint32_t *held);

/* Is one of these slots not known yet? *which: the index of the first. */
bool exact_unknown(const struct exact *x, const uint16_t *slot, unsigned n, unsigned *which);

/* So many slots are empty: after a flush. */
void exact_forget(struct exact *x, unsigned from, unsigned n);

static inline bool exact_known(const struct exact *x, unsigned slot)
{
    return x->slot[slot].known;
}

/* Has a record a place at all? */
static inline bool exact_counts(const struct exact *x)
{
    return x->scopes > 0;
}

/* Did an earlier process carry out anything there that the stream has not passed? Of a slot that is known. */
static inline bool exact_any(const struct exact *x, unsigned slot)
{
    return x->slot[slot].n > 0;
}

/* A new token, for a transaction. */
static inline uint64_t exact_token(struct exact *x)
{
    return ++x->token;
}

/* The name of a slot's hash. Returns its length. */
#define EXACT_KEY_MAX 128
size_t exact_key(const struct exact *x, unsigned slot, char out[EXACT_KEY_MAX]);

/* The reply to a HSET with n further fields says how many were new. False: w was there, and has vanished. */
bool exact_written(struct exact *x, unsigned slot, unsigned n, long long added);

/* Append HSET key w ... with n further fields, each by exact_field. */
void exact_hset(struct buf *b, const struct exact *x, unsigned slot, uint64_t token, unsigned n);
void exact_field(struct buf *b, const struct exact *x, unsigned flow, const struct exact_id *id);
#define EXACT_HSET_MAX  256u /* bytes at most */
#define EXACT_FIELD_MAX 176u /* also of both fields of a flow in the key of a whole server */

/* Ask for a slot's hash. */
void exact_ask(const struct exact *x, struct conn *c, unsigned slot,
               void (*fn)(struct line *, void *, const struct redisReply *), void *arg);

/* The reply, which is no error. Returns whether the slot's last transaction was this one. */
bool exact_learn(struct exact *x, unsigned slot, const struct redisReply *r, uint64_t token);

#endif
