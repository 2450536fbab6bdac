/* The queue that spills to disk against a model: order, limits, a full disk, what is freed. */
#include <sys/mount.h>
#include <sys/stat.h>

#include "test.h"

#include "../../common/spool.c"

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

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
    struct spool q;
    uint64_t put, dropped;
};

static int put(struct model *m, size_t n, bool beyond)
{
    uint8_t *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = byte_at(m->put + i);
    uint64_t before = spool_len(&m->q);
    int rc = spool_put(&m->q, p, n, beyond);
    int error = errno;
    if (rc == 0)
        m->put += n;
    else
        EQ(spool_len(&m->q), before);
    EQ(spool_len(&m->q), m->put - m->dropped);
    free(p);
    errno = error;
    return rc;
}

/* Take some of what is there, or all that comes in one piece. */
static bool take(struct model *m, size_t want, bool all)
{
    size_t n = 0;
    const uint8_t *p = spool_peek(&m->q, want, &n);
    uint64_t held = m->put - m->dropped;
    if (!CHECK(p != NULL) || !CHECK(n <= held && (n >= want || n == held)) || n == 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(m->dropped + i))
            return CHECK(p[i] == byte_at(m->dropped + i)); /* what went in comes out in order */
    size_t drop = all ? n : random_below(n + 1);
    spool_drop(&m->q, drop);
    m->dropped += drop;
    return true;
}

static void drain(struct model *m)
{
    while (take(m, 1, true))
        ;
    EQ(m->dropped, m->put);
    EQ(m->q.spool.used, 0);
    EQ(m->q.spill.used, 0);
    CHECK(STAILQ_EMPTY(&m->q.segments));
}

static void against_model(size_t memmax, uint64_t spool_max, uint64_t spill_max, size_t largest,
                          unsigned rounds)
{
    struct model m = {.put = 0};
    uint64_t peak = 0;
    spool_init(&m.q, memmax, spool_max > 0 ? "/tmp" : NULL, spool_max, NULL, spill_max);
    for (unsigned i = 0; i < rounds; i++) {
        bool filling = i / 100 % 2 == 0;
        if (random_below(10) < (filling ? 8 : 2)) {
            size_t n = random_below(largest + 1);
            if (put(&m, n, false) != 0) {
                EQ_I(errno, EFBIG);
                CHECK(m.q.spool.used + n > spool_max && m.q.spill.used + n > spill_max);
            }
        } else {
            (void)take(&m, random_below(largest + 1), random_below(4) == 0);
        }
        CHECK(m.q.spool.used <= spool_max && m.q.spill.used <= spill_max);
        CHECK(m.q.mem.cap <= memmax + PEEK_MAX);
        peak = spool_len(&m.q) > peak ? spool_len(&m.q) : peak;
    }
    EQ(m.q.peak, peak);
    CHECK(peak > memmax);
    drain(&m);
    (void)put(&m, memmax, false); /* and is as new */
    CHECK(STAILQ_EMPTY(&m.q.segments));
    drain(&m);
    spool_free(&m.q);
}

static void test_bounds(void)
{
    struct model m = {.put = 0};
    spool_init(&m.q, 64 * KB, "/tmp", MB, NULL, MB);
    while (spool_len(&m.q) < 64 * KB || spool_ready(&m.q, 100 * KB))
        EQ_I(put(&m, 10 * KB, false), 0);
    uint64_t ordinary = spool_len(&m.q);
    CHECK(ordinary > 500 * KB && ordinary <= MB + 64 * KB);
    EQ(m.q.spill.used, 0);
    while (put(&m, 100 * KB, false) == 0) /* what must be read goes on */
        ;
    EQ_I(errno, EFBIG);
    CHECK(spool_len(&m.q) > 3 * ordinary / 2 && spool_len(&m.q) <= 2 * MB + 64 * KB);
    EQ_I(put(&m, 4 * KB, true), 0); /* END still fits */
    CHECK(!spool_ready(&m.q, 100 * KB));
    while (!spool_ready(&m.q, 100 * KB) && take(&m, 1, true)) /* as soon as a segment was read */
        ;
    CHECK(m.dropped < 400 * KB);
    drain(&m);
    spool_free(&m.q);
}

static void test_none(void)
{
    struct model m = {.put = 0};
    spool_init(&m.q, 1000, NULL, 0, NULL, 0);
    CHECK(!spool_ready(&m.q, 1));
    EQ_I(put(&m, 1000, false), 0);
    EQ_I(put(&m, 1, false), -1);
    EQ_I(errno, EFBIG);
    EQ_I(put(&m, 300, true), 0);
    drain(&m);
    spool_free(&m.q);
}

