/* Replies of a connection, token by token: no more is in memory than one read returned, and a line. */
#ifndef READER_CONN_IN_H
#define READER_CONN_IN_H

#include "buf.h"
#include "../conn.h"
#include "resp_in.h"

struct conn_in {
    struct resp_in resp;
    struct buf b;
    size_t at;
};

/* Forget what was read: another connection. */
void conn_in_reset(struct conn_in *in);
void conn_in_free(struct conn_in *in);

/* Texts of the token are valid until the next call of conn_in_next or conn_in_fill. */
enum resp_got conn_in_next(struct conn_in *in, struct resp_token *t);

/* Read once. Returns 1, 0: nothing is there now, -1: the connection is gone (errno as conn_read). */
int conn_in_fill(struct conn_in *in, struct conn *c);

#endif
