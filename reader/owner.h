/* The owner of a session: control connection to the master, control socket, and the flows, each of which is
 * local (a socket of this process) or remote (a flow process on the control socket). Private to owner.c (the
 * main loop and timers), session.c (the master), peers.c (the control socket), ending.c and status.c. */
#ifndef READER_OWNER_H
#define READER_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"
#include "handshake.h"
#include "hub.h"
#include "link.h"
#include "loop.h"
#include "options.h"
#include "output.h"
#include "relay.h"
#include "reread.h"
#include "resume.h"
#include "sessinfo.h"
#include "verify.h"

#define RESTARTS_MAX 20
#define US           ((uint64_t)1000000)
#define REREAD_GRACE (10 * US) /* ending: for keys that a parser still waits for */

enum phase {
    PHASE_CONNECT,  /* handshake on the control connection */
    PHASE_RESUME,   /* a writer is to say from where to go on */
    PHASE_FLOWS,    /* flows are being opened */
    PHASE_FULL,     /* DFLY SYNC sent; until all flows are cut */
    PHASE_STARTING, /* DFLY STARTSTABLE sent; until it is answered and all flows are synced */
    PHASE_STABLE,
    PHASE_ENDING, /* END is on its way; after a stop acknowledgements go on until the writers have gone */
    PHASE_LINGER, /* the last acknowledgements reach the master */
    PHASE_DONE,
};

/* The request on the control connection whose reply is awaited. */
enum await { AWAIT_NONE, AWAIT_HANDSHAKE, AWAIT_SYNC, AWAIT_STARTSTABLE, AWAIT_PING, AWAIT_OFFSETS };

/* What is wrong at present; each was said in the log when it began. */
enum alarm { ALARM_MASTER = 1, ALARM_FLOW = 2, ALARM_BARRIER = 4 };

/* Whether the session goes on where an earlier one ended. */
enum resync {
    RESYNC_OFF,      /* a full sync, or it is done */
    RESYNC_WAITING,  /* for the positions of the writer */
    RESYNC_ASKED,    /* the flows are asked to go on there; no FLOW record before that is decided */
    RESYNC_STARTING, /* all answered PARTIAL: STARTSTABLE is under way */
    RESYNC_DETOUR,   /* it was refused: DFLY SYNC comes first, once all FLOW records are written */
};

struct oflow {
    struct flow local;
    struct peer *remote; /* with --session-only: its process, NULL: none has joined */
    bool up;             /* the master answered */
    bool cut;            /* a parser saw opcode 200 */
    bool synced;         /* a parser saw the EOF token */
    uint64_t head;       /* next LSN at the master, 0: not known */
    bool warned;         /* of its silence */
    bool blocked;        /* remote: does not read, its output is full */
    bool full;           /* remote: so is its spool */
    uint64_t bytes;      /* remote: as it reported */
    uint64_t queued;     /* remote: bytes that wait for its output */
    uint64_t moved_at;   /* remote: when bytes last changed */
    uint64_t idle_since; /* it could have moved since then */
    uint64_t applied;    /* lowest position of the writers, 0: none */
    uint64_t told;       /* remote: position last sent to it */
};

struct owner {
    const struct options *o;
    struct loop loop;
    struct hub hub;
    struct output out;
    struct sessinfo info;
    struct link control;
    struct handshake handshake;
    enum phase phase;
    enum await await;
    uint64_t await_since;
    uint64_t phase_since;
    uint64_t sync_at; /* DFLY SYNC was sent; 0: not yet in this epoch */
    bool sync_ok;
    bool stable_ok;
    uint64_t pinged_at;
    uint64_t *heads; /* next LSN of each flow at the master, as it last said at heads_at */
    uint64_t heads_at;
    unsigned alarms;
    uint64_t barrier_since; /* a FLUSH waits at the writer, 0: none */

    struct oflow *flows; /* info.flows of them */
    unsigned up, cut, synced;
    unsigned partial, announced; /* of those up */
    enum resync resync;
    struct resume resume;
    const char *vector; /* its positions in one text */
    unsigned cursor;    /* flow that is read first in the next round */

    struct reread reread; /* of local flows */
    struct verify verify;

    bool restart_wanted;
    unsigned restarts;
    struct relay relay;

    struct fault pending; /* status 0: none; see owner_fail_soon */
    uint64_t pending_at;

