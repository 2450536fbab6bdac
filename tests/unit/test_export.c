/* RDB files that are written: what becomes of each type for each kind of target, however the input is cut. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

#include "../../common/crc64.h"
#include "../../parser/export/book.h"
#include "../../parser/export/export.h"
#include "../../parser/export/heap.h"
#include "../../parser/flow.h"

#define TOKEN "0123456789012345678901234567890123456789"
#define T0    UINT64_C(4000000000000000)

static struct capture cap;
static char dir[64], path[96];

static struct buf read_file(void)
{
    struct buf b = {0};
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    for (ssize_t n = 1; fd >= 0 && n > 0;) {
        uint8_t *to = buf_room(&b, 65536);
        n = read(fd, to, 65536);
        b.len += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    (void)unlink(path);
    return b;
}

/* The file that is made of a snapshot for the target, without its checksum, which is right. piece: so many
 * bytes are fed at a time. dragonfly: it is a flow of one. */
static struct buf export_of(const char *target, const struct buf *in, size_t piece, bool dragonfly)
{
    struct flow flow;
    capture_init(&cap);
    cap.e.mode = EMIT_OUTLET;
    CHECK(target_parse(&cap.e.target, target));
    struct export *x = export_open(path, &cap.e.target);
    CHECK(x != NULL);
    flow_init(&flow, 0);
    flow.to.outlet = export_outlet(x);
    flow.to.outlet->live = dragonfly;
    flow_begin(&flow, 1, !dragonfly, dragonfly, 1, 0, dragonfly ? TOKEN : NULL);
    for (size_t at = 0; at < in->len;) {
        size_t n = in->len - at < piece ? in->len - at : piece;
        uint8_t *p = exact(in->p + at, n);
        bool taken = EQ_I(flow_feed(&flow, &cap.e, p, n, at, T0), 0);
        free(p);
        if (!taken) {
            printf("%s\n", flow.error);
            break;
        }
        at += n;
    }
    CHECK(flow.to.synced);
    EQ_I(export_finish(x, &cap.e, dragonfly), 0);
    flow_free(&flow);
    export_free(x);
    capture_free(&cap);
    struct buf b = read_file();
    uint64_t crc = 0;
    if (CHECK(b.len > 8)) {
        b.len -= 8;
        memcpy(&crc, b.p + b.len, 8);
        CHECK(crc == crc64(0, b.p, b.len));
    }
    return b;
}

static void show(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        printf("%02x%s", b->p[i], i + 1 < b->len ? " " : "\n");
}

static void expect(const char *target, const char *input, const char *head, const char *want, bool dragonfly)
{
    static const size_t pieces[] = {1, 7, (size_t)1 << 20};
    struct buf in = hex(input), out = hex(head);
    add_hex(&out, want);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buf b = export_of(target, &in, pieces[i], dragonfly);
        if (!CHECK(b.len == out.len && memcmp(b.p, out.p, b.len) == 0)) {
            printf("%s, pieces of %zu:\n", target, pieces[i]);
            show(&b);
            show(&out);
        }
        buf_free(&b);
    }
    buf_free(&in);
    buf_free(&out);
}

#define BITS     "fa 0a 'redis-bits' 02 '64' "
#define HEAD_50  "'REDIS0009' fa 09 'redis-ver' 05 '5.0.0' " BITS
#define HEAD_62  "'REDIS0009' fa 09 'redis-ver' 05 '6.2.0' " BITS
#define HEAD_72  "'REDIS0011' fa 09 'redis-ver' 05 '7.2.0' " BITS
#define HEAD_74  "'REDIS0012' fa 09 'redis-ver' 05 '7.4.0' " BITS
#define HEAD_V8  "'REDIS0011' fa 0a 'valkey-ver' 05 '8.0.0' " BITS
#define HEAD_V9  "'VALKEY080' fa 0a 'valkey-ver' 05 '9.0.0' " BITS
#define FROM_72  "'REDIS0011' fa 09 'redis-ver' 05 '7.2.4' fa 05 'ctime' c2 00 00 00 60 fe 00 fb 05 01 "
#define FROM_74  "'REDIS0012' fa 09 'redis-ver' 05 '7.4.1' fe 00 "
#define END      " ff 00 00 00 00 00 00 00 00"
#define DF_BEGIN "'REDIS0009' fe 00 "
#define DF_END   " c8 00 00 00 00 00 00 00 00 d3 01 00 00 00 00 00 00 00 ff 00 00 00 00 00 00 00 00 '" TOKEN "'"

