/* The engine: the masters of a cluster, or a single server, over one connection or more.
 *
 * What keeps the order: a key is never on its way twice, whatever becomes of the request (redirected,
 * refused, lost with its connection); a request with several keys, and a program over several slots, is alone
 * in its slots. So every request can be sent again, elsewhere, without looking at the others. df2redis(7),
 * Order and positions. A request that has to wait for another of its slot is parked, so that those behind it
 * need not.
 *
 *   engine.c      their beginning, what is due, and their end
 *   cluster.c     records in
 *   gather.c      requests of a scope that go in one transaction
 *   bundle*.c     such a transaction: made and done with, sent, its replies, what was refused, what was lost
 *   parts.c       keys of the snapshot that go in one transaction
 *   mset.c        plain SETs of the snapshot gathered into MSET
 *   whole.c       the position key of a single server
 *   reach.c       finding a single server, or the first node of a cluster
 *   span.c        programs: requests over several slots, step by step
 *   big.c         requests that were collected in a file
 *   answers.c     confirmations and refusals
 *   slots.c       which requests may go, and what is parked
 *   moved.c       requests that go another way
 *   route.c       which connection a request takes
 *   topology.c    which node has which slot
 *   start.c       what is before the first request
 *   flushes.c     what every master gets: FLUSHALL and FLUSHDB, functions
 *   conn*.c       the connections
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
#include "reach.h"
#include "node.h"
#include "record.h"
#include "slot.h"
#include "watch.h"
#include "../engine/whole.h"

#define CNODES_MAX  1024u
#define NO_NODE     0xffffu
#define PARKED_MAX  8192u
#define PARKED_SIZE ((size_t)4 << 20)
#define ROUND       ((uint64_t)20000) /* us between looks while something is not as it should be */
#define IN_FLIGHT   32768u            /* keys on their way, all connections together */

enum taken { TAKEN_TO_DO, TAKEN_ASKED, TAKEN_MARKED }; /* taken.h */

struct cnode {
    char host[256];
    char port[8];
    char name[272]; /* host:port, for messages */
    unsigned index;
    bool master;     /* the last topology says so */
    bool listed;     /* in the topology being read */
    bool flushed;    /* has carried out the flush that is under way */
    bool sentinel;   /* it knows the master (reach.h) */
    bool swept;      /* has said what the sweep asked in this round */
    char cursor[32]; /* of the sweep's SCAN */
    struct scan_guard guard;
    unsigned watching; /* watch.h: questions on their way; what the last answer was */
    enum taken taken;
    struct evictions evicted;
    unsigned under_way;   /* records in transactions */
    unsigned window;      /* how many may be; 0: not known yet */
    uint64_t fastest;     /* us that a transaction took at least, lately */
    uint64_t lately;      /* mono_us: since then */
    struct identity who;  /* as its newest connection said */
    struct plight plight; /* of what every master is asked or told */
    unsigned nconn;
    struct conn **conn;
};

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

/* Why every master is told something. */
enum purpose {
    EVERYBODY_START,   /* a flush before a session's first request */
    EVERYBODY_BARRIER, /* the flush of a barrier */
    EVERYBODY_RECORD,  /* a record without a key (FUNCTION LOAD) */
};

enum start { START_NONE, START_SURVEY, START_FLUSH, START_READY };

