/* The control socket: who is connected to it and what they say. dfrecord(5), CONTROL PROTOCOL. */
#ifndef READER_CONTROL_H
#define READER_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "target_health.h"
#include "ctl.h"
#include "loop.h"

#define QUIET_PEERS ((uint64_t)60 * 1000000) /* µs: at the end, those that say nothing are not waited for */

enum role { ROLE_NONE, ROLE_PARSER, ROLE_WRITER, ROLE_FLOW, ROLE_SUPERVISOR, ROLE_COUNT };

struct control;
struct verify_count;

struct peer {
    TAILQ_ENTRY(peer) link;
    struct control *control;
    struct watch w;
    struct ctl ctl;
    enum role role;
    bool gone;       /* to be reaped */
    bool closing;    /* to be dropped once its output is sent */
    unsigned flow;   /* ROLE_FLOW */
    int status_next; /* next line of a status answer, -1: none is under way */
    bool failed;     /* ROLE_WRITER: it ends with an error, and has said which */
    uint64_t
        *applied; /* ROLE_WRITER: position per flow, 0: said nothing of it; ROLE_PARSER: 1: it is synced */
    unsigned napplied;           /* flows that applied has room for */
    unsigned nsynced;            /* ROLE_PARSER */
    struct verify_count *probed; /* ROLE_WRITER: its answers of each flow */
    unsigned nprobed;
    struct target_health health; /* ROLE_WRITER */
    uint64_t number;             /* of those that ever connected, from 2 */
    char *counters;              /* its last line of them; NULL: none */
    uint64_t counted_at;         /* mono_us of that */
    bool asks_counters;          /* the answer that is under way ends with the lines of all */
    uint64_t passed;             /* number of the peer whose line was the last */
};

/* What is done with it; ctx is control_open's. */
struct control_events {
    /* May the peer join? line is its hello. Answers itself and returns true; or returns false and *refusal
     * says why. */
    bool (*hello)(void *ctx, struct peer *p, const char *line, const char **refusal);
    void (*line)(void *ctx, struct peer *p, const char *line);
    void (*room)(void *ctx, struct peer *p); /* its socket takes more */
    void (*gone)(void *ctx, struct peer *p); /* is freed right after */
};

struct control {
    struct loop *loop;
    struct watch w;
    char path[108];
    char nonce[33];
    const struct control_events *events;
    void *ctx;
    TAILQ_HEAD(, peer) peers;
    unsigned count[ROLE_COUNT]; /* connected now */
    unsigned ever[ROLE_COUNT];  /* connected at any time */
    unsigned total;
    uint64_t numbers;      /* how many ever connected */
    bool no_room;          /* the last attempt to accept somebody failed */
    uint64_t paused_until; /* mono_us: no descriptors are left, nobody is accepted before; 0: not so */
};

/* Listen on path, or with NULL on a path of our own. c->nonce is made here. Returns 0, or -1 and in why what
 * is in the way; control_close may be called then, too. */
int control_open(struct control *c, struct loop *loop, const char *path, const struct control_events *events,
                 void *ctx, char *why, size_t cap);

/* Drop all peers, without calling gone, and remove the socket. */
void control_close(struct control *c);

/* What the writers say of their targets, together. */
struct target_health control_target_health(const struct control *c);

/* Send a line. A peer that cannot take it is dropped at the next reap. */
void control_send(struct peer *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Send text to all peers of a role. */
void control_send_role(struct control *c, enum role role, const char *text);

/* Free peers that have gone. Call it between two loop_wait. */
void control_reap(struct control *c);

const char *role_name(enum role role);

#endif
