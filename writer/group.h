/* What the files about groups share: group.c (building), group_send.c, group_reply.c. */
#ifndef RW_GROUP_H
#define RW_GROUP_H

#include <stdint.h>

#include "node.h"

#define ITEM_EXTRA  48  /* bytes on the wire of a SELECT before an item */
#define POS_EXTRA   128 /* of a field and its value */
#define GROUP_EXTRA 1024

/* A command of the group in flight that was refused when it was queued; the text follows. */
struct fault {
    int32_t cmd;
    uint32_t len;
};

/* Empty a group, so that it can be built anew. */
void group_clear(struct node *n, struct group *g);

/* Flows whose positions go with it, or with the step of it that is in flight. */
unsigned group_flows(const struct node *n, const struct group *g);

/* Position of a flow that is to be saved with the group; the newest counts. */
void group_put_pos(struct group *g, unsigned flow, uint64_t seq, uint64_t pos);

#endif
