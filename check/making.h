/* A key whose requests are coming: what they make of it. */
#ifndef CHECK_MAKING_H
#define CHECK_MAKING_H

#include "entry.h"
#include "record.h"
#include "reply.h"

struct making {
    struct making *next;
    uint16_t flow;
    uint32_t hash; /* as the records have it */
    bool parted;   /* it takes several requests */
    struct buf name;
    struct entry head;
    struct part part[ENTRY_PARTS];
    XXH3_state_t *state; /* of a string in several parts */
    bool hashing;        /* it is in use */
};

void making_begin(struct making *m, const struct rec *r, struct slice name);

/* One request about the key. NULL, or why it is not understood. */
const char *making_request(struct making *m, const struct reply *q);

/* All have come: the digests are final. */
void making_end(struct making *m);

/* A chain of them. */
void making_free_all(struct making *m);

#endif
