/* Transactions of a scope, which is a slot, a share of the keys, or a whole server: what is written to it
 * that must not be carried out twice, or belongs together, gathers there (gather.h) and goes as one MULTI ...
 * EXEC, alone in its scope, over its node's connection, with the scope's position (exact.h, whole.h) unless
 * all of it may be repeated. It is sent again wherever the first refusal says; what EXEC says about single
 * requests is theirs alone. */
#ifndef RW_BUNDLE_H
#define RW_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "../conn/conn.h"
#include "put.h"
#include "record.h"

struct bundle;
struct bundles;
struct exact_id;

/* calls: those of a transaction's unit, bundle_calls. */
struct bundles *bundles_new(const struct unit_calls *calls);
extern const struct unit_calls bundle_calls;

/* Where positions are, other than in a hash of each slot (exact.h). */
struct store {
    void (*position)(struct writer *w, struct bundle *t); /* hset and fields: what goes with it */
    void (*written)(struct conn *c, unsigned fields, long long added); /* so many fields had not been there */
    int (*has)(const struct writer *w, const struct bundle *t); /* was it carried out? 1, 0, -1 half of it */
    void (*finished)(struct writer *w, const struct bundle *t);
};

/* Transactions are made at all. store: NULL: the slots' hashes. */
void bundles_gather(struct bundles *b, const struct store *store);
void bundles_free(struct bundles *b);

/* Nothing gathers or is under way. */
bool bundles_quiet(const struct bundles *b);

/* Of a whole server: has a transaction, gathering or under way, a request of this key? */
bool bundles_hold(const struct bundles *b, uint32_t key);

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
