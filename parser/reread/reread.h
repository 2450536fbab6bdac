/* Keys that dfparse wants to see as the source has them: commands that the target does not know, or that
 * depend on what only the source has. Asked for over the control socket (reread), answered by KEY records in
 * the flow's raw stream (dfrecord(5)); dragonfly-replication(7), Reading a key again has the procedure. While
 * a key is under way the journal's entries of it are kept back: those that the value contains are dropped,
 * those behind it follow it. No position behind the entry that made the key be asked for counts as reached
 * before its value is written. Of keys that were missing at the target nothing is kept back (check.h). */
#ifndef DFP_REREAD_H
#define DFP_REREAD_H

#include <sys/queue.h>

#include "ctl.h"
#include "../change.h"

#define REREAD_KEYS    1024u                    /* under way at a time */
#define REREAD_BYTES   ((size_t)64 << 20)       /* of values and entries kept, all together */
#define REREAD_TRIES   16u                      /* of one key whose answers do not fit the journal */
#define PASSING_TRIES  256u                     /* ... of which nothing is kept back */
#define REREAD_TIMEOUT ((uint64_t)60 * 1000000) /* for one answer, microseconds */

#define REREAD_BUCKETS 16384u
/* Keys of which is known that they were looked for (probed.h): as many sets of so many. One that is on its
 * way to be told as missing must not be forgotten. */
#define REREAD_SETS 8192u
#define REREAD_WAYS 8u

/* One key: wanted (the full sync goes on: there are no positions yet), asked for, or answered (its place in
 * the journal has not come). */
enum rekey_state { REKEY_WANTED, REKEY_REQUESTED, REKEY_ANSWERED };

TAILQ_HEAD(rekeyq, rekey);

struct rekey {
    LIST_ENTRY(rekey) chain; /* in its bucket */
    TAILQ_ENTRY(rekey) link; /* in the order of the requests */
    struct rekeyq *in;       /* the list that it is in: rereads.list, or that of a slot's take (slots.h) */
    bool take;               /* of a slot that is being taken */
    enum rekey_state state;
    uint16_t flow;
    uint32_t db;       /* of the source */
    uint64_t since;    /* LSN of the entry that made it be asked for; 0: of the full sync */
    uint64_t least;    /* an answer counts if it was begun at this LSN or later */
    uint64_t from, to; /* of the answer */
    uint64_t requested_at;
    unsigned tries;
    unsigned checks, own; /* CHECK records that want it: it is looked for at the target then */
    bool passing; /* of one that the target lacked while the flow is verified: its entries are written as they
                     come, and an answer counts if none has come since it was begun (check.h) */
    bool refines; /* the value is only more exact than what was written, and nothing was dropped for it:
                     without it that stays */
    bool missing;
    int64_t ttl;
    uint64_t time;    /* of the answer */
    struct buf value; /* the KEY record's payload; the value begins at value_at */
    size_t value_at;
    struct buf kept;  /* entries that may follow the value */
    const char *kind; /* for the report if nothing comes of it */
    char detail[120];
    size_t n;
    uint8_t key[];
};

struct rereads {
    struct ctl *ctl;
    uint16_t epoch;
    bool closed; /* the stream ends: nothing more is asked for */
    bool writer; /* a writer has said what the target is: it will say what is missing there */
    unsigned count;
    unsigned taken; /* of those: of slots that are being taken */
    size_t bytes;   /* kept */
    LIST_HEAD(, rekey) bucket[REREAD_BUCKETS];
    struct rekeyq list;
    struct buf names; /* scratch: arguments that are left of a command */
    unsigned checks;  /* keys, and ends of verifying, that wait for their place, in all flows */
    uint64_t (*probed)[REREAD_WAYS]; /* probed.c: REREAD_SETS of them, the newest of a set comes first; NULL:
                                        none */
};

void rereads_init(struct rereads *r, struct ctl *ctl);

/* Drop everything: another session begins, or the end. */
void rereads_reset(struct rereads *r, uint16_t epoch);

/* ---- from commands: to->rereads is set ---- */

/* Have a key of the entry at that LSN read again. kind, detail: for the report if nothing comes of it; kind
 * REREAD_VERIFY: because it may be missing at the target behind the entry, which is written (passing). False:
 * too many, or too long a name, or nobody there to ask. */
#define REREAD_VERIFY "verify"
bool reread_want(struct sink *to, uint64_t lsn, uint32_t db, const struct slice *key, const char *kind,
                 const char *detail);

