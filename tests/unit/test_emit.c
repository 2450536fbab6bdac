/* Records: exact bytes of requests, chains, slots, reports, what happens when the output goes. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "test.h"
#include "canon.h"

#include "../../common/crc64.h"
#include "../../common/resp.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static struct capture cap;

static struct key key_of(const char *text)
{
    struct key k;
    key_set(&cap.e, &k, (const uint8_t *)text, strlen(text));
    return k;
}

/* All the payload of the only record so far. */
static void payload_is(const char *want, size_t n, unsigned flags)
{
    struct buf b = capture_bytes(&cap);
    struct rec r;
    CHECK(b.len >= REC_HEADER);
    memcpy(&r, b.p, sizeof r);
    EQ(r.len, n);
    EQ(r.flags, flags);
    EQ_B(b.p + REC_HEADER, b.len - REC_HEADER, want, n);
    buf_free(&b);
}

static void sets(void)
{
    struct origin o = {.epoch = 1};
    struct key k;
    capture_init(&cap);
    k = key_of("key");
    emit_set(&cap.e, &o, &k, (const uint8_t *)"value", 5, 0, 0);
    static const char plain[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
    payload_is(plain, sizeof plain - 1, RF_PLAINSET | RF_IDEMPOTENT);
    EQ(PLAINSET_PREFIX, strlen("*3\r\n$3\r\nSET\r\n"));
    capture_free(&cap);

    capture_init(&cap);
    k = key_of("key");
    emit_set(&cap.e, &o, &k, (const uint8_t *)"", 0, 1767225600000, 0);
    static const char px[] =
        "*5\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n$4\r\nPXAT\r\n$13\r\n1767225600000\r\n";
    payload_is(px, sizeof px - 1, RF_IDEMPOTENT);
    capture_free(&cap);

    capture_init(&cap); /* neither a part nor a live SET is a plain one */
    k = key_of("key");
    emit_set(&cap.e, &o, &k, (const uint8_t *)"v", 1, 0, RF_FIRST);
    o.live = true;
    emit_set(&cap.e, &o, &k, (const uint8_t *)"v", 1, 0, 0);
    EQ_S(capture_text(&cap), "3 pos=0 db=0 IF string | SET key v\n4 pos=0 db=0 IV string | SET key v\n");
    EQ(cap.e.stats.requests, 2);
    capture_free(&cap);
}

static void restores(void)
{
    struct origin o = {.epoch = 1};
    capture_init(&cap);
    struct key k = key_of("k");
    /* rdb(5), DUMP PAYLOADS: "bar" with versions 9 and 11, "10" with version 10 */
    static const struct {
        unsigned ver;
        const char *value, *footer;
    } list[] = {{9, "03 'bar'", "09 00 36 4c 18 ac ba e0 9e a6"},
                {11, "03 'bar'", "0b 00 8f 61 f4 13 13 f9 14 9e"},
                {9, "c0 2a", "09 00 51 09 0d 36 d2 e5 2c e1"},
                {10, "c0 0a", "0a 00 6e 9f 57 45 0e ae 63 bb"}};
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        struct buf v = hex(list[i].value), want = {0};
        emit_restore(&cap.e, &o, &k, CLASS_STRING, 0, v.p, v.len, list[i].ver, i == 1 ? 5 : 0,
                     (struct hint){HINT_NONE, 0});
        (void)buf_addf(&want, "*%d\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n%d\r\n$%zu\r\n", i == 1 ? 6 : 5,
                       i == 1 ? 5 : 0, 1 + v.len + 10);
        add_hex(&want, "00");
        add_hex(&want, list[i].value);
        add_hex(&want, list[i].footer);
        (void)buf_addstr(&want, "\r\n$7\r\nREPLACE\r\n");
        if (i == 1)
            (void)buf_addstr(&want, "$6\r\nABSTTL\r\n");
        struct buf b = capture_bytes(&cap);
        EQ_B(b.p + at + REC_HEADER, b.len - at - REC_HEADER, want.p, want.len);
        at = b.len;
        buf_free(&b);
        buf_free(&v);
        buf_free(&want);
    }
    capture_free(&cap);
}

