/* Positions that a writer has saved: where a session is to go on. It sends them as a line "resume" and a line
 * "from" per flow, dfrecord(5); a session passes them on to its flow processes in the same form.
 * dragonfly-replication(7), Partial sync. */
#ifndef READER_RESUME_H
#define READER_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "lineage.h"
#include "slotset.h"

enum resume_state {
    RESUME_UNKNOWN,    /* nothing was said, or not yet all of it */
    RESUME_NONE,       /* the target knows nothing of an earlier session */
    RESUME_LOST,       /* the target has lost what was written to it, or is another one */
    RESUME_INCOMPLETE, /* an earlier full sync did not reach its end */
    RESUME_SAVED,      /* position and lineage of all flows are known */
};

struct resume_flow {
    uint64_t pos;           /* its next position, 0: not said */
    uint64_t quiet;         /* below pos: what is between them had no effect; 0: that is not known */
    struct lineage lineage; /* of the master whose position that is */
    struct slotset slots;   /* of a cluster that it held there; nothing said: none */
    char place[64];         /* of a scan; "": not said */
};

/* Where one flow goes on. */
struct flow_from {
    uint64_t pos;                  /* its next position (LSN), 0: from the beginning */
    const struct lineage *lineage; /* of the master whose position that is */
    const char *vector;            /* the positions of all flows, joined by '-' */
};

struct resume {
    enum resume_state state;
    bool going_on;          /* flows are asked to go on there; no FLOW record before the answers are known */
    struct lineage lineage; /* of the flows that have none of their own; may be unknown */
    unsigned flows, got;
    bool verify; /* the full sync was not verified to its end */
    struct resume_flow *flow;
    struct buf vector; /* see resume_vector */
};

void resume_free(struct resume *r);

/* Take a line "resume ..." or "from ...". Returns true when state is known now. */
bool resume_line(struct resume *r, const char *line);

/* The same lines for another process: "resume", and "from" of one flow. */
void resume_say(const struct resume *r, struct buf *b);
void resume_say_flow(const struct resume *r, unsigned flow, struct buf *b);

/* All positions joined by '-', valid until resume_free. */
const char *resume_vector(struct resume *r);

/* Where a flow goes on: texts as long. Call resume_vector before. */
struct flow_from resume_from(const struct resume *r, unsigned flow);

#endif
