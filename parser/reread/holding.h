/* Which hash slots a flow of a cluster source holds at the place where it is: decisions only. dfrecord(5),
 * SLOTS; df2redis(7), A cluster as the source. Positions are those of dfrecord(5): everything before a
 * position is contained; a command is named by the position behind it. */
#ifndef DFP_HOLDING_H
#define DFP_HOLDING_H

#include <stdbool.h>
#include <stdint.h>

#include "slotset.h"

#define HOLDING_RELEASES 64u /* that wait for their position, at most */

enum hold_state { HOLD_NOT, HOLD_HELD, HOLD_TAKING, HOLD_FAILED };

enum hold_verdict {
    HOLD_APPLY,
    HOLD_DROP, /* another flow writes the slot, or the keys that are read again contain it */
    HOLD_WANT, /* nobody knows yet whether they do: its keys are to be read again, too */
};

struct hold_release {
    uint32_t number;
    uint64_t at;
    struct slotset slots;
};

/* The take under way: there is one at most. */
struct hold_take {
    uint32_t number;   /* 0: none */
    unsigned unlisted; /* slots whose keys the source has not named yet */
    bool swept;        /* the keys of the target were named */
    bool failed;
    uint64_t keys;   /* named, and not written yet */
    uint64_t listed; /* where the last of its slots was listed: what comes before is contained in that */
};

struct holding {
    uint8_t state[SLOTS];
    uint64_t at[SLOTS]; /* held: behind the last command that may have made a key; taking: where its keys were
                           named, 0: not yet */
    struct hold_take take;
    struct hold_release release[HOLDING_RELEASES];
    unsigned first, releases;
};

/* The flow begins: it holds these. */
void holding_begin(struct holding *h, const struct slotset *held);
void holding_held(const struct holding *h, struct slotset *out);

static inline bool holding_has(const struct holding *h, unsigned slot)
{
    return h->state[slot] == HOLD_HELD;
}

/* A command whose keys are all in the slot. removes: it makes no key (DEL, UNLINK, and the like). */
enum hold_verdict holding_command(struct holding *h, unsigned slot, uint64_t after, bool removes);

/* An order to let slots go at a position or later. False: too many wait. */
bool holding_release(struct holding *h, uint32_t number, uint64_t at, const struct slotset *slots);

/* The flow is at that position. True: the next release is due, and was done; *clean: those of its slots that
 * the flow held, and wrote no key of behind the order's position. */
bool holding_release_due(struct holding *h, uint64_t pos, uint32_t *number, struct slotset *clean);

/* An order to take slots: from here on. False: one is under way, or the flow holds one of them. */
bool holding_take(struct holding *h, uint32_t number, const struct slotset *slots, bool sweep);

/* The source has named all keys that it had of the slot at a position; all keys of the target were named. */
void holding_listed(struct holding *h, unsigned slot, uint64_t at);
void holding_swept(struct holding *h);

/* A key of a slot that is being taken is to be read again; that is done, or has failed. */
void holding_key_wanted(struct holding *h);
void holding_key_done(struct holding *h, bool ok);

/* Another key could not be read again. True: its slot is not held, so nothing is lost by that; whoever takes
 * the slot reads the key, and a take under way has failed. */
bool holding_key_failed(struct holding *h, unsigned slot);

/* A flush of these slots: what the flow held of them it holds no more, and a take of any of them has failed.
 * Returns true if there were any, in *dropped. */
bool holding_flush(struct holding *h, const struct slotset *slots, struct slotset *dropped);

/* Is the take at its end, the flow being at that position? Then its slots are held (*ok), or not, and it is
 * over.
 */
bool holding_take_over(struct holding *h, uint64_t pos, uint32_t *number, struct slotset *slots, bool *ok);

#endif
