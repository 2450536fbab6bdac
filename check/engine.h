/* Batches under way: filled from a supply of keys, several at once, until the supply ends. */
#ifndef CHECK_ENGINE_H
#define CHECK_ENGINE_H

#include <stdint.h>

#include "batch.h"
#include "loop.h"
#include "side.h"

#define ENGINE_BATCHES 32u

struct engine {
    struct loop *loop;
    struct side *side[2];
    uint64_t silence; /* us after which a server is given up */
    struct batch batch[ENGINE_BATCHES];
    bool busy[ENGINE_BATCHES];
    unsigned limit; /* keys in the next batch: fewer where values are large */

    /* Put up to limit keys into an empty batch and start it. Returns 1, 0 none are there yet, -1 there are no
     * more.
     */
    int (*supply)(void *ctx, struct batch *b, unsigned limit);
    void *ctx;
    uint64_t checked_at;
};

void engine_init(struct engine *e, struct loop *loop, struct side *source, struct side *target,
                 const struct depth *depth, int reply_timeout);
void engine_free(struct engine *e);

/* Results of the batches go to result. */
void engine_results(struct engine *e,
                    void (*result)(void *, const struct batch *, const struct item *, const struct finding *),
                    void *ctx);

/* Run until the supply has ended and all batches are done. Ends the process (5) on a signal. */
void engine_run(struct engine *e, int (*supply)(void *, struct batch *, unsigned), void *ctx);

/* How many batches are under way, the one that the supply fills included. */
unsigned engine_busy(const struct engine *e);

/* Let time pass, connections kept alive. */
void engine_sleep(struct engine *e, unsigned ms);

#endif
