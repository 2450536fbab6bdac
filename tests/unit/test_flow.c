/* The stream of one flow: dragonfly-replication(7), FULL SYNC (header, keys, blobs, chunks, end), Entries,
 * Counting. */
#include <lz4frame.h>
#include <zstd.h>

#include "test.h"
#include "canon.h"

#include "../../parser/flow.h"

#define TOKEN "5cd54b01b9a5ae0a0e5e5d6d7d2b7f2e0a1b2c3d"
#define T0    UINT64_C(1700000000000000)

/* 3.2: the start of a flow */
#define HEADER                                                                                               \
    "52 45 44 49 53 30 30 30 39 fa 09 72 65 64 69 73 2d 76 65 72 06 36 2e 32 2e 31 31 "                      \
    "fa 06 64 66 2d 76 65 72 0a 64 66 2d 76 31 2e 34 30 2e 31 fa 0a 72 65 64 69 73 2d 62 69 74 73 c0 40 "    \
    "fa 05 63 74 69 6d 65 c2 00 b9 55 69 fa 08 75 73 65 64 2d 6d 65 6d c2 40 42 0f 00 "                      \
    "fa 0c 61 6f 66 2d 70 72 65 61 6d 62 6c 65 c0 00 fa 08 73 68 61 72 64 2d 69 64 c0 01 "
/* 3.4 */
#define KEY    "fe 00 fc 00 a8 da 76 9b 01 00 00 dc 03 00 00 00 07 00 00 00 00 02 6b 31 05 68 65 6c 6c 6f "
#define BLOB   "d2 01 11 06 00 0a 41 2c 01 03 06 03 53 45 54 01 6b 02 76 31 "                /* 3.5 */
#define CHUNK1 "e0 01 00 00 00 10 00 00 00 12 01 4c 02 02 0a 0a 00 00 00 01 00 81 61 02 ff " /* 3.7 */
#define CHUNK2 "e0 01 00 00 00 0c 00 00 00 02 0a 0a 00 00 00 01 00 81 62 02 ff "
/* 3.8 */
#define CUT    "c8 00 00 00 00 00 00 00 00 "
#define DELK1  "d2 01 0f 06 00 0a 41 2d 01 02 05 03 44 45 4c 02 6b 31 "
#define OFFSET "d3 d4 04 00 00 00 00 00 00 "
#define ENDED  "ff 00 00 00 00 00 00 00 00 '" TOKEN "' "
#define SETK   "06 00 0a 41 2c 01 03 06 03 53 45 54 01 6b 02 76 31 " /* 5.1 */

struct run {
    bool file, redis_target, as_snapshot;
    uint64_t lsn;
    size_t piece;
    bool requested; /* the flow was cut off on purpose */
    const char *token;
};

static struct capture cap;
static char error[256];
static bool was_cut, was_synced;

static int feed(struct capture *c, const struct buf *b, const struct run *r)
{
    struct flow f;
    flow_init(&f, 3);
    flow_begin(&f, 2, r->file, !r->file, 2, r->lsn, r->token != NULL ? r->token : TOKEN);
    if (r->as_snapshot)
        flow_as_snapshot(&f);
    if (r->redis_target)
        CHECK(target_parse(&c->e.target, "7.4"));
    int rc = 0;
    size_t step = r->piece > 0 ? r->piece : b->len;
    for (size_t at = 0; at < b->len && rc == 0;) {
        size_t n = b->len - at < step ? b->len - at : step;
        uint8_t *p = exact(b->p + at, n);
        rc = flow_feed(&f, &c->e, p, n, at, T0 + at);
        free(p);
        at += n;
    }
    if (rc == 0)
        rc = flow_end(&f, r->requested);
    strcpy(error, f.error);
    was_cut = f.to.cut;
    was_synced = f.to.synced;
    flow_free(&f);
    return rc;
}

static void canon_of(const struct buf *b, struct run r, size_t piece, struct buf *out)
{
    struct capture c;
    r.piece = piece;
    capture_init(&c);
    EQ_I(feed(&c, b, &r), 0);
    struct buf bytes = capture_bytes(&c);
    EQ_S(canon(bytes.p, bytes.len, out), NULL);
    buf_free(&bytes);
    capture_free(&c);
}

