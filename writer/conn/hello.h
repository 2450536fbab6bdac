/* The handshake of a connection, and what it has told of the server. */
#ifndef RW_HELLO_H
#define RW_HELLO_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "../target/identity.h"

struct conn_calls;
struct line;
struct nodes;

struct hello {
    struct line *line;
    struct nodes *all;
    const struct conn_calls *calls;
    long long id;        /* CLIENT ID */
    struct identity who; /* of the server, when last connected */
    struct identity now; /* of the handshake that is under way */
    bool known;          /* who is */
    bool others;         /* the key of taken.h is there, and not ours */
};

/* It is connected. */
void hello_begin(struct hello *h);

/* A refusal in the handshake: the connection is lost, and where it does not pass the run has failed. */
void hello_refused(struct nodes *ns, struct line *l, const redisReply *r, const char *what);

#endif