struct cluster {
    struct writer *w;
    const struct conn_calls *calls;                   /* for its connections */
    void (*freed)(struct cluster *cl, unsigned slot); /* something of the slot is done */
    void (*hurry)(struct cluster *cl);                /* send what is gathered of the snapshot */
    void (*found_masters)(struct cluster *cl);        /* for the first time */
    struct reach reach;
    bool decided;      /* it is known what the target is: slots, whole */
    bool opened;       /* it is known what the target is, and records may go */
    bool slots;        /* a cluster; else one node */
    bool within;       /* a transaction may SELECT: Dragonfly refuses that, and carries out the rest of it */
    bool whole;        /* which is one scope, over one connection (whole.h) */
    bool confined;     /* of that: its transactions can neither SELECT nor flush */
    bool drain;        /* of that: a record waits until nothing of the snapshot is on its way */
    bool allow_select; /* nothing else can go: another database may have its turn at once */
    bool asking_db;    /* whether there is */
    uint32_t asked_db;
    struct msets *msets;  /* NULL: none are made */
    struct parts *parts;  /* NULL: not here */
    unsigned ngathered;   /* requests that gather there; of their keys, some may not be held yet */
    uint32_t dbs[1024];   /* of a single server: those that hold keys, */
    unsigned ndbs, at_db; /* and where a scan of them is */
    struct cnode *node[CNODES_MAX];
    unsigned nnodes;
    struct conn **conn; /* all of them; index: epoll's tag */
    unsigned nconn, conn_cap;
    uint16_t owner[SLOTS];
    uint32_t busy[SLOTS]; /* requests on their way */
    uint8_t alone[SLOTS]; /* one of them wants to be alone */
    struct hashset keys;  /* on their way */
    unsigned own;         /* of them, those of requests of our own (cluster_put_own) */
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
    bool stir;             /* something changed: look at everything that waits */
    bool exclusive;        /* without slots: a request is alone on all connections */
    unsigned given_up;     /* requests, with nothing confirmed since the first (suspect.h) */
    uint64_t said_refused; /* mono_us: when a request that is refused was named last */
    uint64_t needed_since; /* mono_us: something waits for a node that is not there; 0: nothing does */
    uint64_t needed_last;  /* mono_us: when that was seen last */

    /* topology */
    uint64_t refresh_at;     /* mono_us; 0: no need */
    unsigned refresh_ms;     /* backoff */
    struct conn *refreshing; /* asked; NULL: nobody */
    uint64_t refresh_since;
    unsigned refresh_turn;
    uint64_t first_until; /* mono_us: by then the first one has to be whole */
    bool first_said;

    /* flushes.c: what every master has to be asked or told */
    bool flushing;
    int scope;        /* of the flush: other flows go on meanwhile (lanes.h) */
    unsigned asked;   /* replies that are outstanding */
    struct buf flush; /* the request */
    uint32_t flush_db;
    enum purpose purpose;
    struct cunit record; /* EVERYBODY_RECORD: whose request it is */
    struct buf refusal;  /* what the first master that refuses it says */
    enum start start;
    bool found; /* by the survey: a key that is not ours */
};

static inline const char *cnode_name(const struct cnode *n)
{
    return n->name;
}

/* Begin to connect. Records may be offered when it is opened. */
void cluster_open(struct writer *w);
void cluster_free(struct writer *w);

/* A request. */
enum put cluster_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* The same for an idempotent request of our own, which keeps the order as one of that flow would; behind:
 * bytes of the record that follows it. */
enum put cluster_put_own(struct writer *w, const struct rec *r, const uint8_t *request, uint32_t behind);

/* A position, or the end of a flow's full sync. */
void cluster_position(struct writer *w, const struct rec *r);

/* The session is void: drop what would be sent again, and whatever waits. */
void cluster_forget(struct writer *w);

/* Is there nothing on its way? */
bool cluster_quiet(const struct writer *w);

/* Units on their connections without a reply. */
unsigned cluster_in_flight(const struct cluster *cl);

/* Will something be heard of a connection, so that records may go that cannot go now? */
bool cluster_expects(const struct cluster *cl);

/* Whatever is due: connections, requests that go another way, bytes. */
void cluster_work(struct writer *w, uint64_t now);

/* Send what has gathered, if it is much. */
void cluster_push(struct writer *w);

/* Milliseconds until cluster_work has to be called; -1: not by itself. */
int cluster_timeout(const struct writer *w);

/* epoll says that connection number index is ready. */
void cluster_event(struct writer *w, unsigned index, uint32_t events);