static void gives_bytes(const struct buf *b, struct run r, const char *want)
{
    struct buf whole = {0}, split = {0};
    capture_init(&cap);
    if (feed(&cap, b, &r) != 0)
        printf("%s\n", error);
    bool same = EQ_S(capture_text(&cap), want);
    capture_free(&cap);
    if (!same)
        return;
    canon_of(b, r, b->len, &whole);
    for (size_t piece = 1; piece < 40; piece += piece < 10 ? 1 : 7) {
        canon_of(b, r, piece, &split);
        EQ_B(split.p, split.len, whole.p, whole.len);
    }
    buf_free(&whole);
    buf_free(&split);
}

static void gives(const char *bytes, const char *want)
{
    struct buf b = hex(bytes);
    gives_bytes(&b, (struct run){0}, want);
    buf_free(&b);
}

/* Fails at this byte with a message that contains the text; in one piece and byte by byte. */
static void fails_bytes(const struct buf *b, struct run r, const char *at, const char *why)
{
    for (r.piece = 0; r.piece < 2; r.piece++) {
        char want[64];
        capture_init(&cap);
        if (!CHECK(feed(&cap, b, &r) == -1))
            printf("  accepted, wanted: %s\n", why);
        bool foreign = strncmp(why, "opcode", 6) == 0 || strncmp(why, "value type", 10) == 0;
        snprintf(want, sizeof want, "%s at byte %s of the flow: ", foreign ? "not supported" : "damaged", at);
        if (at[0] != '\0' && !CHECK(strncmp(error, want, strlen(want)) == 0))
            printf("  %s (wanted byte %s)\n", error, at);
        if (!CHECK(strstr(error, why) != NULL))
            printf("  %s (wanted %s)\n", error, why);
        capture_free(&cap);
    }
}

static void fails(const char *bytes, const char *at, const char *why)
{
    struct buf b = hex(bytes);
    fails_bytes(&b, (struct run){0}, at, why);
    buf_free(&b);
}

/* ---- 3.2 to 3.8 ---- */

static void whole_session(void)
{
    gives(HEADER KEY CHUNK1 "00 01 'x' 01 'y' " BLOB CHUNK2 CUT DELK1 OFFSET ENDED SETK "0f 44 d4 0d " SETK,
          "REMARK kind=sticky key=\nREMARK kind=memcache-flags key=\n"
          "1 pos=0 db=0 I string | SET k1 hello PXAT 1767225600000\n"
          "2 pos=0 db=0 IF list | DEL L\n"
          "3 pos=0 db=0 - list | RPUSH L a\n"
          "4 pos=0 db=0 PI string | SET x y\n"
          "5 pos=0 db=0 IV string | SET k v1\n"
          "6 pos=0 db=0 - list | RPUSH L b\n"
          "7 pos=0 db=0 L position\n"
          "8 pos=0 db=0 IV | DEL k1\n"
          "9 pos=1236 db=0 V synced\n"
          "10 pos=1237 db=0 IV string | SET k v1\n"
          "11 pos=1238 db=0 V position\n"
          "12 pos=1239 db=0 IV string | SET k v1\n");
    CHECK(was_cut);
    CHECK(was_synced);
}

