/* One target server: its connection, and the two ways to it. With a cluster there will be one a master.
 *
 *   single.c     its replies by what they are to, and what is due
 *   connect.c    handshake, and what has to be right after a connection was lost
 *   pipeline.c   path A: idempotent snapshot requests, pipelined freely, plain SETs gathered into MSET
 *   parts.c      path A: keys of the snapshot that come in several requests, gathered into MULTI/EXEC
 *   inflight.c   path A: keys in flight, and what was refused
 *   group.c      path B: everything else in MULTI/EXEC groups that carry the position
 *   node.c       the connection: room, refusals, databases
 *
 * Whatever is sent stays in the ring (or the group, or the big request's file) until its reply has been read.
 */
#ifndef RW_NODE_H
#define RW_NODE_H

#include <hiredis/read.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "collect.h"
#include "hashset.h"
#include "identity.h"
#include "record.h"
#include "patience.h"
#include "wire.h"

struct writer;

#define RING_SIZE      ((size_t)4 << 20)
#define UNITS_MAX      16384u
#define KEYS_MAX       32768u
#define MSET_KEYS      64u
#define MSET_BYTES     ((size_t)32 << 10)
#define MSET_SINGLE    ((size_t)8 << 10) /* larger ones go alone: nothing is gained by another copy */
#define GROUP_ITEMS    4096u
#define GROUP_MORE     1024u /* to complete a transaction, with a quarter of the bytes more */
#define GROUP_BYTES    ((size_t)1 << 20)
#define SEND_STEP      ((size_t)64 << 10)
#define POSITION_EVERY ((uint64_t)1000000) /* us between writes of positions that came without requests */
#define DBS_MAX        1024u               /* databases of which is remembered whether the target has them */
#define SELECT_AFTER   4096u /* requests in one database before another lane's database gets its turn */

/* What became of a record that was offered. */
enum put {
    PUT_DONE, /* taken */
    PUT_WAIT, /* cannot go now: offer it again after something was confirmed */
    PUT_FAIL, /* the writer has failed */
};

enum unit_kind { U_ONE, U_MSET, U_PARTS, U_SELECT, U_GROUP, U_INFO };

/* Something sent whose replies are awaited, in order. */
struct unit {
    uint32_t len;  /* bytes in the ring */
    uint16_t keys; /* path A: entries in the queue of keys */
    uint8_t kind;
    uint8_t keyarg;
};

/* A key on its way by path A, or one request of a unit of parts. */
struct inkey {
    uint32_t key; /* hashset_key */
    uint32_t len; /* of parts: bytes of the request */
    uint16_t flow;
    uint8_t vclass; /* counted under this class when confirmed; 0: not a (whole or first part of a) key */
    uint8_t keyarg;
    bool holds; /* key is in the set because of it */
    bool once;  /* it must not be executed twice, unless all of its unit is */
};

/* A request of the unit of parts that is being gathered. */
struct part {
    struct inkey k;
    uint32_t off;
    uint32_t first; /* of its key's requests in the unit: its number */
    bool resets;    /* what follows of its key does not depend on what was there before */
};

#define PARTS_MAX 4096u
#define PARTS_BYTES                                                                                          \
    (((size_t)1 << 20) + ((size_t)64 << 10)) /* a MiB of values in pieces, with what is around them */
#define PARTS_ENOUGH ((size_t)32 << 10)      /* a unit of whole keys need not grow further */
#define PARTS_BEHIND 16u
#define PARTS_MARGIN 64u /* bytes of MULTI and EXEC, and what an MSET needs */

struct parts {
    struct buf req; /* requests gathered */
    struct part *v; /* PARTS_MAX, from the first on */
    unsigned n;
    uint32_t
        behind[PARTS_BEHIND]; /* keys of it whose parts before are in flight: it waits for their replies */
    unsigned nbehind;
    uint32_t looked_at; /* bytes gathered when complete keys were looked for last */

    /* the unit whose replies are being read */
    unsigned replied; /* replies of it, MULTI's included */
    unsigned looked;  /* elements of EXEC's */
    uint64_t at;      /* where in the ring the next of these requests stands */
    bool retry;       /* a request of it was refused for the moment */
    bool broken;      /* MULTI was refused, or the target refuses everything */
    bool strange;     /* EXEC's reply holds one that its request cannot get */
    struct buf faults;
};

