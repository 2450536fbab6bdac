#include "limit.h"

#include "io.h"

#define SECOND   INT64_C(1000000)
#define BURST_US UINT64_C(100000)

void limit_set(struct limit *l, uint64_t ops, uint64_t bytes)
{
    *l = (struct limit){.ops.rate = ops, .bytes.rate = bytes, .on = ops > 0 || bytes > 0};
    l->filled = l->on ? mono_us() : 0;
}

/* A debt is paid by all the time that has passed, but no more than a burst is saved up. */
static void fill(struct bucket *b, uint64_t us)
{
    if (b->rate == 0)
        return;
    int64_t most = (int64_t)(b->rate * BURST_US);
    uint64_t full = (uint64_t)(most - b->tokens) / b->rate;
    if (us <= full)
        b->tokens += (int64_t)(b->rate * us);
    else
        b->tokens = most;
}

static bool has(const struct bucket *b)
{
    return b->rate == 0 || b->tokens > 0;
}

bool limit_open(struct limit *l)
{
    if (!has(&l->ops) || !has(&l->bytes)) {
        uint64_t now = mono_us();
        uint64_t us = us_since(now, l->filled);
        fill(&l->ops, us);
        fill(&l->bytes, us);
        l->filled = now;
    }
    l->waiting = !has(&l->ops) || !has(&l->bytes);
    return !l->waiting;
}

void limit_spend(struct limit *l, size_t bytes, bool whole)
{
    if (whole)
        l->ops.tokens -= SECOND;
    l->bytes.tokens -= (int64_t)bytes * SECOND;
}

/* Microseconds until there is something in it again. */
static uint64_t due(const struct bucket *b)
{
    return has(b) ? 0 : (uint64_t)-b->tokens / b->rate + 1;
}

int limit_timeout(const struct limit *l, uint64_t now)
{
    if (!l->waiting)
        return -1;
    uint64_t ops = due(&l->ops), bytes = due(&l->bytes);
    uint64_t us = ops > bytes ? ops : bytes, gone = us_since(now, l->filled);
    us = us > gone ? us - gone : 0;
    return us > SECOND * 60 ? 60000 : (int)(us / 1000) + 1;
}
