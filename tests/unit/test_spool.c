/* dfreader's queue of segments against a model: order, bounds, a full disk, what is given back; and the
 * positions that a writer says. */
#include <sys/mount.h>
#include <sys/stat.h>

#include "test.h"

#include "../../reader/resume.c"
#include "../../reader/spool.c"

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

/* Take some of what is there, or all of it. */
static bool take(struct model *m, bool all)
{
    size_t n = 0;
    const uint8_t *p = spool_peek(&m->q, &n);
    if (!CHECK(p != NULL) || n == 0)
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
    while (take(m, true))
        ;
    EQ(m->dropped, m->put);
    EQ(m->q.spool.used, 0);
    EQ(m->q.spill.used, 0);
    CHECK(STAILQ_EMPTY(&m->q.segments));
}

static void against_model(size_t memmax, uint64_t spool_max, uint64_t spill_max, unsigned rounds)
{
    struct model m = {.put = 0};
    uint64_t peak = 0;
    spool_init(&m.q, memmax, spool_max > 0 ? "/tmp" : NULL, spool_max, NULL, spill_max);
    for (unsigned i = 0; i < rounds; i++) {
        bool filling = i / 100 % 2 == 0;
        if (random_below(10) < (filling ? 8 : 2)) {
            size_t n = 1 + random_below(128 * KB);
            if (put(&m, n, false) != 0) {
                EQ_I(errno, EFBIG);
                CHECK(m.q.spool.used + m.q.spool.segment > spool_max);
                CHECK(m.q.spill.used + m.q.spill.segment > spill_max);
            }
        } else {
            (void)take(&m, random_below(4) == 0);
        }
        CHECK(m.q.spool.used <= spool_max && m.q.spill.used <= spill_max);
        peak = spool_len(&m.q) > peak ? spool_len(&m.q) : peak;
    }
    CHECK(peak > memmax);
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
    (void)take(&m, true);
    (void)take(&m, true);
    (void)take(&m, true);
    CHECK(spool_ready(&m.q, 100 * KB));
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
    while (spool_ready(&m.q, 100 * KB) && taken < 20) /* a segment would have 6 MiB: smaller ones do */
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

static void test_resume(void)
{
    static const char id[] = "0123456789012345678901234567890123456789";
    char line[200];
    struct resume r = {.state = RESUME_UNKNOWN};
    CHECK(!resume_line(&r, "from flow=0 pos=7")); /* without a beginning */
    CHECK(resume_line(&r, "resume state=none"));
    EQ_I(r.state, RESUME_NONE);
    snprintf(line, sizeof line, "resume epoch=1 state=saved replid=%s lineage=%s flows=3", id, id);
    CHECK(!resume_line(&r, line));
    CHECK(!resume_line(&r, "from flow=2 pos=18446744073709551615"));
    CHECK(!resume_line(&r, "from flow=3 pos=1"));
    CHECK(!resume_line(&r, "from flow=0 pos=5"));
    CHECK(!resume_line(&r, "from flow=0 pos=6"));
    CHECK(!resume_line(&r, "from flow=1"));
    CHECK(resume_line(&r, "from flow=1 pos=1"));
    EQ_I(r.state, RESUME_SAVED);
    EQ_S(resume_vector(&r), "6-1-18446744073709551615");
    EQ_S(resume_vector(&r), "6-1-18446744073709551615");
    CHECK(!resume_line(&r, line)); /* said again: from the beginning */
    CHECK(resume_line(&r, "from flow=1 pos=0"));
    EQ_I(r.state, RESUME_INCOMPLETE);
    CHECK(resume_line(&r, "from flow=1 pos=9")); /* too late */
    EQ_I(r.state, RESUME_INCOMPLETE);
    static const char *const useless[] = {"resume", "resume state=saved", "resume state=maybe",
                                          "resume state=saved flows=0 replid="};
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        CHECK(resume_line(&r, useless[i]));
        EQ_I(r.state, RESUME_INCOMPLETE);
    }
    resume_free(&r);
}

/* Each flow has the lineage that was saved with it, or else that of the line "resume". */
static void test_resume_lineages(void)
{
    static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                      b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    char line[300];
    struct resume r = {.state = RESUME_UNKNOWN};
    snprintf(line, sizeof line, "resume state=saved replid=%s lineage=%s flows=2", a, a);
    CHECK(!resume_line(&r, line));
    snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s", b);
    CHECK(!resume_line(&r, line));
    CHECK(resume_line(&r, "from flow=0 pos=5"));
    EQ_I(r.state, RESUME_SAVED);
    EQ_S(r.flow[0].lineage.replid, a);
    EQ_S(r.flow[0].lineage.top, a);
    EQ_S(r.flow[1].lineage.replid, b);
    EQ_S(r.flow[1].lineage.top, "");
    /* Of no flow it may be unknown whose position it is. */
    CHECK(!resume_line(&r, "resume state=saved replid=- lineage=- flows=2"));
    snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s lineage=-", b);
    CHECK(!resume_line(&r, line));
    CHECK(resume_line(&r, "from flow=0 pos=5"));
    EQ_I(r.state, RESUME_INCOMPLETE);
    static const char *const useless[] = {"from flow=1 pos=7",
                                          "from flow=1 pos=7 replid=", "from flow=1 pos=7 replid=a%20b"};
    for (size_t i = 0; i <= sizeof useless / sizeof *useless; i++) {
        /* One that is there, and is none, is not replaced by that of the others. */
        snprintf(line, sizeof line, "resume state=saved flows=2 replid=%s", i == 0 ? "x" : a);
        CHECK(!resume_line(&r, line));
        snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s%s", a, b);
        CHECK(resume_line(&r, i < sizeof useless / sizeof *useless ? useless[i] : line));
        EQ_I(r.state, RESUME_INCOMPLETE);
    }
    resume_free(&r);
}

int main(void)
{
    against_model(64 * KB, 4 * MB, 2 * MB, 4000);
    against_model(256 * KB, 0, 8 * MB, 4000);
    against_model(1000, 40 * MB, 0, 2000);
    test_bounds();
    test_none();
    test_full_disk();
    test_resume();
    test_resume_lineages();
    return test_done();
}
