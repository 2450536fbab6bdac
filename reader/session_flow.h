/* What a session knows of its flows, wherever they are read. */
#ifndef READER_SESSION_FLOW_H
#define READER_SESSION_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "lineage.h"

struct peer;
struct stream;

struct session_flow {
    struct peer *process; /* with --session-only: that reads it, NULL: none has joined */
    bool up;              /* the source answered */
    bool anew;            /* its process: it was to go on, and begins here without a snapshot */
    bool cut;             /* a parser saw the end of its snapshot */
    bool synced;          /* a parser saw its changes begin */
    bool warned;          /* of its silence */
    bool blocked;         /* its output is full */
    bool full;            /* its process: so is the spool */
    bool away;            /* its connection was lost, and is being made again */
    unsigned reconnects;  /* so often it was */
    uint64_t head;        /* next position at the source, 0: not known */
    uint64_t bytes;
    uint64_t queued;             /* its process: bytes that wait for the output */
    uint64_t moved_at;           /* mono_us when bytes last changed */
    uint64_t idle_since;         /* it could have moved since then */
    uint64_t applied;            /* lowest position of the writers, 0: none */
    uint64_t acked;              /* position last passed on */
    char replid[REPLID_LEN + 1]; /* its process: of the flow's own master, "": it has none */
};

struct session_flows {
    struct session_flow *flow;
    unsigned n; /* 0: not known yet */
    unsigned up, cut, synced;
    unsigned partial; /* of those up */
};

/* n flows of which nothing is known; 0 frees them. */
void session_flows_reset(struct session_flows *t, unsigned n);

/* Take over what the flows of this process have read. */
void session_flows_refresh(struct session_flows *t, const struct stream *st);

/* They go on in the midst of their changes: none has a full sync before it. */
void session_flows_all_synced(struct session_flows *t);

/* The process that reads a flow has gone. */
void session_flows_forget(struct session_flows *t, const struct peer *p);

/* The flow of this epoch that a line of a peer speaks of, or NULL. */
struct session_flow *session_flows_find(struct session_flows *t, unsigned epoch, const char *line,
                                        unsigned *index);

/* Bytes that were read; *queued: that wait for the outputs of processes. */
uint64_t session_flows_bytes(const struct session_flows *t, uint64_t *queued);
unsigned session_flows_reconnects(const struct session_flows *t);

/* One that is up has no connection now; the spool of a process is full. */
bool session_flows_away(const struct session_flows *t);
bool session_flows_full(const struct session_flows *t);

#endif
