/* Lanes and barriers: df2redis(7), Order and positions, common/lanes.h. */
#include <errno.h>

#include "test.h"

#include "../../common/lanes.h"
#include "../../common/record.h"

static struct rec rec_of(unsigned flow, unsigned type, uint64_t seq)
{
    return (struct rec){.type = (uint8_t)type, .flow = (uint16_t)flow, .epoch = 1, .seq = seq};
}

/* A BARRIER record's payload. */
static struct buf request(uint64_t txid, const char *name)
{
    struct buf b = {0};
    add_le(&b, txid, 8);
    (void)buf_addf(&b, "*1\r\n$%zu\r\n%s\r\n", strlen(name), name);
    return b;
}

static enum lanes_result arrive(struct lanes *l, unsigned flow, uint64_t txid, uint32_t db, const char *name)
{
    struct buf b = request(txid, name);
    struct rec r = rec_of(flow, REC_BARRIER, 1);
    r.len = (uint32_t)b.len;
    r.db = db;
    uint8_t *p = exact(b.p, b.len);
    enum lanes_result got = lanes_arrive(l, &r, p);
    free(p);
    buf_free(&b);
    return got;
}

static void rendezvous(void)
{
    struct lanes l;
    size_t n;
    lanes_init(&l, 3, 1024, 4096, NULL);
    CHECK(!lanes_at_barrier(&l));
    EQ_I(lanes_missing(&l, 0), 0);
    EQ(arrive(&l, 1, 77, 2, "FLUSHDB"), LANES_WAIT);
    CHECK(lanes_at_barrier(&l));
    CHECK(lanes_blocked(&l, 1) && !lanes_blocked(&l, 0) && !lanes_blocked(&l, 2));
    EQ_I(lanes_missing(&l, 0), 0);
    EQ_I(lanes_missing(&l, 1), 2);
    EQ(arrive(&l, 1, 77, 2, "FLUSHDB"), LANES_BAD); /* stands already */
    EQ(arrive(&l, 0, 77, 2, "FLUSHDB"), LANES_WAIT);
    EQ(arrive(&l, 2, 77, 2, "FLUSHDB"), LANES_COMPLETE);
    EQ_I(lanes_missing(&l, 0), -1);
    const uint8_t *p = lanes_request(&l, LANES_ALL, &n);
    EQ_B(p, n, "*1\r\n$7\r\nFLUSHDB\r\n", 17);
    EQ(lanes_db(&l, LANES_ALL), 2);
    EQ(l.lane[2].at.type, REC_BARRIER);
    lanes_release(&l, LANES_ALL);
    CHECK(!lanes_at_barrier(&l));
    for (unsigned i = 0; i < 3; i++)
        CHECK(!lanes_blocked(&l, i));
    EQ(arrive(&l, 2, 78, 0, "FLUSHALL"), LANES_WAIT); /* and again */
    lanes_free(&l);
    lanes_init(&l, 1, 1024, 4096, NULL);
    EQ(arrive(&l, 0, 1, 0, "FLUSHALL"), LANES_COMPLETE);
    lanes_free(&l);
}

static enum lanes_result arrive_alone(struct lanes *l, unsigned flow, uint32_t db, const char *resp)
{
    struct buf b = {0};
    struct rec r = rec_of(flow, REC_BARRIER, 1);
    add_le(&b, 1, 8);
    (void)buf_addstr(&b, resp);
    r.len = (uint32_t)b.len;
    r.db = db;
    r.flags = RF_ONEFLOW;
    uint8_t *p = exact(b.p, b.len);
    enum lanes_result got = lanes_arrive(l, &r, p);
    free(p);
    buf_free(&b);
    return got;
}

#define FLUSHDB "*1\r\n$7\r\nFLUSHDB\r\n"

