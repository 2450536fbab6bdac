/* Whatever is written to a slot that is not free gathers there, of all flows, and goes as one bundle
 * (bundle.h), with the slot's position where it must not be carried out twice, as soon as it is: a key that
 * is written all the time does not have to wait a round trip for each record. So do the requests of a key of
 * the snapshot that comes in several. */
#ifndef RW_GATHER_H
#define RW_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "put.h"
#include "record.h"

struct bundles;

enum gathers {
    GATHERS_NOT,
    GATHERS_LAST, /* when no others can go over its connection, which is in another database */
    GATHERS,
};

/* Has this request of a slot to go in a bundle? Live ones, and those that must not be executed twice; also
 * what comes behind them. */
enum gathers gather_wants(const struct bundles *b, const struct rec *r, unsigned slot);
enum put gather_put(struct bundles *b, const struct rec *r, unsigned slot, const uint8_t *payload,
                    uint8_t vclass);

/* Something gathers for the slot. */
bool gather_waits(const struct bundles *b, unsigned slot);

/* A record of a flow is next: what waits for the rest of its transaction in another slot waits no longer.
 * False: of a whole server, it may not join what gathers. */
bool gather_next(struct bundles *b, const struct rec *r);

/* A request of our own has to go between two records of the flow. */
void gather_cut(struct bundles *b, unsigned flow);

/* Of a whole server. A record of this flow could not join: what waits for it, or for what is behind it, waits
 * no longer. */
void gather_blocked(struct bundles *b, unsigned flow);
enum put gather_put_own(struct bundles *b, const struct rec *r, const uint8_t *request, uint32_t behind);
bool gather_position(struct bundles *b, const struct rec *r);

/* Something of the slot is done. */
void gather_release(struct bundles *b, unsigned slot);

/* Send what may go. */
void gather_work(struct bundles *b, uint64_t now);

/* The session is void. */
void gather_forget(struct bundles *b);

#endif
