/* A Redis or Valkey server as the source: PSYNC. dfreader(1), "Redis and Valkey".
 *
 *   source_psync.c   the session
 *   psync_control.c  the control connection: what the server is, how far it is
 *   psync_flow.h     the connection that the data come over
 *   psync_reply.c    what single replies mean
 *   psync_commands.c which commands the server has, for the stream
 *   psync_scan.c     notices in the stream who asks for an acknowledgement */
#ifndef READER_PSYNC_SOURCE_H
#define READER_PSYNC_SOURCE_H

#include "../conn.h"
#include "../dragonfly/reread.h"
#include "psync_reply.h"
#include "../retry.h"
#include "../session.h"
#include "../source.h"
#include "../stream.h"

/* The request on the control connection whose reply is awaited. */
enum psync_ask {
    ASK_NONE,
    ASK_AUTH,
    ASK_PING,
    ASK_SERVER,
    ASK_REPLICATION,
    ASK_KEYSPACE,
    ASK_OPENED, /* no request: those above are asked one after the other, these again and again */
    ASK_OFFSET,
    ASK_ALIVE,
};

/* Where a flow is to connect to. */
struct psync_server {
    bool wait;               /* that is being found out; the rest does not hold */
    const struct url *at;    /* with the credentials of the options */
    const struct conn *like; /* an open connection to it; NULL: there is none */
    const char *version;     /* "": not known */
};

/* What the structs of sources begin with whose flows are of psync_flow.c. */
struct psync_common {
    struct source source;
    bool slowed;         /* the spool is full, and that was said */
    bool listed;         /* the server was asked for its commands: */
    struct buf commands; /* ... what it said; empty: nothing */
    void (*server)(struct flow *f, struct psync_server *where);
};

struct psync {
    struct psync_common base;
    struct stream *stream;
    struct session *session; /* NULL in the process of a flow, which uses only the next two as well */
    struct reread reread;
    struct url at;    /* the server itself, with the credentials of the options */
    struct conn conn; /* control connection */
    enum psync_ask ask;
    uint64_t ask_since;
    uint64_t asked_at;
    struct buf info;                /* reply to an INFO */
    char replid[2][REPLID_LEN + 1]; /* the master's, and the one before; "": not known */
    uint64_t shared_to;             /* up to this offset the one before is the same; 0: not known */
    bool no_info;                   /* the user may not ask */
    bool silent;                    /* it is late with an answer: said in the log */
    bool orphaned;                  /* it is a replica without a link to its master */
    bool away;                      /* the connection was lost, and is being made again */
    struct retry retry;             /* ... since then */
    uint64_t back_at;               /* mono_us: it was made again */
    uint64_t located_at;            /* the sentinels were asked */
    unsigned located_every;         /* seconds until they are asked again */
    uint64_t backlog;               /* bytes of changes that the source keeps; 0: not known */
    uint64_t head_at;               /* mono_us: the session knows how far the master is; 0: it does not */
};

static inline struct psync *psync_of(struct source *src)
{
    return (struct psync *)src;
}

/* psync_control.c: open connects, and waits for that; the session is opened when all is known. tick: ten
 * times a second. What fails ends the session, unless the connection is made again. */
void psync_control_open(struct psync *d);
void psync_control_close(struct psync *d);
void psync_control_tick(struct psync *d, uint64_t now);

/* psync_flow.c, psync_open.c: functions of source.h. */
void psync_flow_open(struct flow *f);
bool psync_flow_readable(const struct flow *f);
long psync_flow_read(struct flow *f, uint8_t *to, size_t cap);
const struct lineage *psync_flow_lineage(const struct flow *f);
const struct conn *psync_flow_conn(const struct flow *f); /* NULL: it is not up */
int psync_flow_acknowledge(struct flow *f, uint64_t pos);
void psync_flow_finish(struct flow *f);
void psync_flow_close(struct flow *f);

/* In each turn: what is to be sent without being asked, whether the master still sends, and a try to connect
 * again. May lose the flow. */
void psync_flow_turn(struct flow *f, uint64_t now);

/* In each turn: is the spool full, so that the source keeps what is to come? */
void psync_watch_spool(struct psync_common *c, const struct output *out);

/* psync_commands.c: a COMMANDS record with what the server says of its commands; it is asked once. */
void psync_commands(struct psync_common *c, struct stream *st, const struct url *at);

/* Its server is another one now, or is not believed any more: connect once more. May lose the flow. */
void psync_flow_move(struct flow *f, const struct fault *why);

#endif
