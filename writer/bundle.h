/* Transactions at a cluster: what is written to a slot that must not be carried out twice, or belongs
 * together, gathers there (gather.h) and goes as one MULTI ... EXEC, alone in its slot, over its node's
 * connection, with the slot's position (exact.h) unless all of it may be repeated. It is sent again wherever
 * the first refusal says; what EXEC says about single requests is theirs alone. */
#ifndef RW_BUNDLE_H
#define RW_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"
#include "node.h"

struct bundle;
struct bundles;
struct exact_id;

/* gathers: transactions are made at all. */
struct bundles *bundles_new(bool gathers);
void bundles_free(struct bundles *b);

/* Nothing gathers or is under way. */
bool bundles_quiet(const struct bundles *b);

/* Some that could go were not looked at yet. */
bool bundles_unseen(const struct bundles *b);

/* Does something that gathers wait for the flow's next record? */
bool bundle_awaits(const struct writer *w, unsigned flow);

/* ---- for moved.c and answers.c: the last unit of one under way, of kind CU_EXEC, stands for all of it ----
 */

size_t bundle_size(const struct cunit *u);                   /* bytes on the wire */
void bundle_transmit(struct conn *c, const struct cunit *u); /* there is room */
void bundle_finish(struct writer *w, const struct cunit *u, bool counted);

/* A step of a program, with its position; the slot is the caller's. text: an error reply, NULL: carried out.
 */
typedef void bundle_fn(struct writer *w, void *arg, const char *text, size_t len);
void bundle_step(struct writer *w, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg);

#endif
