/* A connection to a server: a master of a cluster, a single server, or a sentinel. Requests are pipelined;
 * each stays in the ring until its reply has been read (with --wait: until replicas have it). Connecting and
 * the handshake are steps of the event loop too; only the resolution of a name blocks.
 *
 *   conn.c        bytes out, replies in, units
 *   conn_open.c   connecting, the handshake, and how a connection is lost
 *   route.c       what goes over which connection
 */
#ifndef RW_CONN_H
#define RW_CONN_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../target/identity.h"
#include "../engine/patience.h"
#include "../target/reach.h"
#include "../target/suspect.h"
#include "record.h"
#include "wire.h"

struct cluster;
struct cnode;
struct nodes;
struct conn;
struct safe;

enum conn_state { CONN_DOWN, CONN_CONNECTING, CONN_HELLO, CONN_READY };

enum cunit_kind {
    CU_ONE,    /* a record's request */
    CU_GONE,   /* it was refused, and goes another way now */
    CU_CALL,   /* a request of ours: its reply goes to a function */
    CU_SKIP,   /* ASKING */
    CU_BIG,    /* a request from a file */
    CU_QUEUED, /* MULTI and the requests of a bundle (bundle.h); mark: replies to come */
    CU_EXEC,   /* its end, which stands for all of it */
};

/* The first ones are a record's, unchanged. */
enum cunit_flag {
    CF_PLAINSET = RF_PLAINSET, /* a SET without options: only a status fits */
    CF_IDEMPOTENT = RF_IDEMPOTENT,
    CF_FIRST = RF_FIRST,
    CF_LIVE = RF_LIVE,
    CF_ALONE = RF_MULTIKEY, /* no other unit of its slot may be under way */
    CF_RECORD = CF_PLAINSET | CF_IDEMPOTENT | CF_FIRST | CF_LIVE | CF_ALONE,

    CF_RESENT = 0x1000,  /* it may have been carried out already: its connection was lost behind it */
    CF_GUARDED = 0x2000, /* of --on-existing skip or fail; mark is its ticket (splits.h) */
    CF_AGAIN = 0x4000,   /* it was sent before, and its reply is lost */
    CF_OWN = 0x8000,     /* not a record's: nothing is counted, and no position waits for it */
};

_Static_assert((CF_RECORD & ~RF_ALL) == 0 && (RF_ALL & CF_RESENT) == 0, "flags of records and of units");

/* The reply to one of our own requests. r: NULL when the connection was lost before it came; freed by the
 * caller. */
typedef void call_fn(struct conn *c, void *arg, const redisReply *r);

struct cunit;

/* How far a unit had got when its connection was lost. */
struct unit_loss {
    bool sent;     /* a byte of it went out */
    bool answered; /* its reply had come */
    bool begun;    /* of a bundle's end: its MULTI went out */
};

/* What a unit means to whoever sent it. All but reply may be NULL. */
struct unit_calls {
    /* Its reply stands in the wire. True: it counts as carried out, once (with --wait) replicas have it. */
    bool (*reply)(struct conn *c, struct cunit *u, const uint8_t *bytes);
    void (*element)(const struct cunit *u, int at, int type, const char *text, size_t len,
                    long long number); /* of a reply that is an array */
    void (*confirmed)(struct conn *c, const struct cunit *u);
    void (*lost)(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how);

    /* To send it again, or not (moved.c). Its size, and sending it, where it has more than its bytes. */
    size_t (*size)(const struct cunit *u);
    void (*transmit)(struct conn *c, const struct cunit *u);
    void (*drop)(struct cluster *cl, const struct cunit *u);
    void (*fail)(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                 size_t len);

    /* Of one whose bytes do not go through the ring: the next ones (false: there are no more), how many went.
     */
    bool (*bytes)(void *arg, const uint8_t **p, size_t *n);
    void (*sent)(void *arg, size_t n);
};

/* What a connection tells whoever has it. With greet known, held, lost and free may be NULL, and what comes
 * behind the usual handshake is not called. */
struct conn_calls {
    bool (*known)(struct conn *c, uint64_t now); /* is it known where to connect to? NULL: yes */
    void (*greet)(struct conn *c);               /* it is connected; NULL: the usual handshake */
    void (*missed)(struct conn *c); /* it did not become ready; loss and why say how that ended */
    void (*met)(struct conn *c);    /* it is known what the server is: all->target */
    void (*hello)(struct conn *c);  /* in the handshake: what else is to be asked, */
    void (*last)(struct conn *c);   /* and that when other connections of the task were ended */
    void (*ready)(struct conn *c);
    void (*held)(struct conn *c); /* requests wait for replicas: time to ask them? */
    void (*lost)(struct conn *c); /* so is what waited for replicas */
    void (*free)(struct conn *c);
};

/* A request on its way. What it needs to be sent again, elsewhere, is here and in the bytes of the ring. */
struct cunit {
    uint64_t time; /* of the record */
    uint64_t mark; /* its place among the live records of its flow */
    const struct unit_calls *calls;
    call_fn *fn;
    void *arg;
    uint32_t len; /* bytes in the ring */
    uint32_t key; /* hashset_key; 0: none */
    uint32_t db;
    uint16_t flow;
    uint16_t slot;
    uint16_t flags;
    uint8_t kind;
    uint8_t vclass;
    uint8_t keyarg;
    uint8_t tries;  /* redirections and refusals so far */
    uint32_t probe; /* of probes.h; 0: it is none */
    struct plight plight;
};

