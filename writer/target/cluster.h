/* The engine: the masters of a cluster, or a single server, over one connection or more.
 *
 * What keeps the order: a key is never on its way twice, whatever becomes of the request (redirected,
 * refused, lost with its connection); a request with several keys, and a program over several slots, is alone
 * in its slots. So every request can be sent again, elsewhere, without looking at the others. df2redis(7),
 * Order and positions. A request that has to wait for another of its slot is parked, so that those behind it
 * need not.
 *
 * The servers, and which connection a request takes, are nodes.h.
 *
 *   engine.c      its beginning, what is due, and its end
 *   cluster.c     records in
 *   slots.c       which requests may go, and what is parked
 *   gather.c      requests of a scope that go in one transaction
 *   bundle*.c     such a transaction: made and done with, sent, its replies, what was refused, what was lost
 *   parts.c       keys of the snapshot that go in one transaction
 *   mset.c        plain SETs of the snapshot gathered into MSET
 *   span.c        programs: requests over several slots, step by step
 *   big.c         requests that were collected in a file
 *   answers.c     confirmations and refusals
 *   moved.c       requests that go another way
 *   replicas.c    --wait
 */
#ifndef RW_CLUSTER_H
#define RW_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../engine/collect.h"
#include "../conn/conn.h"
#include "hashset.h"
#include "../engine/mset.h"
#include "../engine/parts.h"
#include "nodes.h"
#include "record.h"
#include "slot.h"

#define PARKED_MAX  8192u
#define PARKED_SIZE ((size_t)4 << 20)
#define IN_FLIGHT   32768u /* keys on their way, all connections together */

/* A request that was refused or lost: sent again when its node, or another one, takes it. */
struct moved {
    TAILQ_ENTRY(moved) link;
    struct cunit u;
    uint64_t due;      /* mono_us */
    struct cnode *ask; /* where ASK said; NULL: the slot's owner */
    uint8_t bytes[];
};

TAILQ_HEAD(moved_list, moved);

struct span;
struct bundles;
struct exact;
struct failures;
struct flushes;
struct options;
struct outcome;
struct policy;
struct positions;
struct probes;
struct session;
struct splits;
struct stats;
struct whole;

struct cluster {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    const struct session *session;
    const struct policy *policy;
    struct positions *positions;
    struct exact *exact;
    struct splits *splits;
    struct probes *probes;
    struct failures *failures;
    struct flushes *flushes;
    struct whole *whole; /* the position key, where there is one */
    struct watch *watch;
    const char *run; /* names this process */

    struct nodes nodes;
    void (*freed)(struct bundles *b, unsigned slot); /* something of the slot is done */
    void (*hurry)(struct cluster *cl);               /* send what is gathered of the snapshot */
    bool decided;                                    /* it is known what the target is: slots, whole */
    bool confined;        /* of a whole server: its transactions can neither SELECT nor flush */
    bool drain;           /* of that: a record waits until nothing of the snapshot is on its way */
    struct msets *msets;  /* NULL: none are made */
    struct parts *parts;  /* NULL: not here */
    unsigned ngathered;   /* requests that gather there; of their keys, some may not be held yet */
    uint32_t busy[SLOTS]; /* requests on their way */
    uint8_t alone[SLOTS]; /* one of them wants to be alone */
    struct hashset keys;  /* on their way */
    unsigned own;         /* of them, those of requests of our own (cluster_put_own) */
    unsigned own_sweep;   /* of these, those of flow SWEEP_FLOW */
    unsigned errands;     /* of other parts, which are no requests of a flow: nothing is quiet before */
    struct moved_list moved;
    unsigned nmoved;
    uint64_t next_moved;       /* mono_us: none is due before */
    struct moved_list *parked; /* a slot's: requests whose key, or slot, is on its way already */
    uint16_t parked_in[SLOTS];
    unsigned nparked;
    bool recheck; /* one waits for a request of another slot whose hash is the same */
    size_t parked_bytes;
    TAILQ_HEAD(, span) spans; /* programs that run */
    unsigned nspans;
    struct bundles *bundles;
    struct bigjob *big; /* the one that is on its way */
    int reserved_for;   /* flow whose record waits for its slots; -1: none */
    uint16_t reserved[64];
    unsigned nreserved;
    bool flushing;         /* every master is told something (flushes.h) */
    int scope;             /* of that: other flows go on meanwhile (lanes.h) */
    bool exclusive;        /* without slots: a request is alone on all connections */
    unsigned given_up;     /* requests, with nothing confirmed since the first (suspect.h) */
    uint64_t said_refused; /* mono_us: when a request that is refused was named last */
};

/* Nothing is on its way, and nobody is asked yet. */
struct cluster *cluster_new(void);
void cluster_free(struct cluster *cl);

/* Begin to connect. Records may be offered when nodes.opened says so. */
void cluster_open(struct cluster *cl);

