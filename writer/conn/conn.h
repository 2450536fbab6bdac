/* A connection to a server: a master of a cluster, a single server, or a sentinel. Connecting and the
 * handshake are steps of the event loop, too; only the resolution of a name blocks.
 *
 *   line.c        requests out, replies in
 *   conn.c        a line and its connection
 *   conn_open.c   connecting, and how a connection is lost
 *   hello.c       the handshake
 *   route.c       what goes over which connection
 */
#ifndef RW_CONN_H
#define RW_CONN_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "hello.h"
#include "line.h"

struct cluster;
struct cnode;
struct nodes;

/* What a connection tells whoever has it. With greet known, held, lost and free may be NULL, and what comes
 * behind the usual handshake is not called. */
struct conn_calls {
    bool (*known)(struct conn *c, uint64_t now); /* is it known where to connect to? NULL: yes */
    void (*greet)(struct hello *h);              /* it is connected; NULL: the usual handshake */
    void (*missed)(struct conn *c); /* it did not become ready; loss and why say how that ended */
    void (*met)(struct hello *h);   /* it is known what the server is: all->target */
    void (*hello)(struct hello *h); /* in the handshake: what else is to be asked, */
    void (*last)(struct hello *h);  /* and that when other connections of the task were ended */
    void (*ready)(struct conn *c);
    void (*held)(struct conn *c); /* requests wait for replicas: time to ask them? */
    void (*lost)(struct conn *c); /* so is what waited for replicas */
    void (*free)(struct line *l);
};

struct conn {
    struct line line;
    struct hello hello;
    struct nodes *all;
    struct cluster *cl; /* whose units it has */
    const struct conn_calls *calls;
    unsigned index;   /* in the table of connections */
    bool explain;     /* it refuses writes as a replica: whose? */
    bool watched_out; /* epoll waits until the socket takes more */
    size_t large;     /* a request waits for so much room: smaller ones do not go before; 0: none does */

    bool unused; /* nobody took the turn to select a database in a round */

    bool was_ready;        /* once */
    unsigned turn;         /* attempts in vain: the next one begins with another address of the host */
    uint64_t barren_since; /* mono_us of the first of a row of losses without anything confirmed; 0: none */
    unsigned barren_ms;
    uint64_t opened;   /* mono_us: when connecting began, or when it was ready */
    uint64_t next_try; /* mono_us: do not connect before */
    unsigned wait_ms;
    uint64_t lost_at; /* mono_us */
    uint64_t said;    /* mono_us of the last message about being lost */
};

/* ring: bytes for unconfirmed requests, a power of two. */
struct conn *conn_new(struct nodes *all, const struct conn_calls *owner, struct cnode *node, unsigned index,
                      size_t ring, uint32_t units);
void conn_free(struct conn *c);

/* ---- conn_open.c ---- */

/* The handshake is done. */
void conn_ready(struct conn *c);

/* Begin to connect, if it is down and its time has come. */
void conn_want(struct conn *c, uint64_t now);

/* The socket of a connection that is being made has something to say. */
void conn_opening(struct conn *c);

/* After line_lose: close, give back the unconfirmed requests, plan the next try. */
void conn_settle(struct conn *c, uint64_t now);

/* Whatever time brings: a handshake or a reply that takes too long. */
void conn_tick(struct conn *c, uint64_t now);

#endif
