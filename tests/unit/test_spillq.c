/* The queue that spills to a file: against a model, memory to file to memory, and its bounds. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "test.h"

#include "../../common/spillq.h"

static uint64_t seed = 88172645463325252u;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* Byte i of all that was ever put. */
static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 2654435761u >> 11);
}

struct model {
    struct spillq q;
    uint64_t put, dropped; /* the queue holds the bytes from dropped to put */
    bool spilled;
};

static void put(struct model *m, size_t n, uint64_t cap)
{
    uint8_t *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(m->put + i);
    bool memory = spillq_memroom(&m->q) >= n;
    uint64_t before = spillq_len(&m->q);
    int rc = spillq_put(&m->q, p, n);
    if (rc == 0) {
        m->put += n;
        m->spilled = m->spilled || !memory;
    } else {
        EQ_I(errno, EFBIG);
        CHECK(!memory && before + n > cap); /* refused only when the file cannot hold it */
        EQ(spillq_len(&m->q), before);
    }
    free(p);
}

static bool same(const uint8_t *p, size_t n, uint64_t from)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(from + i))
            return false;
    return true;
}

static void take(struct model *m, size_t want)
{
    size_t n;
    const uint8_t *p = spillq_peek(&m->q, want, &n);
    uint64_t held = m->put - m->dropped;
    if (!CHECK(p != NULL))
        return;
    CHECK(n <= held);
    CHECK(n >= want || n == held);
    if (!same(p, n, m->dropped))
        test_true(false, "the bytes that went in come out in order", __FILE__, __LINE__);
    size_t drop = n > 0 ? random_below(n + 1) : 0;
    spillq_drop(&m->q, drop);
    m->dropped += drop;
}

static void against_model(size_t memmax, uint64_t cap, size_t largest, unsigned rounds)
{
    struct model m = {.put = 0};
    uint64_t peak = 0;
    spillq_init(&m.q, memmax, cap, NULL);
    for (unsigned i = 0; i < rounds; i++) {
        bool filling = (i / 200) % 2 == 0; /* long tides, so that it runs full and empty */
        if (random_below(10) < (filling ? 7u : 3u))
            put(&m, random_below(largest + 1), cap);
        else
            take(&m, random_below(largest + 1));
        if (m.put - m.dropped > peak)
            peak = m.put - m.dropped;
        if (spillq_len(&m.q) != m.put - m.dropped)
            EQ(spillq_len(&m.q), m.put - m.dropped);
        CHECK(m.q.mem.cap <= memmax + ((size_t)2 << 20));
    }
    EQ(m.q.peak, peak);
    CHECK(m.spilled);
    while (m.put > m.dropped) {
        uint64_t before = m.dropped;
        take(&m, largest < m.put - m.dropped ? largest : 1);
        if (m.dropped == before) { /* the model dropped none: drop one */
            spillq_drop(&m.q, 1);
            m.dropped++;
        }
    }
    EQ(spillq_len(&m.q), 0);
    size_t n = 9;
    CHECK(spillq_peek(&m.q, 100, &n) != NULL);
    EQ(n, 0);
    put(&m, memmax, cap); /* and is as new */
    EQ(m.q.wr, 0);
    take(&m, memmax);
    spillq_free(&m.q);
}

static void bounds(void)
{
    struct spillq q;
    uint8_t data[4096];
    size_t n;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = byte_at(i);
    spillq_init(&q, 100, 1000, NULL);
    EQ(spillq_memroom(&q), 100);
    EQ_I(spillq_put(&q, data, 100), 0);
    EQ_I(q.fd, -1); /* fits memory: no file */
    EQ(spillq_memroom(&q), 0);
    EQ_I(spillq_put(&q, data + 100, 1000), 0);
    CHECK(q.fd >= 0);
    errno = 0;
    EQ_I(spillq_put(&q, data, 1), -1);
    EQ_I(errno, EFBIG);
    EQ_I(spillq_put(&q, data, 0), 0);
    EQ(spillq_len(&q), 1100);
    /* memory that has become free is not used before the file is empty: order */
    CHECK(spillq_peek(&q, 100, &n) != NULL);
    spillq_drop(&q, 60);
    EQ(spillq_memroom(&q), 0);
    EQ_I(spillq_put(&q, data, 1), -1);
    const uint8_t *p = spillq_peek(&q, 1040, &n); /* more than memmax: in one piece all the same */
    EQ(n, 1040);
    EQ_B(p, n, data + 60, 1040);
    EQ(q.wr, 0);
    EQ_I(spillq_put(&q, data + 1100, 1000), 0); /* the cap counts what is in the file */
    spillq_drop(&q, 1040);
    p = spillq_peek(&q, 1, &n);
    CHECK(n >= 1);
    CHECK(p[0] == byte_at(1100));
    spillq_free(&q);
    EQ_I(q.fd, -1);

    spillq_init(&q, 100, 1000, "/no/such/directory");
    EQ_I(spillq_put(&q, data, 100), 0);
    EQ_I(spillq_put(&q, data, 1), -1);
    EQ_I(errno, ENOENT);
    EQ(spillq_len(&q), 100);
    spillq_free(&q);

    spillq_init(&q, 0, 1000, NULL); /* all in the file */
    EQ_I(spillq_put(&q, data, 500), 0);
    p = spillq_peek(&q, 500, &n);
    EQ_B(p, n, data, 500);
    spillq_free(&q);
}

/* Disk space of what was read is given back while the file never runs empty. */
static void disk(void)
{
    struct spillq q;
    size_t step = (size_t)1 << 20, n;
    uint8_t *data = calloc(1, step);
    spillq_init(&q, step, (uint64_t)64 << 20, NULL);
    for (int i = 0; i < 8; i++)
        EQ_I(spillq_put(&q, data, step), 0);
    for (int i = 0; i < 100; i++) {
        EQ_I(spillq_put(&q, data, step), 0);
        CHECK(spillq_peek(&q, step, &n) != NULL);
        CHECK(n >= step);
        spillq_drop(&q, step);
    }
    struct stat st;
    if (fstat(q.fd, &st) != 0)
        abort();
    CHECK(q.wr > (uint64_t)64 << 20);
    CHECK((uint64_t)st.st_blocks * 512 <= (uint64_t)40 << 20);
    EQ(spillq_len(&q), 8 * step);
    spillq_free(&q);
    free(data);
}

int main(void)
{
    against_model(1000, 20000, 300, 4000);
    against_model(64, 5000, 500, 4000);
    against_model(4096, 1 << 20, 9000, 3000);
    against_model(100000, (uint64_t)64 << 20, 400000, 600);
    bounds();
    disk();
    return test_done();
}