/* A barrier of one flow: others neither come to it nor wait. */
static void alone(void)
{
    struct lanes l;
    int scope;
    size_t n;
    lanes_init(&l, 3, 1024, 4096, NULL);
    CHECK(!lanes_ready(&l, 0, &scope));
    EQ(arrive_alone(&l, 1, 2, FLUSHDB), LANES_ALONE);
    CHECK(lanes_ready(&l, 2, &scope) && scope == 1 && lanes_stand(&l) && !lanes_at_barrier(&l));
    CHECK(!lanes_blocked(&l, 0) && lanes_blocked(&l, 1) && !lanes_blocked(&l, 2));
    const uint8_t *p = lanes_request(&l, 1, &n);
    EQ_B(p, n, FLUSHDB, 17);
    EQ(lanes_db(&l, 1), 2);
    /* Another one meanwhile: in turn. Others come to a barrier of all flows, which waits for these two. */
    EQ(arrive_alone(&l, 2, 3, "*2\r\n$7\r\nflushdb\r\n$5\r\nASYNC\r\n"), LANES_ALONE);
    CHECK(lanes_ready(&l, 2, &scope) && scope == 2 && lanes_ready(&l, 0, &scope) && scope == 1);
    EQ(arrive(&l, 0, 77, 0, "FLUSHALL"), LANES_WAIT);
    EQ_I(lanes_missing(&l, 0), 1);
    EQ_I(lanes_missing(&l, 2), 2);
    lanes_release(&l, 1);
    CHECK(!lanes_blocked(&l, 1) && lanes_blocked(&l, 0) && lanes_blocked(&l, 2));
    EQ(arrive(&l, 1, 77, 0, "FLUSHALL"), LANES_WAIT);
    lanes_release(&l, 2);
    CHECK(!lanes_ready(&l, 0, &scope));
    EQ(arrive(&l, 2, 77, 0, "FLUSHALL"), LANES_COMPLETE);
    CHECK(lanes_ready(&l, 0, &scope) && scope == LANES_ALL);
    p = lanes_request(&l, scope, &n);
    EQ_B(p, n, "*1\r\n$8\r\nFLUSHALL\r\n", 18);
    lanes_release(&l, scope);
    CHECK(!lanes_stand(&l));
    /* Others would lose keys, or it is something else. */
    static const char *const wide[] = {"*1\r\n$8\r\nFLUSHALL\r\n", "*1\r\n$7\r\nFLUSHD", "*1", "*",
                                       "x1\r\n$7\r\nFLUSHDB\r\n"};
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        EQ(arrive_alone(&l, 0, 0, wide[i]), LANES_WIDE);
    CHECK(!lanes_stand(&l) && !lanes_blocked(&l, 0));
    EQ(arrive_alone(&l, 0, 0, ""), LANES_BAD);
    EQ(arrive_alone(&l, 0, 0, FLUSHDB), LANES_ALONE); /* and given up */
    lanes_free(&l);
    lanes_init(&l, 1, 1024, 4096, NULL); /* there is no other */
    EQ(arrive_alone(&l, 0, 0, "*1\r\n$8\r\nFLUSHALL\r\n"), LANES_COMPLETE);
    lanes_free(&l);
}

static void conflicts(void)
{
    struct lanes l;
    struct rec r = rec_of(1, REC_BARRIER, 1);
    uint8_t payload[5000] = {0};
    lanes_init(&l, 2, 1024, 4096, NULL);
    EQ(arrive(&l, 0, 1, 0, "FLUSHALL"), LANES_WAIT);
    EQ(arrive(&l, 1, 2, 0, "FLUSHALL"), LANES_CONFLICT); /* another transaction */
    EQ(arrive(&l, 1, 1, 5, "FLUSHALL"), LANES_CONFLICT); /* another database */
    EQ(arrive(&l, 1, 1, 0, "FLUSHDB"), LANES_BAD);       /* the same one with another request */
    CHECK(!lanes_blocked(&l, 1));
    r.len = 8; /* no request at all */
    EQ(lanes_arrive(&l, &r, payload), LANES_BAD);
    r.len = 0;
    EQ(lanes_arrive(&l, &r, payload), LANES_BAD);
    r.len = 8 + LANES_REQUEST_MAX + 1;
    EQ(lanes_arrive(&l, &r, payload), LANES_BAD);
    EQ(arrive(&l, 1, 1, 0, "FLUSHALL"), LANES_COMPLETE); /* none of these counted */
    lanes_release(&l, LANES_ALL);
    r.len = 8 + LANES_REQUEST_MAX; /* the longest */
    EQ(lanes_arrive(&l, &r, payload), LANES_WAIT);
    lanes_free(&l);
}

/* Records of many sizes on three lanes come out of each in order, from memory and file. */
static void queues(void)
{
    enum { FLOWS = 3, COUNT = 300 };
    struct lanes l;
    uint8_t *data = malloc(70000);
    for (size_t i = 0; i < 70000; i++)
        data[i] = (uint8_t)(i * 7);
    lanes_init(&l, FLOWS, 8192, (uint64_t)64 << 20, NULL);
    for (unsigned f = 0; f < FLOWS; f++)
        EQ(arrive(&l, f, 1, 0, "FLUSHALL"), f + 1 == FLOWS ? LANES_COMPLETE : LANES_WAIT);
    for (unsigned i = 0; i < COUNT; i++)
        for (unsigned f = 0; f < FLOWS; f++) {
            struct rec r = rec_of(f, REC_REQUEST, i);
            r.len = (i * 131 + f) % 7 == 0 ? (i * 977) % 70000 : i % 50;
            EQ_I(lanes_queue(&l, &r, data + f), 0);
        }
    EQ(l.queued, FLOWS);
    EQ_I(lanes_pick(&l, 0), -1); /* all stand */
    lanes_release(&l, LANES_ALL);
    CHECK(lanes_blocked(&l, 1)); /* order: behind what is queued */
    uint64_t next[FLOWS] = {0, 0, 0};
    unsigned from = 0, done = 0;
    for (int f; (f = lanes_pick(&l, from)) >= 0; from = (unsigned)f + 1) {
        struct rec r;
        const uint8_t *p;
        EQ_I(lanes_peek(&l, (unsigned)f, &r, &p), 1);
        EQ(r.seq, next[f]);
        EQ(r.flow, f);
        EQ_B(p, r.len, data + f, r.len);
        const uint8_t *again;
        EQ_I(lanes_peek(&l, (unsigned)f, &r, &again), 1); /* peeking takes nothing */
        lanes_drop(&l, (unsigned)f, &r);
        next[f]++;
        done++;
    }
    EQ(done, FLOWS * COUNT);
    EQ(l.queued, 0);
    struct rec r;
    const uint8_t *p;
    EQ_I(lanes_peek(&l, 0, &r, &p), 0);
    CHECK(!lanes_blocked(&l, 0));
    CHECK(lanes_peak(&l) > 100000);
    lanes_free(&l);
    free(data);
}

