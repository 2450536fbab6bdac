/* Keys of which is known that they were looked for at the target before a command (check.h), not long ago:
 * once is enough as long as nothing else is done with the key. The table forgets the oldest ones. */
#ifndef DFP_PROBED_H
#define DFP_PROBED_H

#include "reread.h"

/* Of a key. FORGOTTEN: something else was done with it since then. EARLY: a process before this one may have
 * been further already, so that the target was asked for the key as it was later. */
#define PROBED_FORGOTTEN 1u
#define PROBED_EARLY     2u

/* Was it looked for? Then it may be missing. */
bool probed_has(const struct rereads *r, uint32_t db, const struct slice *key);

/* The same at its place: then it is there, or is told to be missing. */
bool probed_told(const struct rereads *r, uint32_t db, const struct slice *key);

/* Returns whether it was there with these flags. */
bool probed_put(struct rereads *r, uint32_t db, const struct slice *key, unsigned flags);

/* It may be gone from the target without being missing at the source, or there anew. */
void probed_forget(struct rereads *r, uint32_t db, const struct slice *key);

/* It cannot be missing any more. */
void probed_drop(struct rereads *r, uint32_t db, const struct slice *key);

/* Anew: a table that nothing was put into takes no memory. */
void probed_reset(struct rereads *r);

#endif