    const char *stop_reason; /* stopping, but keys are still being read again: NULL not */
    int stop_status;
    uint64_t stop_at;
    bool graceful;            /* ending after a stop, not after a failure */
    uint64_t flushed_at;      /* END has left; 0: not yet */
    uint64_t writer_heard_at; /* last message of any writer */
    bool final_sent;          /* flow processes were told to close */
    bool shut;                /* lingering: our side of the flows is closed */
    bool output_reported;
    int status;
    unsigned signals_before; /* seen when the ending began */

    uint64_t begun_at;
    uint64_t progress_at;
    uint64_t progress_bytes;
};

/* owner.c: run the whole session. Returns the exit status. */
int owner_run(const struct options *o);

/* session.c */
void session_begin(struct owner *w);                             /* a new epoch: connect and shake hands */
void session_close(struct owner *w);                             /* close all connections to the master */
void session_cut(struct owner *w);                               /* one more flow is cut */
void session_synced(struct owner *w);                            /* one more flow is synced */
void session_flow_up(struct owner *w, unsigned i, bool partial); /* one more flow is up */
void session_open_flows(struct owner *w);
void session_startstable(struct owner *w);
void session_sync(struct owner *w);
int session_request(struct owner *w, enum await await, int n, const char *const *args);
void session_read_on(struct owner *w);
void session_verified(struct owner *w); /* verifying is over */

/* health.c */
void health_ping(struct owner *w, uint64_t now);
void health_pong(struct owner *w, bool offsets);    /* the master has answered */
void health_barrier(struct owner *w, bool pending); /* a FLUSH waits at the writer */
void health_check(struct owner *w, uint64_t now);   /* may end the session */
void health_reset(struct owner *w);
/* Names of what is wrong, with commas between. Returns whether there are any. */
bool health_alarms(const struct owner *w, struct buf *b);
uint64_t health_silent(const struct owner *w, const struct oflow *f, uint64_t now); /* µs in the full sync */

/* resync.c */
struct flow_ask resync_ask(struct owner *w, unsigned i);  /* what to ask for flow i */
void resync_open_remote(struct owner *w, struct peer *p); /* the same to its process */
void resync_line(struct owner *w, const char *line);      /* a writer speaks of positions */
void resync_deadline(struct owner *w, uint64_t now);      /* in PHASE_RESUME */
bool resync_flows_up(struct owner *w);                    /* all flows are; true: it goes on from here */
bool resync_flow_refused(struct owner *w);                /* one was answered by an error; true: as above */
bool resync_invalid_state(struct owner *w);               /* STARTSTABLE was; true: as above */
/* Bytes of a flow that goes on came before that answer: in one stream all FLOW records stand before them. */
void resync_bytes(struct owner *w);
void resync_stable(struct owner *w);    /* STARTSTABLE was answered by OK */
void resync_announced(struct owner *w); /* a flow process has written its FLOW record */

/* peers.c */
extern const struct hub_observer peers_template;
void peers_start_flow(struct owner *w, struct peer *p);
void peers_positions(struct owner *w, uint64_t now, bool at_once);
void peers_forget_positions(struct owner *w);

/* ending.c. owner_fail: nothing more can come; the END record says why. owner_stop: the END record stands
 * behind what was forwarded, and acknowledgements go on until the writers have gone. */
void owner_fail(struct owner *w, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void owner_stop(struct owner *w, const char *reason, int status);

/* By a signal or a message: before all flows are synced the full sync is not complete. */
void owner_stop_asked(struct owner *w);

/* Like owner_fail, where another stage has failed and said why: here that is no error of its own. */
void owner_follow(struct owner *w, int status, const char *why);

/* A connection to the master broke. When the process of one flow dies, the master closes all connections:
 * with flows in other processes, wait a moment for word of the true cause before failing for this one. */
void owner_fail_soon(struct owner *w, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Once nothing has to be read again, or that has taken too long: what owner_stop put off. */
void owner_stop_now(struct owner *w, uint64_t now);
void owner_output_died(struct owner *w);
void owner_spill_failed(struct owner *w);
void ending_step(struct owner *w, uint64_t now);

static inline bool owner_ending(const struct owner *w)
{
    return w->phase >= PHASE_ENDING;
}

/* status.c */
const char *phase_name(enum phase phase);
uint64_t flow_bytes(const struct owner *w, const struct oflow *f);
void status_begin(struct owner *w, struct peer *p);
void status_continue(struct owner *w, struct peer *p);
void status_progress(struct owner *w, uint64_t now);

#endif
