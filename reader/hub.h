/* The control socket: who is connected to it and what they say. dfrecord(5), CONTROL PROTOCOL. */
#ifndef READER_HUB_H
#define READER_HUB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "condition.h"
#include "ctl.h"
#include "loop.h"

enum role { ROLE_NONE, ROLE_PARSER, ROLE_WRITER, ROLE_FLOW, ROLE_SUPERVISOR, ROLE_COUNT };

struct hub;

struct peer {
    TAILQ_ENTRY(peer) link;
    struct hub *hub;
    struct watch w;
    struct ctl ctl;
    enum role role;
    bool gone;         /* to be reaped */
    bool closing;      /* to be dropped once its output is sent */
    unsigned flow;     /* ROLE_FLOW */
    int status_next;   /* next line of a status answer, -1: none is under way */
    uint64_t *applied; /* ROLE_WRITER: position a flow, 0: said nothing of it */
    unsigned napplied;
    struct condition condition; /* ROLE_WRITER */
};

/* What the owner of the hub does with it. */
struct hub_observer {
    void *ctx;
    /* May the peer join? line is its hello. Answers itself and returns true; or returns false and *refusal
     * says why. */
    bool (*hello)(void *ctx, struct peer *p, const char *line, const char **refusal);
    void (*line)(void *ctx, struct peer *p, const char *line);
    void (*room)(void *ctx, struct peer *p); /* its socket takes more */
    void (*gone)(void *ctx, struct peer *p); /* is freed right after */
};

struct hub {
    struct loop *loop;
    struct watch w;
    char path[108];
    char nonce[33];
    const struct hub_observer *observer;
    TAILQ_HEAD(, peer) peers;
    unsigned count[ROLE_COUNT]; /* connected now */
    unsigned ever[ROLE_COUNT];  /* connected at any time */
    unsigned total;
};

/* Listen on path, or with NULL on a path of our own. Ends the process with status 1 when that fails. h->nonce
 * is made here. */
void hub_open(struct hub *h, struct loop *loop, const char *path, const struct hub_observer *observer);

/* Drop all peers, without calling gone, and remove the socket. */
void hub_close(struct hub *h);

/* Send a line. A peer that cannot take it is dropped at the next reap. */
void hub_send(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Send text to all peers of a role. */
void hub_send_role(struct hub *h, enum role role, const char *text);

/* Drop the peer once what was sent to it has left. */
void hub_finish(struct peer *p);

/* Free peers that have gone. Call it between two loop_wait. */
void hub_reap(struct hub *h);

const char *role_name(enum role role);

#endif
