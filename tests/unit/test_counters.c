/* What stages count: the histogram against a list of all values, and the lines that are sent. */
#include <unistd.h>

#include "test.h"

#include "../../common/counters.h"
#include "../../common/meta.h"

#define VALUES 5000

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* From microseconds to minutes, each size as often as the others. */
static uint64_t some_value(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 20) & (((uint64_t)1 << (*seed >> 58) % 28) - 1);
}

static void test_histogram(void)
{
    static uint64_t all[VALUES];
    struct histogram h = {.n = 0};
    uint64_t seed = 7, sum = 0;
    for (unsigned i = 0; i < VALUES; i++) {
        all[i] = some_value(&seed);
        sum += all[i];
        histogram_add(&h, all[i]);
    }
    qsort(all, VALUES, sizeof *all, by_value);
    EQ(h.n, VALUES);
    EQ(h.sum, sum);
    EQ(h.max, all[VALUES - 1]);
    for (unsigned power = 3; power <= 30; power++) {
        unsigned below = 0;
        while (below < VALUES && all[below] < (uint64_t)1 << power)
            below++;
        EQ(histogram_below(&h, power), below);
    }
    for (unsigned permille = 1; permille <= 1000; permille += 37) {
        uint64_t exact_one = all[(VALUES * permille + 999) / 1000 - 1];
        uint64_t got = histogram_percentile(&h, permille);
        /* Never less, and by an eighth more at most. */
        CHECK(got >= exact_one && got <= exact_one + exact_one / 8 + 1);
    }
}

static void test_extremes(void)
{
    struct histogram h = {.n = 0};
    EQ(histogram_percentile(&h, 500), 0);
    histogram_add(&h, 0);
    histogram_add(&h, UINT64_MAX / 2);
    EQ(h.n, 2);
    EQ(histogram_below(&h, 3), 1);
    EQ(histogram_below(&h, 30), 1);
    CHECK(histogram_percentile(&h, 1000) >= (uint64_t)1 << 32);
}

static bool number(const struct buf *b, const char *name, uint64_t *n)
{
    return meta_getu(b->p, b->len, name, n);
}

static void test_line(void)
{
    struct buf b = {.max = 4096};
    struct waited waited = {11, 22};
    uint64_t n, keys[CLASS_COUNT] = {[CLASS_STRING] = 3, [CLASS_HASH] = 4};
    counters_begin(&b, "dfparse", 5);
    CHECK(strncmp((const char *)b.p, "counters stage=dfparse flow=5 pid=", 34) == 0);
    counters_add(&b, "requests", UINT64_MAX);
    counters_waited(&b, &waited);
    counters_keys(&b, keys);
    counters_process(&b);
    CHECK(number(&b, "requests", &n) && n == UINT64_MAX);
    CHECK(number(&b, "waited_input_us", &n) && n == 11);
    CHECK(number(&b, "waited_output_us", &n) && n == 22);
    CHECK(number(&b, "keys.string", &n) && n == 3);
    CHECK(number(&b, "keys.hash", &n) && n == 4);
    CHECK(!number(&b, "keys.list", &n));
    CHECK(number(&b, "keys", &n) && n == 7);
    CHECK(number(&b, "resident_bytes", &n) && n > 100000);
    CHECK(number(&b, "cpu_user_us", &n));
    counters_begin(&b, "rediswriter", -1);
    CHECK(!number(&b, "flow", &n) && !number(&b, "requests", &n));
    buf_free(&b);
}

static void test_channel(void)
{
    struct buf b = {.max = 4096};
    uint64_t n;
    int p[2];
    char data[1000] = {0};
    CHECK(pipe(p) == 0);
    CHECK(write(p[1], data, sizeof data) == (ssize_t)sizeof data);
    counters_begin(&b, "x", -1);
    counters_channel(&b, "pipe", p[1]);
    CHECK(number(&b, "pipe_bytes", &n) && n == sizeof data);
    CHECK(number(&b, "pipe_size_bytes", &n) && n >= 4096);
    close(p[0]);
    close(p[1]);
    counters_begin(&b, "x", -1);
    counters_channel(&b, "pipe", -1);
    CHECK(!number(&b, "pipe_bytes", &n));
    buf_free(&b);
}

static void test_latency(void)
{
    struct buf b = {.max = 4096};
    struct histogram h = {.n = 0};
    char list[600];
    uint64_t n;
    histogram_add(&h, 100);
    histogram_add(&h, 200);
    histogram_add(&h, 100000000);
    counters_begin(&b, "x", -1);
    counters_histogram(&b, "latency", &h);
    CHECK(number(&b, "latency_count", &n) && n == 3);
    CHECK(number(&b, "latency_sum_us", &n) && n == 100000300);
    CHECK(meta_get(b.p, b.len, "latency_below", list, sizeof list) > 0);
    EQ_S(list, "1,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2");
    buf_free(&b);
}

/* A line is one message, whatever there is to say: what does not fit is left out whole. */
static void test_bound(void)
{
    struct buf b = {.max = 4096};
    char name[32];
    counters_begin(&b, "x", -1);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "number_%u", i);
        counters_add(&b, name, UINT64_MAX);
    }
    CHECK(b.len <= COUNTERS_MAX && b.len > COUNTERS_MAX - 40);
    CHECK(memcmp(b.p + b.len - 20, "18446744073709551615", 20) == 0);
    buf_free(&b);
}

int main(void)
{
    test_histogram();
    test_extremes();
    test_line();
    test_channel();
    test_latency();
    test_bound();
    return test_done();
}