struct conn {
    struct nodes *all;
    struct cluster *cl; /* whose units it has */
    const struct conn_calls *calls;
    struct cnode *node;
    unsigned index; /* in the table of connections */
    struct wire wire;
    enum conn_state state;
    bool lost;      /* noticed: conn_settle clears up */
    bool blameless; /* for another reason than what was in flight */
    bool spoke;     /* a reply came */
    bool explain;   /* it refuses writes as a replica: whose? */
    enum loss loss; /* of an attempt to connect */
    unsigned turn;  /* attempts in vain: the next one begins with another address of the host */
    char why[400];
    bool watched_out;   /* epoll waits until the socket takes more */
    struct cunit *unit; /* ring of cap entries */
    uint32_t cap, uhead, un;
    uint32_t replied; /* of these, units at the front whose replies have come */
    size_t replied_bytes;
    size_t large;        /* a request waits for so much room: smaller ones do not go before; 0: none does */
    uint32_t held;       /* of these, requests that wait for replicas */
    uint32_t since_wait; /* confirmed by the master since the last WAIT was sent */
    bool waiting;        /* WAIT is in flight */
    STAILQ_HEAD(, safe) safe; /* of our own requests, those that wait for replicas */
    uint32_t db;              /* selected */
    bool selecting;
    uint32_t select_db;
    uint32_t since_select; /* requests since then; 0: whoever wanted it has his turn */
    uint64_t select_at;    /* mono_us: when the last SELECT was sent */
    uint64_t stay;         /* mono_us: it costs too much to change the database again before */
    bool unused;           /* nobody took the turn in a round */
    struct cunit big;      /* of kind CU_BIG while its bytes are being sent, else 0 */
    uint64_t big_at;       /* where in the ring it stands */
    bool awaited;          /* a request that has to go alone waits until nothing is in flight */
    bool probing;          /* it is what is in flight, if anything is */
    bool lost_alone;       /* when it was lost one request was in flight */
    bool misled;           /* it was lost for the reply to a question of ours */
    bool fruitful;         /* something was confirmed since it was ready */
    uint64_t barren_since; /* mono_us of the first of a row of losses without that; 0: none */
    unsigned barren_ms;

    long long id;        /* CLIENT ID */
    struct identity who; /* of the server, when last connected */
    struct identity now; /* of the handshake that is under way */
    bool known;          /* who is */
    bool was_ready;      /* once */
    uint64_t done;       /* requests confirmed over it */
    bool others;         /* the key of taken.h is there, and not ours */
    bool restarted;      /* another run since, and nobody said that another node took over */
    uint64_t opened;     /* mono_us: when connecting began, or when it was ready */
    uint64_t next_try;   /* mono_us: do not connect before */
    unsigned wait_ms;
    uint64_t lost_at;  /* mono_us */
    uint64_t said;     /* mono_us of the last message about being lost */
    uint64_t said_not; /* the same about not being ready */

    struct patience patience;
};

/* ring: bytes for unconfirmed requests, a power of two. */
struct conn *conn_new(struct nodes *all, const struct conn_calls *owner, struct cnode *node, unsigned index,
                      size_t ring, uint32_t units);
void conn_free(struct conn *c);

static inline bool conn_room(const struct conn *c, size_t len)
{
    return ring_room(&c->wire.ring) >= len + 1024;
}

/* May a request of len bytes be sent now? */
static inline bool conn_takes(const struct conn *c, size_t len)
{
    return c->state == CONN_READY && !c->lost && c->patience.until == 0 && !c->selecting &&
           c->big.calls == NULL && c->un + 8 < c->cap && !c->awaited && (!c->probing || c->un == 0) &&
           conn_room(c, len);
}

/* Append a unit with its bytes, which is to be filled in but for its len. The caller has looked at conn_takes. */
struct cunit *conn_append(struct conn *c, const void *bytes, size_t len);

/* The same for one that is filled in. */
void conn_add(struct conn *c, const struct cunit *u, const void *bytes, size_t len);

/* More bytes of the unit that was appended last. */
void conn_more(struct conn *c, const void *bytes, size_t len);

/* ASKING: the next request is for a slot that comes to this node. */
void conn_asking(struct conn *c);

/* Send a request of our own; fn gets the reply. The arguments end with NULL. */
void conn_call(struct conn *c, call_fn *fn, void *arg, ...) __attribute__((sentinel));
void conn_call_raw(struct conn *c, call_fn *fn, void *arg, const void *request, size_t len);

/* The same where the reply may have at most so many bytes: a longer one becomes an error. */
void conn_call_most(struct conn *c, call_fn *fn, void *arg, const void *request, size_t len, size_t most);

/* Write what the socket takes; read replies and act on them. */
void conn_send(struct conn *c);
void conn_receive(struct conn *c);

/* The server refuses what (NULL: it is not known) for the moment: wait before anything is sent again. */
void conn_pause(struct conn *c, const struct named *what, const char *text, size_t len);

/* Units at the front whose replies have come are done with. */
void conn_release(struct conn *c);

/* The connection cannot be used any more: remember why. conn_settle does the rest. */
void conn_lose(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A refusal in the handshake: the connection is lost, and where it does not pass the run has failed. */
void conn_refused(struct conn *c, const redisReply *r, const char *what);

/* Is the reply of one of these types (REPLY_BIT), or an error? If not, the connection is lost. */
bool conn_expects(struct conn *c, const redisReply *r, unsigned types, const char *what);

/* ---- conn_open.c ---- */

/* Begin to connect, if it is down and its time has come. */
void conn_want(struct conn *c, uint64_t now);

/* The socket of a connection that is being made has something to say. */
void conn_opening(struct conn *c);

/* After conn_lose: close, give back the unconfirmed requests, plan the next try. */
void conn_settle(struct conn *c, uint64_t now);

/* Whatever time brings: a handshake or a reply that takes too long. */
void conn_tick(struct conn *c, uint64_t now);

#endif
