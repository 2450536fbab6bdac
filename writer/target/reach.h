/* Finding a single target, or the first node of a cluster: by the hosts of the URL, one after the other, or
 * by asking sentinels, which are connections like others. Nothing here blocks but, after a failed start, the
 * check whether the server speaks TLS (500 ms). */
#ifndef RW_REACH_H
#define RW_REACH_H

#include <stdbool.h>
#include <stdint.h>

struct cnode;
struct conn;
struct nodes;

/* How an attempt to connect ended. */
enum loss {
    LOSS_AGAIN,   /* the connection is lost */
    LOSS_GONE,    /* nobody answers */
    LOSS_LATER,   /* it answers that it cannot now: LOADING and the like */
    LOSS_RIVAL,   /* another writer of the task is at work there */
    LOSS_UNKNOWN, /* the sentinels do not know the name */
    LOSS_FATAL,   /* trying again will not help */
};

struct reach {
    unsigned host;   /* of the URL, whose turn it is */
    unsigned tried;  /* in this round */
    bool named;      /* the first node has the address that is to be tried */
    bool reached;    /* somebody has answered, so that it is worth trying again */
    enum loss worst; /* of this round, and in words */
    char why[400];
    uint64_t give_up;        /* mono_us: of the first connection; 0: not yet set */
    struct conn **sentinel;  /* by host; NULL: none */
    struct cnode **asked_at; /* their nodes */
};

void reach_free(struct nodes *ns);

/* A connection wants to connect. Is its node's address known? If not, that is found out. */
bool reach_known(struct conn *c, uint64_t now);

/* An attempt to connect is over in vain. */
void reach_missed(struct conn *c);

/* A connection that was ready is lost. */
void reach_lost(struct conn *c);

#endif
