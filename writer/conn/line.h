/* The requests on their way to a node over one connection. They are pipelined; each stays in the ring until
 * its reply has been read (with --wait: until replicas have it). Whoever sends a request, or judges its
 * reply, has the line; how it comes to be, what is known of the server, and when it is tried again: conn.h.
 */
#ifndef RW_LINE_H
#define RW_LINE_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../engine/patience.h"
#include "../target/reach.h"
#include "../target/suspect.h"
#include "record.h"
#include "wire.h"

struct cluster;
struct cnode;
struct conn;
struct hello;
struct line;
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

    CF_STEP = 0x0001,    /* a call of the handshake */
    CF_RESENT = 0x1000,  /* it may have been carried out already: its connection was lost behind it */
    CF_GUARDED = 0x2000, /* of --on-existing skip or fail; mark is its ticket (splits.h) */
    CF_AGAIN = 0x4000,   /* it was sent before, and its reply is lost */
    CF_OWN = 0x8000,     /* not a record's: nothing is counted, and no position waits for it */
};

_Static_assert((CF_RECORD & ~RF_ALL) == 0 && (CF_RECORD & CF_STEP) == 0 && (RF_ALL & CF_RESENT) == 0,
               "flags of records and of units");

/* The reply to one of our own requests. r: NULL when the connection was lost before it came; freed by the
 * caller. */
typedef void call_fn(struct line *l, void *arg, const redisReply *r);

/* The same of a request in the handshake. */
typedef void step_fn(struct hello *h, const redisReply *r);

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

/* A request on its way. What it needs to be sent again, elsewhere, is here and in the bytes of the ring. */
struct cunit {
    uint64_t time; /* of the record */
    uint64_t mark; /* its place among the live records of its flow */
    const struct unit_calls *calls;
    union {
        call_fn *fn;
        step_fn *step; /* CF_STEP */
    };
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

/* What a line asks of its connection. */
struct line_calls {
    void (*lost)(struct conn *c);                    /* it cannot be used any more */
    void (*broken)(struct conn *c, const char *why); /* the wire is: that has to be said with line_lose */
    void (*held)(struct conn *c);                    /* requests wait for replicas: time to ask them? */
    void (*step)(struct conn *c, step_fn *fn, const redisReply *r); /* the reply to one of the handshake */
    void (*greeted)(struct conn *c);                                /* the handshake is done */
    void (*goes_on)(struct conn *c); /* what was refused for a while is carried out again */
    void (*pause)(struct conn *c, const struct named *what, const char *text, size_t len); /* line_pause */
};

struct line {
    const struct line_calls *calls;
    struct conn *conn; /* for these, and for those of units */
    struct cnode *node;
    enum conn_state state;
    struct wire wire;

    struct cunit *unit; /* ring of cap entries */
    uint32_t cap, uhead, un;
    uint32_t replied; /* of these, units at the front whose replies have come */
    size_t replied_bytes;
    struct cunit big; /* of kind CU_BIG while its bytes are being sent, else 0 */
    uint64_t big_at;  /* where in the ring it stands */
    bool awaited;     /* a request that has to go alone waits until nothing is in flight */
    bool probing;     /* it is what is in flight, if anything is */

    uint32_t db;           /* selected */
    uint32_t since_select; /* requests since then; 0: whoever wanted it has his turn */
    bool selecting;
    uint32_t select_db;
    uint64_t select_at; /* mono_us: when the last SELECT was sent */
    uint64_t stay;      /* mono_us: it costs too much to change the database again before */

    bool waits;               /* --wait: what the master has carried out does not count yet */
    uint32_t held;            /* units at the front that wait for replicas */
    uint32_t since_wait;      /* confirmed by the master since the last WAIT was sent */
    bool waiting;             /* WAIT is in flight */
    STAILQ_HEAD(, safe) safe; /* of our own requests, those that wait for replicas */
    struct patience patience;

    uint64_t said_not; /* mono_us of the last message that the server is not ready */
    bool spoke;        /* a reply came */
    bool fruitful;     /* something was confirmed since it was ready */
    uint64_t done;     /* requests confirmed over it */
    bool restarted;    /* another run of the server since, and nobody said that another node took over */

    bool lost; /* noticed: conn_settle clears up */
    char why[400];
    enum loss loss;  /* of an attempt to connect */
    bool blameless;  /* for another reason than what was in flight */
    bool lost_alone; /* one request was in flight */
    bool misled;     /* for the reply to a question of ours */
};

/* ring: bytes for unconfirmed requests, a power of two. */
void line_init(struct line *l, size_t ring, uint32_t units, uint64_t *bytes_out);
void line_free(struct line *l);

static inline bool line_room(const struct line *l, size_t len)
{
    return ring_room(&l->wire.ring) >= len + 1024;
}

/* May a request of len bytes be sent now? */
static inline bool line_takes(const struct line *l, size_t len)
{
    return l->state == CONN_READY && !l->lost && l->patience.until == 0 && !l->selecting &&
           l->big.calls == NULL && l->un + 8 < l->cap && !l->awaited && (!l->probing || l->un == 0) &&
           line_room(l, len);
}

/* Append a unit with its bytes, which is to be filled in but for its len. The caller has looked at
 * line_takes.
 */
struct cunit *line_append(struct line *l, const void *bytes, size_t len);

/* The same for one that is filled in. */
void line_add(struct line *l, const struct cunit *u, const void *bytes, size_t len);

/* More bytes of the unit that was appended last. */
void line_more(struct line *l, const void *bytes, size_t len);

/* ASKING: the next request is for a slot that comes to this node. */
void line_asking(struct line *l);

/* Send a request of our own; fn gets the reply. The arguments end with NULL. */
void line_call(struct line *l, call_fn *fn, void *arg, ...) __attribute__((sentinel));
void line_call_raw(struct line *l, call_fn *fn, void *arg, const void *request, size_t len);

/* The same in the handshake. */
void line_ask(struct line *l, step_fn *fn, ...) __attribute__((sentinel));

/* The same as line_call_raw where the reply may have at most so many bytes: a longer one becomes an error. */
void line_call_most(struct line *l, call_fn *fn, void *arg, const void *request, size_t len, size_t most);

/* Write what the socket takes; read replies and act on them. */
void line_send(struct line *l);
void line_receive(struct line *l);

/* The server refuses what (NULL: it is not known) for the moment: wait before anything is sent again. */
static inline void line_pause(struct line *l, const struct named *what, const char *text, size_t len)
{
    l->calls->pause(l->conn, what, text, len);
}

/* Units at the front whose replies have come are done with. */
void line_release(struct line *l);

/* The connection cannot be used any more: remember why. conn_settle does the rest. */
void line_lose(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Is the reply of one of these types (REPLY_BIT), or an error? If not, the connection is lost. */
bool line_expects(struct line *l, const redisReply *r, unsigned types, const char *what);

/* Units without a reply. */
static inline unsigned line_in_flight(const struct line *l)
{
    return l->un - l->replied;
}

/* The same as far as they were sent, transactions as one. *ours: of these, our own questions. */
unsigned line_sent(const struct line *l, unsigned *ours);

/* It is lost: give the units back, and begin anew; lost is left as it is. */
void line_give_back(struct line *l);
void line_reset(struct line *l);

#endif
