/* The handshake on the control connection, one request and one reply after the other.
 * dragonfly-replication(7), HANDSHAKE. */
#ifndef READER_HANDSHAKE_H
#define READER_HANDSHAKE_H

#include "../conn.h"
#include "../sessinfo.h"

struct handshake {
    unsigned step; /* whose reply is awaited */
    const struct url *url;
    char own_id[REPLID_LEN + 1];
    struct buf info;  /* reply to an INFO */
    char version[32]; /* "df-v1.40.1"; "": not told */
    long long omits;  /* writes that the master has left out of its journal; -1: not told */
};

/* Begin on an open connection. Returns 0, or -1 when it broke. */
int handshake_begin(struct handshake *h, struct conn *c, const struct url *u);

/* Take the reply that is in c->reply and send the next request. Returns 1 when the handshake is complete (s
 * has replid, lineage, session, flows, protocol and, where the master tells, dbs then), 0 when it goes on, -1
 * with f. */
int handshake_reply(struct handshake *h, struct conn *c, struct sessinfo *s, struct fault *f);

/* Decoders of single replies; they look at nothing else. */

/* REPLCONF capa dragonfly: replid, session, flows and, from newer masters, protocol and lineage.
 * dragonfly-replication(7), HANDSHAKE. own_id: ours, which must not be the master's. Returns 0, or -1 with f.
 */
int handshake_session(const char *own_id, const struct reply *r, struct sessinfo *s, struct fault *f);

/* INFO keyspace: which databases hold keys. A list too long for a control line is left out. */
void handshake_keyspace(const char *p, size_t n, struct sessinfo *s);

/* DFLY FLOW: FULL or, where going on was asked for, PARTIAL, and the EOF token. Returns 0, or -1 with f. */
int handshake_flow(const struct reply *r, bool may_go_on, bool *partial, char token[static TOKEN_LEN + 1],
                   struct fault *f);
/* total_journal_omits in a reply to INFO stats; -1: it is not there. */
long long handshake_omits(const char *stats);

/* An error reply, or one of an unexpected kind, to command: say what it means and what to do. */
void fault_reply(struct fault *f, const char *command, const struct reply *r);

#endif