/* A request. */
enum put cluster_put(struct cluster *cl, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* The same for an idempotent request of our own, which keeps the order as one of that flow would; behind:
 * bytes of the record that follows it. */
enum put cluster_put_own(struct cluster *cl, const struct rec *r, const uint8_t *request, uint32_t behind);

/* A position, or the end of a flow's full sync. */
void cluster_position(struct cluster *cl, const struct rec *r);

/* The session is void: drop what would be sent again, and whatever waits. */
void cluster_forget(struct cluster *cl);

/* Is there nothing on its way? */
bool cluster_quiet(const struct cluster *cl);

/* Whatever is due: connections, and requests that go another way. False: only connections have work, as it is
 * not opened, or nothing more is sent to the target. */
bool cluster_work(struct cluster *cl, uint64_t now);

/* The end of that: send what was put since. */
void cluster_send(struct cluster *cl, uint64_t now);

/* Send what has gathered, if it is much. */
void cluster_push(struct cluster *cl);

/* Milliseconds until cluster_work has to be called; -1: not by itself. */
int cluster_timeout(const struct cluster *cl);

/* What follows is between its parts.
 *
 * ---- answers.c ---- */

/* What a record's request is to its connection. */
extern const struct unit_calls cluster_request;

/* Something was carried out over this connection that will be counted on. */
void cluster_accepted(struct cluster *cl, struct line *l);

/* A request of our own is done with. */
void cluster_own_done(struct cluster *cl, const struct cunit *u);

/* What a server had confirmed is gone: nothing more is written, and the positions in the file do not count.
 */
void cluster_lost_data(struct cluster *cl, const struct cnode *node, const char *reason);

/* Exactly once: the reply to the HSET of a slot's position, of so many fields besides w. */
void cluster_slot_written(struct cluster *cl, const struct cnode *node, unsigned slot, unsigned fields,
                          long long added);

/* It was carried out: for the summary. The same of a record that came at time, now (Unix epoch, us). */
void cluster_count(struct cluster *cl, const struct cunit *u);
void cluster_count_at(struct cluster *cl, bool live, uint8_t vclass, uint64_t time, uint64_t now);

/* It cannot be carried out. */
void cluster_unit_error(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                        size_t len);

/* A record is done with: its flow's position may go on. Not when the target refuses everything: it was not
 * carried out, and comes again when the session goes on. mark: of a live record. */
void cluster_passed(struct cluster *cl, bool live, unsigned flow, uint64_t mark);

/* Its connection was lost after it was sent, and sending it again may count twice. */
void cluster_doubtful(struct cluster *cl, const struct cunit *u, const uint8_t *bytes);

/* What an error reply says about where to go on. */
enum detour {
    DETOUR_NONE,  /* a data error, or fatal */
    DETOUR_AGAIN, /* the same node or whoever owns the slot, at *due */
    DETOUR_ASK,   /* *ask, once */
};
enum detour cluster_detour(struct cluster *cl, struct line *l, unsigned tries, const struct named *what,
                           const char *text, size_t len, uint64_t *due,
                           struct cnode **ask); /* what: NULL: a question of ours */

/* A question of ours was refused: where it does not pass the run has failed. */
void cluster_question_refused(struct cluster *cl, struct line *l, const redisReply *r, const char *command);

/* ---- moved.c ---- */

/* Keep a request to be sent again, not before due. */
void cluster_displace(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, uint64_t due,
                      struct cnode *ask);

/* The same in two steps: one that is to go as soon as it can. */
struct moved *moved_new(const struct cunit *u, const uint8_t *bytes);
void moved_enqueue(struct cluster *cl, struct moved *m);

void moved_work(struct cluster *cl, uint64_t now);
void moved_forget(struct cluster *cl);

/* ---- slots.c ---- */

/* The slot of a request of which n bytes are there; at a single server a share of the keys of one database,
 * so that its position lies in the database of what it speaks of. */
unsigned cluster_scope(const struct cluster *cl, const struct rec *r, const uint8_t *request, size_t n);
#define WHOLE_SCOPE 0u   /* of a whole server; requests of the snapshot have the others */
#define SHARES      256u /* of a database */
#define SHARED_DBS  16u  /* those that have shares: what is in others is written at least once */

/* Is the slot kept for another flow, or everything closed? */
bool slot_is_closed(const struct cluster *cl, unsigned flow, unsigned slot);
static inline bool slot_closed(const struct cluster *cl, unsigned flow, unsigned slot)
{
    return (cl->flushing || cl->exclusive || cl->reserved_for >= 0) && slot_is_closed(cl, flow, slot);
}

/* May a request that wants to be alone in these slots go? If not, the slots are kept for its flow. */
bool cluster_slots_free(struct cluster *cl, unsigned flow, const uint16_t *slot, unsigned n);

/* Is nothing on its way? If not, nothing of other flows begins until then. */
bool cluster_alone(struct cluster *cl, unsigned flow);
void cluster_take_slot(struct cluster *cl, unsigned slot);
void cluster_leave_slot(struct cluster *cl, unsigned slot, bool alone);

/* A request that has to wait for another of its slot. Those that wait for one of another slot are looked at
 * where cl->recheck says so. */
void slot_park(struct cluster *cl, const struct cunit *u, const uint8_t *bytes);
void slots_recheck(struct cluster *cl);
void slots_forget(struct cluster *cl);

/* ---- span.c ---- */

/* A PROGRAM record. */
enum put span_put(struct cluster *cl, const struct rec *r, const uint8_t *payload);
void span_work(struct cluster *cl, uint64_t now);
void spans_free(struct cluster *cl);

/* ---- replicas.c ---- */

/* Requests are held: ask replicas, if it is time. The connection is lost: so is what waited for them. */
void replicas_ask(struct conn *c);
void replicas_lost(struct line *l);
void replicas_free(struct line *l);

/* Ask for replicas' confirmation where --wait wants it, however long that takes, then call fn; without --wait
 * fn is called at once. ok: it is confirmed. Not ok: the connection was lost before: do it all again. */
typedef void safe_fn(struct line *l, void *arg, bool ok);
void cluster_safe(struct line *l, safe_fn *fn, void *arg);

#endif
