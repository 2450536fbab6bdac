/* Value types: rdb(5), DRAGONFLY EXTENSIONS, VALUES. Each as RESTORE payload and as commands, from the
 * specification's bytes; fed at once and byte by byte. */
#include "test.h"
#include "canon.h"

#include "../../common/resp.h"
#include "../../parser/flow.h"

static struct capture cap;

/* CRC64 bit by bit, straight from rdb(5), CHECKSUM. */
static uint64_t crc_slow(const uint8_t *p, size_t n)
{
    uint64_t crc = 0;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = (crc & 1) != 0 ? (crc >> 1) ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
    }
    return crc;
}

/* A snapshot file of one flow around the entries. */
static struct buf file_of(const char *entries)
{
    struct buf b = hex("'REDIS0009' fa 06 'df-ver' 0a 'df-v1.40.1' fe 00");
    add_hex(&b, entries);
    add_hex(&b, "ff 00 00 00 00 00 00 00 00");
    return b;
}

static struct target target_of(const char *text)
{
    struct target t;
    CHECK(strncmp(text, "kind=", 5) == 0 ? target_said(&t, text) : target_parse(&t, text));
    return t;
}

struct setting {
    struct target target;
    size_t restore_limit, part_size;
    bool approximate;
};

static void begin(struct capture *c, const struct setting *s)
{
    capture_init(c);
    c->e.target = s->target;
    c->e.restore_limit = s->restore_limit;
    c->e.part_size = s->part_size;
    c->e.unsupported = s->approximate ? UNSUPPORTED_APPROXIMATE : UNSUPPORTED_REPORT;
}

/* Parse in pieces of that many bytes. Returns 0, or -1 (flow's error is printed when unexpected). */
static int parse(struct capture *c, const struct buf *b, size_t piece, char *error)
{
    struct flow f;
    flow_init(&f, 0);
    flow_begin(&f, 1, true, false, 1, 0, NULL);
    int rc = 0;
    for (size_t at = 0; at < b->len && rc == 0;) {
        size_t n = b->len - at < piece ? b->len - at : piece;
        uint8_t *p = exact(b->p + at, n);
        rc = flow_feed(&f, &c->e, p, n, at, 1700000000000000);
        free(p);
        at += n;
    }
    if (rc == 0)
        rc = flow_end(&f, false);
    strcpy(error, f.error);
    flow_free(&f);
    return rc;
}

static void canon_of(const struct setting *s, const struct buf *b, size_t piece, struct buf *out)
{
    struct capture c;
    char error[256];
    begin(&c, s);
    EQ_I(parse(&c, b, piece, error), 0);
    struct buf bytes = capture_bytes(&c);
    EQ_S(canon(bytes.p, bytes.len, out), NULL);
    buf_free(&bytes);
    capture_free(&c);
}

/* Fed at once, and in pieces of 1 to last - 1 bytes: the same. */
static void in_pieces(const struct setting *s, const struct buf *b, size_t last)
{
    struct buf whole = {0}, split = {0};
    canon_of(s, b, b->len, &whole);
    for (size_t piece = 1; piece < last; piece++) {
        canon_of(s, b, piece, &split);
        EQ_B(split.p, split.len, whole.p, whole.len);
    }
    buf_free(&whole);
    buf_free(&split);
}

/* The entries give this text (without the SYNCED line), and mean the same in pieces of any size. */
static void gives(const struct setting *s, const char *entries, const char *want)
{
    struct buf b = file_of(entries);
    char error[256] = "";
    begin(&cap, s);
    if (parse(&cap, &b, b.len, error) != 0)
        printf("%s\n", error);
    const char *text = capture_text(&cap);
    struct buf got = {0};
    const char *last = strstr(text, " synced\n");
    CHECK(last != NULL);
    while (last != NULL && last > text && last[-1] != '\n')
        last--;
    (void)buf_add(&got, text, last != NULL ? (size_t)(last - text) : strlen(text));
    (void)buf_add(&got, "", 1);
    EQ_S((const char *)got.p, want);
    buf_free(&got);
    capture_free(&cap);
    in_pieces(s, &b, 8);
    buf_free(&b);
}

static struct setting commands(const char *target)
{
    return (struct setting){target_of(target), 0, 65536, false};
}

static struct setting restore(const char *target)
{
    return (struct setting){target_of(target), 65536, 65536, false};
}

/* The value of key "k" is written by RESTORE with this footer version. */
static void restores(const char *target, unsigned type, const char *value, unsigned ver, const char *vclass)
{
    struct setting s = restore(target);
    struct buf v = hex(value), payload = {0}, line = {0}, entry = {0};
    add_le(&payload, type, 1);
    (void)buf_add(&payload, v.p, v.len);
    add_le(&payload, ver, 2);
    add_le(&payload, crc_slow(payload.p, payload.len), 8);
    (void)buf_addf(&line, "1 pos=0 db=0 I %s | RESTORE k 0 ", vclass);
    show_bytes(&line, payload.p, payload.len);
    (void)buf_add(&line, " REPLACE\n", 10);
    (void)buf_addf(&entry, "%02x 01 'k' ", type);
    (void)buf_add(&entry, value, strlen(value) + 1);
    gives(&s, (const char *)entry.p, (const char *)line.p);
    buf_free(&v);
    buf_free(&payload);
    buf_free(&line);
    buf_free(&entry);
}

/* The value of key "k" is written by these commands between DEL and the mark of the last part. */
static void writes(const char *target, unsigned type, const char *value, const char *vclass, const char *want)
{
    struct setting s = commands(target);
    struct buf entry = {0}, all = {0};
    (void)buf_addf(&entry, "%02x 01 'k' ", type);
    (void)buf_add(&entry, value, strlen(value) + 1);
    unsigned seq = 1;
    if (strncmp(want, "LOST", 4) == 0) { /* noticed before anything was written */
        size_t n = strcspn(want, "\n") + 1;
        (void)buf_add(&all, want, n);
        want += n;
    }
    (void)buf_addf(&all, "%u pos=0 db=0 IF %s | DEL k\n", seq++, vclass);
    for (const char *p = want; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        if (strncmp(p, "LOST", 4) != 0 && strncmp(p, "REMARK", 6) != 0)
            (void)buf_addf(&all, "%u pos=0 db=0 ", seq++);
        (void)buf_add(&all, p, n);
        (void)buf_addstr(&all, "\n");
        p += n + (p[n] == '\n');
    }
    (void)buf_addf(&all, "%u pos=0 db=0 L position\n", seq);
    (void)buf_add(&all, "", 1);
    gives(&s, (const char *)entry.p, (const char *)all.p);
    buf_free(&entry);
    buf_free(&all);
}

