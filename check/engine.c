#include "engine.h"

#include "exits.h"
#include "fatal.h"
#include "io.h"

#define AIM   ((uint64_t)256 << 10) /* bytes of values in a batch */
#define FIRST 16u                   /* keys in the first batches */

static void batch_done(void *ctx, struct batch *b)
{
    struct engine *e = ctx;
    uint64_t each = b->bytes / 2 / (b->n == 0 ? 1 : b->n) + 1, fit = AIM / each;
    unsigned most = e->limit * 2 < BATCH_KEYS ? e->limit * 2 : BATCH_KEYS;
    e->busy[b - e->batch] = false;
    e->limit = fit < 1 ? 1 : fit < most ? (unsigned)fit : most;
}

void engine_init(struct engine *e, struct loop *loop, struct side *source, struct side *target,
                 const struct depth *depth, int reply_timeout)
{
    *e = (struct engine){.loop = loop,
                         .side = {source, target},
                         .silence = (uint64_t)reply_timeout * 1000000,
                         .limit = FIRST,
                         .checked_at = mono_us()};
    for (unsigned i = 0; i < ENGINE_BATCHES; i++) {
        batch_init(&e->batch[i], source, target, depth);
        e->batch[i].turn = i;
        e->batch[i].done = batch_done;
        e->batch[i].done_ctx = e;
    }
}

void engine_free(struct engine *e)
{
    for (unsigned i = 0; i < ENGINE_BATCHES; i++)
        batch_free(&e->batch[i]);
}

void engine_results(struct engine *e,
                    void (*result)(void *, const struct batch *, const struct item *, const struct finding *),
                    void *ctx)
{
    for (unsigned i = 0; i < ENGINE_BATCHES; i++) {
        e->batch[i].result = result;
        e->batch[i].ctx = ctx;
    }
}

static void turn_loop(struct engine *e, int timeout_ms)
{
    side_flush(e->side[0]);
    side_flush(e->side[1]);
    loop_wait(e->loop, timeout_ms);
    uint64_t now = mono_us();
    if (signals_seen() > 0)
        fatal(EXIT_PARTIAL, "stopped: nothing is said about the keys that were not looked at");
    if (us_since(now, e->checked_at) < 1000000)
        return;
    e->checked_at = now;
    side_check(e->side[0], now, e->silence);
    side_check(e->side[1], now, e->silence);
}

/* Start what can be started. Returns the last answer of the supply. */
static int fill(struct engine *e)
{
    int rc = 1;
    for (unsigned i = 0; i < ENGINE_BATCHES && rc > 0; i++) {
        uint64_t now = mono_us();
        if (e->busy[i])
            continue;
        if (!side_allow(e->side[0], now) || !side_allow(e->side[1], now))
            return 0;
        e->busy[i] = true;
        rc = e->supply(e->ctx, &e->batch[i], e->limit);
        if (rc <= 0)
            e->busy[i] = false;
    }
    return rc;
}

unsigned engine_busy(const struct engine *e)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ENGINE_BATCHES; i++)
        n += e->busy[i];
    return n;
}

void engine_run(struct engine *e, int (*supply)(void *, struct batch *, unsigned), void *ctx)
{
    e->supply = supply;
    e->ctx = ctx;
    for (;;) {
        int rc = fill(e);
        if (rc < 0 && engine_busy(e) == 0)
            return;
        if (rc > 0 && engine_busy(e) == 0) /* they were done at once: there is nothing to wait for */
            continue;
        bool limited = e->side[0]->o->max_ops > 0 || e->side[1]->o->max_ops > 0;
        turn_loop(e, limited ? 5 : LOOP_TICK);
    }
}

void engine_sleep(struct engine *e, unsigned ms)
{
    uint64_t until = mono_us() + (uint64_t)ms * 1000;
    for (uint64_t now = mono_us(); now < until; now = mono_us())
        turn_loop(e, (int)((until - now) / 1000 + 1 < LOOP_TICK ? (until - now) / 1000 + 1 : LOOP_TICK));
}