/* Each form of a string, an expiry, one that has passed, several databases, an empty one between them. */
static void strings(void)
{
    expect("7.2",
           FROM_72 "00 01 'a' 01 'x' 00 01 'i' c0 05 00 01 'z' c3 05 28 00 61 e0 1e 00 "
                   "fc 00 00 00 00 00 04 00 00 00 01 'e' 00 fc 01 00 00 00 00 00 00 00 00 01 'o' 01 'y' "
                   "fe 03 fe 02 00 01 'b' 00" END,
           HEAD_72 "fe 00 ",
           "00 01 'a' 01 'x' 00 01 'i' c0 05 00 01 'z' c3 05 28 00 61 e0 1e 00 "
           "fc 00 00 00 00 00 04 00 00 00 01 'e' 00 fc 01 00 00 00 00 00 00 00 00 01 'o' 01 'y' "
           "fe 02 00 01 'b' 00 ff",
           false);
}

#define LP_HASH "10 01 'h' 0d 0d 00 00 00 02 00 81 'f' 02 81 'v' 02 ff "
#define LP_ZSET "11 01 'z' 0c 0c 00 00 00 02 00 81 'm' 02 02 01 ff "
#define LP_SET  "14 01 's' 0a 0a 00 00 00 01 00 81 'x' 02 ff "
#define LP_LIST "12 01 'l' 02 02 0a 0a 00 00 00 01 00 81 'x' 02 ff 01 01 'y' "

/* What the target loads is copied; else it becomes a plain type. */
static void containers(void)
{
    expect("7.2", FROM_72 LP_HASH LP_ZSET LP_SET LP_LIST END, HEAD_72 "fe 00 ",
           LP_HASH LP_ZSET LP_SET LP_LIST "ff", false);
    expect("valkey-8", FROM_72 LP_HASH LP_SET END, HEAD_V8 "fe 00 ", LP_HASH LP_SET "ff", false);
    expect("5.0", FROM_72 LP_HASH LP_ZSET LP_SET LP_LIST END, HEAD_50 "fe 00 ",
           "04 01 'h' 01 01 'f' 01 'v' 05 01 'z' 01 01 'm' 00 00 00 00 00 00 00 40 02 01 's' 01 01 'x' "
           "01 01 'l' 02 01 'x' 01 'y' ff",
           false);
    /* Packed forms that servers refuse: members out of order, an empty list node; an empty set is no key. */
    expect("7.2",
           FROM_72 "11 01 'z' 11 11 00 00 00 04 00 81 'b' 02 02 01 81 'a' 02 01 01 ff 02 01 'n' 00 " END,
           HEAD_72 "fe 00 ", "05 01 'z' 02 01 'b' 00 00 00 00 00 00 00 40 01 'a' 00 00 00 00 00 00 f0 3f ff",
           false);
    expect("7.2", FROM_72 "12 01 'l' 02 01 00 01 01 'y' " END, HEAD_72 "fe 00 ",
           "12 01 'l' 02 02 09 09 00 00 00 01 00 80 01 ff 01 01 'y' ff", false);
    /* An intset that does not ascend, with an integer twice. */
    expect("7.2", FROM_72 "0b 01 'i' 0e 02 00 00 00 03 00 00 00 05 00 01 00 05 00 " END, HEAD_72 "fe 00 ",
           "02 01 'i' 02 01 '5' 01 '1' ff", false);
    /* The same key twice, and a field: the first stays. */
    expect("7.2", FROM_72 "00 01 'k' 01 '1' 00 01 'k' 01 '2' 04 01 'h' 02 01 'f' 01 '1' 01 'f' 01 '2' " END,
           HEAD_72 "fe 00 ", "00 01 'k' 01 '1' 04 01 'h' 01 01 'f' 01 '1' ff", false);
}

/* One field with an expiry, one without. */
static void field_expiries(void)
{
    static const char in[] =
        FROM_74 "18 01 'h' 00 10 00 00 00 04 00 00 02 02 01 'a' c0 01 00 01 'b' c0 02 " END;
    expect("7.4", in, HEAD_74 "fe 00 ",
           "18 01 'h' 00 10 00 00 00 04 00 00 02 02 01 'a' c0 01 00 01 'b' c0 02 ff", false);
    expect("valkey-9", in, HEAD_V9 "fe 00 ",
           "16 01 'h' 02 01 'a' 01 '1' 01 10 00 00 00 04 00 00 01 'b' 01 '2' ff ff ff ff ff ff ff ff ff",
           false);
    expect("7.2", in, HEAD_72 "fe 00 ", "04 01 'h' 02 01 'a' 01 '1' 01 'b' 01 '2' ff", false);
}

#define NODE                                                                                                 \
    "10 00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 1d 1d 00 00 00 0a 00 "                               \
    "01 01 00 01 01 01 81 66 02 00 01 02 01 00 01 00 01 81 76 02 04 01 ff "
#define PENDING "00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 01 "
#define OWNED   "00 00 00 00 00 00 03 e8 00 00 00 00 00 00 00 00 "

