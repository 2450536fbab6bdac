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

struct cluster;
struct exact;
struct failures;
struct holds;
struct inputs;
struct options;
struct outcome;
struct positions;
struct probes;
struct session;
struct splits;
struct stats;

/* What transactions are made of, and who hears of them. */
struct bundle_uses {
    const struct options *opt;
    struct outcome *outcome;
    struct stats *stats;
    const struct session *session;
    const struct inputs *inputs;
    const struct holds *holds;
    struct positions *positions;
    struct exact *exact;
    struct splits *splits;
    struct probes *probes;
    struct failures *failures;
    struct cluster *cl;
};

/* calls: those of a transaction's unit, bundle_calls. */
struct bundles *bundles_new(const struct bundle_uses *use, const struct unit_calls *calls);
extern const struct unit_calls bundle_calls;

/* Where positions are, other than in a hash of each slot (exact.h); key: as given to bundles_gather. */
struct store {
    void (*position)(void *key, struct bundle *t); /* hset and fields: what goes with it */
    /* So many fields had not been there. */
    void (*written)(void *key, const struct cnode *node, unsigned fields, long long added);
    int (*has)(const void *key, const struct bundle *t); /* was it carried out? 1, 0, -1 half of it */
    void (*finished)(void *key, const struct bundle *t);
};

/* Transactions are made at all. store: NULL: the slots' hashes. */
void bundles_gather(struct bundles *b, const struct store *store, void *key);
void bundles_free(struct bundles *b);

/* Nothing gathers or is under way. */
bool bundles_quiet(const struct bundles *b);

/* Of a whole server: has a transaction, gathering or under way, a request of this key? */
bool bundles_hold(const struct bundles *b, uint32_t key);

/* Some that could go were not looked at yet. */
bool bundles_unseen(const struct bundles *b);

/* Does something that gathers wait for the flow's next record? */
bool bundle_awaits(const struct bundles *b, unsigned flow);

/* ---- for moved.c and answers.c: the last unit of one under way, of kind CU_EXEC, stands for all of it ----
 */

size_t bundle_size(const struct cunit *u);                   /* bytes on the wire */
void bundle_transmit(struct conn *c, const struct cunit *u); /* there is room */
void bundle_finish(const struct cunit *u, bool counted);

/* A step of a program, with its position; the slot is the caller's. text: an error reply, NULL: carried out.
 */
typedef void bundle_fn(void *arg, const char *text, size_t len);
void bundle_step(struct bundles *b, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg);

#endif