/* What follows is between its parts.
 *
 * ---- answers.c ---- */

/* What a record's request is to its connection. */
extern const struct unit_calls cluster_request;

/* Something was carried out over this connection that will be counted on. */
void cluster_accepted(struct conn *c);

/* A request is done with; counted: it was carried out. */
void cluster_finish(struct writer *w, const struct cunit *u, bool counted);

/* The same for one of our own. */
void cluster_own_done(struct writer *w, const struct cunit *u);

/* What a server had confirmed is gone: nothing more is written, and the positions in the file do not count.
 */
void cluster_lost_data(struct conn *c, const char *reason);

/* Exactly once: the reply to the HSET of a slot's position, of so many fields besides w. */
void cluster_slot_written(struct conn *c, unsigned slot, unsigned fields, long long added);

/* It was carried out: for the summary. The same of a record that came at time, now (Unix epoch, us). */
void cluster_count(struct writer *w, const struct cunit *u);
void cluster_count_at(struct writer *w, bool live, uint8_t vclass, uint64_t time, uint64_t now);

/* It cannot be carried out. */
void cluster_unit_error(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                        size_t len);

/* A record is done with: its flow's position may go on. Not when the target refuses everything: it was not
 * carried out, and comes again when the session goes on. mark: of a live record. */
void cluster_passed(struct writer *w, bool live, unsigned flow, uint64_t mark);

/* Its connection was lost after it was sent, and sending it again may count twice. */
void cluster_doubtful(struct writer *w, const struct cunit *u, const uint8_t *bytes);

/* What an error reply says about where to go on. */
enum detour {
    DETOUR_NONE,  /* a data error, or fatal */
    DETOUR_AGAIN, /* the same node or whoever owns the slot, at *due */
    DETOUR_ASK,   /* *ask, once */
};
enum detour cluster_detour(struct conn *c, unsigned tries, const struct named *what, const char *text,
                           size_t len, uint64_t *due,
                           struct cnode **ask); /* what: NULL: a question of ours */

/* A question of ours was refused: where it does not pass the writer has failed. */
void cluster_question_refused(struct conn *c, const redisReply *r, const char *command);

/* ---- moved.c ---- */

/* Keep a request to be sent again, not before due. */
void cluster_displace(struct writer *w, const struct cunit *u, const uint8_t *bytes, uint64_t due,
                      struct cnode *ask);

/* The same in two steps: one that is to go as soon as it can. */
struct moved *moved_new(const struct cunit *u, const uint8_t *bytes);
void moved_enqueue(struct cluster *cl, struct moved *m);

void moved_work(struct cluster *cl, uint64_t now);
void moved_forget(struct cluster *cl);

/* ---- route.c ---- */

/* The database of a connection to a single server, which changes to it. What was sent goes before that, and
 * nothing behind it until it is answered, as it may be refused. in_turn: only when requests of others have
 * gone long enough, or none do. PUT_DONE: it is selected; PUT_FAIL: there is none. */
enum put cluster_want_db(struct conn *c, uint32_t db, bool in_turn);

/* Is a request of this database to go in a transaction that selects it, as its connection is in another one
 * and stays there? That costs no round trip. */
bool cluster_apart(const struct cluster *cl, unsigned slot, uint32_t db);

/* Does a single server have it? PUT_WAIT: that is being found out; PUT_FAIL: no. */
enum put cluster_db_known(struct cluster *cl, uint32_t db, unsigned slot);

/* A request of our own in a database that may be another than the connection's: in a transaction, as
 * otherwise it, or what comes behind, could be carried out in the wrong one. fn gets its reply. */
void cluster_call_in_db(struct conn *c, uint32_t db, call_fn *fn, void *arg, const void *request, size_t len);

/* The same for SCAN from a cursor. */
void cluster_scan(struct conn *c, uint32_t db, call_fn *fn, void *arg, const char *cursor, const char *count);