#define INTSET  "0e 02 00 00 00 03 00 00 00 ff ff 05 00 2c 01"
#define HASH_LP "14 14 00 00 00 04 00 81 66 02 81 76 02 81 6e 02 f1 88 13 03 ff"
#define ZSET_LP "0c 0c 00 00 00 02 00 81 6d 02 07 01 ff" /* m: 7 */
#define LIST_ZL "01 0f 0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff"
#define ZL      "0f 0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff"
#define QL2     "02 02 0a 0a 00 00 00 01 00 81 61 02 ff 01 03 'big'"

#define NODE                                                                                                 \
    "10 00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 "                                                    \
    "2a 2a 00 00 00 0f 00 02 01 00 01 01 01 81 66 02 00 01 "                                                 \
    "02 01 00 01 00 01 82 76 31 03 04 01 02 01 01 01 00 01 82 76 32 03 04 01 ff "
#define ID1000 "00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 "
#define TIME   "00 a8 da 76 9b 01 00 00 "
#define STREAM21                                                                                             \
    "01 " NODE "02 43 e9 00 43 e8 00 00 00 02 01 01 67 43 e8 00 01 01 " ID1000 TIME "01 01 01 63 " TIME TIME \
    "01 " ID1000
#define STREAM19                                                                                             \
    "01 " NODE "02 43 e9 00 43 e8 00 00 00 02 01 01 67 43 e8 00 01 01 " ID1000 TIME "01 01 01 63 " TIME      \
    "01 " ID1000
#define STREAM15 "01 " NODE "02 43 e9 00 01 01 67 43 e8 00 01 " ID1000 TIME "01 01 01 63 " TIME "01 " ID1000
#define ENTRIES  "- stream | XADD k 1000-0 f v1\n- stream | XADD k 1001-0 f v2\n"
#define CLAIM                                                                                                \
    "- stream key=2 | XGROUP CREATECONSUMER k g c\n"                                                         \
    "- stream | XCLAIM k g c 0 1000-0 TIME 1767225600000 RETRYCOUNT 1 FORCE JUSTID\n"

/* A stream of type 21 for a target that knows 19: without the consumers' active times. */
static void converted(const char *target, const char *value, const char *want)
{
    struct setting s = restore(target);
    struct buf payload = hex("13"), line = {0}, entry = {0};
    add_hex(&payload, want);
    add_le(&payload, 10, 2);
    add_le(&payload, crc_slow(payload.p, payload.len), 8);
    (void)buf_addstr(&line, "1 pos=0 db=0 I stream | RESTORE k 0 ");
    show_bytes(&line, payload.p, payload.len);
    (void)buf_add(&line, " REPLACE\n", 10);
    (void)buf_addf(&entry, "15 01 'k' ");
    (void)buf_add(&entry, value, strlen(value) + 1);
    gives(&s, (const char *)entry.p, (const char *)line.p);
    buf_free(&payload);
    buf_free(&line);
    buf_free(&entry);
}

static void restored(void)
{
    restores("7.2", 1, "02 01 'a' c0 05", 6, "list");
    restores("7.2", 2, "02 01 'a' c0 05", 6, "set");
    restores("7.2", 3, "02 01 'a' 03 '1.5' 01 'b' fe", 6, "zset");
    restores("7.2", 4, "01 01 'f' 01 'v'", 6, "hash");
    restores("7.2", 5, "01 01 6d 00 00 00 00 00 00 f8 3f", 8, "zset");
    restores("7.2", 10, ZL, 6, "list");
    restores("7.2", 11, INTSET, 6, "set");
    restores("7.2", 12, ZL, 6, "zset");
    restores("7.2", 13, ZL, 6, "hash");
    restores("7.2", 14, LIST_ZL, 7, "list");
    restores("7.2", 15, STREAM15, 9, "stream");
    restores("7.2", 16, HASH_LP, 10, "hash");
    restores("7.2", 17, ZSET_LP, 10, "zset");
    restores("7.2", 18, QL2, 10, "list");
    restores("7.2", 19, STREAM19, 10, "stream");
    restores("7.2", 20, "0a 0a 00 00 00 01 00 81 61 02 ff", 11, "set");
    restores("7.2", 21, STREAM21, 11, "stream");
    restores("valkey:8.0", 21, STREAM21, 11, "stream");
    restores("7.0", 16, HASH_LP, 10, "hash");
    converted("7.0", STREAM21, STREAM19);
    restores("6.2", 15, STREAM15, 9, "stream");
    restores("6.2", 4, "01 01 'f' 01 'v'", 6, "hash");
    restores("kind=dragonfly version=1.40.1 rdb=12", 16, HASH_LP, 9, "hash");
    restores("kind=dragonfly version=1.40.1 rdb=12", 20, "0a 0a 00 00 00 01 00 81 61 02 ff", 11, "set");
}

