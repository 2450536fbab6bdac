/* --max-ops and --max-bytes to the millisecond: the clock is the test's, and a writer that is never late. */
#include "test.h"

#include "../../common/io.h"

static uint64_t time_us = 5000000000;

static uint64_t test_clock(void)
{
    return time_us;
}

#define mono_us test_clock
#include "../../writer/target/limit.c"

/* Send n records of that size as soon as each may go. Returns the microseconds that it takes; most: what went
 * within any tenth of a second. */
static uint64_t send(struct limit *l, unsigned n, uint32_t size, unsigned *most)
{
    static uint64_t sent[20000];
    uint64_t began = time_us;
    unsigned first = 0;
    *most = 0;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned waits = 0; !limit_open(l); waits++) {
            int ms = limit_timeout(l, time_us);
            if (!CHECK(ms >= 1 && waits < 3))
                return 0;
            time_us += (uint64_t)ms * 1000;
        }
        EQ_I(limit_timeout(l, time_us), -1);
        limit_spend(l, size, true);
        sent[i] = time_us;
        while (sent[first] + 100000 <= time_us)
            first++;
        *most = i + 1 - first > *most ? i + 1 - first : *most;
    }
    return time_us - began;
}

static void within(uint64_t us, uint64_t least, uint64_t most)
{
    CHECK(us >= least && us <= most);
}

static void test_requests(void)
{
    struct limit l;
    unsigned most;
    limit_set(&l, 2000, 0);
    within(send(&l, 10000, 40, &most), 4998000, 5002000);
    CHECK(most <= 201); /* smooth */
    /* What was not used is not saved up, but for a tenth of a second's worth. */
    time_us += 10 * (uint64_t)SECOND;
    within(send(&l, 2200, 40, &most), 998000, 1002000);
    CHECK(most <= 401);
    /* Nor does a limit that is set begin with any. */
    limit_set(&l, 100, 0);
    within(send(&l, 101, 40, &most), 999000, 1001000 + 10000);
    limit_set(&l, 1, 0);
    within(send(&l, 5, 40, &most), 4000000, 5001000);
}

static void test_bytes(void)
{
    struct limit l;
    unsigned most;
    limit_set(&l, 0, 1500000);
    within(send(&l, 60, 50000, &most), 1960000, 2002000); /* the last one overdraws */
    CHECK(most <= 4);
    /* Larger than what a second has. */
    limit_set(&l, 0, 1000);
    within(send(&l, 4, 5000, &most), 15000000, 15010000);
    /* The stricter one of two counts. */
    limit_set(&l, 1000, 10000);
    within(send(&l, 1000, 100, &most), 9980000, 10002000);
    limit_set(&l, 10, 1000000);
    within(send(&l, 50, 100, &most), 4890000, 5002000);
}

static void test_parts(void)
{
    struct limit l;
    limit_set(&l, 1, 0);
    time_us += 1000000;
    CHECK(!limit_open(&l) || l.ops.tokens > 0);
    int64_t before = l.ops.tokens;
    limit_spend(&l, 10, false); /* not yet a whole request */
    EQ_I(l.ops.tokens, before);
    limit_set(&l, 0, 0);
    CHECK(!l.on && limit_open(&l));
    EQ_I(limit_timeout(&l, time_us), -1);
}

int main(void)
{
    test_requests();
    test_bytes();
    test_parts();
    return test_done();
}