/* The header fields that every record carries. */
static void record_fields(void)
{
    struct buf b = hex("'REDIS0009' fe 02 00 01 'k' 01 'v'");
    struct run r = {.requested = true};
    struct rec rec;
    capture_init(&cap);
    EQ_I(feed(&cap, &b, &r), 0);
    struct buf out = capture_bytes(&cap);
    EQ(out.len, REC_HEADER + 13 + 14);
    memcpy(&rec, out.p, sizeof rec);
    EQ(rec.flow, 3);
    EQ(rec.epoch, 2);
    EQ(rec.db, 2);
    EQ(rec.time, T0);
    EQ(rec.len, 27);
    EQ(rec.vclass, CLASS_STRING);
    EQ(rec.flags, RF_PLAINSET | RF_IDEMPOTENT);
    EQ_B(out.p + REC_HEADER, rec.len, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", 27);
    buf_free(&out);
    capture_free(&cap);
    buf_free(&b);
}

static void databases(void)
{
    /* the journal's database is apart from the snapshot's, and starts again at 0 */
    gives("'REDIS0009' fe 05 00 01 'a' 01 '1' d2 01 0b 0a 00 01 02 04 03 'DEL' 01 'b' "
          "d2 01 0d 06 07 0a 00 01 02 04 03 'DEL' 01 'c' 00 01 'd' 01 '2' d2 01 0b 0a 00 01 02 04 03 'DEL' "
          "01 'e' " CUT OFFSET ENDED "0a 00 01 02 04 03 'DEL' 01 'f' 06 03 0a 00 01 02 04 03 'DEL' 01 'g'",
          "1 pos=0 db=5 PI string | SET a 1\n2 pos=0 db=0 IV | DEL b\n3 pos=0 db=7 IV | DEL c\n"
          "4 pos=0 db=5 PI string | SET d 2\n5 pos=0 db=7 IV | DEL e\n6 pos=1236 db=7 V synced\n"
          "7 pos=1237 db=0 IV | DEL f\n8 pos=1238 db=3 IV | DEL g\n");
    /* a value in chunks keeps the database in which it began */
    gives("'REDIS0009' fe 01 " CHUNK1 "fe 02 00 01 'x' 01 'y' " CHUNK2 "00 01 'z' 01 'y' " CUT OFFSET ENDED,
          "1 pos=0 db=1 IF list | DEL L\n2 pos=0 db=1 - list | RPUSH L a\n3 pos=0 db=2 PI string | SET x y\n"
          "4 pos=0 db=1 - list | RPUSH L b\n5 pos=0 db=1 L position\n6 pos=0 db=2 PI string | SET z y\n"
          "7 pos=1236 db=2 V synced\n");
    fails("'REDIS0009' fe 80 00 10 00 01", "9", "a database number");
}

static void opcodes(void)
{
    gives("'REDIS0009' fb 05 02 f8 40 50 f9 07 00 01 'k' 01 'v' " CUT OFFSET ENDED,
          "1 pos=0 db=0 PI string | SET k v\n2 pos=1236 db=0 V synced\n");
    fails("'REDIX0009'", "0", "the magic");
    fails("'REDIS0009' f7 00", "9", "opcode 247,");
    fails("'REDIS0009' cb", "9", "opcode 203,");
    fails("'REDIS0009' c7 01 'k' 01 'v'", "9", "value type 199,");
    fails("'REDIS0009' dc 04 00 00 00", "9", "a key mask");
    fails("'REDIS0009' d2 01 0a 0a 00 01 02 04 03 'DEL' 01", "9", "whole entries");
    fails("'REDIS0009' d2 01 01 63", "9", "a known journal opcode");
    fails("'REDIS0009' 00 01 'k' 01 'v' " CUT OFFSET, "", "cut short");
    fails("'REDIS0009' fc 00 a8 da 76 9b 01 00 00 " CUT OFFSET ENDED, "36", "a key after its expiry");
}

static void end_of_sync(void)
{
    struct buf b = hex("'REDIS0009' " CUT OFFSET
                       "ff 00 00 00 00 00 00 00 00 '0000000000000000000000000000000000000000'");
    fails("'REDIS0009' " CUT "ff 00 00 00 00 00 00 00 00 '" TOKEN "'", "18", "a journal offset (opcode 211)");
    fails("'REDIS0009' " CUT "d3 ff ff ff ff ff ff ff ff", "18", "a journal offset below 2^63");
    fails("'REDIS0009' " OFFSET, "9", "the cut (opcode 200)");
    fails_bytes(&b, (struct run){0}, "36", "the EOF token");
    /* no token known: anything goes */
    gives_bytes(&b, (struct run){.token = ""}, "1 pos=1236 db=0 V synced\n");
    buf_free(&b);
    b = hex("'REDIS0009' " CUT OFFSET "ff 00 00 00 00 00 00 00 00 '" TOKEN "'");
    for (size_t n = 0; n < b.len; n++) { /* every end but the last is too early, unless it was asked for */
        struct buf part = {.p = b.p, .len = n};
        struct run r = {0};
        capture_init(&cap);
        EQ_I(feed(&cap, &part, &r), -1);
        CHECK(strstr(error, "cut short") != NULL);
        CHECK(!was_synced);
        r.requested = true;
        EQ_I(feed(&cap, &part, &r), 0);
        CHECK(was_cut == (n >= 18));
        capture_free(&cap);
    }
    buf_free(&b);
}

/* ---- LSNs: 5.9, 6.1 ---- */

static void lsns(void)
{
    struct run partial = {.lsn = 100};
    struct buf b = hex(
        "0f 40 63 0d 06 00 0a 00 01 02 04 03 'DEL' 01 'b' 0f 40 65 09 00 01 02 04 03 'DEL' 01 'c' 0f 40 66");
    gives_bytes(&b, partial,
                "1 pos=101 db=0 V position\n2 pos=102 db=0 IV | DEL b\n3 pos=103 db=0 IV | DEL c\n");
    CHECK(was_cut);
    CHECK(was_synced);
    b.p[b.len - 1] = 0x65; /* one less than the last one written */
    fails_bytes(&b, partial, "31", "an LSN marker");
    b.p[b.len - 1] = 0x67; /* the next one */
    fails_bytes(&b, partial, "31", "an LSN marker");
    buf_free(&b);
    /* a marker in a blob of the snapshot is not compared: counting starts at 211 */
    gives("'REDIS0009' d2 01 03 0f 41 00 " CUT "d2 01 04 0d 0f 41 00 " OFFSET ENDED "0d 0f 44 d4",
          "1 pos=0 db=0 V position\n2 pos=1236 db=0 V synced\n3 pos=1237 db=0 V position\n");
    fails("'REDIS0009' " CUT OFFSET ENDED "0f 44 d4", "76", "an LSN marker");
    fails("'REDIS0009' " CUT OFFSET ENDED "0e", "76", "a known journal opcode");
    fails("'REDIS0009' " CUT OFFSET ENDED "00", "76", "a known journal opcode");
}

static void entries(void)
{
    static const struct {
        const char *bytes, *why;
    } list[] = {
        {"0a 00 01 00 00", "1 to 1048576 arguments"},
        {"0a 00 01 80 00 10 00 01 00", "1 to 1048576 arguments"},
        {"0a 00 01 02 03 03 'DEL' 01 'k'", "total length"},       /* more than announced */
        {"0a 00 01 02 05 03 'DEL' 01 'k' 00 00", "total length"}, /* less */
        {"0a 00 01 01 81 00 00 00 02 00 00 00 00", "at most 4 GiB"},
        {"0a c0 01", "a length"},
        {"06 80 00 10 00 01", "a database number"},
        {"0a 00 01 02 04 3f 'DEL' 01 'k'", "total length"},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct buf b = hex(list[i].bytes);
        fails_bytes(&b, (struct run){.lsn = 9}, "0", list[i].why);
        buf_free(&b);
    }
    struct buf b = hex("0a 00 01 02 04 03 'DEL' 01 'k'");
    for (size_t n = 1; n < b.len; n++) {
        struct buf part = {.p = b.p, .len = n};
        fails_bytes(&part, (struct run){.lsn = 9}, "", "cut short");
    }
    buf_free(&b);
    /* the forms of 5.1 */
    b = hex("06 02 0a 80 00 01 11 70 01 03 17 09 'PEXPIREAT' 01 6b 0d '1767225600000' "
            "06 00 0a 81 00 00 00 02 00 00 00 00 01 01 08 08 'FLUSHALL'");
    gives_bytes(&b, (struct run){.lsn = 9},
                "1 pos=10 db=2 IV | PEXPIREAT k 1767225600000\n"
                "2 pos=11 db=0 V BARRIER txid=8589934592 | FLUSHALL\n");
    buf_free(&b);
}

/* ---- chunks: 3.7 ---- */

static void chunks(void)
{
    /* ids interleave; expiry and mask stand in the first chunk; the id is free again afterwards */
    gives(
        "'REDIS0009' fe 00 e0 01 00 00 00 11 00 00 00 fc 00 a8 da 76 9b 01 00 00 02 01 's' 03 01 'a' c0 05 "
        "e0 02 00 00 00 0c 00 00 00 dc 01 00 00 00 02 01 't' 02 01 'x' 00 "
        "e0 01 00 00 00 02 00 00 00 01 'b' e0 01 00 00 00 06 00 00 00 02 01 'u' 01 01 'c' " CUT OFFSET ENDED,
        "1 pos=0 db=0 IF set | DEL s\n2 pos=0 db=0 I set | SADD s a 5\n"
        "REMARK kind=sticky key=\n3 pos=0 db=0 IF set | DEL t\n4 pos=0 db=0 I set | SADD t x \"\"\n"
        "5 pos=0 db=0 L position\n6 pos=0 db=0 I set | SADD s b\n"
        "7 pos=0 db=0 IL set | PEXPIREAT s 1767225600000\n"
        "8 pos=0 db=0 IF set | DEL u\n9 pos=0 db=0 I set | SADD u c\n10 pos=0 db=0 L position\n"
        "11 pos=1236 db=0 V synced\n");
    fails("'REDIS0009' e0 00 00 00 00 01 00 00 00 02", "9", "a tagged chunk with an id");
    fails("'REDIS0009' e0 01 00 00 00 00 00 00 00", "9", "a tagged chunk with an id");
    fails("'REDIS0009' e0 01 00 00 00 05 00 00 00 02 01 's' 02 01", "", "between elements");
    fails("'REDIS0009' e0 01 00 00 00 07 00 00 00 02 01 's' 01 01 'a' 00", "", "ends where its value does");
    fails("'REDIS0009' e0 01 00 00 00 06 00 00 00 02 01 's' 02 01 'a' " CUT OFFSET ENDED, "42",
          "the rest of values");
    fails("'REDIS0009' e0 01 00 00 00 03 00 00 00 c8 01 's'", "", "value type 200,");
    /* what is no whole head must not touch the key behind it: here an expiry without key in a chunk of its
     * own */
    fails("'REDIS0009' e0 01 00 00 00 09 00 00 00 fc 00 a8 da 76 9b 01 00 00 00 01 'k' 01 'v' " CUT OFFSET
              ENDED,
          "", "whole key");
    fails("'REDIS0009' e0 01 00 00 00 02 00 00 00 02 01", "", "whole key");
}

/* Exactly so many values in chunks are begun. */
static struct buf many_chunks(unsigned n)
{
    struct buf b = hex("'REDIS0009' fe 00");
    for (unsigned i = 1; i <= n; i++) {
        add_hex(&b, "e0");
        add_le(&b, i, 4);
        add_hex(&b, "06 00 00 00 02 01 's' 02 01 'a'");
    }
    return b;
}

static void chunk_limit(void)
{
    struct buf b = many_chunks(4096);
    struct run r = {.requested = true};
    capture_init(&cap);
    EQ_I(feed(&cap, &b, &r), 0);
    capture_free(&cap);
    buf_free(&b);
    b = many_chunks(4097);
    capture_init(&cap);
    EQ_I(feed(&cap, &b, &r), -1);
    CHECK(strstr(error, "at most 4096 values in chunks") != NULL);
    capture_free(&cap);
    buf_free(&b);
}

/* ---- compressed blobs: 3.6 ---- */

static size_t pack(bool zstd, const struct buf *in, uint8_t *out, size_t cap_bytes, bool sized)
{
    if (zstd) {
        ZSTD_CCtx *c = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
        size_t n = ZSTD_compress2(c, out, cap_bytes, in->p, in->len);
        ZSTD_freeCCtx(c);
        return n;
    }
    LZ4F_preferences_t p = {
        .frameInfo = {.contentSize = sized ? in->len : 0, .blockMode = LZ4F_blockIndependent}};
    return LZ4F_compressFrame(out, cap_bytes, in->p, in->len, &p);
}

/* Append the opcode, length and frame of what the text stands for. cut: bytes left out at the frame's end. */
static void add_blob(struct buf *b, bool zstd, const struct buf *in, size_t cut, bool sized)
{
    size_t bound = in->len + 70000;
    uint8_t *frame = malloc(bound);
    size_t n = pack(zstd, in, frame, bound, sized);
    add_le(b, zstd ? 0xc9 : 0xca, 1);
    add_plen(b, n - cut);
    (void)buf_add(b, frame, n - cut);
    free(frame);
}

static struct buf with_blob(bool zstd, const char *inside, size_t cut, bool sized, const char *behind)
{
    struct buf b = hex("'REDIS0009'"), in = hex(inside);
    add_blob(&b, zstd, &in, cut, sized);
    add_hex(&b, behind);
    buf_free(&in);
    return b;
}

#define PADDED                                                                                               \
    "fe 01 00 01 'k' 40 50 "                                                                                 \
    "'01234567890123456789012345678901234567890123456789012345678901234567890123456789' "

static void blobs(bool zstd)
{
    static const char set[] =
        "1 pos=0 db=1 PI string | SET k "
        "01234567890123456789012345678901234567890123456789012345678901234567890123456789\n";
    char want[1024];
    const struct run any = {0};
    struct buf b = with_blob(zstd, PADDED BLOB CHUNK1, 0, true, "00 01 'x' 01 'y'" CHUNK2 CUT OFFSET ENDED);
    snprintf(
        want, sizeof want,
        "%s2 pos=0 db=0 IV string | SET k v1\n3 pos=0 db=1 IF list | DEL L\n4 pos=0 db=1 - list | RPUSH L a\n"
        "5 pos=0 db=1 PI string | SET x y\n6 pos=0 db=1 - list | RPUSH L b\n7 pos=0 db=1 L position\n"
        "8 pos=1236 db=1 V synced\n",
        set);
    gives_bytes(&b, any, want);
    buf_free(&b);
    b = with_blob(zstd, PADDED CUT DELK1 OFFSET, 0, true, ENDED); /* 200, 210 and 211 may be inside */
    snprintf(want, sizeof want, "%s2 pos=0 db=0 IV | DEL k1\n3 pos=1236 db=0 V synced\n", set);
    gives_bytes(&b, any, want);
    buf_free(&b);

    struct {
        const char *inside;
        size_t cut;
        bool sized;
        const char *behind, *why;
    } bad[] = {
        {PADDED "00 01 'k' 05 'ab'", 0, true, CUT, "ends between items"},
        {PADDED "00 01", 0, true, "'k' 01 'v'" CUT, "ends between items"},
        {PADDED "12 01 'k' 02 01 01 'a'", 0, true, "01 01 'b'" CUT, "ends between items"},
        {PADDED "fc 00 a8", 0, true, CUT, "ends between items"},
        {PADDED "e0 01 00 00 00 10 00 00 00 12 01", 0, true, CUT, "ends between items"},
        {PADDED "ff 00 00 00 00 00 00 00 00", 0, true, "", "no end within a blob"},
        {PADDED "ca 05 00 00 00 00 00", 0, true, "", "no blob within a blob"},
        {PADDED "c9 05 00 00 00 00 00", 0, true, "", "no blob within a blob"},
        {PADDED "cb", 0, true, "", "opcode 203,"},
        {PADDED, 1, true, CUT OFFSET ENDED, "frame"}, /* the frame is not whole */
        {PADDED, 5, true, CUT OFFSET ENDED, "frame"},
        {PADDED, 0, false, CUT, "content size"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        b = with_blob(zstd, bad[i].inside, bad[i].cut, bad[i].sized, bad[i].behind);
        fails_bytes(&b, any, "", bad[i].why);
        buf_free(&b);
    }
    /* bytes behind the frame, within the blob */
    b = with_blob(zstd, PADDED, 0, true, CUT OFFSET ENDED);
    b.p[10]++; /* its length, one byte of plen: the next opcode would belong to it */
    if (b.p[10] < 64)
        fails_bytes(&b, any, "", "frame");
    buf_free(&b);
    b = with_blob(zstd, PADDED, 0, true, "");
    for (size_t n = 10; n < b.len; n++) {
        struct buf part = {.p = b.p, .len = n};
        fails_bytes(&part, any, "", "cut short");
    }
    buf_free(&b);
}

/* A blob of more than is unpacked at once (2 MiB): in steps, through items that straddle them. */
static void large_blob(bool zstd)
{
    struct buf in = {.max = (size_t)64 << 20}, b = {.max = (size_t)64 << 20}, whole = {0}, split = {0};
    char key[32];
    uint32_t random = 1;
    add_hex(&in, "fe 00");
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t value[1200];
        for (size_t k = 0; k < sizeof value; k++)
            value[k] = (uint8_t)((random = random * 1103515245u + 12345u) >> 24);
        add_hex(&in, "00");
        int n = snprintf(key, sizeof key, "key:%u", i);
        add_pstr(&in, key, (size_t)n);
        add_pstr(&in, value, i % sizeof value);
    }
    add_hex(&b, "'REDIS0009'");
    add_blob(&b, zstd, &in, 0, true);
    add_hex(&b, CUT OFFSET ENDED);
    struct run r = {.piece = 65536};
    capture_init(&cap);
    EQ_I(feed(&cap, &b, &r), 0);
    EQ(cap.e.stats.keys[CLASS_STRING], 3000);
    capture_free(&cap);
    canon_of(&b, r, b.len, &whole);
    canon_of(&b, r, 9973, &split);
    EQ_B(split.p, split.len, whole.p, whole.len);
    buf_free(&in);
    buf_free(&b);
    buf_free(&whole);
    buf_free(&split);
}

/* ---- positions in the flow ---- */

/* Masters v1.31 to v1.34: what was missed comes as blobs, and each counts; a FLUSHALL there is like any
 * other. */
static void missed_as_snapshot(void)
{
#define FLUSHED "d2 01 18 06 00 0a 81 00 00 00 02 00 00 00 00 01 01 08 08 'FLUSHALL' "
#define AT(n)   "d3 " n " 00 00 00 00 00 00 00 "
    struct buf b = hex("'REDIS0009' " BLOB FLUSHED CUT DELK1 AT("67") ENDED SETK);
    struct run r = {.lsn = 100, .as_snapshot = true};
    gives_bytes(&b, r,
                "1 pos=101 db=0 IV string | SET k v1\n2 pos=102 db=0 V BARRIER txid=8589934592 | FLUSHALL\n"
                "3 pos=103 db=0 IV | DEL k1\n4 pos=103 db=0 V synced\n5 pos=104 db=0 IV string | SET k v1\n");
    buf_free(&b);
    b = hex("'REDIS0009' " BLOB CUT AT("66") ENDED); /* one entry less than it says */
    fails_bytes(&b, r, "", "none more and none less");
    buf_free(&b);
}

static void gaps(void)
{
    struct flow f;
    struct buf b = hex("'REDIS0009' 00 01 'k' 01 'v'");
    capture_init(&cap);
    flow_init(&f, 0);
    flow_begin(&f, 1, false, true, 1, 0, NULL);
    EQ_I(flow_feed(&f, &cap.e, b.p, 5, 0, T0), 0);
    EQ_I(flow_feed(&f, &cap.e, b.p + 5, 5, 5, T0), 0);
    EQ_I(flow_feed(&f, &cap.e, b.p + 11, 3, 11, T0), -1); /* byte 10 is missing */
    EQ_S(f.error, "damaged at byte 10 of the flow: expected the next byte of the flow (records are missing)");
    flow_begin(&f, 1, false, true, 1, 0, NULL); /* begun anew, all is as at first */
    EQ_I(flow_feed(&f, &cap.e, b.p, b.len, 0, T0), 0);
    EQ_I(flow_feed(&f, &cap.e, b.p, 1, b.len - 1, T0), -1); /* again the same */
    flow_begin(&f, 1, false, true, 1, 0, NULL);
    EQ_I(flow_feed(&f, &cap.e, b.p, 1, 1, T0), -1); /* does not begin at 0 */
    EQ_S(capture_text(&cap), "1 pos=0 db=0 PI string | SET k v\n");
    flow_free(&f);
    capture_free(&cap);
    buf_free(&b);
}

/* One value far larger than what is kept in memory; byte positions go on behind it. */
static void carried(void)
{
    struct buf b = hex("'REDIS0009' fe 00 02 01 's' 02"), whole = {0}, split = {0};
    b.max = (size_t)64 << 20;
    size_t n = (size_t)5 << 20;
    for (int i = 0; i < 2; i++) {
        add_plen(&b, n);
        uint8_t *p = buf_room(&b, n);
        for (size_t k = 0; k < n; k++)
            p[k] = (uint8_t)(k % 253 + (size_t)i);
        b.len += n;
    }
    add_hex(&b, "00 01 'k' 01 'v'" CUT OFFSET ENDED);
    struct run r = {0};
    canon_of(&b, r, b.len, &whole);
    canon_of(&b, r, 1000003, &split);
    EQ_B(split.p, split.len, whole.p, whole.len);
    r.piece = 65536;
    capture_init(&cap);
    EQ_I(feed(&cap, &b, &r), 0);
    const char *text = capture_text(&cap);
    CHECK(strncmp(text, "1 pos=0 db=0 IF set | DEL s\n2 pos=0 db=0 I set | SADD s <5242880 bytes ", 71) == 0);
    CHECK(strstr(text, "\n5 pos=0 db=0 PI string | SET k v\n6 pos=1236 db=0 V synced\n") != NULL);
    capture_free(&cap);
    buf_free(&b);
    buf_free(&whole);
    buf_free(&split);
}

/* ---- files: 3.10 ---- */

static void files(void)
{
    struct run file = {.file = true};
    struct buf b = hex("'REDIS0009' 00 01 'k' 01 'v' ff 00 00 00 00 00 00 00 00 'garbage' 00 00");
    gives_bytes(&b, file, "1 pos=0 db=0 PI string | SET k v\n2 pos=0 db=0 - synced\n");
    CHECK(was_synced);
    for (size_t n = 0; n < 23; n++) {
        struct buf part = {.p = b.p, .len = n};
        fails_bytes(&part, file, "", n < 23 ? "the snapshot has no end" : "");
    }
    buf_free(&b);
    /* the families differ in what types above 21 mean */
    b = hex("'REDIS0011' fa 09 'redis-ver' 05 '7.2.4' 1f 01 'k' 01 01 'a' 01 'v' c0 ff ff 00 00 00 00 00 00 "
            "00 00");
    fails_bytes(&b, file, "26", "value type ");
    buf_free(&b);
    b = hex("'REDIS0009' fa 09 'redis-ver' 06 '6.2.11' fa 06 'df-ver' 0a 'df-v1.40.1' "
            "1f 01 'k' 01 01 'a' 01 'v' c0 ff ff 00 00 00 00 00 00 00 00");
    gives_bytes(&b, file,
                "1 pos=0 db=0 IF hash | DEL k\n2 pos=0 db=0 I hash | HSET k a v\n3 pos=0 db=0 L position\n"
                "4 pos=0 db=0 - synced\n");
    buf_free(&b);
    /* before v1.27 Dragonfly did not give its version: what tells its files is the snapshot-id, which comes
     * first */
    b = hex("'REDIS0009' fa 0b 'snapshot-id' 04 'abcd' fa 09 'redis-ver' 06 '6.2.11' "
            "1f 01 'k' 01 01 'a' 01 'v' c0 ff ff 00 00 00 00 00 00 00 00");
    gives_bytes(&b, file,
                "1 pos=0 db=0 IF hash | DEL k\n2 pos=0 db=0 I hash | HSET k a v\n3 pos=0 db=0 L position\n"
                "4 pos=0 db=0 - synced\n");
    buf_free(&b);
}

/* Expiries that have passed: dropped from files, a minute from now where a journal follows. */
static void expiries(void)
{
    static const char text[] = "'REDIS0009' fc 01 00 00 00 00 00 00 00 00 01 'k' 01 'v' "
                               "fc 01 00 00 00 00 00 00 00 02 01 's' 01 01 'a' "
                               "fc ff ff ff ff ff ff ff ff 00 01 'n' 01 'v' ";
    struct buf b = hex(text);
    add_hex(&b, "ff 00 00 00 00 00 00 00 00");
    gives_bytes(&b, (struct run){.file = true}, "1 pos=0 db=0 - synced\n");
    buf_free(&b);
    b = hex(text);
    add_hex(&b, CUT OFFSET ENDED "0a 00 01 05 0a 03 'SET' 01 'k' 01 'v' 04 'PXAT' 01 '5'");
    gives_bytes(&b, (struct run){0},
                "1 pos=0 db=0 I string | SET k v PXAT 1700000060000\n"
                "2 pos=0 db=0 IF set | DEL s\n3 pos=0 db=0 I set | SADD s a\n"
                "4 pos=0 db=0 IL set | PEXPIREAT s 1700000060000\n"
                "5 pos=0 db=0 I string | SET n v PXAT 1700000060000\n"
                "6 pos=1236 db=0 V synced\n7 pos=1237 db=0 IV string | SET k v PXAT 1700000060000\n");
    buf_free(&b);
}

int main(void)
{
    whole_session();
    record_fields();
    databases();
    opcodes();
    end_of_sync();
    lsns();
    entries();
    chunks();
    chunk_limit();
    blobs(false);
    blobs(true);
    large_blob(false);
    large_blob(true);
    missed_as_snapshot();
    gaps();
    carried();
    files();
    expiries();
    return test_done();
}
