/* A Dragonfly master as the source: DFLY FLOW, SYNC, STARTSTABLE. dragonfly-replication(7).
 *
 *   source_dragonfly.c  the control connection: handshake, full sync, live changes, pings
 *   dragonfly_flow.c    the connection of a flow
 *   handshake.c         the handshake, and what single replies mean
 *   reread.c            keys that are read again
 *   verify.c, scan.c    keys that a master may have lost during a full sync */
#ifndef READER_DRAGONFLY_H
#define READER_DRAGONFLY_H

#include "../conn.h"
#include "handshake.h"
#include "reread.h"
#include "../session.h"
#include "../source.h"
#include "verify.h"

/* The request on the control connection whose reply is awaited. */
enum await { AWAIT_NONE, AWAIT_HANDSHAKE, AWAIT_SYNC, AWAIT_STARTSTABLE, AWAIT_PING, AWAIT_OFFSETS };

/* How a session that goes on where an earlier one ended is started. */
enum resync {
    RESYNC_OFF,      /* a full sync, or it is done */
    RESYNC_STARTING, /* all flows answered PARTIAL: STARTSTABLE is under way */
    RESYNC_DETOUR,   /* it was refused: DFLY SYNC comes first, once all FLOW records are written */
};

struct dragonfly {
    struct source source;
    struct stream *stream;
    struct session *session; /* NULL in the process of a flow, which uses the next two only */
    struct reread reread;
    struct conn conn; /* control connection */
    struct handshake handshake;
    enum await await;
    uint64_t await_since;
    uint64_t pinged_at;
    bool sync_ok;
    bool silent;     /* it is late with an answer: said in the log */
    uint64_t *heads; /* next LSN of each flow at the master, as it last said at heads_at */
    uint64_t heads_at;
    enum resync resync;
    unsigned announced; /* FLOW records of flows that go on */
    struct verify verify;
    bool verified; /* verifying is over, and that was acted upon */
};

static inline struct dragonfly *dragonfly_of(struct source *src)
{
    return (struct dragonfly *)src;
}

/* dragonfly_flow.c: functions of source.h. */
void dragonfly_flow_open(struct flow *f);
bool dragonfly_flow_readable(const struct flow *f);
long dragonfly_flow_read(struct flow *f, uint8_t *to, size_t cap);
int dragonfly_flow_acknowledge(struct flow *f, uint64_t pos);
void dragonfly_flow_finish(struct flow *f);
void dragonfly_flow_close(struct flow *f);

/* The id by which a master of lineage now knows saved positions; NULL: its own. */
const char *dragonfly_foreign_id(const struct lineage *saved, const struct lineage *now);

/* The connection of a flow that is open; NULL: it is not. */
const struct conn *dragonfly_flow_conn(const struct flow *f);

#endif