/* A request of these value sizes comes out whole, in records of at most 1 MiB. */
static void chain(size_t keyn, size_t valuen, bool body)
{
    struct origin o = {.epoch = 1};
    uint8_t *key = malloc(keyn + 1), *value = malloc(valuen + 1);
    for (size_t i = 0; i < keyn; i++)
        key[i] = (uint8_t)(i * 11);
    for (size_t i = 0; i < valuen; i++)
        value[i] = (uint8_t)(i ^ i >> 8);
    capture_init(&cap);
    struct key k;
    key_set(&cap.e, &k, key, keyn);
    struct slice argv[3] = {SLICE("APPEND"), {key, keyn}, {value, valuen}};
    struct buf want = {.max = (size_t)1 << 30}, got = {.max = (size_t)1 << 30};
    (void)resp_add_array(&want, 3);
    for (int i = 0; i < 3; i++)
        (void)resp_add_bulk(&want, argv[i].p, argv[i].n);
    emit_position(&cap.e, &o, 0);
    if (body) {
        struct buf b = {.max = (size_t)1 << 30};
        (void)resp_add_bulk(&b, value, valuen);
        emit_body(&cap.e, &o, &k, CLASS_STRING, RF_IDEMPOTENT, argv, 2, &b, 1);
        buf_free(&b);
    } else {
        emit_argv(&cap.e, &o, &k, 1, CLASS_STRING, RF_IDEMPOTENT, argv, 3);
    }
    emit_position(&cap.e, &o, 0);
    struct buf out = capture_bytes(&cap);
    size_t at = REC_HEADER, parts = 0;
    bool more = true;
    while (more && at + REC_HEADER <= out.len) {
        struct rec r;
        memcpy(&r, out.p + at, sizeof r);
        more = (r.flags & RF_MORE) != 0;
        parts++;
        CHECK(r.len <= REC_PAYLOAD_MAX && r.len > 0);
        EQ(r.seq, 2);
        EQ(r.type, REC_REQUEST);
        EQ(r.flags & ~(unsigned)RF_MORE, RF_IDEMPOTENT);
        EQ(r.hash, (uint32_t)XXH3_64bits(key, keyn));
        (void)buf_add(&got, out.p + at + REC_HEADER, r.len);
        at += REC_HEADER + r.len;
    }
    EQ_B(got.p, got.len, want.p, want.len);
    EQ(out.len - at, REC_HEADER); /* the position behind it, which has sequence number 3 */
    struct rec last;
    memcpy(&last, out.p + at, sizeof last);
    EQ(last.seq, 3);
    if (want.len > REC_PAYLOAD_MAX)
        CHECK(parts > 1);
    buf_free(&out);
    buf_free(&want);
    buf_free(&got);
    capture_free(&cap);
    free(key);
    free(value);
}

static void chains(void)
{
    const size_t piece = (size_t)256 << 10;
    const size_t around[] = {
        REC_PAYLOAD_MAX - 200, REC_PAYLOAD_MAX - 64, REC_PAYLOAD_MAX, REC_PAYLOAD_MAX + 1, 8 * piece,
        8 * piece - 1,         (size_t)5 << 20};
    for (int body = 0; body < 2; body++) {
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++)
            chain(10, around[i], body != 0);
        for (size_t d = 0; d < 60; d += 3) /* lengths and ends of strings fall on the seams */
            chain(10, 5 * piece - 60 + d, body != 0);
        chain((size_t)2 << 20, (size_t)3 << 20, body != 0);
        chain(0, 0, body != 0);
    }
}

static void slots(void)
{
    struct key k;
    capture_init(&cap);
    cap.e.slots = true;
    key_set(&cap.e, &k, (const uint8_t *)"123456789", 9);
    EQ(k.slot, 0x31c3);
    EQ(k.hash, (uint32_t)XXH3_64bits("123456789", 9));
    cap.e.slots = false;
    key_set(&cap.e, &k, (const uint8_t *)"123456789", 9);
    EQ(k.slot, REC_NO_SLOT);
    capture_free(&cap);
}

