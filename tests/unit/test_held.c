/* Which journal entry a record says that it belongs to: the same in every replay, whatever is reached with
 * it. */
#include "test.h"

#include "../../parser/flow.h"

static struct capture cap;
static struct flow flow;

static void begin(const char *target)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, 1, 100, NULL);
}

static void feed(struct buf *b)
{
    CHECK(flow_feed(&flow, &cap.e, b->p, b->len, flow.offset + flow.carry.len, 1700000000000000) == 0);
    buf_free(b);
}

static void entry(const char *line)
{
    struct buf b = {0};
    add_command(&b, 7, line);
    feed(&b);
}

static void in_transaction(struct buf *b, uint64_t txid, const char *line)
{
    size_t at = b->len;
    add_command(b, txid, line);
    b->p[at] = 11;
}

/* Each counted record: its position, and h where that is not reached with it. */
static void places_are(const char *want)
{
    struct buf b = capture_bytes(&cap);
    char got[256] = "";
    struct rec r;
    for (size_t at = 0, n = 0; at + REC_HEADER <= b.len; at += REC_HEADER + r.len) {
        memcpy(&r, b.p + at, sizeof r);
        if (r.seq != 0)
            n += (size_t)snprintf(got + n, sizeof got - n, " %llu%s", (unsigned long long)r.pos,
                                  (r.flags & RF_HELD) != 0 ? "h" : "");
    }
    EQ_S(got, want);
    buf_free(&b);
    flow_free(&flow);
    capture_free(&cap);
}

int main(void)
{
    begin("redis:7.0");
    entry("INCR a");
    entry("PING");
    entry("INCR b");
    places_are(" 101 102 103");

    begin("redis:6.0"); /* SET and PEXPIREAT */
    entry("SET a 1 PXAT 1900000000000");
    entry("INCR a");
    places_are(" 101h 101 102");

    begin("redis:7.0/cluster"); /* one request for each slot */
    entry("DEL a b c");
    entry("INCR a");
    places_are(" 101h 101h 101 102");

    /* A transaction of a master up to v1.20 that waits for its EXEC: nothing is reached, but each has its
     * place. */
    begin("redis:7.0");
    struct buf b = {0};
    in_transaction(&b, 8, "INCR a");
    add_command(&b, 9, "INCR b");
    in_transaction(&b, 8, "INCR c");
    add_hex(&b, "0c 08 01");
    feed(&b);
    places_are(" 102h 104h 104");
    return test_done();
}
