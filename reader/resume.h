/* Positions that a writer has saved: where a session is to go on. It sends them as a line "resume" and a line
 * "from" per flow, dfrecord(5); a session passes them on to its flow processes in the same form.
 * dragonfly-replication(7), Partial sync. */
#ifndef READER_RESUME_H
#define READER_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "sessinfo.h"

enum resume_state {
    RESUME_UNKNOWN,    /* nothing was said, or not yet all of it */
    RESUME_NONE,       /* the target knows nothing of an earlier session */
    RESUME_LOST,       /* the target has lost what was written to it, or is another one */
    RESUME_INCOMPLETE, /* an earlier full sync did not reach its end */
    RESUME_SAVED,      /* pos of all flows is known */
};

struct resume {
    enum resume_state state;
    char replid[REPLID_LEN + 1]; /* of the master whose LSNs these are */
    char lineage[129];
    unsigned flows, got;
    bool verify;       /* the full sync was not verified to its end */
    uint64_t *pos;     /* next LSN of each flow, 0: not said */
    struct buf vector; /* see resume_vector */
};

void resume_free(struct resume *r);

/* Take a line "resume ..." or "from ...". Returns true when state is known now. */
bool resume_line(struct resume *r, const char *line);

/* All positions joined by '-', valid until resume_free. */
const char *resume_vector(struct resume *r);

#endif
