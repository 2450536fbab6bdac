/* Which flow of a cluster source writes a hash slot, and how a slot passes from one flow to another:
 * decisions only, no connection, no record. df2redis(7), A cluster as the source, has the rule and why it
 * holds; tests/model runs this code against simulated clusters.
 *
 * A slot is *held* by at most one flow. What the target has of it is then what the master of that flow had at
 * the flow's position, whether or not that master still owns the slot. Each slot goes through these states:
 *
 *   HELD       by a flow. Its master was seen at offset O without the slot: the flow is told to let it go at
 *              O or later (HO_RELEASE). A flush makes the flow let it go by itself (handover_flushed).
 *   RELEASING  until the writer has saved that (handover_saved): then everything up to there is applied.
 *   FREE       nobody writes it. Some master has it: its flow is told to take it (HO_TAKE).
 *   TAKING     all its keys at that master, and those at the target, are being read again; until the writer
 *              has saved that this is done. If that fails, or we end: FREE, and all is repeated.
 *
 * Only HELD is saved, in the set of each flow, with the position of the flow that it belongs to. */
#ifndef READER_HANDOVER_H
#define READER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "slotset.h"

#define HO_NOBODY UINT16_MAX

enum ho_state { HO_FREE, HO_HELD, HO_RELEASING, HO_TAKING };

struct ho_slot {
    uint16_t flow;  /* that holds, releases or takes it */
    uint16_t owner; /* whose master said last that it has the slot */
    uint8_t state;
    bool empty;     /* as the master had no key of it when it was seen without it */
    bool restored;  /* it was held before we began: what has become of its last changes is not known */
    bool lost;      /* the master was seen without it while its flow took it: what it had then may be gone */
    bool sweep;     /* the target may have keys of it that the next flow's master lacks */
    uint32_t order; /* number of the order under way */
};

struct ho_flow {
    bool ready;        /* keys of its master can be read: its full sync is over, and it is there */
    uint32_t order;    /* the last one given to it */
    uint32_t taking;   /* number of the take under way, 0: none */
    uint32_t retry_at; /* a take failed: none before this tick */
    unsigned failed;   /* takes, since the last one that was saved */
    unsigned most;     /* slots of one take */
};

struct handover {
    unsigned flows;
    uint32_t ticks;
    struct slotset share; /* no other slot is held, taken or counted */
    struct ho_flow flow[REC_FLOWS_MAX];
    struct ho_slot slot[SLOTS];
};

/* What a master said of itself at one moment. */
struct ho_look {
    uint64_t at; /* its position then, as dfrecord(5) counts them: everything before it is in the state */
    struct slotset owned; /* not those that it is importing */
    struct slotset empty; /* those not owned of which it has no key, and would have logged their removal */
};

enum ho_what { HO_NOTHING, HO_RELEASE, HO_TAKE };

struct ho_order {
    enum ho_what what;
    unsigned flow;
    uint32_t number; /* of the flow's orders, from 1; the writer says it back */
    uint64_t at;     /* HO_RELEASE: not before this position */
    struct slotset slots;
    bool sweep; /* HO_TAKE: their keys at the target are to be read again, too */
};

void handover_init(struct handover *h, unsigned flows, const struct slotset *share);

/* The session begins: the flow holds these, which were saved with its position (restored), or which its
 * master had before a full sync was asked for. A slot that another flow has is left to that one, and *twice
 * says so.
 */
void handover_holds(struct handover *h, unsigned flow, const struct slotset *held, bool restored,
                    bool *twice);

/* Keys of the flow's master can, or cannot, be read. */
void handover_ready(struct handover *h, unsigned flow, bool ready);

/* A look at the flow's master, which said that it is a master. Returns true and an order that follows from
 * it: what the flow holds and the master does not have any more is to be released. */
bool handover_look(struct handover *h, unsigned flow, const struct ho_look *look, struct ho_order *order);

/* A take of so many slots had so many keys: the flow's next ones, which begin with HO_FEW slots, have about
 * HO_KEYS, as all their names are kept until they are written. */
#define HO_FEW  16u
#define HO_KEYS 8192u
void handover_listed(struct handover *h, unsigned flow, unsigned slots, uint64_t keys);

/* The next slots that a flow is to take, at most max; a flow has one take at a time. False: there are none
 * now. */
bool handover_take(struct handover *h, unsigned max, struct ho_order *order);

/* A parser has let these slots go by that order, and the flow wrote none of their keys behind the order's
 * position. Without this word they count as written. */
void handover_clean(struct handover *h, unsigned flow, uint32_t number, const struct slotset *slots);

/* A parser does not write these slots any more: they were flushed, or the take of them has failed. Returns
 * true and an order to let them go: what was written until then is applied when that is saved. */
bool handover_dropped(struct handover *h, unsigned flow, const struct slotset *slots, bool failed,
                      struct ho_order *order);

/* The writer has saved, with a position, what the order of this number made of the flow's set. */
void handover_saved(struct handover *h, unsigned flow, uint32_t number);

/* A second has passed. */
void handover_tick(struct handover *h);

/* ---- for the status, and to know when to look ---- */

/* Slots that nobody holds; those of them that are on their way, or that a master has. */
unsigned handover_open(const struct handover *h);
unsigned handover_busy(const struct handover *h);

/* The set that a flow holds. */
void handover_set(const struct handover *h, unsigned flow, struct slotset *out);

#endif
