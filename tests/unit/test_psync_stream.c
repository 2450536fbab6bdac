/* Flows of Redis and Valkey: positions, databases, transactions, the end of the snapshot. */
#include "test.h"

#include "../../common/crc64.h"
#include "../../common/psync.h"
#include "../../parser/flow.h"

#define NOW_MS UINT64_C(1700000000000)

static struct capture cap;
static struct flow flow;

static void begin(const char *target, bool partial, uint64_t position)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, 1, partial ? position : 0, NULL);
    flow_of_redis(&flow, position);
    flow.to.own_master = true;
}

static void end(void)
{
    flow_free(&flow);
    capture_free(&cap);
}

/* Words of a line as a request. */
static void add_line(struct buf *b, const char *line)
{
    char copy[512], *save = NULL;
    struct slice word[32];
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        word[n++] = (struct slice){(const uint8_t *)w, strlen(w)};
    (void)resp_add_array(b, n);
    for (size_t i = 0; i < n; i++)
        (void)resp_add_bulk(b, word[i].p, word[i].n);
}

/* In pieces of so many bytes. */
static void feed(const struct buf *b, size_t step)
{
    for (size_t at = 0; at < b->len; at += step) {
        size_t n = b->len - at < step ? b->len - at : step;
        uint8_t *p = exact(b->p + at, n);
        CHECK(flow_feed(&flow, &cap.e, p, n, flow.offset + flow.carry.len, NOW_MS * 1000) == 0);
        free(p);
    }
}

/* Each counted record: offset.database of its position, h where that is not reached with it, t where it is of
 * one transaction with the next. */
static void places_are(const char *want)
{
    struct buf b = capture_bytes(&cap);
    char got[512] = "";
    struct rec r;
    for (size_t at = 0, n = 0; at + REC_HEADER <= b.len; at += REC_HEADER + r.len) {
        memcpy(&r, b.p + at, sizeof r);
        if (r.seq != 0)
            n += (size_t)snprintf(got + n, sizeof got - n, " %llu.%u%s%s",
                                  (unsigned long long)psync_offset(r.pos), psync_db(r.pos),
                                  (r.flags & RF_HELD) != 0 ? "h" : "",
                                  (r.flags & RF_TOGETHER) != 0 ? "t" : "");
    }
    EQ_S(got, want);
    buf_free(&b);
}

static void stream(const char *const *lines, uint64_t position, const char *places, const char *text)
{
    struct buf b = {0};
    for (size_t i = 0; lines[i] != NULL; i++)
        add_line(&b, lines[i]);
    for (size_t step = 1; step <= b.len; step += step < 3 ? 1 : b.len / 3) {
        begin("7.0", true, position);
        feed(&b, step);
        EQ(psync_offset(flow.to.next_lsn), psync_offset(position) + b.len);
        places_are(places);
        if (text != NULL)
            EQ_S(capture_text(&cap), text);
        CHECK(flow_end(&flow, false) == 0);
        end();
    }
    buf_free(&b);
}

/* Position 100 of database 0 is 25856. */
static void positions(void)
{
    uint64_t at = psync_position(100, 0);
    EQ(at, 25856);
    EQ(psync_offset(at), 100);
    CHECK(psync_is_position(256) && !psync_is_position(255));
    CHECK(psync_is_position(psync_position(PSYNC_OFFSET_MAX, 255)) &&
          !psync_is_position(psync_position(PSYNC_OFFSET_MAX + 1, 0)));
    stream((const char *const[]){"incr a", "PING", "REPLCONF GETACK *", NULL}, at, " 121.0 135.0 172.0",
           NULL);
    stream((const char *const[]){"SELECT 3", "INCR a", "select 0", "INCR a", NULL}, at,
           " 123.3 144.3 167.0 188.0",
           "1 pos=31747 db=3 V position\n2 pos=37123 db=3 V | INCR a\n3 pos=43008 db=0 V position\n"
           "4 pos=48384 db=0 V | INCR a\n");
    /* The database of the position is selected. */
    stream((const char *const[]){"INCR a", NULL}, psync_position(100, 7), " 121.7",
           "1 pos=31239 db=7 V | INCR a\n");
}

static void transactions(void)
{
    uint64_t at = psync_position(100, 0);
    stream((const char *const[]){"MULTI", "INCR a", "SELECT 2", "INCR b", "EXEC", "INCR c", NULL}, at,
           " 136.0ht 180.2ht 194.2 215.2", NULL);
    stream((const char *const[]){"MULTI", "EXEC", NULL}, at, " 129.0", NULL);
    /* What does not fit there carries no data. */
    stream((const char *const[]){"EXEC", "MULTI", "MULTI", "INCR a", "PING", "EXEC", NULL}, at,
           " 114.0 165.0ht 193.0", NULL);
}