/* A stream with a group, a pending entry and a consumer, as each release has it. */
static void streams(void)
{
    static const char in[] =
        FROM_72 "15 01 's' 01 " NODE "01 43 e8 00 43 e8 00 00 00 01 01 01 'g' 43 e8 00 01 01 " PENDING
                "01 01 'c' 05 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00 01 " OWNED END;
    expect("7.2", in, HEAD_72 "fe 00 ",
           "15 01 's' 01 " NODE "01 43 e8 00 43 e8 00 00 00 01 01 01 'g' 43 e8 00 01 01 " PENDING
           "01 01 'c' 05 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00 01 " OWNED "ff",
           false);
    expect("6.2", in, HEAD_62 "fe 00 ",
           "0f 01 's' 01 " NODE "01 43 e8 00 01 01 'g' 43 e8 00 01 " PENDING
           "01 01 'c' 05 00 00 00 00 00 00 00 01 " OWNED "ff",
           false);
}

/* Dragonfly: values in chunks, with other keys and another database between them; changes are left out. */
static void chunks(void)
{
    expect("5.0",
           DF_BEGIN
           "e0 01 00 00 00 08 00 00 00 04 01 'c' 02 01 'f' 01 'v' 00 01 'y' 01 'v' fe 01 "
           "e0 02 00 00 00 08 00 00 00 04 01 'd' 02 01 'f' 01 'v' fe 00 00 01 'x' 01 'w' "
           "e0 02 00 00 00 04 00 00 00 01 'g' 01 'w' e0 01 00 00 00 04 00 00 00 01 'g' 01 'v' " DF_END,
           HEAD_50,
           "fe 00 00 01 'y' 01 'v' 00 01 'x' 01 'w' fe 01 04 01 'd' 02 01 'f' 01 'v' 01 'g' 01 'w' "
           "fe 00 04 01 'c' 02 01 'f' 01 'v' 01 'g' 01 'v' ff",
           true);
}

/* Keys that may have been there are written once they are known to be new, and again never: more than fit the
 * first table. */
static void each_once(void)
{
    struct book b;
    const unsigned n = 1500000;
    uint64_t seen = 0;
    capture_init(&cap);
    EQ_I(book_open(&b, path), 0);
    for (unsigned turn = 0; turn < 2; turn++)
        for (unsigned i = 0; i < n; i += turn == 0 ? 1 : 1000) {
            struct slice key = {(const uint8_t *)&i, sizeof i};
            struct out *o = book_place(&b, i % 2, &key, khash_of(i % 2, &i, sizeof i), sizeof i);
            out_add(o, &i, sizeof i);
        }
    CHECK(b.nlate >= n / 1000 && b.nlate < n / 20);
    book_settle(&b, &cap.e, false);
    EQ_I(book_fault(&b), 0);
    EQ(cap.e.stats.remarks, n / 1000);
    EQ(b.nhashes, n);
    CHECK(out_finish(&b.out));
    book_free(&b);
    capture_free(&cap);
    struct buf file = read_file();
    struct cur c = {file.p, file.p + file.len - 8, 0, NULL};
    while (cur_left(&c) >= 4) {
        if (*c.p == 0xfe) { /* no number begins so */
            c.p += 2;
            continue;
        }
        seen++;
        c.p += 4;
    }
    CHECK(seen >= n);
    buf_free(&file);
}

/* Values of any size that come side by side: as they were put in. */
static void heaps(void)
{
    enum { VALUES = 40 };
    static struct heaped v[VALUES];
    struct heap h;
    struct out o;
    uint8_t block[5000];
    heap_init(&h, dir);
    EQ_I(out_open(&o, path), 0);
    for (unsigned i = 0; i < VALUES; i++)
        heaped_begin(&h, &v[i]);
    for (unsigned round = 0; round < 100; round++)
        for (unsigned i = 0; i < VALUES; i++) {
            memset(block, (int)i, sizeof block);
            heaped_add(&h, &v[i], block, 1 + (round * 977 + i * 31) % sizeof block);
        }
    CHECK(h.fd >= 0);
    for (unsigned i = VALUES; i-- > 0;) {
        heaped_write(&h, &v[i], &o);
        heaped_end(&h, &v[i]);
        heaped_free(&v[i]);
    }
    EQ_I(h.fault, 0);
    EQ(h.end, 0); /* the room has come back */
    CHECK(out_finish(&o));
    out_free(&o);
    heap_free(&h);
    struct buf file = read_file();
    size_t at = 0;
    for (unsigned i = VALUES; i-- > 0;)
        for (unsigned round = 0; round < 100; round++)
            for (size_t n = 1 + (round * 977 + i * 31) % sizeof block; n > 0; n--)
                if (at < file.len && file.p[at] == i)
                    at++;
    EQ(at + 8, file.len);
    buf_free(&file);
}

int main(void)
{
    strcpy(dir, "/tmp/test_export.XXXXXX");
    if (!CHECK(mkdtemp(dir) != NULL))
        return 1;
    snprintf(path, sizeof path, "%s/out.rdb", dir);
    strings();
    containers();
    field_expiries();
    streams();
    chunks();
    each_once();
    heaps();
    (void)rmdir(dir);
    return test_done();
}
