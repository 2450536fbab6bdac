/* Making keys of the target equal to those of the source: copied whole by DUMP and RESTORE, or removed. */
#ifndef CHECK_REPAIR_H
#define CHECK_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "named.h"
#include "snapshot.h"

#define REPAIR_KEYS 16u /* in a batch: their payloads are in memory, at most KEPT_MOST each */

/* In an item's print: what is to be done. */
enum repair_what { REPAIR_NOT, REPAIR_COPY, REPAIR_REMOVE };

struct repair {
    uint64_t copied, removed, refused;
    uint64_t rest;       /* keys that DUMP and RESTORE do not copy: the pipeline does */
    struct named named;  /* these, as the source has them */
    struct snapshot *to; /* not NULL: keys go to that file instead, and none is removed */
};

/* Ends the process if a task of ours writes to the target. */
void repair_may_begin(struct side *target);

/* Write the rest: the number of its keys is added to those that were written, or refused. */
void repair_rest(struct repair *r, const struct side *source, const struct side *target,
                 const struct filter *f);

/* Repair the items of a batch; b->done is called then. A key that the source got meanwhile is not removed. */
void repair_batch(struct batch *b, struct repair *r);

#endif
