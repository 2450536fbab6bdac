/* Which hash slots of the source each flow holds, or how far it has been scanned: HOLDS records
 * (dfrecord(5)). What they say is saved with the position of their flow, as they stand in its order; dfreader
 * is told when that is done. What they mean is not known here. */
#ifndef RW_HOLDS_H
#define RW_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "../engine/put.h"
#include "record.h"
#include "slotset.h"

struct buf;

#define HOLDS_NOTES 4096u /* of a flow that are not saved yet, at most */

struct hold_note {
    uint64_t seq;
    uint32_t number;
    char *text;
};

struct flow_holds {
    struct hold_note *note; /* in order */
    unsigned notes;
    char *saved;   /* NULL: nothing was */
    uint64_t file; /* seq up to which the file being made says it */
};

struct live;
struct session;

struct holds {
    struct live *live;
    const struct session *session;
    size_t room; /* bytes that positions made from now on may take for it */
    struct flow_holds *flow;
    unsigned flows;
};

void holds_epoch(struct holds *h, unsigned flows);
void holds_free(struct holds *h);

/* The flow goes on with what was saved of it (text, or NULL): that stays until it says something new. */
void holds_restore(struct holds *h, unsigned flow, const char *text);

/* A HOLDS record was taken. False: it is malformed, or there are too many. */
bool holds_take(struct holds *h, unsigned flow, uint64_t seq, const uint8_t *payload, size_t n);

/* Does a position with that seq say something new of the flow? What it says in any case; NULL: nothing. */
bool holds_news(const struct holds *h, unsigned flow, uint64_t seq);
const char *holds_at(const struct holds *h, unsigned flow, uint64_t seq);

/* So much is saved. */
void holds_saved(struct holds *h, unsigned flow, uint64_t seq);

/* Bytes that it takes as a field of the position key, at most. */
size_t holds_bytes(const struct holds *h, unsigned flow, uint64_t seq);

#endif