static void containers(void)
{
    writes("portable", 1, "02 01 'a' c0 05", "list", "- list | RPUSH k a 5\n");
    writes("portable", 2, "02 01 'a' c0 05", "set", "I set | SADD k a 5\n");
    writes("portable", 3, "04 01 'a' 03 '1.5' 01 'b' fe 01 'c' ff 01 'd' 02 '-2'", "zset",
           "I zset | ZADD k 1.5 a inf b -inf c -2 d\n");
    writes("portable", 4, "02 01 'f' 01 'v' c0 01 00", "hash", "I hash | HSET k f v 1 \"\"\n");
    writes("portable", 5, "01 01 6d 00 00 00 00 00 00 f8 3f", "zset", "I zset | ZADD k 1.5 m\n");
    writes("portable", 5,
           "03 01 'a' 00 00 00 00 00 00 f0 7f 01 'b' 00 00 00 00 00 00 f0 ff 01 'c' 9a 99 99 99 99 99 b9 3f",
           "zset", "I zset | ZADD k inf a -inf b 0.10000000000000001 c\n");
    writes("portable", 10, ZL, "list", "- list | RPUSH k 2 5\n");
    writes("portable", 11, INTSET, "set", "I set | SADD k -1 5 300\n");
    writes("portable", 12, ZL, "zset", "I zset | ZADD k 5 2\n");
    writes("portable", 13, ZL, "hash", "I hash | HSET k 2 5\n");
    writes("portable", 14, LIST_ZL, "list", "- list | RPUSH k 2 5\n");
    writes("portable", 16, HASH_LP, "hash", "I hash | HSET k f v n 5000\n");
    writes("portable", 17, ZSET_LP, "zset", "I zset | ZADD k 7 m\n");
    writes("portable", 18, QL2, "list", "- list | RPUSH k a big\n");
    writes("portable", 20, "0a 0a 00 00 00 01 00 81 61 02 ff", "set", "I set | SADD k a\n");
    /* LZF within a hash, and of a whole listpack: 40 times a */
    writes("portable", 4, "01 c3 05 28 00 61 e0 1e 00 01 'v'", "hash",
           "I hash | HSET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa v\n");
    writes("portable", 18, "01 02 c3 0b 0a 09 0a 00 00 00 01 00 81 61 02 ff", "list", "- list | RPUSH k a\n");
}

static void empty_containers(void)
{
    static const struct {
        unsigned type;
        const char *vclass;
    } list[] = {{1, "list"},  {2, "set"},   {3, "zset"},  {4, "hash"}, {5, "zset"},
                {14, "list"}, {18, "list"}, {31, "hash"}, {32, "set"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct setting s = restore("7.2"); /* RESTORE of an empty container is refused by servers */
        char entry[32], want[128];
        writes("portable", list[i].type, "00", list[i].vclass, "");
        snprintf(entry, sizeof entry, "%02x 01 'k' 00", list[i].type);
        snprintf(want, sizeof want, "1 pos=0 db=0 IF %s | DEL k\n2 pos=0 db=0 L position\n", list[i].vclass);
        gives(&s, entry, want);
    }
    writes("portable", 16, "07 07 00 00 00 00 00 ff", "hash", "");
    writes("portable", 11, "08 02 00 00 00 00 00 00 00", "set", "");
}

static void streams(void)
{
    writes("portable", 21, STREAM21, "stream",
           ENTRIES "- stream | XSETID k 1001-0\n- stream key=2 | XGROUP CREATE k g 1000-0\n" CLAIM);
    writes("7.0", 21, STREAM21, "stream",
           ENTRIES "- stream | XSETID k 1001-0 ENTRIESADDED 2 MAXDELETEDID 0-0\n"
                   "- stream key=2 | XGROUP CREATE k g 1000-0 ENTRIESREAD 1\n" CLAIM);
    writes("7.0", 19, STREAM19, "stream",
           ENTRIES "- stream | XSETID k 1001-0 ENTRIESADDED 2 MAXDELETEDID 0-0\n"
                   "- stream key=2 | XGROUP CREATE k g 1000-0 ENTRIESREAD 1\n" CLAIM);
    writes("7.0", 15, STREAM15, "stream",
           ENTRIES "- stream | XSETID k 1001-0\n- stream key=2 | XGROUP CREATE k g 1000-0\n" CLAIM
                   "REMARK kind=stream-pending key=k\n");
    /* unknown counter of a group: 2^64 - 1 */
    writes(
        "7.0", 19, "00 00 00 00 00 00 00 00 00 01 01 67 00 00 81 ff ff ff ff ff ff ff ff 00 00", "stream",
        "- stream key=2 | XGROUP CREATE k df2redis 0 MKSTREAM\n- stream key=2 | XGROUP DESTROY k df2redis\n"
        "- stream | XSETID k 0-0 ENTRIESADDED 0 MAXDELETEDID 0-0\n- stream key=2 | XGROUP CREATE k g 0-0\n");
    /* no nodes at all, but a last id: type 15 */
    writes(
        "portable", 15, "00 00 05 07 00", "stream",
        "- stream key=2 | XGROUP CREATE k df2redis 0 MKSTREAM\n- stream key=2 | XGROUP DESTROY k df2redis\n"
        "- stream | XSETID k 5-7\n");
    /* first entry deleted, second with fields of its own; difference of the sequence wraps */
    writes("portable", 15,
           "01 10 00 00 00 00 00 00 00 05 00 00 00 00 00 00 00 09 "
           "2f 2f 00 00 00 11 00 01 01 01 01 01 01 81 66 02 00 01 "
           "03 01 00 01 00 01 82 76 31 03 04 01 "
           "00 01 01 01 df f9 02 01 01 81 67 02 81 77 02 06 01 ff "
           "01 06 02 00",
           "stream", "- stream | XADD k 6-2 g w\n- stream | XSETID k 6-2\n");
    /* a pending id that is not in its group's list */
    writes(
        "portable", 15, "00 00 00 00 01 01 67 00 00 00 01 01 63 " TIME "01 " ID1000, "stream",
        "- stream key=2 | XGROUP CREATE k df2redis 0 MKSTREAM\n- stream key=2 | XGROUP DESTROY k df2redis\n"
        "- stream | XSETID k 0-0\n- stream key=2 | XGROUP CREATE k g 0-0\n"
        "- stream key=2 | XGROUP CREATECONSUMER k g c\nLOST kind=pending-entry key=k\n");
}

static void field_ttls(void)
{
    /* the specification's example: a expires 2026-01-01, b never */
    writes("7.4", 31, "02 01 61 c0 01 c2 80 0d 7c 05 01 62 c0 02 c0 ff", "hash",
           "I hash | HSET k a 1 b 2\nI hash | HPEXPIREAT k 1767225600000 FIELDS 1 a\n");
    writes("valkey:9.0", 31, "02 01 61 c0 01 c2 80 0d 7c 05 01 62 c0 02 c0 ff", "hash",
           "I hash | HSET k a 1 b 2\nI hash | HPEXPIREAT k 1767225600000 FIELDS 1 a\n");
    /* the same expiry twice, then another */
    writes("7.4", 31,
           "03 01 'a' c0 01 c2 80 0d 7c 05 01 'b' c0 02 c2 80 0d 7c 05 01 'c' c0 03 c2 81 0d 7c 05", "hash",
           "I hash | HSET k a 1 b 2 c 3\nI hash | HPEXPIREAT k 1767225600000 FIELDS 2 a b\n"
           "I hash | HPEXPIREAT k 1767225601000 FIELDS 1 c\n");
    /* a has expired (now is 2023-11-14), as text, not as integer */
    writes("7.4", 31, "02 01 'a' c0 01 02 '00' 01 'b' c0 02 02 '-1'", "hash", "I hash | HSET k b 2\n");
    /* all expired: no key */
    writes("7.4", 31, "01 01 'a' c0 01 c0 00", "hash", "");
    /* targets without */
    writes("7.2", 31, "02 01 61 c0 01 c2 80 0d 7c 05 01 62 c0 02 c2 80 0d 7c 05", "hash",
           "LOST kind=field-ttl key=k\nI hash | HSET k a 1 b 2\n");
    writes("7.4", 32, "02 01 'a' c2 80 0d 7c 05 01 'b' c0 ff", "set",
           "LOST kind=member-ttl key=k\nI set | SADD k a b\n");
}

/* What Redis has no type for: named, and passed over to the byte. Nothing is written, not even a DEL. */
static void not_carried(void)
{
    static const struct {
        const char *entry, *kind;
    } list[] = {
        {"21 01 'k' 00 0000000000000040 7b14ae47e17a843f 05 06 40 64 02 05 04 'abcd' 06 00", "bloom-filter"},
        {"22 01 'k' 00 0000000000000040 7b14ae47e17a843f 05 06 40 64 02 05 06 02 'ab' 04 'cdef' 06 00",
         "bloom-filter"},
        {"22 01 'k' 00 0000000000000040 7b14ae47e17a843f 05 06 40 64 00", "bloom-filter"},
        {"23 01 'k' 02 01 05 0100000000000000 0200000000000000", "count-min-sketch"},
        {"23 01 'k' 00 00 00", "count-min-sketch"},
        {"24 01 'k' 00 03 08 04 cdccccccccccec3f 02 01 'a' 05 c0 07 06 08 01000000 02000000", "top-k"},
        {"24 01 'k' 00 03 08 04 cdccccccccccec3f 00 00", "top-k"},
        {"25 01 'k' 02 14 01 04 03 00 02 03 01 'a' 02 'bc' 02 02 'de'", "cuckoo-filter"},
        {"25 01 'k' 02 14 01 04 03 00 00", "cuckoo-filter"},
    };
    struct setting s = commands("7.4");
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char entries[256], want[256];
        snprintf(entries, sizeof entries, "%s 00 01 'n' 01 'x'", list[i].entry); /* what follows is found */
        snprintf(want, sizeof want, "LOST kind=%s key=k\n1 pos=0 db=0 PI string | SET n x\n", list[i].kind);
        gives(&s, entries, want);
    }
}

