/* Small plain SETs of the snapshot, gathered into MSET: a policy in front of the engine, for a single server
 * over one connection. To the engine an MSET is a unit of several keys; where it is refused for good, or
 * shows to be what connections are lost for, each of its keys goes alone. */
#ifndef RW_MSET_H
#define RW_MSET_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"

struct cluster;
struct conn;
struct msets;

#define MSET_SINGLE ((uint32_t)8 << 10) /* larger ones go alone: nothing is gained by another copy */
#define MSET_ROOM   ((size_t)33 << 10)  /* bytes of one, at most */

struct msets *msets_new(struct cluster *cl);
void msets_free(struct msets *m);

/* Bytes that are gathered, with what they need around them. */
size_t mset_gathered(const struct msets *m);

/* The connection of what is gathered, if a request of this database and length can join it; NULL: another has
 * to begin. */
struct conn *mset_joins(const struct msets *m, uint32_t db, uint32_t len);

/* One more, whose key is held now. One that begins needs MSET_ROOM on c, besides what is gathered
 * (mset_gathered). */
void mset_add(struct msets *m, struct conn *c, const struct rec *r, const uint8_t *payload, uint32_t key,
              uint8_t vclass);

/* Send what is gathered, if its connection takes it. */
void mset_flush(struct msets *m);

/* The session is void. */
void mset_forget(struct msets *m);

#endif