static void reports(void)
{
    struct origin o = {.epoch = 1, .db = 3};
    capture_init(&cap);
    emit_report(&cap.e, &o, true, "some-kind", (const uint8_t *)"a b\n%", 5, "what it was");
    struct buf b = capture_bytes(&cap);
    static const char want[] = "kind=some-kind\nkey=a%20b%0a%25\ndetail=what%20it%20was\ndb=3\nlost=1\n";
    EQ_B(b.p + REC_HEADER, b.len - REC_HEADER, want, sizeof want - 1);
    EQ(b.p[4], REC_REPORT);
    EQ(o.seq, 0); /* reports do not count */
    EQ(cap.e.stats.lost, 1);
    EQ(cap.e.stats.remarks, 0);
    CHECK(!cap.e.refused);
    cap.e.unsupported = UNSUPPORTED_FAIL;
    emit_report(&cap.e, &o, false, "some-kind", (const uint8_t *)"k", 1, "x");
    CHECK(!cap.e.refused);
    emit_report(&cap.e, &o, true, "some-kind", (const uint8_t *)"k", 1, "x");
    CHECK(cap.e.refused);
    EQ(cap.e.stats.lost, 2);
    EQ(cap.e.stats.remarks, 1);
    buf_free(&b);
    capture_free(&cap);
    capture_init(&cap); /* a key of 200 kB is cut, not left out */
    uint8_t *key = malloc(200000);
    memset(key, 1, 200000);
    emit_report(&cap.e, &o, true, "some-kind", key, 200000, "x");
    b = capture_bytes(&cap);
    EQ(b.len - REC_HEADER, strlen("kind=some-kind\nkey=...\ndetail=x\ndb=3\nlost=1\n") + (size_t)3 * 4096);
    free(key);
    buf_free(&b);
    capture_free(&cap);
}

static void barriers(void)
{
    struct origin o = {.epoch = 1, .pos = 9, .db = 1, .live = true};
    struct slice argv[1] = {SLICE("FLUSHDB")};
    capture_init(&cap);
    emit_barrier(&cap.e, &o, UINT64_C(0x0102030405060708), RF_PRECUT, argv, 1);
    struct buf b = capture_bytes(&cap);
    EQ_HEX(b.p + REC_HEADER, b.len - REC_HEADER, "0807060504030201 '*1' 0d0a '$7' 0d0a 'FLUSHDB' 0d0a");
    EQ(b.p[4], REC_BARRIER);
    EQ(b.p[6], RF_LIVE | RF_PRECUT);
    buf_free(&b);
    capture_free(&cap);
}

static void expiries(void)
{
    struct origin o = {.journal = false};
    capture_init(&cap);
    const uint64_t now = cap.e.now_ms;
    EQ(emit_expiry(&cap.e, &o, now + 1001), now + 1001);
    EQ(emit_expiry(&cap.e, &o, now + 1000), now + 1000);
    EQ(emit_expiry(&cap.e, &o, now + 1), now + 1);
    EQ(cap.e.stats.expired, 0);
    EQ(emit_expiry(&cap.e, &o, now), 0);
    EQ(emit_expiry(&cap.e, &o, 1), 0);
    EQ(cap.e.stats.expired, 2);
    o.journal = true;
    EQ(emit_expiry(&cap.e, &o, now + 1001), now + 1001);
    EQ(emit_expiry(&cap.e, &o, now + 1000), now + 60000);
    EQ(emit_expiry(&cap.e, &o, 1), now + 60000);
    EQ(cap.e.stats.extended, 2);
    capture_free(&cap);
}

static void broken_output(void)
{
    int p[2];
    struct emit e;
    struct origin o = {.epoch = 1};
    struct key k;
    signal(SIGPIPE, SIG_IGN);
    if (pipe2(p, O_CLOEXEC) != 0)
        abort();
    close(p[0]);
    emit_init(&e, p[1], EMIT_RECORDS);
    key_set(&e, &k, (const uint8_t *)"k", 1);
    for (int i = 0; i < 20000; i++) /* far more than one buffer: nothing may crash or pile up */
        emit_set(&e, &o, &k, (const uint8_t *)"0123456789012345678901234567890123456789", 40, 0, 0);
    CHECK(e.failed);
    EQ_I(emit_flush(&e), -1);
    CHECK(e.out.b.cap < (size_t)3 << 20);
    emit_free(&e);
    close(p[1]);
}

int main(void)
{
    sets();
    restores();
    chains();
    slots();
    reports();
    barriers();
    expiries();
    broken_output();
    return test_done();
}