static void json(void)
{
    struct setting s = commands("7.4");
    gives(&s, "1e 01 6a 07 7b 22 61 22 3a 31 7d", "LOST kind=json key=j\n");
    s.approximate = true;
    gives(&s, "1e 01 6a 07 7b 22 61 22 3a 31 7d",
          "REMARK kind=json-as-string key=j\n1 pos=0 db=0 IF json | SET j {\"a\":1}\n2 pos=0 db=0 L "
          "position\n");
    s.target.has_json = true;
    gives(
        &s, "fc 00 a8 da 76 9b 01 00 00 1e 01 6a 07 7b 22 61 22 3a 31 7d",
        "1 pos=0 db=0 IF json | JSON.SET j $ {\"a\":1}\n2 pos=0 db=0 IL json | PEXPIREAT j 1767225600000\n");
}

static void strings(void)
{
    struct setting s = commands("portable");
    gives(&s, "00 01 'k' 00", "1 pos=0 db=0 PI string | SET k \"\"\n");
    gives(&s, "00 00 00", "1 pos=0 db=0 PI string | SET \"\" \"\"\n");
    gives(&s, "00 c0 2a c0 2b", "1 pos=0 db=0 PI string | SET 42 43\n");
    gives(&s, "00 c3 05 28 00 61 e0 1e 00 c1 e8 03",
          "1 pos=0 db=0 PI string | SET aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1000\n");
    gives(&s, "fc 00 a8 da 76 9b 01 00 00 00 01 'k' 01 'v'",
          "1 pos=0 db=0 I string | SET k v PXAT 1767225600000\n");
    gives(&s, "fd 00 b9 55 69 00 01 'k' 01 'v'", "1 pos=0 db=0 I string | SET k v PXAT 1767225600000\n");
    gives(&s, "fc 01 00 00 00 00 00 00 00 00 01 'k' 01 'v' 00 01 'l' 01 'w'",
          "1 pos=0 db=0 PI string | SET l w\n");
    gives(&s, "fc 01 00 00 00 00 00 00 00 02 01 'k' 01 01 'v' 00 01 'l' 01 'w'",
          "1 pos=0 db=0 PI string | SET l w\n");
}

/* An expiry with RESTORE, and behind the commands of a container. */
static void expiries(void)
{
    struct setting s = restore("7.2");
    struct buf want = {0}, payload = hex("0b " INTSET " 06 00");
    add_le(&payload, crc_slow(payload.p, payload.len), 8);
    (void)buf_addstr(&want, "1 pos=0 db=0 I set | RESTORE k 1767225600000 ");
    show_bytes(&want, payload.p, payload.len);
    (void)buf_add(&want, " REPLACE ABSTTL\n", 17);
    gives(&s, "fc 00 a8 da 76 9b 01 00 00 0b 01 'k' " INTSET, (const char *)want.p);
    buf_free(&want);
    buf_free(&payload);
    s = commands("7.2");
    gives(&s, "fc 00 a8 da 76 9b 01 00 00 0b 01 'k' " INTSET,
          "1 pos=0 db=0 IF set | DEL k\n2 pos=0 db=0 I set | SADD k -1 5 300\n"
          "3 pos=0 db=0 IL set | PEXPIREAT k 1767225600000\n");
}

