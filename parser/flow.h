/* One flow: the bytes that a master sends on one connection, or a snapshot file, from the magic to the
 * journal or the stream of commands. Decoding only: bytes in, changes to the sink out. */
#ifndef DFP_FLOW_H
#define DFP_FLOW_H

#include "snapshot/carry.h"
#include "command/aof.h"
#include "command/journal.h"
#include "command/psync_stream.h"
#include "reread/scanned.h"
#include "snapshot/rdb.h"

struct flow {
    struct sink to;
    struct rdb rdb;
    struct journal journal;
    struct psync psync;
    struct aof aof;
    struct carry carry;
    struct scanned scanned; /* of a source that is scanned */
    uint64_t offset;        /* of the first byte not yet consumed */
    char error[400];
    bool cannot; /* the error is no damage: no room for a temporary file, say */
};

void flow_init(struct flow *f, uint16_t number);
void flow_free(struct flow *f);

/* Begin at the start of a session: what an earlier one left is dropped. lsn 0: full sync, else next LSN of a
 * partial one. token: 40 bytes or NULL. */
void flow_begin(struct flow *f, uint16_t epoch, bool file, bool journal, unsigned flows, uint64_t lsn,
                const char *token);

/* A partial sync that was begun so has the form of a full one: journal blobs before the cut, opcode 211,
 * token. */
void flow_as_snapshot(struct flow *f);

/* A flow that was begun so is that of a Redis or Valkey: full, with lsn as the position behind its snapshot,
 * or partial. */
void flow_of_redis(struct flow *f, uint64_t lsn);

/* The next bytes are those of this file. Returns 0, or -1 with f->error: the file before must not end where
 * it did. */
int flow_file(struct flow *f, const struct aof_file *file);

/* Take bytes that arrived at time_us and stand at pos in the flow. Returns 0; -1 when they are damaged
 * (f->error says where and what) or could not be kept. Output faults show in e->failed. */
int flow_feed(struct flow *f, struct emit *e, const uint8_t *p, size_t n, uint64_t pos, uint64_t time_us);

/* The flow ends here. requested: it was cut off on purpose, so that a last item in part is no damage. Returns
 * 0, or -1 with f->error. */
int flow_end(struct flow *f, bool requested);

/* Nothing more of the flow is taken: what had to wait for its end is written. Returns 0, or -1 with f->error.
 */
int flow_settle(struct flow *f);

#endif
