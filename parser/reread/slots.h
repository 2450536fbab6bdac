/* A flow of a cluster source: its commands and keys pass if it holds their hash slot at the place where the
 * flow is. SLOTS records (dfrecord(5)) say which it holds; holding.h decides, and here is done what it says.
 */
#ifndef DFP_SLOTS_H
#define DFP_SLOTS_H

#include "../change.h"
#include "holding.h"
#include "reread.h"
#include "slot_names.h"

#define TAKE_WINDOW 256u /* keys of a take that are asked for at a time ... */
#define TAKE_ANSWERS                                                                                         \
    4096u /* ... and those that wait for their place, because the flow is behind, with them */
#define TAKE_BYTES (REREAD_BYTES / 4) /* and what is kept then */
#define TAKE_KEYS  4000000u           /* of one take at most */

struct slots {
    struct holding holding;
    struct rekeyq waiting; /* keys of the take that are not asked for yet */
    struct slot_names names;
    struct buf text;   /* of a record or message */
    bool told_offline; /* that slots have moved in a stream without its session */
};

/* The flow begins to have slots; it ends. */
void slots_begin(struct sink *to);
void slots_free(struct sink *to);

/* A SLOTS record. Returns NULL, or what is wrong with it. */
const char *slots_record(struct sink *to, const uint8_t *payload, size_t n);

/* A command of the stream: true, write it; ch may be less than it was. False: nothing of it is for the target
 * now. */
bool slots_admit(struct sink *to, struct change *ch);

/* A key of the snapshot, in that database of the source. */
bool slots_admit_key(struct slots *s, struct emit *e, struct origin *o, uint32_t db, const struct slice *key);

/* After each step of the flow: what is due is done. */
void slots_tick(struct sink *to);

#endif
