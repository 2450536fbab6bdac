/* A session: one source from its first byte to the end, in epochs where it has to be begun anew. It knows its
 * flows, wherever they are read, and how far parsers and writers are with them; it owns the control socket.
 *
 *   session.c       the state, and what sources and peers report; failing and stopping
 *   session_flow.c  what is known of its flows
 *   flows.c         what flows are told: those of this process by calls, those of others by lines
 *   messages.c      what peers say on the control socket
 *   health.c        what does not go on
 *   status.c        answers to "status"
 *   run.c           the whole of it: turns of the event loop, the end */
#ifndef READER_SESSION_H
#define READER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "control.h"
#include "options.h"
#include "resume.h"
#include "session_flow.h"
#include "source.h"
#include "stream.h"

enum phase {
    PHASE_CONNECT,  /* the source is being opened */
    PHASE_RESUME,   /* a writer is to say from where to go on */
    PHASE_FLOWS,    /* flows are being opened */
    PHASE_FULL,     /* full sync: until all flows are cut */
    PHASE_STARTING, /* changes were asked for: until all flows are synced */
    PHASE_STABLE,
};

/* What is wrong at present; each was said in the log when it began. */
enum alarm { ALARM_FLOW = 1, ALARM_BARRIER = 2 };

struct session {
    const struct options *o;
    struct stream stream;
    struct control control;
    bool listening; /* the control socket is open */
    enum phase phase;
    uint64_t phase_since;
    uint64_t full_since; /* the full sync was asked for; 0: not yet in this epoch */
    uint64_t size;       /* bytes that the source has, 0: not known */

    struct session_flows flows;
    bool live;              /* changes come: positions are passed on */
    bool read_on;           /* the source wants all to be read */
    uint64_t barrier_since; /* a FLUSH waits at the writer, 0: none */
    unsigned alarms;

    struct resume resume;

    bool restart_wanted;
    unsigned tries;       /* restarts since all flows were synced */
    struct fault pending; /* status 0: none; see session_fail_soon */
    uint64_t pending_at;
    bool orderly;            /* stopped, not failed: the writers are waited for */
    bool complete;           /* ... since all was read */
    bool processes_told;     /* to close */
    uint64_t heard_at;       /* last message of a parser or writer */
    uint64_t came_at;        /* the reader of the output took its first byte; 0: not yet */
    uint64_t parser_gone_at; /* before its flow was synced, and that was not said yet; 0: none */

    char target[CTL_LINE_MAX]; /* newest line "target" of a writer, for parsers; "": none */
    char limit[128];           /* newest line "limit" of a supervisor, for writers */
    uint64_t begun_at;
    uint64_t progress_at, progress_bytes;
};

/* run.c: the whole session. Returns the exit status. */
int session_run(const struct options *o, const struct source_kind *kind);

/* ---- session.c ---- */

static inline bool session_ending(const struct session *s)
{
    return stream_ending(&s->stream);
}

/* For the status. */
const char *session_phase(const struct session *s);

/* A new epoch. */
void session_begin(struct session *s);

/* For sources: another phase; the source is open, stream.info says what it is. */
void session_enter(struct session *s, enum phase phase);
void session_opened(struct session *s);

/* Whether all is read, however full the output: on, or as long as a barrier is pending. */
void session_read_on(struct session *s, bool on);
void session_barrier(struct session *s, bool pending);

/* What became of flows; a parser saw the cut, or that changes have begun. */
void session_flow_up(struct session *s, unsigned i, bool partial);
void session_flow_cut(struct session *s, unsigned i, bool synced);

/* A writer speaks of positions: lines resume, from. */
void session_positions(struct session *s, const char *line);

/* A flow that was to go on was answered by an error. True: it goes on from here. */
bool session_flow_refused(struct session *s);

/* It cannot go on; begin anew with a full sync where that is allowed. reason: a word of the SESSION record.
 */
void session_full_resync(struct session *s, const char *reason);

/* Nothing more can come; the END record says why. */
void session_fail(struct session *s, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, where another stage has failed and said why: here that is no error of its own. */
void session_follow(struct session *s, int status, const char *why);

/* The same for a connection that broke. When the process of one flow dies, a master closes all connections:
 * with flows in other processes, wait a moment for word of the true cause. */
void session_fail_soon(struct session *s, const struct fault *f);
void session_check_pending(struct session *s, uint64_t now);

/* END stands behind what was read, and acknowledgements go on until the writers have gone. */
void session_stop(struct session *s, const char *reason, int status);

/* By a signal or a message: before all flows are synced the full sync is not complete. */
void session_asked_to_stop(struct session *s);

/* ---- flows.c ---- */

/* As many as stream.info says, none of them open. */
void flows_reset(struct session *s);

/* Open all of them. With processes: tell each what the session is; open those that go on. */
void flows_open(struct session *s);
void flows_start_processes(struct session *s);

/* A process has joined. */
void flows_start_process(struct session *s, struct peer *p);

void flows_announce(struct session *s, enum flow_form form);
void flows_acknowledge(struct session *s, bool at_once);
void flows_read_on(struct control *c, struct output *out, bool on);

/* The source is another server now (info->server): told to flow processes. */
void flows_moved(struct control *c, const struct sessinfo *info);
void flows_reread(struct session *s, unsigned i, const char *line);

/* A CHECK or SLOTS record into the flow's stream: lines name=value, at most flows_check_max bytes. */
void flows_record(struct session *s, unsigned i, enum rec_type type, const struct buf *text);

static inline void flows_check(struct session *s, unsigned i, const struct buf *text)
{
    flows_record(s, i, REC_CHECK, text);
}

size_t flows_check_max(const struct options *o);

/* Is there room for more than is necessary? */
bool flows_room(struct session *s);

/* END for processes. */
void flows_stop(struct control *c, const char *reason, int status, const char *message);

/* ---- health.c ---- */

void health_check(struct session *s, uint64_t now); /* may end the session */
uint64_t health_silent(const struct session *s, const struct session_flow *f,
                       uint64_t now); /* µs in the full sync */
void health_alarms(const struct session *s, struct buf *b, bool *any);

/* ---- messages.c ---- */

extern const struct control_events messages;
void messages_forget_positions(struct control *c);

/* ---- status.c ---- */

/* counters: with those of all stages. */
void status_begin(struct session *s, struct peer *p, bool counters);
void status_continue(struct session *s, struct peer *p);
void status_progress(struct session *s, uint64_t now);

#endif
