/* From decoded values and commands to output records: requests in RESP, formatted straight into the output
 * buffer. The other forms of output (--json, --resp, --null) see the same records. */
#ifndef DFP_EMIT_H
#define DFP_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "late.h"
#include "snapshot/keyset.h"
#include "snapshot/pages.h"
#include "record.h"
#include "resp.h"
#include "target.h"

/* EMIT_OUTLET: keys go elsewhere (outlet.h), and requests nowhere. */
enum emit_mode { EMIT_RECORDS, EMIT_JSON, EMIT_RESP, EMIT_NULL, EMIT_OUTLET };

/* Counters over everything, for --stats and the END record. */
struct stats {
    uint64_t keys[CLASS_COUNT]; /* of snapshots */
    uint64_t commands;          /* journal entries that are data commands */
    uint64_t requests;
    uint64_t bytes_in, bytes_out;
    uint64_t expired;  /* dropped: had expired, and no journal follows */
    uint64_t extended; /* expiry passed, written as a minute from now: a journal follows */
    uint64_t lost;     /* reports of something that was not carried over */
    uint64_t remarks;  /* reports of something carried over with a difference */
    uint64_t filtered; /* keys and commands that were not selected */
    uint64_t reread;   /* keys read again */
    uint64_t ignored;  /* journal entries that mean nothing to the target */
    uint64_t moved;    /* commands and keys of slots that the flow does not hold */
    uint64_t messages; /* that were published, and not passed on */
};

/* What the records of one flow share. */
struct origin {
    uint16_t flow;
    uint16_t epoch;
    bool live;    /* from the journal */
    bool journal; /* a journal follows: keys that expire now must not vanish */
    uint32_t db;
    uint64_t seq;      /* last one given */
    uint64_t pos;      /* position that is reached with the next record */
    uint64_t after;    /* that of the journal entry being written; 0: none, or none is known */
    bool fresh;        /* what is written was read from the source again, and is no part of an entry */
    uint64_t contains; /* fresh, and contains all entries before this position; 0: not known */
    uint64_t at;   /* where in the flow the key being written stands, or the blob that it is in; AT_UNKNOWN */
    uint64_t time; /* arrival of the bytes being parsed, microseconds */
    uint64_t txid; /* of the journal entry before */
    uint64_t last; /* where in the output the header of its last record stands; NO_HEADER: nowhere it could
                      change */
    bool entry;    /* a journal entry is being written */
    bool together; /* the next record belongs to the transaction of the last */
    bool open;     /* a transaction whose end will be a record of its own */
};

#define NO_HEADER  UINT64_MAX
#define AT_UNKNOWN UINT64_MAX

struct key {
    const uint8_t *p;
    size_t n;
    uint32_t hash;
    uint16_t slot;
    bool excluded; /* by --include and --exclude: its value is only passed over */
};

/* How often something of a kind was reported: only the first are logged one by one. */
#define KINDS_MAX 64

struct told_kind {
    const char *kind; /* constant; NULL: free */
    bool lost;
    uint64_t count;
};

enum unsupported { UNSUPPORTED_REPORT, UNSUPPORTED_APPROXIMATE, UNSUPPORTED_FAIL };

struct resp_out;

/* How recently or how often a key was used, as a snapshot may say it. */
struct hint {
    enum { HINT_NONE, HINT_IDLE, HINT_FREQ } kind;
    uint64_t n; /* seconds since its last use; the logarithmic counter of 0 to 255 */
};

struct emit {
    struct recout out;
    enum emit_mode mode;
    struct target target;
    bool slots;   /* compute hash slots */
    bool publish; /* pass messages on */
    bool hints;   /* carry the keys' idle times and frequencies over */
    enum unsupported unsupported;
    size_t restore_limit; /* larger values go as commands */
    size_t part_size;     /* bytes of one such command */
    bool failed;          /* output could not be written: reader_gone or errno in fault */
    int fault;
    bool no_target; /* nothing is written for anybody, so nothing can be lost (--null) */
    bool refused;   /* parsing has to end: --unsupported fail and something was lost, or wrong_db */
    bool wrong_db;  /* something of source_db, which is not the 0 of a cluster */
    uint32_t source_db;
    uint64_t now_ms; /* wall clock, renewed for each piece of input */
    struct stats stats;
    struct late late; /* expiries that wait */
    struct rec chain; /* record being written, with the offset of its header in the output buffer */
    size_t chain_at;
    struct pages
        pages; /* where the bytes being parsed lie, if they are mapped: given back as they are written */
    size_t pages_read;      /* since they were given back */
    struct buf text;        /* scratch for metadata */
    struct buf payload;     /* of a RESTORE within a script */
    struct buf older;       /* arguments of a request made over (older.c) */
    struct recout rendered; /* --json and --resp: what was made of the records */
    struct resp_out *resp;  /* state of --resp */
    struct told_kind told[KINDS_MAX];
    bool verifying;            /* keys are looked for at the target (check.h): */
    struct keyset not_carried; /* those that were reported as lost */
    FILE *report; /* everything that was not carried over, one JSON object per line; NULL: none */
};

void emit_init(struct emit *e, int fd, enum emit_mode mode);
void emit_free(struct emit *e);
int emit_flush(struct emit *e);

/* Hash and, where needed, slot of a key. */
void key_set(const struct emit *e, struct key *k, const uint8_t *p, size_t n);

/* A journal entry is written from here on, up to entry_end: its records, and those of the entry directly
 * before it when both are of one transaction (txid, 0: none), are marked TOGETHER. */