/* Parts of at most part_size bytes; an element larger than that goes alone. */
static void parts(void)
{
    struct setting s = commands("7.4");
    s.part_size = 16;
    gives(&s, "02 01 'k' 05 01 'a' 01 'b' 01 'c' 01 'd' 14 '01234567890123456789'",
          "1 pos=0 db=0 IF set | DEL k\n2 pos=0 db=0 I set | SADD k a b c\n3 pos=0 db=0 I set | SADD k d\n"
          "4 pos=0 db=0 I set | SADD k 01234567890123456789\n5 pos=0 db=0 L position\n");
    /* an expiry of a field is never written before the field */
    gives(&s, "1f 01 'k' 02 14 '01234567890123456789' 01 'v' c2 80 0d 7c 05 01 'b' c0 02 c2 80 0d 7c 05",
          "1 pos=0 db=0 IF hash | DEL k\n2 pos=0 db=0 I hash | HSET k 01234567890123456789 v\n"
          "3 pos=0 db=0 I hash | HPEXPIREAT k 1767225600000 FIELDS 1 01234567890123456789\n"
          "4 pos=0 db=0 I hash | HSET k b 2\n5 pos=0 db=0 I hash | HPEXPIREAT k 1767225600000 FIELDS 1 b\n"
          "6 pos=0 db=0 L position\n");
    s.target.maxbulk = 19;
    s.part_size = 65536;
    gives(&s, "02 01 'k' 02 01 'a' 14 '01234567890123456789'",
          "LOST kind=element-too-large key=k\n1 pos=0 db=0 IF set | DEL k\n2 pos=0 db=0 I set | SADD k a\n"
          "3 pos=0 db=0 L position\n");
    /* a field that is not written gets no expiry either */
    gives(
        &s, "1f 01 'k' 02 14 '01234567890123456789' 01 'v' c2 80 0d 7c 05 01 'b' c0 02 c2 80 11 7c 05",
        "LOST kind=element-too-large key=k\n1 pos=0 db=0 IF hash | DEL k\n2 pos=0 db=0 I hash | HSET k b 2\n"
        "3 pos=0 db=0 I hash | HPEXPIREAT k 1767226624000 FIELDS 1 b\n4 pos=0 db=0 L position\n");
}

static void stops(const char *entries, const char *words)
{
    struct setting s[2] = {commands("portable"), restore("7.2")};
    for (int i = 0; i < 2; i++) {
        struct buf b = file_of(entries);
        char error[256] = "";
        begin(&cap, &s[i]);
        if (!CHECK(parse(&cap, &b, b.len, error) == -1))
            printf("  accepted (%s): %s\n", i == 0 ? "commands" : "restore", entries);
        CHECK(strncmp(error, words, strlen(words)) == 0);
        capture_free(&cap);
        buf_free(&b);
    }
}

static void damaged(const char *entries)
{
    stops(entries, "damaged at byte ");
}

/* No such types: another server may have them. */
static void not_supported(const char *entries)
{
    stops(entries, "not supported at byte ");
}

static void damages(void)
{
    not_supported("06 01 'k' 00");
    not_supported("16 01 'k' 00");
    not_supported("26 01 'k' 00");
    not_supported("c7 01 'k' 00");
    damaged("12 01 'k' 01 03 01 'a'");                                             /* node kind 3 */
    damaged("23 01 'k' 81 00 00 01 00 00 00 00 00 81 00 00 01 00 00 00 00 00 00"); /* 2^80 counters */
    damaged(
        "22 01 'k' 00 0000000000000000 0000000000000000 00 00 00 01 05 04 05 'abcde'"); /* piece too long */
    damaged("22 01 'k' 00 0000000000000000 0000000000000000 00 00 00 01 05 04 00");
    not_supported("82");
    damaged("00 82");
    damaged("02 01 'k' c0 01");
    damaged("04 01 'k' 01 01 'f'"); /* the end of the file where a value stands */
    /* the value's end is the file's end mark: cut short */
    damaged("02 01 'k' 40 50 01 'a'");
}

/* The value of key "k" is not sound, but where it ends is known: this is reported, nothing restored, and the
 * key behind it is read. request: what is written of it. why: for the message of a check that fails. */
static void told_for(const struct setting *s, const char *entry, const char *report, const char *request,
                     const char *why)
{
    struct buf text = {0}, b;
    char error[256] = "";
    (void)buf_addstr(&text, entry);
    (void)buf_add(&text, " 00 01 'n' 01 'v'", 18); /* with its end */
    b = file_of((const char *)text.p);
    begin(&cap, s);
    if (!CHECK(parse(&cap, &b, b.len, error) == 0))
        printf("  %s: %s\n", entry, error);
    const char *got = capture_text(&cap);
    bool told = strstr(got, report) != NULL && strstr(got, request) != NULL &&
                strstr(got, "RESTORE") == NULL && strstr(got, "SET n v\n") != NULL;
    if (!CHECK(told))
        printf("  %s (%s): %s", entry, why, got);
    CHECK(cap.e.stats.lost + cap.e.stats.remarks == (*report != '\0'));
    capture_free(&cap);
    buf_free(&b);
    buf_free(&text);
}

static void unsound_for(const struct setting *s, const char *entry, const char *why)
{
    told_for(s, entry, "LOST kind=damaged-value key=k\n", "", why);
}

/* It can be decoded, but is nothing for RESTORE: commands write it. */
#define REMARK "REMARK kind=unsound-value key=k\n"
#define LOST   "LOST kind=unsound-value key=k\n"

/* Only where the whole value is looked at, before a RESTORE. */
static void odd_whole(const char *entry, const char *report, const char *request, const char *why)
{
    struct setting s = restore("8.10");
    told_for(&s, entry, report, request, why);
}

static void odd(const char *entry, const char *report, const char *request, const char *why)
{
    struct setting s = commands("portable");
    told_for(&s, entry, report, request, why);
    odd_whole(entry, report, request, why);
}

static void unsound(const char *entry, const char *why)
{
    struct setting s[2] = {commands("portable"), restore("8.10")};
    for (int i = 0; i < 2; i++)
        unsound_for(&s[i], entry, why);
}

/* Only where the whole value is looked at, before a RESTORE. */
static void unsound_whole(const char *entry, const char *why)
{
    struct setting s = restore("8.10");
    unsound_for(&s, entry, why);
}