struct pipeline {
    struct inkey *key; /* ring of KEYS_MAX */
    uint32_t khead, kn;
    struct hashset set;   /* of keys in flight, gathered, or refused */
    uint32_t outstanding; /* units of this path in flight */
    struct buf mset;      /* pairs gathered, without the header */
    struct inkey mset_key[MSET_KEYS];
    unsigned mset_n;
    struct parts parts;
    struct buf again;      /* requests that were refused, in order */
    uint32_t again_db;     /* where they belong: a SELECT may have been on its way behind them */
    struct buf again_unit; /* struct unit */
    struct buf again_key;  /* struct inkey */
    size_t again_at, again_unit_at, again_key_at;
};

/* A request in a group. */
struct item {
    uint32_t off, len;
    uint32_t db;
    uint32_t key;
    uint64_t time;
    uint64_t seq, pos;
    uint32_t ticket; /* of splits.h */
    uint32_t probe;  /* of probes.h; 0: it is none */
    uint16_t flow;
    uint8_t keyarg;
    uint8_t vclass;
    bool holds; /* key is in the group's set because of this item */
    bool live;
    bool multikey;
    bool out; /* refused for good, or answered: not sent again */
    bool own; /* not a record's: nothing is counted */
    bool odd; /* it got a reply that it cannot get */
};

struct gpos {
    uint32_t flow;
    uint64_t seq, pos;
};

struct group {
    uint64_t id;
    struct buf req;
    struct item *item;
    unsigned n, cap;
    struct hashset set;
    bool multikey;  /* holds a request whose keys cannot be told: conflicts with everything */
    bool exclusive; /* a barrier or a big request, alone */
    bool barrier;
    int scope;       /* of that */
    struct big *big; /* the request of item 0, if it is a big one; owned */
    struct gpos *pos;
    unsigned npos, pos_cap;
    unsigned own;        /* the first of pos belong to records of the group, the rest were only to be saved */
    uint16_t *where;     /* flow -> index in pos + 1; 0: not there */
    bool single;         /* its requests go one by one, each with its position: see suspect.h */
    bool save;           /* also carries applied positions that were not written yet */
    unsigned open;       /* flows whose last record belongs together with their next (together.h) */
    bool loose;          /* it is sent without waiting for those */
    uint64_t held_since; /* mono_us: it waits for them only; 0: it does not */
};

struct groups {
    struct group slot[2];
    struct group *building;
    struct group *flying; /* NULL: none in flight */
    uint64_t next_id;
    bool resend;  /* flying was refused or its connection lost: send it again */
    int32_t *cmd; /* what the commands of flying are: index of an item, or below */
    unsigned ncmd, cmd_cap;
    unsigned replied; /* replies of flying read, MULTI's included */
    bool retry;       /* a reply of flying was a refusal that passes */
    bool broken;      /* MULTI itself was refused */
    int step;     /* of a group whose requests go one by one: the one in flight, unless it is the last; -1 */
    bool strange; /* the reply to EXEC holds one that its request cannot get */
    struct buf faults; /* struct fault + text: commands of flying refused when queued */
    bool dirty;        /* applied positions are newer than the key */
    bool save_now;
    uint64_t saved_at; /* mono_us of the last HSET */
    uint64_t *open;    /* flow -> group that its last record was put in, if its next one belongs there, too */
};

#define CMD_SELECT (-1)
#define CMD_HSET   (-2)

/* Databases that the target was seen to have, or not to have. */
struct dbs {
    uint32_t *known;
    bool *bad;
    unsigned n;
    unsigned next; /* learned so far */
};

struct target_info {
    char kind[16]; /* redis, valkey, dragonfly */
    char version[32];
    char compat[32]; /* redis_version */
    struct identity who;
    char role[16];
    bool cluster;
    unsigned rdb;
    uint64_t maxbulk;
    char modules[512];
};