/* One that is too large to wait for its EXEC goes on as it comes. */
static void large_transaction(void)
{
    struct buf b = {0}, value = {0};
    begin("7.0", true, psync_position(100, 0));
    add_line(&b, "MULTI");
    feed(&b, b.len);
    size_t total = 0;
    memset(buf_room(&value, 100000), 'x', 100000);
    while (total < TRANSACTION_WHOLE + 200000) {
        CHECK(flow.to.o.seq == 0 || total > TRANSACTION_WHOLE);
        b.len = 0;
        (void)resp_add_array(&b, 3);
        (void)resp_add_str(&b, "APPEND");
        (void)resp_add_str(&b, "k");
        (void)resp_add_bulk(&b, value.p, 100000);
        feed(&b, 70000);
        total += b.len;
    }
    CHECK(flow.to.in_multi && flow.to.o.seq >= 7);
    CHECK(flow_end(&flow, false) < 0);
    CHECK(flow_end(&flow, true) == 0);
    b.len = 0;
    add_line(&b, "EXEC");
    feed(&b, b.len);
    CHECK(!flow.to.in_multi);
    EQ(flow.to.o.pos, flow.to.next_lsn);
    CHECK(flow_end(&flow, false) == 0);
    end();
    buf_free(&b);
    buf_free(&value);
}

static void bad(const char *text, const char *why)
{
    struct buf b = hex(text);
    begin("7.0", true, psync_position(100, 0));
    CHECK(flow_feed(&flow, &cap.e, b.p, b.len, 0, 1) < 0);
    EQ_S(flow.error, why);
    end();
    buf_free(&b);
}

static struct buf snapshot(const char *aux, const char *token, bool sound)
{
    struct buf b = hex("'REDIS0010'");
    add_hex(&b, aux);
    add_hex(&b, "fe03 00 01'k' 01'v' ff");
    uint64_t crc = crc64(0, b.p, b.len) + !sound;
    add_le(&b, crc, 8);
    (void)buf_addstr(&b, token);
    return b;
}

static void full(const char *aux, const char *token, const char *places)
{
    struct buf b = snapshot(aux, token, true);
    size_t head = b.len;
    add_line(&b, "INCR n");
    for (size_t step = 1; step <= b.len; step += step < 3 ? 1 : b.len / 3) {
        begin("7.0", false, psync_position(5, 0));
        snprintf(flow.rdb.token, sizeof flow.rdb.token, "%s", token);
        struct buf part = {.p = b.p, .len = head - strlen(token) - 1};
        feed(&part, step);
        CHECK(!flow.to.synced);
        part = (struct buf){.p = b.p + part.len, .len = head - part.len};
        feed(&part, step);
        CHECK(flow.to.cut && flow.to.synced);
        part = (struct buf){.p = b.p + head, .len = b.len - head};
        feed(&part, step);
        places_are(places);
        CHECK(flow_end(&flow, false) == 0);
        end();
    }
    buf_free(&b);
}

static void snapshots(void)
{
    static const char token[] = "0123456789abcdef0123456789abcdef01234567";
    /* The key's record has no position: psync_offset(0) is 2^64-1. */
    full("", token, " 18446744073709551615.0 5.0 26.0");
    full("", "", " 18446744073709551615.0 5.0 26.0");
    full("fa 0e'repl-stream-db' 0139", "", " 18446744073709551615.0 5.9 26.9");
    struct buf b = snapshot("", "", false);
    begin("7.0", false, psync_position(5, 0));
    CHECK(flow_feed(&flow, &cap.e, b.p, b.len, 0, 1) < 0);
    end();
    buf_free(&b);
}

int main(void)
{
    positions();
    transactions();
    large_transaction();
    snapshots();
    bad("'SET a b' 0d0a",
        "damaged at byte 0 of the flow: expected a request: an array of bulk strings (*n, then $n "
        "and n bytes each)");
    bad("'*1' 0d0a '$4' 0d0a 'PING' 0d0a '*2' 0d0a '$6' 0d0a 'SELECT' 0d0a '$3' 0d0a '256' 0d0a",
        "not supported at byte 14 of the flow: a database above 255 was selected, which no position can "
        "hold");
    bad("'*1' 0d0a '$3' 0d0a 'PING' 0d0a",
        "damaged at byte 11 of the flow: expected the end of an argument: its length is another one");
    return test_done();
}