/* A lane that stands is not picked; another barrier within the queue stops it again. */
static void barrier_in_queue(void)
{
    struct lanes l;
    struct rec r;
    const uint8_t *p;
    struct buf b = request(2, "FLUSHALL");
    lanes_init(&l, 2, 1024, 4096, NULL);
    EQ(arrive(&l, 0, 1, 0, "FLUSHALL"), LANES_WAIT);
    r = rec_of(0, REC_REQUEST, 1);
    r.len = 1;
    EQ_I(lanes_queue(&l, &r, (const uint8_t *)"a"), 0);
    r = rec_of(0, REC_BARRIER, 2);
    r.len = (uint32_t)b.len;
    EQ_I(lanes_queue(&l, &r, b.p), 0);
    r = rec_of(0, REC_REQUEST, 3);
    r.len = 1;
    EQ_I(lanes_queue(&l, &r, (const uint8_t *)"c"), 0);
    EQ_I(lanes_pick(&l, 0), -1);
    EQ(arrive(&l, 1, 1, 0, "FLUSHALL"), LANES_COMPLETE);
    lanes_release(&l, LANES_ALL);
    EQ_I(lanes_pick(&l, 1), 0); /* round again */
    EQ_I(lanes_peek(&l, 0, &r, &p), 1);
    EQ(r.seq, 1);
    lanes_drop(&l, 0, &r);
    EQ_I(lanes_peek(&l, 0, &r, &p), 1);
    EQ(r.type, REC_BARRIER);
    EQ(lanes_arrive(&l, &r, p), LANES_WAIT);
    lanes_drop(&l, 0, &r);
    EQ_I(lanes_pick(&l, 0), -1); /* "c" has to wait for flow 1 */
    CHECK(lanes_blocked(&l, 0));
    EQ(arrive(&l, 1, 2, 0, "FLUSHALL"), LANES_COMPLETE);
    lanes_release(&l, LANES_ALL);
    EQ_I(lanes_pick(&l, 0), 0);
    EQ_I(lanes_peek(&l, 0, &r, &p), 1);
    EQ(r.seq, 3);
    EQ_B(p, r.len, "c", 1);
    lanes_drop(&l, 0, &r);
    EQ_I(lanes_pick(&l, 0), -1);
    lanes_free(&l);
    buf_free(&b);
}

static void cap(void)
{
    struct lanes l;
    struct rec r = rec_of(0, REC_REQUEST, 0);
    uint8_t data[1000];
    const uint8_t *p;
    unsigned taken = 0;
    memset(data, 'x', sizeof data);
    lanes_init(&l, 2, 4096, 10000, NULL);
    EQ(arrive(&l, 0, 1, 0, "FLUSHALL"), LANES_WAIT);
    r.len = sizeof data;
    while (taken < 100) {
        r.seq = taken;
        errno = 0;
        if (lanes_queue(&l, &r, data) < 0)
            break;
        taken++;
    }
    EQ_I(errno, EFBIG);
    EQ(taken, 3 + 9); /* 4096 in memory, 10000 in the file; records are never split */
    EQ(arrive(&l, 1, 1, 0, "FLUSHALL"), LANES_COMPLETE);
    lanes_release(&l, LANES_ALL);
    unsigned n = 0;
    while (lanes_peek(&l, 0, &r, &p) == 1) {
        EQ(r.seq, n++);
        EQ(r.len, sizeof data);
        lanes_drop(&l, 0, &r);
    }
    EQ(n, taken); /* the one refused left nothing behind */
    lanes_free(&l);
}

/* With many flows the memory of all stays bounded. */
static void many(void)
{
    struct lanes l;
    lanes_init(&l, REC_FLOWS_MAX, (size_t)1 << 20, 1 << 20, NULL);
    EQ(l.lane[0].q.memmax, 4096);
    lanes_free(&l);
    lanes_init(&l, 2, (size_t)1 << 20, 1 << 20, NULL);
    EQ(l.lane[1].q.memmax, (size_t)1 << 20);
    lanes_free(&l);
    lanes_init(&l, 8, (size_t)1 << 20, 1 << 20, NULL);
    EQ(l.lane[7].q.memmax, (size_t)512 << 10);
    lanes_free(&l);
    lanes_free(&l); /* twice is no harm */
}

int main(void)
{
    rendezvous();
    alone();
    conflicts();
    queues();
    barrier_in_queue();
    cap();
    many();
    return test_done();
}
