/* Which servers there are, the connections to them, and which of them has a slot: all that a connection knows
 * of its surroundings, and nothing of requests.
 *
 *   topology.c   which node has which slot
 *   route.c      which connection a request takes, and which database
 *   question.c   what a master is asked beside the requests of records
 *   reach.c      finding a single server, or the first node of a cluster
 *   conn/        the connections
 */
#ifndef RW_NODES_H
#define RW_NODES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../conn/conn.h"
#include "node.h"
#include "reach.h"
#include "slot.h"
#include "watch.h"

#define CNODES_MAX 1024u
#define NO_NODE    0xffffu
#define ROUND      ((uint64_t)20000) /* us between looks while something is not as it should be */

struct options;
struct outcome;
struct policy;
struct stats;
struct tls;

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
    char cursor[32]; /* of a SCAN */
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

struct nodes {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    struct events *events;
    struct policy *policy;          /* of other writers */
    struct node *target;            /* what it is */
    const struct tls *tls;          /* NULL: plain */
    struct cluster *cl;             /* of the connections */
    const struct conn_calls *calls; /* for them */

    bool opened; /* it is known what the target is, and records may go */
    bool slots;  /* a cluster; else one node */
    bool within; /* a transaction may SELECT: Dragonfly refuses that, and carries out the rest of it */
    bool whole;  /* of a single server: it is one scope, over one connection (whole.h) */
    bool stir;   /* something changed: look at everything that waits */
    struct reach reach;
    uint64_t needed_since; /* mono_us: something waits for a node that is not there; 0: nothing does */
    uint64_t needed_last;  /* mono_us: when that was seen last */

    struct cnode *node[CNODES_MAX];
    unsigned n;
    struct conn **conn;              /* all of them; index: epoll's tag */
    LIST_HEAD(, question) questions; /* without an answer yet (question.c) */
    unsigned nconn, conn_cap;
    uint16_t owner[SLOTS];

    /* databases of a single server */
    bool allow_select; /* nothing else can go: another database may have its turn at once */
    bool asking_db;    /* whether there is */
    uint32_t asked_db;
    uint32_t dbs[1024];   /* those that hold keys, */
    unsigned ndbs, at_db; /* and where a scan of them is */

    /* topology */
    uint64_t refresh_at;     /* mono_us; 0: no need */
    unsigned refresh_ms;     /* backoff */
    struct conn *refreshing; /* asked; NULL: nobody */
    uint64_t refresh_since;
    unsigned refresh_turn;
    uint64_t first_until; /* mono_us: by then the first one has to be whole */
    bool first_said;
};

static inline const char *cnode_name(const struct cnode *n)
{
    return n->name;
}

/* ---- engine.c ---- */

/* Units on their connections without a reply. */
unsigned nodes_in_flight(const struct nodes *ns);

/* Will something be heard of a connection, so that records may go that cannot go now? */
bool nodes_expect(const struct nodes *ns);

/* epoll says that connection number index is ready. */
void nodes_event(struct nodes *ns, unsigned index, uint32_t events);

/* ---- route.c ---- */

/* The database of a connection to a single server, which changes to it. What was sent goes before that, and
 * nothing behind it until it is answered, as it may be refused. in_turn: only when requests of others have
 * gone long enough, or none do. PUT_DONE: it is selected; PUT_FAIL: there is none. */
enum put cluster_want_db(struct conn *c, uint32_t db, bool in_turn);

/* Is a request of this database to go in a transaction that selects it, as its connection is in another one
 * and stays there? That costs no round trip. */
bool cluster_apart(const struct nodes *ns, unsigned slot, uint32_t db);

/* Does a single server have it? PUT_WAIT: that is being found out; PUT_FAIL: no. */
enum put cluster_db_known(struct nodes *ns, uint32_t db, unsigned slot);

/* A request of our own in a database that may be another than the connection's: in a transaction, as
 * otherwise it, or what comes behind, could be carried out in the wrong one. fn gets its reply. */
void cluster_call_in_db(struct conn *c, uint32_t db, call_fn *fn, void *arg, const void *request, size_t len);

/* The same for SCAN from a cursor. */
void cluster_scan(struct conn *c, uint32_t db, call_fn *fn, void *arg, const char *cursor, const char *count);

/* INFO keyspace says which databases there are. */
void cluster_take_dbs(struct nodes *ns, const char *info);

/* The connection for a slot, if it can be used now for len bytes; begins to connect where needed. */
struct conn *cluster_conn(struct nodes *ns, unsigned slot, size_t len);
bool cnode_missing(const struct cnode *n, unsigned slot); /* it was tried, and is not there */
struct conn *cnode_conn(struct nodes *ns, struct cnode *n, unsigned slot, size_t len);

/* Have each master asked that has not said all of its keys (swept), where its connection can be used now.
 * True: there is one. */
typedef void question_fn(void *arg, struct conn *c);
bool cluster_question_all(struct nodes *ns, question_fn *question, void *arg);

/* The same for ask (NULL: the slot's owner), where alone says that nothing else may be in flight. */
struct conn *cluster_way(struct nodes *ns, struct cnode *ask, unsigned slot, size_t len, bool alone);

/* ---- question.c ---- */

/* The answer of a node. r: NULL: it was lost, or refused, and the question is to be put again (where that
 * does not pass the run has failed). */
typedef void answer_fn(void *arg, struct cnode *n, const redisReply *r);

/* At the end: those that are not answered are forgotten. */
void questions_free(struct nodes *ns);

/* A question of two words, whose answer is a string. */
void node_ask(struct conn *c, answer_fn *fn, void *arg, const char *one, const char *two);

/* SCAN from where the node's cursor stands: the answer is an array of keys, and the cursor has gone on. "0":
 * it has come round. */
void node_scan(struct conn *c, uint32_t db, answer_fn *fn, void *arg, const char *count);
void node_scan_anew(struct cnode *n);

/* ---- topology.c ---- */

/* The first node is a cluster's, and connected: ask it for the topology. */
void topology_first(struct nodes *ns);

/* The servers are known: records may go. */
void nodes_open(struct nodes *ns);

/* Ask again, now or when the backoff allows. */
void topology_refresh(struct nodes *ns);
void topology_work(struct nodes *ns, uint64_t now);
void topology_lost(struct conn *c); /* a connection that may have been asked is gone */

/* A node by its address; made if it is not known. NULL: too many. */
struct cnode *topology_node(struct nodes *ns, const char *host, const char *port);

/* Where a node is. */
void topology_address(struct cnode *n, const char *host, const char *port);

/* A connection to a node that is none of the cluster's. */
struct conn *topology_conn(struct nodes *ns, struct cnode *n, const struct conn_calls *calls, size_t ring,
                           uint32_t units);

/* MOVED: the slot has another owner. */
void topology_moved(struct nodes *ns, unsigned slot, struct cnode *n);

#endif
