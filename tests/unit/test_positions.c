/* How far flows are applied, and behind which effect (writer/position/positions.c). */
#include "test.h"

#include "../../writer/position/positions.c"

static struct rec record(unsigned type, uint64_t seq, uint64_t pos)
{
    return (struct rec){.type = (uint8_t)type, .seq = seq, .pos = pos};
}

#define PASS(type, seq, pos) pass(&p, type, seq, pos)
static bool pass(struct positions *p, unsigned type, uint64_t seq, uint64_t pos)
{
    struct rec r = record(type, seq, pos);
    return positions_pass(p, &r);
}

#define MARK(type, seq, pos, done) mark(&p, type, seq, pos, done)
static uint64_t mark(struct positions *p, unsigned type, uint64_t seq, uint64_t pos, bool done)
{
    struct rec r = record(type, seq, pos);
    return positions_mark(p, &r, done);
}

#define AT(at, is_quiet) CHECK(p.flow[0].pos == (at) && positions_quiet(&p.flow[0]) == (is_quiet))

/* Positions alone do not move the quiet one. */
static void passed(void)
{
    struct positions p;
    positions_init(&p, 1);
    CHECK(PASS(REC_POSITION, 1, 0));
    AT(0, 0);
    CHECK(PASS(REC_SYNCED, 2, 10));
    AT(10, 0);
    CHECK(PASS(REC_POSITION, 3, 12) && PASS(REC_POSITION, 4, 14));
    AT(14, 10);
    CHECK(PASS(REC_REQUEST, 5, 20)); /* one that is not sent counts, too */
    AT(20, 0);
    CHECK(PASS(REC_POSITION, 6, 22));
    AT(22, 20);
    positions_free(&p);
}

/* A request inside a transaction has no position: that of the EXEC stands behind it. */
static void transactions(void)
{
    struct positions p;
    positions_init(&p, 1);
    CHECK(PASS(REC_REQUEST, 1, 10) && PASS(REC_POSITION, 2, 12));
    uint64_t m = MARK(REC_REQUEST, 3, 0, false);
    positions_mark_done(&p, 0, m);
    AT(12, 0); /* something is beyond 12 */
    CHECK(PASS(REC_POSITION, 4, 30));
    AT(30, 0);
    CHECK(PASS(REC_POSITION, 5, 32));
    AT(32, 30);
    positions_free(&p);
}

/* Whatever order they are confirmed in, and however many positions become one mark. */
static void on_their_way(void)
{
    struct positions p;
    positions_init(&p, 1);
    uint64_t a = MARK(REC_REQUEST, 1, 10, false);
    (void)MARK(REC_POSITION, 2, 12, true);
    (void)MARK(REC_POSITION, 3, 14, true);
    uint64_t b = MARK(REC_REQUEST, 4, 20, false);
    (void)MARK(REC_POSITION, 5, 22, true);
    (void)MARK(REC_REQUEST, 6, 24, true);
    (void)MARK(REC_POSITION, 7, 26, true);
    EQ(p.flow[0].n, 4);
    positions_mark_done(&p, 0, b);
    AT(0, 0);
    positions_mark_done(&p, 0, a);
    AT(26, 24);
    EQ(p.flow[0].seq, 7);
    a = MARK(REC_REQUEST, 8, 30, false);
    (void)MARK(REC_REQUEST, 9, 0, true); /* of a transaction, in one mark with the end of it */
    (void)MARK(REC_POSITION, 10, 40, true);
    (void)MARK(REC_POSITION, 11, 42, true);
    EQ(p.flow[0].n, 2);
    positions_mark_done(&p, 0, a);
    AT(42, 40);
    a = MARK(REC_REQUEST, 12, 0, false); /* in another one */
    (void)MARK(REC_POSITION, 13, 50, true);
    (void)MARK(REC_POSITION, 14, 52, true);
    positions_mark_done(&p, 0, a);
    AT(52, 0); /* too far is no fault: 50 would do, too */
    positions_free(&p);
}

int main(void)
{
    passed();
    transactions();
    on_their_way();
    return test_done();
}