static void unsound_values(void)
{
    unsound("1f 01 'k' 01 01 'a' 01 'v' 03 'abc'", "an expiry of a field that is no number");
    unsound("10 01 'k' 0a 0a 00 00 00 01 00 81 61 02 ff", "an odd number in a hash");
    unsound("0b 01 'k' 07 02 00 00 00 00 00 00", "an intset cut short");
    unsound("12 01 'k' 01 02 01 'a'", "a list node without listpack");
    unsound("12 01 'k' 01 01 c3 02 03 00 61", "an element that does not unpack");
    unsound("03 01 'k' 01 01 'm' 03 'abc'", "a score of letters");
    unsound("03 01 'k' 01 01 'm' fd", "a score that is no number");
    unsound("05 01 'k' 01 01 'm' 00 00 00 00 00 00 f8 7f", "a score that is no number");
    unsound("04 01 'k' 01 01 'f' c3 02 03 00 61", "a value that does not unpack");
    unsound("00 01 'k' c3 02 03 00 61", "a string that does not unpack");
    unsound("11 01 'k' 0f 0f 00 00 00 02 00 81 6d 02 83 6e 61 6e 04 ff", "a score that is no number");
    unsound("10 01 'k' 11 11 00 00 00 06 00 81 61 02 01 01 81 62 02 02 01 ff",
            "more elements said than there are");
    unsound("10 01 'k' 11 11 00 00 00 02 00 81 61 02 01 01 81 62 02 02 01 ff",
            "fewer elements said than there are");
}

static void odd_values(void)
{
    odd("0b 01 'k' 0c 02 00 00 00 02 00 00 00 05 00 05 00", REMARK, " | SADD k 5 5\n", "an integer twice");
    odd("0b 01 'k' 0c 02 00 00 00 02 00 00 00 05 00 04 00", REMARK, " | SADD k 5 4\n",
        "integers out of order");
    odd("10 01 'k' 11 11 00 00 00 04 00 81 61 02 01 01 81 61 02 02 01 ff", LOST, " | HSET k a 1\n",
        "a field twice");
    odd("14 01 'k' 0d 0d 00 00 00 02 00 82 31 32 03 0c 01 ff", REMARK, " | SADD k 12\n",
        "a member twice, written in two ways");
    odd("11 01 'k' 11 11 00 00 00 04 00 81 6d 02 02 01 81 6e 02 01 01 ff", REMARK, " | ZADD k 2 m 1 n\n",
        "scores out of order");
    odd("11 01 'k' 11 11 00 00 00 04 00 81 6e 02 01 01 81 6d 02 01 01 ff", REMARK, " | ZADD k 1 n 1 m\n",
        "members of a score out of order");
    odd("0d 01 'k' 15 15 00 00 00 12 00 00 00 04 00 00 01 61 03 f2 02 01 61 03 f3 ff", LOST,
        " | HSET k a 1\n", "a field twice");
    odd("09 01 'k' 0c 02 01 66 01 00 31 01 66 01 00 32 ff", LOST, " | HSET k f 1\n", "a field twice");
    odd_whole("02 01 'k' 02 01 'a' 01 'a'", REMARK, " | SADD k a\n", "a member twice");
    odd_whole("02 01 'k' 02 c0 0c 02 '12'", REMARK, " | SADD k 12\n", "a member twice, written in two ways");
    odd_whole("04 01 'k' 02 01 'f' 01 '1' 01 'f' 01 '2'", LOST, " | HSET k f 1\n", "a field twice");
    odd_whole("05 01 'k' 02 01 'm' 00 00 00 00 00 00 00 00 01 'm' 00 00 00 00 00 00 f0 3f", LOST,
              " | ZADD k 0 m\n", "a member twice");
    odd_whole("03 01 'k' 02 01 'm' 01 '1' 01 'm' 01 '2'", LOST, " | ZADD k 1 m\n", "a member twice");
    /* Nothing is wrong with these, but servers refuse them: a zipmap whose lengths take five bytes, a list
     * with an empty element in a node of its own */
    odd("09 01 'k' 0f 01 fe 01000000 66 fe 01000000 00 31 ff", "", " | HSET k f 1\n", "long lengths");
    odd("12 01 'k' 02 01 00 02 0a 0a 00 00 00 01 00 81 61 02 ff", "", " | RPUSH k \"\" a\n",
        "an empty element");
    /* two nodes of a stream that have one id */
    odd_whole("0f 01 'k' 02 10 00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 1d 1d 00 00 00 0a 00 01 01 00 "
              "01 01 01 81 66 02 00 01 02 01 00 01 05 01 81 61 02 04 01 ff 10 00 00 00 00 00 00 03 "
              "e8 00 00 00 00 00 00 00 00 1d 1d 00 00 00 0a 00 01 01 00 01 01 01 81 66 02 00 01 02 "
              "01 00 01 06 01 81 61 02 04 01 ff 02 43 e8 06 00",
              "", " | XADD k 1000-6 f a\n", "an id of two nodes");
}

/* A node of a stream: entries 1000-0 and 1000-d with field a, value 1, that say they have so many live and
 * deleted. */
#define PAIR(live, deleted, d)                                                                               \
    "10 " ID1000 "26 26 00 00 00 0f 00 0" #live " 01 0" #deleted                                             \
    " 01 01 01 81 61 02 00 01 02 01 00 01 00 01 01 01 "                                                      \
    "04 01 02 01 00 01 0" #d " 01 01 01 04 01 ff "
#define PENDING_1 ID1000 "0068e5cf8b010000 01 "

