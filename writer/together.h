/* Transactions of the source stay together: records of a flow of which each but the last is marked TOGETHER
 * (dfrecord(5)) go in one group, so that nobody sees the target between them. A group is not sent while it
 * lacks a record that belongs to its last ones, for 50 ms at most, nor when the record cannot join. */
#ifndef RW_TOGETHER_H
#define RW_TOGETHER_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"

/* May a record of this flow join? Not while the group only waits for others: it would never be complete. */
bool together_admits(const struct writer *w, unsigned flow);

/* The group has all it takes as a rule: may this record join nevertheless, because the group would be cut
 * within a transaction? */
bool together_stretches(const struct writer *w, const struct rec *r);

/* The group being built waits for a record of this flow. */
bool together_awaits(const struct writer *w, unsigned flow);

/* What became of a record. */
void together_note(struct writer *w, const struct rec *r, enum put got);

/* Has the group, which could be sent now, to wait? */
bool together_holds(struct node *n, uint64_t now);

/* mono_us when it has waited long enough; 0: it does not wait. */
uint64_t together_until(const struct node *n, uint64_t now);

#endif
