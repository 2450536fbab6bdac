/* Making keys of the target equal to those of the source: copied whole by DUMP and RESTORE, or removed. */
#ifndef CHECK_REPAIR_H
#define CHECK_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "snapshot.h"

#define REPAIR_KEYS 16u /* in a batch: their payloads are in memory, at most KEPT_MOST each */

/* In an item's print: what is to be done. */
enum repair_what { REPAIR_NOT, REPAIR_COPY, REPAIR_REMOVE };

struct repair {
    uint64_t copied, removed, refused;
    struct snapshot *to; /* not NULL: keys go to that file instead, and none is removed */
};

/* Ends the process if a task of ours writes to the target. */
void repair_may_begin(struct side *target);

/* Repair the items of a batch; b->done is called then. A key that the source got meanwhile is not removed. */
void repair_batch(struct batch *b, struct repair *r);

#endif