static void unsound_streams(void)
{
    unsound("0f 01 'k' 01 01 'x' 01 'y' 00 00 00 00", "a node's id of one byte");
    unsound("0f 01 'k' 01 10 " ID1000 "0a 0a 00 00 00 01 00 81 61 02 ff 00 00 00 00", "no master entry");
    struct setting s = restore("7.2");
    struct buf b = file_of("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 00");
    char error[256] = "";
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, b.len, error), 0);
    CHECK(strstr(capture_text(&cap), "RESTORE k") != NULL); /* the cases below differ from a sound one */
    capture_free(&cap);
    buf_free(&b);
    unsound("0f 01 'k' 01 " PAIR(1, 1, 1) "01 43 e8 01 00", "an entry too few");
    unsound("0f 01 'k' 01 " PAIR(2, 0, 0) "02 43 e8 01 00", "an id twice");
    unsound("0f 01 'k' 02 " PAIR(2, 0, 1) PAIR(2, 0, 1) "04 43 e8 01 00", "nodes out of order");
    unsound("0f 01 'k' 01 " PAIR(2, 0, 1) "03 43 e8 01 00", "a length that is not that of the nodes");
    unsound("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 00 00", "a last id below the last entry");
    unsound_whole("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 02 01 'g' 00 00 00 00 01 'g' 00 00 00 00",
                  "a group twice");
    unsound_whole("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 01 " PENDING_1 "00",
                  "no consumer");
    unsound_whole("0f 01 'k' 01 " PAIR(
                      2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 00 01 01 'c' 0000000000000000 01 " ID1000,
                  "a consumer's entry that the group lacks");
    unsound_whole("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 01 " PENDING_1
                                                "02 01 'c' 0000000000000000 01 " ID1000
                                                "01 'd' 0000000000000000 01 " ID1000,
                  "two consumers");
    unsound_whole("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 00 "
                                                "02 01 'c' 0000000000000000 00 01 'c' 0000000000000000 00",
                  "a consumer twice");
    unsound_whole("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 02 " PENDING_1 PENDING_1
                                                "01 01 'c' 0000000000000000 02 " ID1000 ID1000,
                  "pending entries out of order");
}

/* A stream written as commands loses pending entries that nobody owns: that is said. */
static void unowned_pending(void)
{
    struct setting s = commands("7.2");
    struct buf b = file_of("0f 01 'k' 01 " PAIR(2, 0, 1) "02 43 e8 01 01 01 'g' 43 e8 01 01 " PENDING_1 "00");
    char error[256] = "";
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, b.len, error), 0);
    const char *text = capture_text(&cap);
    CHECK(strstr(text, "LOST kind=pending-entry key=k\n") != NULL);
    CHECK(strstr(text, "XADD k 1000-1 a 1\n") != NULL);
    EQ(cap.e.stats.lost, 1);
    capture_free(&cap);
    buf_free(&b);
}

/* Hashes of Redis 7.4 with expiries of fields: by time, those without last; times that are possible. */
static void unsound_field_ttls(void)
{
    static const char *const list[] = {
        "19 01 'k' 00 a8 da 76 9b 01 00 00 1d 1d 00 00 00 06 00 81 61 02 01 01 00 01 81 62 02 02 01 f4 00 a8 "
        "da 76 9b 01 00 00 09 ff",
        "19 01 'k' 00 a8 da 76 9b 01 00 00 16 16 00 00 00 03 00 81 61 02 01 01 f4 00 00 00 00 00 00 01 00 09 "
        "ff",
        "19 01 'k' 00 a8 da 76 9b 01 00 00 0f 0f 00 00 00 03 00 81 61 02 01 01 81 78 02 ff",
        "18 01 'k' 00 00 00 00 00 00 01 00 01 01 01 'a' c0 01",
    };
    struct setting s = restore("8.10");
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct buf b = hex("'REDIS0012' fe 00");
        char error[256] = "";
        add_hex(&b, list[i]);
        add_hex(&b, "00 01 'n' 01 'v' ff 00 00 00 00 00 00 00 00");
        begin(&cap, &s);
        EQ_I(parse(&cap, &b, b.len, error), 0);
        const char *text = capture_text(&cap);
        /* the order is all that is wrong with the first */
        if (!CHECK(strstr(text, i > 0 ? "LOST kind=damaged-value key=k\n" : REMARK) != NULL &&
                   (i > 0 || strstr(text, " | HSET k a 1 b 2\n") != NULL) &&
                   strstr(text, "RESTORE") == NULL && strstr(text, "SET n v\n") != NULL))
            printf("  %zu: %s %s\n", i, error, text);
        capture_free(&cap);
        buf_free(&b);
    }
}

/* KeyDB: the expiry of a field stands behind its key, wherever a piece of the input ends. */
static void keydb(void)
{
    char error[256] = "";
    struct setting s[2] = {commands("7.4"), restore("7.4")};
    struct buf b =
        hex("'REDIS0009' fa 09 'redis-ver' 05 '6.3.4' fe 00 04 01 'h' 02 01 'f' 01 '1' 01 'g' 01 '2' "
            "fa 13 'keydb-subexpire-key' 01 'f' fa 14 'keydb-subexpire-when' 0d '1893456000000' "
            "fa 13 'keydb-subexpire-key' 01 'g' fa 14 'keydb-subexpire-when' 0d '1600000000000' "
            "00 01 'n' 01 'v' ff 00 00 00 00 00 00 00 00");
    for (int i = 0; i < 2; i++) {
        begin(&cap, &s[i]);
        EQ_I(parse(&cap, &b, b.len, error), 0);
        const char *text = capture_text(&cap);
        CHECK(strstr(text, "HPEXPIREAT h 1893456000000 FIELDS 1 f\n") != NULL);
        CHECK(strstr(text, "HDEL h g\n") != NULL);
        capture_free(&cap);
        in_pieces(&s[i], &b, b.len);
    }
    buf_free(&b);
}

/* Expiries that stand where KeyDB puts none, in a file that does not name its server: before a key, behind
 * another key than the field's, and behind a change of the database. */
static void keydb_misplaced(void)
{
    static const char key_f[] = "fa 13 'keydb-subexpire-key' 01 'f'";
    static const char when[] = "fa 14 'keydb-subexpire-when' 0d '1893456000000'";
    char error[256] = "";
    struct setting s = commands("7.4");
    struct buf b = hex("'REDIS0009' fe 02");
    add_hex(&b, key_f);
    add_hex(&b, when);
    add_hex(&b, "04 01 'a' 01 01 'f' 01 '1'");
    add_hex(&b, key_f);
    add_hex(&b, "04 01 'b' 01 01 'f' 01 '1'");
    add_hex(&b, when);
    add_hex(&b, "04 01 'c' 01 01 'f' 01 '1' fe 03");
    add_hex(&b, key_f);
    add_hex(&b, when);
    add_hex(&b, "ff 00 00 00 00 00 00 00 00");
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, b.len, error), 0);
    const char *text = capture_text(&cap);
    CHECK(strstr(text, "LOST kind=member-ttl key=\n") != NULL);
    CHECK(strstr(text, "LOST kind=field-ttl key=b\n") != NULL);
    CHECK(strstr(text, "HPEXPIREAT a ") == NULL && strstr(text, "HPEXPIREAT b ") == NULL);
    CHECK(strstr(text, "HPEXPIREAT c 1893456000000 FIELDS 1 f\n") != NULL);
    capture_free(&cap);
    in_pieces(&s, &b, b.len);
    buf_free(&b);
}