/* The same for what is written now, only not as exact as the source has it. */
bool reread_refine(struct sink *to, const struct change *ch, const struct slice *key, const char *kind,
                   const char *detail);

/* The same for a key that the target lacks, which is looked for there once more behind its value. No position
 * is held back for it, and none of its entries, where a run that resumes verifies the flow again: passing. */
bool reread_check(struct sink *to, uint32_t db, const struct slice *key, const char *detail, bool own);

/* Is the flow being verified, and will a run that resumes do that again? */
static inline bool reread_verifies(const struct sink *to)
{
    return to->verifying != NOT_VERIFYING && to->rereads->writer;
}

/* Is its name short enough for that? */
bool rekey_name_fits(const struct slice *key);

/* Is room for n more? */
bool reread_room(const struct sink *to, size_t n);

/* A key of a slot that is being taken. It holds no position back, as the take is repeated if it is not
 * brought to its end; it waits in that list until rekey_request. False: it is not selected, or its name is
 * too long. */
bool reread_take(struct sink *to, struct rekeyq *waiting, uint32_t db, const struct slice *key);

/* Before an entry is written that may be a flush: what it empties need not be read any more, and no position
 * is held back for it. Else those of other flows would stand behind the flush, and this one's before it. */
void reread_before_flush(struct sink *to, const struct change *ch);

/* The flow has come to the place of an answer: write it. */
void reread_write_due(struct sink *to);

/* ---- from the session ---- */

/* Ask for what was wanted in a full sync that is over, give up what was not answered in time. */
void reread_tick(struct sink *to, uint64_t now_us);

/* A KEY record, or part of one. Returns NULL, or what is wrong with it. */
const char *reread_answer(struct sink *to, const struct rec *rec, const uint8_t *payload);

/* Something of the flow's full sync is still to be read again. r may be NULL. */
bool reread_early(const struct rereads *r, uint16_t flow);

/* Is a key of the flow under way because of an entry before that LSN, or of what is verified? */
bool reread_before(const struct rereads *r, uint16_t flow, uint64_t lsn);

/* The flow ends, or nobody is there any more: what was answered is written. The rest is reported; or, while
 * the flow is verified, left to the run that resumes. */
void reread_finish(struct sink *to, const char *why);

/* ---- for rekeys.c, reread.c and answers.c ---- */

/* An entry that is kept back. */
struct kept {
    uint64_t lsn, txid, time, argc, bytes; /* bytes of the arguments with their lengths */
};

struct rekey *rekey_find(const struct rereads *r, uint16_t flow, uint32_t db, const void *key, size_t n);
/* Only one whose entries are kept back. */
struct rekey *rekey_held(const struct sink *to, uint32_t db, const struct slice *key);
void rekey_take_out(struct rereads *r, struct rekey *k);
void rekey_free(struct rekey *k);

/* The flow's hold and due follow from its keys: after every change. */
void rekeys_changed(struct sink *to);

/* Only what the source says behind the entry at that LSN counts: what was kept is contained in that. */
void rekey_at_least(struct sink *to, struct rekey *k, uint64_t lsn);

/* Ask for it. False: that is not possible, or was done too often. */
bool rekey_request(struct rereads *r, struct rekey *k);

/* The same once more; else it is given up. */
void rekey_retry(struct sink *to, struct rekey *k);

/* The key is no longer under way. What is written of it confirms nothing, until its last record: then as much
 * as may be without it. Returns the position for those before; behind all
 * of it to->o.fresh ends. */
uint64_t rekey_leave(struct sink *to, struct rekey *k);

/* Report it, go on with what was kept. Frees it. */
void rekey_give_up(struct sink *to, struct rekey *k, const char *why);

void rekey_drop_kept(struct rereads *r, struct rekey *k);

/* Keep an entry. False: there is no room. */
bool kept_add(struct rereads *r, struct rekey *k, const struct change *ch);

/* Its next one, if there is one; *at begins at 0. */
bool kept_next(const struct rekey *k, size_t *at, struct kept *h);

/* Is one kept whose LSN is at least from and below to? */
bool kept_between(const struct rekey *k, uint64_t from, uint64_t to);
void kept_drop_below(struct rereads *r, struct rekey *k, uint64_t lsn);

/* Write those from an LSN on; the key is no longer under way. held: what is reached before the last of them.
 */
void kept_write(struct sink *to, struct rekey *k, uint64_t from, uint64_t held);

#endif