/* Small limits, of which every byte counts; memory and files in turns. */
static void test_small(void)
{
    struct model m = {.put = 0};
    spool_init(&m.q, 100, NULL, 0, NULL, 1000);
    EQ_I(put(&m, 100, false), 0);
    CHECK(STAILQ_EMPTY(&m.q.segments)); /* it fits memory: no file */
    EQ_I(put(&m, 1000, false), 0);
    CHECK(!STAILQ_EMPTY(&m.q.segments));
    EQ_I(put(&m, 1, false), -1);
    EQ_I(errno, EFBIG);
    EQ_I(put(&m, 0, false), 0);
    spool_drop(&m.q, 60); /* memory that has become free is not used before the files are empty: order */
    m.dropped += 60;
    EQ_I(put(&m, 1, false), -1);
    size_t n;
    CHECK(spool_peek(&m.q, 1040, &n) != NULL); /* more than memmax: in one piece all the same */
    EQ(n, 1040);
    EQ(m.q.spill.used, 0);
    EQ_I(put(&m, 1000, false), 0); /* the limit counts what is in files */
    CHECK(take(&m, 2040, true));
    drain(&m);
    spool_free(&m.q);

    spool_init(&m.q, 100, NULL, 0, "/no/such/directory", 1000);
    EQ_I(put(&m, 100, false), 0);
    EQ_I(put(&m, 1, false), -1);
    EQ_I(errno, ENOENT);
    drain(&m);
    spool_free(&m.q);

    spool_init(&m.q, 0, NULL, 0, NULL, MB); /* all in files; one piece of two of them */
    EQ_I(put(&m, 200 * KB, false), 0);
    EQ_I(put(&m, 200 * KB, false), 0);
    CHECK(take(&m, 400 * KB, true));
    drain(&m);
    spool_free(&m.q);
}

/* Disk space of what was read is given back while the queue never runs empty, and few files are open. */
static void test_steady(void)
{
    struct model m = {.put = 0};
    unsigned most = 0;
    spool_init(&m.q, MB, NULL, 0, NULL, 1024 * MB);
    for (int i = 0; i < 108; i++) {
        EQ_I(put(&m, MB, false), 0);
        if (i < 8)
            continue;
        size_t n = 0;
        CHECK(spool_peek(&m.q, MB, &n) != NULL && n >= MB);
        spool_drop(&m.q, MB);
        m.dropped += MB;
        unsigned files = 0;
        struct segment *s;
        STAILQ_FOREACH(s, &m.q.segments, link)
        files++;
        most = files > most ? files : most;
        CHECK(m.q.spill.used <= 40 * MB);
    }
    EQ(spool_len(&m.q), 8 * MB);
    CHECK(most <= 8);
    drain(&m);
    spool_free(&m.q);
}

/* Needs the right to mount; elsewhere a test of the whole program says what is missing. */
static void test_full_disk(void)
{
    char dir[] = "/tmp/df2redis-spool.XXXXXX";
    if (mkdtemp(dir) == NULL || mount("none", dir, "tmpfs", 0, "size=1m") != 0) {
        (void)rmdir(dir);
        return;
    }
    struct model m = {.put = 0};
    spool_init(&m.q, 64 * KB, dir, 100 * MB, NULL, 100 * MB);
    unsigned taken = 0;
    while (spool_ready(&m.q, 100 * KB) && taken < 20) /* smaller segments do, too */
        taken += put(&m, 100 * KB, false) == 0 ? 1 : 0;
    CHECK(taken >= 6 && taken < 11);
    EQ_I(m.q.spool.error, ENOSPC);
    CHECK(m.q.spool.retry_at > 0);
    EQ(m.q.spill.used, 0);
    EQ_I(put(&m, 100 * KB, false), 0); /* to the spill */
    CHECK(m.q.spill.used > 0);
    drain(&m);
    CHECK(spool_ready(&m.q, 100 * KB)); /* it is empty: it takes again */
    EQ_I(m.q.spool.error, 0);
    spool_free(&m.q);
    EQ_I(umount(dir), 0);
    EQ_I(rmdir(dir), 0);
}

int main(void)
{
    against_model(64 * KB, 4 * MB, 2 * MB, 128 * KB, 4000);
    against_model(256 * KB, 0, 8 * MB, 128 * KB, 4000);
    against_model(1000, 40 * MB, 0, 128 * KB, 2000);
    against_model(1000, 0, 20000, 300, 4000);
    against_model(64, 0, 5000, 500, 4000);
    against_model(100000, 0, 64 * MB, 400000, 600);
    test_bounds();
    test_none();
    test_small();
    test_steady();
    test_full_disk();
    return test_done();
}