/* The same key twice: how far back it is seen, and that an entry that comes in pieces is one. */
static void twice(void)
{
    struct setting s = commands("7.4");
    struct recent r = {.now = {.slot = NULL}};
    char error[256] = "";
    struct buf b =
        hex("'REDIS0011' fe 00 02 01 'a' 02 01 'x' 01 'y' 02 01 'b' 01 01 'x' fe 01 00 01 'a' 01 'v' "
            "fe 00 00 01 'a' 01 'v' ff 00 00 00 00 00 00 00 00");
    for (size_t piece = 1; piece <= b.len; piece++) {
        begin(&cap, &s);
        EQ_I(parse(&cap, &b, piece, error), 0);
        EQ(cap.e.stats.lost, 1);
        CHECK(strstr(capture_text(&cap), "LOST kind=duplicate-key key=a\n") != NULL);
        capture_free(&cap);
    }
    buf_free(&b);
    bool known = false;
    for (uint64_t i = 1; i <= 4 * RECENT_KEYS && !known; i++)
        known = recent_has(&r, i * UINT64_C(0x9e3779b97f4a7c15));
    CHECK(!known);
    CHECK(recent_has(&r, (4 * RECENT_KEYS - RECENT_KEYS + 2) * UINT64_C(0x9e3779b97f4a7c15)));
    CHECK(!recent_has(&r, UINT64_C(0x9e3779b97f4a7c15))); /* memory is bounded */
    recent_free(&r);
}

/* RESTORE of module values, where the target has the module: as the control socket announces it. */
static void modules(void)
{
    static const char value[] = "07 01 'k' 81 75 fd ab 79 d8 ac f8 01 02 07 00";
    struct setting s = restore("7.2");
    struct buf b = file_of(value);
    char error[256] = "";
    s.target = target_of("kind=redis version=7.2.4 rdb=11 modules=search,df2redis-");
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, b.len, error), 0);
    CHECK(strstr(capture_text(&cap), "RESTORE k 0 \\x07\\x81u\\xfd") != NULL);
    EQ(cap.e.stats.lost, 0);
    capture_free(&cap);
    s.target = target_of("kind=redis version=7.2.4 rdb=11 modules=search");
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, b.len, error), 0);
    CHECK(strstr(capture_text(&cap), "LOST kind=module key=k\n") != NULL);
    capture_free(&cap);
    buf_free(&b);
    struct target t = target_of("kind=valkey version=8.1.0 rdb=11 modules=bf");
    CHECK(target_has_module(&t, "bloomfltr") && !target_has_module(&t, "MBbloom--"));
    t = target_of("kind=redis version=8.0.0 rdb=12 modules=bf,timeseries,vectorset");
    CHECK(target_has_module(&t, "MBbloom--") && target_has_module(&t, "TSDB-TYPE") &&
          target_has_module(&t, "vectorset"));
}

/* Names of no bytes, in all places where a buffer that was never filled may stand for them. */
static void empty_names(void)
{
    struct setting s = commands("7.2");
    gives(&s, "02 00 01 00",
          "1 pos=0 db=0 IF set | DEL \"\"\n2 pos=0 db=0 I set | SADD \"\" \"\"\n3 pos=0 db=0 L position\n");
    gives(&s, "04 00 01 00 00",
          "1 pos=0 db=0 IF hash | DEL \"\"\n2 pos=0 db=0 I hash | HSET \"\" \"\" \"\"\n3 pos=0 db=0 L "
          "position\n");
    restores("7.2", 4, "01 00 00", 6, "hash");
}

/* A string in parts: SET, the last byte for the target to allocate, SETRANGE; expiry last. */
static void long_string(void)
{
    struct setting s = commands("portable");
    struct buf b = hex("'REDIS0009' fe 00 fc 00 a8 da 76 9b 01 00 00 00 01 'k'"), whole = {0}, split = {0};
    size_t n = ((size_t)1 << 20) + 100000;
    b.max = (size_t)16 << 20;
    add_plen(&b, n);
    uint8_t *text = buf_room(&b, n);
    for (size_t i = 0; i < n; i++)
        text[i] = (uint8_t)(i * 7 + i / 251);
    b.len += n;
    add_hex(&b, "ff 00 00 00 00 00 00 00 00");
    canon_of(&s, &b, b.len, &whole);
    for (size_t piece = 1000; piece < 300000; piece = piece * 3 + 1) {
        canon_of(&s, &b, piece, &split);
        EQ_B(split.p, split.len, whole.p, whole.len);
    }
    char error[256];
    begin(&cap, &s);
    EQ_I(parse(&cap, &b, 65536, error), 0);
    const char *t = capture_text(&cap);
    CHECK(strncmp(t, "1 pos=0 db=0 IF string | SET k <131072 bytes ", 45) == 0);
    CHECK(strstr(t, "\n2 pos=0 db=0 I string | SETRANGE k 1148575 \\x00\n") != NULL);
    CHECK(strstr(t, "\n3 pos=0 db=0 I string | SETRANGE k 131072 <131072 bytes ") != NULL);
    CHECK(strstr(t, "\n10 pos=0 db=0 I string | SETRANGE k 1048576 <100000 bytes ") != NULL);
    CHECK(strstr(t, "\n11 pos=0 db=0 IL string | PEXPIREAT k 1767225600000\n12 ") != NULL);
    capture_free(&cap);
    buf_free(&b);
    buf_free(&whole);
    buf_free(&split);
}

int main(void)
{
    strings();
    containers();
    empty_containers();
    streams();
    field_ttls();
    not_carried();
    json();
    expiries();
    parts();
    restored();
    damages();
    unsound_values();
    odd_values();
    unsound_streams();
    unowned_pending();
    unsound_field_ttls();
    keydb();
    keydb_misplaced();
    twice();
    modules();
    empty_names();
    long_string();
    return test_done();
}
