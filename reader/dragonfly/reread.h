/* Keys that a parser wants to see again: read from the master over an ordinary connection of their own, DUMP
 * and PTTL between two DFLY REPLICAOFFSET, or in a transaction with INFO replication, and put into the stream
 * as KEY records. dfrecord(5); dragonfly-replication(7), Reading a key again. */
#ifndef READER_REREAD_H
#define READER_REREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "../conn.h"
#include "../options.h"
#include "../output.h"
#include "spool.h"

struct request; /* a key that is wanted */

/* Replies come in this order for each request; the first only once per connection. Those from RR_MULTI to
 * RR_INFO come from a Redis, RR_FROM and RR_TO from a Dragonfly. */
enum reread_step {
    RR_AUTH,
    RR_SELECT,
    RR_MULTI,
    RR_QUEUED_INFO,
    RR_QUEUED_DUMP,
    RR_QUEUED_PTTL,
    RR_EXEC,
    RR_INFO,
    RR_FROM,
    RR_DUMP,
    RR_PTTL,
    RR_TO,
    RR_DONE
};

struct reread {
    const struct options *o;
    struct loop *loop;
    bool psync;       /* the source is a Redis: its offset is read in one transaction with the value */
    struct conn conn; /* opened when it is needed */
    STAILQ_HEAD(, request) queue;
    unsigned queued; /* requests in the queue */
    unsigned sent;   /* of these, from the head on, asked over this connection */
    uint64_t moved_at;
    uint16_t epoch;

    /* The reply that is coming in. */
    struct buf in; /* read, and taken up to in_at */
    size_t in_at;
    enum reread_step step;
    unsigned line_len, index; /* index: of the next element of an array */
    uint64_t array_left, bulk_left;
    bool in_bulk;
    char line[512];

    /* The answer to the request at the head. */
    struct spool value;
    uint64_t from, to;
    int64_t ttl;
    uint64_t ttl_at; /* now_us when it came */
    bool missing, head_out;
    bool away;       /* it may be where its slot goes */
    struct buf info; /* RR_INFO */
    char error[160];
};

void reread_init(struct reread *r, const struct options *o, struct loop *loop);

/* Drop all requests, the connection and all memory: a new epoch begins, or the end. */
void reread_reset(struct reread *r, uint16_t epoch);

/* The server is another one now: what was asked and not answered is asked there. */
void reread_move(struct reread *r);

/* Take a "reread" line for a flow of this process; a malformed one is ignored. */
void reread_ask(struct reread *r, unsigned flow, const char *line);

/* Ask, read answers, and write records as far as the output takes them. like: a connection to the master,
 * NULL: there is none. Returns true when there is more to do at once. */
bool reread_pump(struct reread *r, const struct conn *like, struct output *out);

#endif
