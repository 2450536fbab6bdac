/* Which records are marked TOGETHER: entries of one transaction directly behind each other, and what one
 * entry became, as long as the record before has not gone yet. */
#include "test.h"

#include "../../common/resp.h"
#include "../../parser/flow.h"

static struct capture cap;
static struct flow flow[2];

static void begin(const char *target)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    for (unsigned i = 0; i < 2; i++) {
        flow_init(&flow[i], (uint16_t)i);
        flow_begin(&flow[i], 1, false, true, 2, 100, NULL);
    }
}

static void feed(unsigned i, struct buf *b)
{
    if (flow_feed(&flow[i], &cap.e, b->p, b->len, flow[i].offset + flow[i].carry.len, 1700000000000000) < 0)
        printf("%s\n", flow[i].error);
    b->len = 0;
}

static void entry(unsigned i, uint64_t txid, const char *line)
{
    struct buf b = {0};
    add_command(&b, txid, line);
    feed(i, &b);
    buf_free(&b);
}

static void drop(void)
{
    for (unsigned i = 0; i < 2; i++)
        flow_free(&flow[i]);
    capture_free(&cap);
}

/* The counted records, one character each: T: together with the next, M: goes on in the next, else its flow.
 */
static void marks_are(const char *want)
{
    struct buf b = capture_bytes(&cap);
    char got[256];
    size_t n = 0;
    struct rec r;
    for (size_t at = 0; at + REC_HEADER <= b.len && n + 1 < sizeof got; at += REC_HEADER + r.len) {
        memcpy(&r, b.p + at, sizeof r);
        if (r.seq != 0)
            got[n++] = (char)((r.flags & RF_TOGETHER) != 0 ? 'T'
                              : (r.flags & RF_MORE) != 0   ? 'M'
                                                           : '0' + r.flow);
    }
    got[n] = '\0';
    EQ_S(got, want);
    buf_free(&b);
    drop();
}

static void transactions(void)
{
    begin("redis:7.0");
    entry(0, 7, "INCR a");
    entry(0, 7, "INCR b");
    entry(0, 7, "INCR c");
    entry(0, 8, "INCR a");
    entry(0, 0, "INCR a"); /* 0: none */
    entry(0, 0, "INCR a");
    entry(0, 9, "INCR a");
    entry(0, 10, "INCR a");
    marks_are("TT000000");

    begin("redis:7.0"); /* each flow for itself */
    entry(0, 7, "INCR a");
    entry(1, 7, "INCR b");
    entry(0, 7, "INCR c");
    entry(1, 8, "INCR b");
    marks_are("T101");

    begin("redis:7.0"); /* what means nothing to the target leaves a position, which belongs to it, too */
    entry(0, 7, "INCR a");
    entry(0, 7, "PING");
    entry(0, 7, "INCR c");
    marks_are("TT0");
}

static void several_records(void)
{
    begin("redis:6.0"); /* SET and PEXPIREAT */
    entry(0, 0, "SET a 1 PXAT 1900000000000");
    entry(0, 0, "INCR a");
    marks_are("T00");
}

static void interrupted(void)
{
    struct buf ping = hex("0d");
    begin("redis:7.0");
    entry(0, 7, "INCR a");
    feed(0, &ping);
    entry(0, 7, "INCR b");
    entry(0, 7, "INCR c");
    marks_are("00T0");
    buf_free(&ping);

    begin("redis:7.0"); /* not known: a report, and no record that could be marked */
    entry(0, 7, "INCR a");
    entry(0, 8, "NOSUCH");
    entry(0, 8, "INCR b");
    entry(0, 8, "INCR c");
    struct buf b = capture_bytes(&cap);
    struct rec r;
    memcpy(&r, b.p, sizeof r);
    EQ(r.flags & RF_TOGETHER, 0); /* the first has another txid */
    buf_free(&b);
    drop();
}

/* The bytes as they would be if nothing belonged together. */
static const uint8_t *without_flag(struct buf *b)
{
    struct rec r;
    for (size_t at = 0; at + REC_HEADER <= b->len; at += REC_HEADER + r.len) {
        memcpy(&r, b->p + at, sizeof r);
        r.flags &= (uint16_t)~RF_TOGETHER;
        memcpy(b->p + at, &r, sizeof r);
    }
    return b->p;
}

static void flushed(void)
{
    struct buf plain, b;
    begin("redis:7.0");
    entry(0, 7, "INCR a");
    entry(0, 8, "INCR b");
    entry(0, 9, "SET c 0123456789012345678901234567890123456789012345678901234567890123456789");
    entry(0, 10, "INCR d");
    entry(0, 11, "INCR e");
    plain = capture_bytes(&cap);
    drop();

    begin("redis:7.0"); /* gone already: nothing is held back for it */
    entry(0, 7, "INCR a");
    entry(0, 7, "INCR b");
    EQ_I(emit_flush(&cap.e), 0);
    entry(0, 7, "INCR c");
    entry(0, 7, "INCR d");
    marks_are("T0T0");

    /* Making room for the second may flush the first: nothing but its flags may be touched. */
    for (size_t n = 100; n < 600; n++) {
        begin("redis:7.0");
        cap.e.out.limit = n;
        entry(0, 7, "INCR a");
        entry(0, 8, "INCR b");
        entry(0, 8, "SET c 0123456789012345678901234567890123456789012345678901234567890123456789");
        entry(0, 8, "INCR d");
        entry(0, 9, "INCR e");
        b = capture_bytes(&cap);
        EQ_B(without_flag(&b), b.len, plain.p, plain.len);
        drop();
        buf_free(&b);
    }
    buf_free(&plain);
}

static void chained(void)
{
    size_t n = (size_t)1200 << 10;
    uint8_t *value = calloc(1, n);
    struct slice big[3] = {SLICE("APPEND"), SLICE("k"), {value, n}}, small[2] = {SLICE("INCR"), SLICE("a")};
    struct buf b = {.max = (size_t)1 << 24};
    begin("redis:7.0"); /* a request of several records is not marked, but what is before it */
    add_entry(&b, 10, 7, small, 2);
    add_entry(&b, 10, 7, big, 3);
    add_entry(&b, 10, 7, small, 2);
    add_entry(&b, 10, 7, small, 2);
    feed(0, &b);
    marks_are("TMMMM0T0");
    buf_free(&b);
    free(value);
}

int main(void)
{
    transactions();
    several_records();
    interrupted();
    flushed();
    chained();
    return test_done();
}