/* INFO keyspace says which databases there are. */
void cluster_take_dbs(struct cluster *cl, const char *info);

/* The connection for a slot, if it can be used now for len bytes; begins to connect where needed. */
struct conn *cluster_conn(struct cluster *cl, unsigned slot, size_t len);
bool cnode_missing(const struct cnode *n, unsigned slot); /* it was tried, and is not there */
struct conn *cnode_conn(struct cluster *cl, struct cnode *n, unsigned slot, size_t len);

/* Have each master asked that has not said all of its keys (swept), where its connection can be used now.
 * True: there is one. */
typedef void question_fn(struct cluster *cl, struct conn *c);
bool cluster_question_all(struct cluster *cl, question_fn *question);

/* The same for ask (NULL: the slot's owner), where alone says that nothing else may be in flight. */
struct conn *cluster_way(struct cluster *cl, struct cnode *ask, unsigned slot, size_t len, bool alone);

/* ---- slots.c ---- */

/* The slot of a request of which n bytes are there; at a single server a share of the keys of one database,
 * so that its position lies in the database of what it speaks of. */
unsigned cluster_scope(const struct writer *w, const struct rec *r, const uint8_t *request, size_t n);
#define SHARES     256u /* of a database */
#define SHARED_DBS 16u  /* those that have shares: what is in others is written at least once */

/* Is the slot kept for another flow, or everything closed? */
bool slot_closed(const struct cluster *cl, unsigned flow, unsigned slot);

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

/* ---- topology.c ---- */

/* The first node is a cluster's, and connected: ask it for the topology. */
void topology_first(struct cluster *cl);

/* Ask again, now or when the backoff allows. */
void topology_refresh(struct cluster *cl);
void topology_work(struct cluster *cl, uint64_t now);
void topology_lost(struct conn *c); /* a connection that may have been asked is gone */

/* A node by its address; made if it is not known. NULL: too many. */
struct cnode *topology_node(struct cluster *cl, const char *host, const char *port);

/* Where a node is. */
void topology_address(struct cnode *n, const char *host, const char *port);

/* A connection to a node that is none of the cluster's. */
struct conn *topology_conn(struct cluster *cl, struct cnode *n, const struct conn_calls *calls, size_t ring,
                           uint32_t units);

/* MOVED: the slot has another owner. */
void topology_moved(struct cluster *cl, unsigned slot, struct cnode *n);

/* ---- span.c ---- */

/* A PROGRAM record. */
enum put span_put(struct writer *w, const struct rec *r, const uint8_t *payload);
void span_work(struct cluster *cl, uint64_t now);
void spans_free(struct cluster *cl);

/* ---- flushes.c ---- */

/* Tell every master, which in database db where there are several. */
void flush_everywhere(struct cluster *cl, const void *request, size_t n, uint32_t db, enum purpose purpose);

/* A request without a key, which every master gets. Nothing else is on its way (cluster_alone). */
void cluster_everywhere(struct writer *w, const struct cunit *u, const uint8_t *bytes);

/* The flows of this scope stand at a barrier: flush every master, then let them go on. False: something of
 * these flows is on its way. */
bool cluster_flush(struct writer *w, int scope);

void flushes_work(struct cluster *cl);

/* ---- start.c ---- */

/* The counterpart of session_start: --on-existing, and what an epoch before left. */
enum put cluster_start(struct writer *w);

/* ---- replicas.c ---- */

/* Requests are held: ask replicas, if it is time. The connection is lost: so is what waited for them. */
void replicas_ask(struct conn *c);
void replicas_lost(struct conn *c);
void replicas_free(struct conn *c);

/* Ask for replicas' confirmation where --wait wants it, however long that takes, then call fn; without --wait
 * fn is called at once. ok: it is confirmed. Not ok: the connection was lost before: do it all again. */
typedef void safe_fn(struct conn *c, void *arg, bool ok);
void cluster_safe(struct conn *c, safe_fn *fn, void *arg);

#endif