struct node {
    struct writer *w;
    char host[256]; /* connected to */
    char port[8];
    struct wire wire;
    struct unit *unit; /* ring of UNITS_MAX */
    uint32_t uhead, un;
    struct pipeline a;
    struct groups b;
    uint32_t db;    /* what the server confirmed */
    bool selecting; /* SELECT select_db is in flight */
    uint32_t select_db;
    uint32_t since_select; /* requests of path A since the last SELECT */
    bool flush;            /* what is gathered has to go before another database can have its turn */
    bool allow_select;     /* nothing else can go: another database may have its turn at once */
    bool yield;            /* a group's record waits for path A to become empty */
    struct dbs dbs;
    struct target_info info;
    struct patience patience;
    uint64_t confirmed_a; /* units of path A confirmed in this session */
    uint8_t *chunk;       /* for sending a big request's file */
    size_t chunk_at, chunk_n;
    unsigned first; /* of the hosts in the URL: where to look first */
    bool reached;   /* somebody has answered, so that it is worth trying again */
    bool replica;   /* it refuses writes as a replica: to be explained */
    uint64_t now;   /* mono_us when node_work was called last */
    bool lost;
    bool dead; /* the target refuses everything: nothing more is sent */
    char lost_why[400];
    bool in_call;          /* while a question of ours was asked */
    bool blameless;        /* for another reason than what was in flight */
    unsigned losses;       /* in a row, see suspect.h */
    unsigned alone_losses; /* of these, with one request in flight */
    unsigned alone;        /* units that go one by one */
    unsigned given_up;     /* requests, with nothing confirmed since the first */
    bool progress;         /* something was confirmed on this connection */
    uint64_t lost_since;   /* mono_us of the first of a row of losses without progress; 0: none */
    unsigned lost_wait;    /* ms to wait before looking for the target again */
    uint64_t connected_at; /* mono_us */
};

void node_init(struct node *n, struct writer *w);
void node_free(struct node *n);

/* Space for one more unit and len bytes, besides what the gathered MSET and the group being built will need?
 */
bool node_room(const struct node *n, size_t len);

/* Append a unit whose len bytes were just added to the ring. */
void node_unit(struct node *n, enum unit_kind kind, size_t len, unsigned keys, unsigned keyarg);

/* Write what the socket takes. */
void node_send(struct node *n);

/* Read replies and act on them. */
void node_receive(struct node *n);

/* Whatever is due: refused requests, groups, positions, bytes. now: mono_us. */
void node_work(struct node *n, uint64_t now);

/* Milliseconds until node_work has to be called, -1: not by itself. */
int node_timeout(const struct node *n, uint64_t now);

/* Nothing in flight, gathered or refused. */
bool node_quiet(const struct node *n);

/* The connection cannot be used any more: note why; the main loop reconnects. */
void node_lose(struct node *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The target, or our rights there, are unusable: fail, and send nothing more. text: the server's words. */
void node_fatal(struct node *n, const char *event, const char *text, size_t len);

/* A refusal that passes: wait before anything is sent again. text: the server's words. */
struct named;
void node_refused(struct node *n, const struct named *what, const char *text, size_t len);

/* Something succeeded: the row of refusals is over. */
void node_succeeded(struct node *n);

/* See to it that db is the connection's. PUT_DONE: it is. PUT_WAIT: later. PUT_FAIL: the target does not have
 * it. */
enum put node_want_db(struct node *n, uint32_t db);

/* Send SELECT db; nothing may be sent behind it before its reply. There is room. */
void node_select(struct node *n, uint32_t db);

/* The reply to it. */
void node_select_reply(struct node *n);

/* 0 not yet known, 1 the target has it, -1 it has not. */
int node_db_state(const struct node *n, uint32_t db);
void node_db_learn(struct node *n, uint32_t db, bool has);

/* It has not: text are its words. */
void node_db_refused(struct node *n, uint32_t db, const char *text, size_t len);

/* ---- suspect_node.c, and node.c for what it needs ---- */

/* The connection is lost: what was in flight may be the reason. */
void suspect_lost(struct node *n);

/* Is something in flight that could be the reason? */
bool suspect_in_flight(const struct node *n);

/* Bytes of the ring that may be sent now: all, or those of the first unit, which waits for a pause to end. */
size_t suspect_sendable(const struct node *n);

/* The first unit was answered. */
void suspect_cleared(struct node *n);

/* It is connected again: the request that is found to be the reason becomes a data error. */
void suspect_judge(struct node *n);

/* ---- pipeline.c ---- */

void pipeline_init(struct pipeline *a);
void pipeline_free(struct pipeline *a);
enum put pipeline_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass);
void pipeline_flush(struct node *n); /* send what is being gathered, as far as it may go */

