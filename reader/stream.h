/* The raw records that a process writes: its output, the flows that it reads, and the end. A session has one
 * with all flows; with a process for each flow, each of these has one with its flow, and the session's own
 * stays empty. */
#ifndef READER_STREAM_H
#define READER_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "output.h"
#include "reply.h"
#include "resume.h"
#include "sessinfo.h"
#include "source.h"

#define US ((uint64_t)1000000)

enum flow_state {
    FLOW_DOWN,    /* not open */
    FLOW_OPENING, /* asked for */
    FLOW_UP,
    FLOW_LOST, /* the events' receiver was told */
};

/* How the bytes of a flow come: after a FULL answer; after PARTIAL changes at once, or, from Dragonfly v1.31
 * to v1.34, in the form of a full sync without keys; a file. */
enum flow_form { FORM_FULL, FORM_JOURNAL, FORM_SNAPSHOT, FORM_FILE };

struct flow {
    unsigned id;
    struct stream *stream;
    void *conn; /* the source's */
    enum flow_state state;
    struct flow_from from;     /* texts stay the caller's */
    bool partial;              /* the source goes on at from.pos */
    bool member;               /* of a cluster: its lineage keeps the id that it began with */
    bool skips;                /* where it cannot go on it begins here and now, without its snapshot */
    bool early;                /* its bytes may come before its FLOW record is written */
    bool announced;            /* that is written */
    bool refused;              /* lost since the source answered a question with from.pos by an error */
    char token[TOKEN_LEN + 1]; /* "": there is none */
    uint64_t begins;     /* of a full sync: position of the changes behind it, 0: they say it themselves */
    bool away;           /* up, but its connection was lost, and is being made again */
    unsigned reconnects; /* so often it was made again */
    uint64_t bytes;      /* of this epoch */
    uint64_t moved_at;   /* mono_us of the last bytes */
    uint64_t applied;    /* position to be acknowledged, 0 none */
    uint64_t acked;      /* position last sent */
    uint64_t acked_at;
};

/* What the session, or the process of one flow, is told. */
struct stream_events {
    void *ctx;
    void (*up)(void *ctx,
               struct flow *f); /* one without from.pos, that is no member, has its FLOW record already */
    void (*lost)(void *ctx, struct flow *f, const struct fault *why);
    void (*bytes)(void *ctx, struct flow *f); /* they are there and no FLOW record is: write it now */
    void (*asked_to_stop)(void *ctx);         /* by a signal */
    void (*failed)(void *ctx, int status, const char *why); /* the output, or the source in the process of a
                                                               flow; NULL: nobody else needs to know */
    void (*say)(void *ctx, const char *line);               /* to the session; NULL: it is in this process */
};

enum stream_state {
    STREAM_RUNS,
    STREAM_STOPPING, /* END waits for keys that are being read again */
    STREAM_ENDING,   /* END is on its way; flows are read and dropped */
    STREAM_ENDED,    /* it has left, and the output is closed; acknowledgements still go */
    STREAM_LINGER,   /* the last of them reach the source */
    STREAM_DONE,
};

struct stream {
    const struct options *o;
    const struct stream_events *events;
    struct loop loop;
    struct output out;
    struct source *source;
    struct sessinfo info;
    struct flow *flows;
    unsigned first, n; /* their ids */
    unsigned cursor;   /* the one that is read first in the next turn */
    bool more;         /* there is more to read at once */
    bool one_flow;     /* of a session in another process */
    unsigned restarts; /* for END */
    struct waited waited;
    enum stream_state state;
    int status;          /* exit status */
    char reason[16];     /* of END, while STREAM_STOPPING */
    uint64_t since;      /* mono_us: of STOPPING and LINGER */
    uint64_t flushed_at; /* END had left; 0: not yet */
    bool keep_open;      /* the output stays open though END has left */
    bool last;           /* nothing more will be confirmed */
    bool finished;       /* LINGER: our side of the flows is closed */
    bool reported;       /* that the output failed */
    bool asked_to_stop;
    unsigned signals_free;   /* so many do not end at once, though the end has begun */
    unsigned signals_before; /* seen when it began */
};

/* Make the source, open the output (none: there is none) and write the stream's header. Failures are in
 * st->state and st->status. s: see source.h. */
void stream_open(struct stream *st, const struct options *o, const struct source_kind *kind,
                 struct session *s, const struct stream_events *events, bool none);

/* One turn of the event loop, of at most timeout_ms. */
void stream_turn(struct stream *st, int timeout_ms);

/* Close the source and the output. Returns the exit status. The event loop stays until stream_free. */
int stream_close(struct stream *st);
void stream_free(struct stream *st);

/* Flows first to first + n - 1, all down; those before are closed and forgotten. */
void stream_set_flows(struct stream *st, unsigned first, unsigned n);
void stream_close_flows(struct stream *st);
void stream_open_flow(struct stream *st, struct flow *f, const struct flow_from *from);

/* The SESSION record with st->info; the FLOW record of a flow, once; a CHECK record. Returns 0, or -1: the
 * output has failed, which is noticed in the next turn. */
int stream_announce(struct stream *st);
int stream_announce_flow(struct flow *f, enum flow_form form);
int stream_check(struct stream *st, unsigned flow, const struct buf *text);

/* A further FLOW record: the lineage of a flow that is announced has changed. Returns likewise. */
int stream_announce_lineage(struct flow *f);

/* A SLOTS record, of at most DATA_MAX bytes; one of more than 256 not while a flow is being read. */
int stream_slots(struct stream *st, unsigned flow, const struct buf *text);

/* A COMMANDS record, of at most DATA_MAX bytes; the same holds for it. */
int stream_commands(struct stream *st, const struct buf *text);

/* Positions to the sources of the flows, where they are new and the last is a second old; at_once: or not. */
void stream_acknowledge(struct stream *st, uint64_t now, bool at_once);

/* END, behind what was read; first the keys that are being read again, up to 10 s. */
void stream_stop(struct stream *st, const char *reason, int status);

/* END now. text is cleaned for the log; level: how it is said there. */
void stream_fail(struct stream *st, enum log_level level, const char *reason, int status, char *text);

/* Nothing more will be confirmed: once END has left, let the last acknowledgements reach the source, and be
 * done. */
static inline void stream_finish(struct stream *st)
{
    st->last = st->more = true;
}

static inline bool stream_ending(const struct stream *st)
{
    return st->state >= STREAM_ENDING;
}

/* ---- for sources ---- */

void flow_up(struct flow *f);
void flow_lost(struct flow *f, const struct fault *why);

#endif