static inline void entry_begin(struct origin *o, uint64_t txid)
{
    o->entry = true;
    o->together = txid != 0 && txid == o->txid;
    if (!o->together)
        o->last = NO_HEADER;
    o->txid = txid;
}

static inline void entry_end(struct origin *o)
{
    o->entry = o->together = false;
}

/* Write a record as it is. */
void emit_record(struct emit *e, const struct rec *r, const void *payload);

/* Pass a metadata record on or write one of our own. */
void emit_meta(struct emit *e, struct origin *o, unsigned type, const void *text, size_t n);

/* In flags of a request: a part of a key, behind the first. It does not get into the record. */
#define EMIT_PART 0x10000u

/* Likewise: a script that is not ours, which older.c has nothing to say about. */
#define EMIT_AS_IS 0x20000u

/* What the snapshot has is only for keys that the target does not hold. */
static inline bool emit_guarded(const struct emit *e, const struct origin *o)
{
    return __builtin_expect(e->target.existing != EXISTING_OVERWRITE, 0) && !o->live;
}

/* SET key value of a snapshot or restored value; expire_ms 0: none. key and value together fit one record.
 * NX, or with RESTORE no REPLACE, where keys are guarded, unless it is a part. */
void emit_set(struct emit *e, struct origin *o, const struct key *k, const uint8_t *v, size_t vn,
              uint64_t expire_ms, unsigned flags);

/* RESTORE key expire payload REPLACE [ABSTTL] [IDLETIME n | FREQ n], the payload being type, the value's own
 * bytes and a new footer of RDB version ver. Fits one record. */
void emit_restore(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, unsigned type,
                  const uint8_t *v, size_t vn, unsigned ver, uint64_t expire_ms, struct hint hint);

/* Any request. Its records are chained when it is larger than a record. keyarg 0: no key (k may be NULL). */
void emit_argv(struct emit *e, struct origin *o, const struct key *k, unsigned keyarg, unsigned vclass,
               unsigned flags, const struct slice *argv, size_t argc);

/* The same from a head of nhead arguments and a body of nbody arguments that is already RESP (bulk strings).
 */
void emit_body(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, unsigned flags,
               const struct slice *head, size_t nhead, const struct buf *body, uint64_t nbody);

/* A program (common/program.h) whose first key is k. */
void emit_program(struct emit *e, struct origin *o, const struct key *k, const struct buf *program);

/* PEXPIREAT of a key whose value was written before: its last part. */
void emit_expire_last(struct emit *e, struct origin *o, const struct key *k, unsigned vclass,
                      uint64_t expire_ms);

/* STICK key: Dragonfly does not evict it. */
void emit_stick(struct emit *e, struct origin *o, const struct key *k);

void emit_position(struct emit *e, struct origin *o, unsigned flags);

/* The hash slots that a flow of a cluster holds have changed: dfrecord(5) HOLDS. */
void emit_holds(struct emit *e, struct origin *o, const void *text, size_t n);

/* A key is to be looked for at the target (k), and about it the writer says what the source calls db and
 * about. k NULL: nothing is asked. dfrecord(5) PROBE. */
void emit_probe(struct emit *e, struct origin *o, enum probe_kind kind, uint32_t db,
                const struct slice *about, const struct key *k);

/* The key's parts are all there: a position record that says so. */
void emit_last(struct emit *e, struct origin *o, const struct key *k);
void emit_synced(struct emit *e, struct origin *o);
/* flags: RF_PRECUT, RF_ONEFLOW. */
void emit_barrier(struct emit *e, struct origin *o, uint64_t txid, unsigned flags, const struct slice *argv,
                  size_t argc);

/* Something that could not be carried over (lost) or was changed on the way. kind: a short constant. */
void emit_report(struct emit *e, struct origin *o, bool lost, const char *kind, const uint8_t *key, size_t n,
                 const char *detail);

/* A key that is left out because its name in the target would be one of ours (ours.h). */
void emit_reserved(struct emit *e, struct origin *o, const uint8_t *key, size_t n);

/* Log how many more there were of the kinds that were not logged one by one. */
void emit_report_counts(const struct emit *e);

/* What to do with the expiry of the key that is written next: returns the one to write, or 0 for "drop the
 * key: it has expired". ms > 0. The same for one of a field, which is never dropped where changes follow. */
uint64_t emit_expiry(struct emit *e, const struct origin *o, uint64_t ms);
uint64_t emit_field_expiry(struct emit *e, const struct origin *o, uint64_t ms);

/* A cluster has database 0 only: for another one (source_db at the source) parsing ends. True: it does. */
static inline bool emit_wrong_db(struct emit *e, uint32_t db, uint32_t source_db)
{
    if (__builtin_expect(!e->target.cluster || db == 0, 1))
        return false;
    if (!e->wrong_db)
        e->source_db = source_db;
    return e->wrong_db = e->refused = true;
}

#define SLICE(s) ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})

/* ---- older.c: requests made over for Redis 4.0 to 6.0, which lack commands and options that came up to 6.2.
 * Later differences are where the requests are made. dragonfly-replication(7), Dragonfly commands; rdb(5),
 * COMPATIBILITY. ---- */

/* The target is one of these. */
static inline bool older_target(const struct target *t)
{
    return t->kind == SERVER_REDIS && t->version < VERSION(6, 2);
}

/* The request as that target understands it: argv itself, or another in e->older, valid until the next call.
 * What cannot be said there (ZADD GT INCR) is left as it is: the target's error will name it. */
const struct slice *older_request(struct emit *e, const struct slice *argv, size_t *argc, unsigned *keyarg);

#endif