/* Bytes that are gathered, with what they need around them. */
static inline size_t pipeline_gathered(const struct pipeline *a)
{
    return a->mset.len + a->parts.req.len + PARTS_MARGIN;
}

/* Is anything of this key gathered, in flight or refused? */
static inline bool pipeline_holds(const struct pipeline *a, uint32_t key)
{
    for (unsigned i = 0; i < a->parts.nbehind; i++)
        if (a->parts.behind[i] == key)
            return true;
    return a->set.count > 0 && hashset_has(&a->set, key);
}

/* False: the unit is as before: the connection is lost, or it is to be sent again. */
bool pipeline_reply(struct node *n, const struct unit *u);
/* The first unit in flight becomes a data error, unless it can be sent in parts. Returns how many units are
 * to be sent instead. */
unsigned pipeline_give_up(struct node *n, const char *text, size_t len);
bool pipeline_divides(const struct node *n, const struct unit *u);
void pipeline_again(struct node *n);       /* send refused requests again */
bool pipeline_quiet(const struct node *n); /* nothing gathered, in flight or refused */
void pipeline_forget(struct node *n);      /* drop what is gathered and refused: the session is void */

/* ---- parts.c ---- */

void parts_free(struct parts *p);
/* Does this request of the snapshot, whose keys can be told, belong to a unit of parts? */
bool parts_want(const struct node *n, const struct rec *r, const uint8_t *payload);
enum put parts_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass);
void parts_flush(struct node *n);
void parts_reply(struct node *n); /* one top-level reply */
/* An element of the reply to EXEC. text: NULL when it has none. */
void parts_element(struct node *n, int element, int type, const char *text, size_t len);
bool parts_divide(const struct node *n, const struct unit *u);
unsigned parts_give_up(struct node *n, const struct unit *u, const char *text, size_t len);
void parts_forget(struct node *n);

/* ---- group.c ---- */

void groups_init(struct groups *b);
void groups_free(struct groups *b);
void groups_begin(struct node *n, unsigned flows); /* a session begins: size the tables */
enum put group_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass);
/* A request of our own that has to go before a record's; behind: that one's size, for which room is left. */
enum put group_put_own(struct node *n, const struct rec *r, const uint8_t *request, uint32_t behind);
enum put group_position(struct node *n, const struct rec *r);
void group_put_big(struct node *n, const struct rec *r, struct big *big, uint8_t vclass);
void group_put_barrier(struct node *n, int scope);
void group_work(struct node *n, uint64_t now);
void group_reply(struct node *n); /* one top-level reply */
/* What is inside the reply to EXEC, seen while that is read: the answer to command number element. */
void group_exec_error(struct node *n, int element, const char *text, size_t len);
void group_exec_reply(struct node *n, int element, int type, long long number);
void group_big_sent(struct node *n);      /* the file of a big request went out */
size_t group_room(const struct group *g); /* bytes it will take at most */
bool groups_quiet(const struct node *n);
bool groups_hold(const struct node *n, uint32_t key);
void groups_forget(struct node *n); /* drop what is not in flight: the session is void */

/* Its first request becomes a data error. */
void group_give_up(struct node *n, const char *text, size_t len);

/* Is the group in flight, or the step of it, in the target? seq: what the position key says of each flow. -1:
 * half of it. */
int group_applied(const struct node *n, const uint64_t *seq);

/* The connection was lost with a group in flight. applied: the position key says that it was executed. */
void group_settle(struct node *n, bool applied);

/* ---- connect.c ---- */

/* Connect, handshake, learn what the target is. False: w->status and a message are set. */
bool node_connect(struct node *n);

/* Connect again, find out what was applied, and line up the rest to be sent again. False: the writer has
 * failed. */
bool node_reconnect(struct node *n);

#endif
