/* A request that was collected in a file (collect.h), on its way over a connection of a cluster. One at a
 * time; it is alone in its slot, and kept until it is confirmed. */
#ifndef RW_BIG_H
#define RW_BIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collect.h"
#include "put.h"

struct cluster;
struct bigjob;
struct exact_id;

/* What becomes of it. text: an error reply, NULL: carried out (and on the replicas, with --wait). The job is
 * free again when this is called. Lost connections and refusals that pass are dealt with before. */
typedef void big_fn(void *arg, const char *text, size_t len);

/* A collected request of a record. PUT_WAIT: not now; PUT_DONE: big is owned. */
enum put bigjob_put(struct cluster *cl, const struct rec *r, struct big *big, uint8_t vclass);

/* A request in memory, which stays the caller's, for a slot that is the caller's already. r: what it belongs
 * to; flow, keyarg and RF_IDEMPOTENT count. id: its place, where it is to be carried out exactly once, else
 * NULL. */
struct bigjob *bigjob_memory(struct cluster *cl, const struct rec *r, unsigned slot,
                             const struct exact_id *id, const uint8_t *p, size_t n, big_fn *fn, void *arg);
void bigjob_work(struct bigjob *j, uint64_t now); /* send it as soon as a connection takes it */
void bigjob_free(struct bigjob *j);               /* only when it is not on a connection */

#endif
