/* Transactions of the source at a cluster: live records of a flow that are marked TOGETHER (dfrecord(5)) and
 * stand in one slot are collected and go as one MULTI … EXEC, alone in their slot, over its node's
 * connection. All of it is sent again wherever the first refusal says; what EXEC says about single requests
 * is theirs alone. */
#ifndef RW_BUNDLE_H
#define RW_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "conn.h"
#include "node.h"

struct bundle;
struct bundles;
struct exact_id;

/* exact: --exactly-once, collected by slot (gather.h). */
struct bundles *bundles_new(bool exact);
void bundles_free(struct bundles *b);

/* Nothing is being collected. */
bool bundles_quiet(const struct bundles *b);

/* A record of a flow is next: what was collected of the flow goes first, unless the record belongs to it.
 * False: the record has to wait for that. */
bool bundle_ready(struct writer *w, const struct rec *r);

/* A request or position, after bundle_ready. False: it has nothing to do with bundles. */
bool bundle_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* Does the flow collect one? */
bool bundle_awaits(const struct writer *w, unsigned flow);

/* What was collected long enough, or is complete, goes. */
void bundles_work(struct writer *w, uint64_t now);

/* The session is void. */
void bundles_forget(struct writer *w);

/* ---- for cluster.c and conn.c: the last unit of one under way, of kind CU_EXEC, stands for all of it ----
 */

size_t bundle_size(const struct cunit *u);                     /* bytes on the wire */
bool bundle_fits(const struct conn *c, const struct cunit *u); /* has the connection units left for it? */
void bundle_transmit(struct conn *c, const struct cunit *u);   /* there is room */
void bundle_queued(struct conn *c,
                   const struct cunit *part); /* a reply to MULTI or to what stands behind it */
/* An element of the reply to EXEC, and, behind that, the value of one that is an integer. */
void bundle_element(const struct cunit *u, int element, int type, const char *text, size_t len);
void bundle_integer(struct writer *w, const struct cunit *u, int element, long long value);
void bundle_reply(struct conn *c, struct cunit *u); /* to EXEC */
/* Its connection was lost. sent: behind EXEC; begun: behind MULTI, and nothing was answered to EXEC. */
void bundle_lost(struct conn *c, const struct cunit *u, bool sent, bool begun);
void bundle_finish(struct writer *w, const struct cunit *u, bool counted);

/* A step of a program, with its position; the slot is the caller's. text: an error reply, NULL: carried out.
 */
typedef void bundle_fn(struct writer *w, void *arg, const char *text, size_t len);
void bundle_step(struct writer *w, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg);

#endif
