/* Listpacks, ziplists, intsets: rdb(5), PACKED CONTAINERS. */
#include "test.h"

#include "../../parser/value/listpack.h"
#include "../../parser/value/prim.h"

typedef int (*next_fn)(const uint8_t *, size_t, const uint8_t **, struct elem *);
typedef long (*check_fn)(const uint8_t *, size_t);

/* Elements as text, joined by blanks. */
static void walk(next_fn next, const uint8_t *p, size_t n, struct buf *out)
{
    const uint8_t *it = NULL;
    struct elem e;
    int rc;
    out->len = 0;
    while ((rc = next(p, n, &it, &e)) == 1) {
        if (out->len > 0)
            (void)buf_addstr(out, " ");
        if (e.is_int)
            (void)buf_addf(out, "#");
        (void)buf_add(out, e.p, e.n);
    }
    EQ_I(rc, 0);
    (void)buf_add(out, "", 1);
}

static void is(check_fn check, next_fn next, const char *text, long count, const char *want)
{
    struct buf b = hex(text), out = {0};
    uint8_t *p = exact(b.p, b.len);
    EQ_I(check(p, b.len), count);
    walk(next, p, b.len, &out);
    EQ_S((const char *)out.p, want);
    for (size_t n = 0; n < b.len; n++) { /* no prefix is whole */
        uint8_t *q = exact(b.p, n);
        EQ_I(check(q, n), -1);
        free(q);
    }
    free(p);
    buf_free(&b);
    buf_free(&out);
}

static void bad(check_fn check, const char *text)
{
    struct buf b = hex(text);
    uint8_t *p = exact(b.p, b.len);
    if (!test_i64(check(p, b.len), -1, text, __FILE__, __LINE__))
        printf("  accepted: %s\n", text);
    free(p);
    buf_free(&b);
}

/* A listpack around the elements given as hex. */
static struct buf lp_of(const char *elements, unsigned count)
{
    struct buf e = hex(elements), b = {0};
    add_le(&b, 7 + e.len, 4);
    add_le(&b, count, 2);
    (void)buf_add(&b, e.p, e.len);
    add_hex(&b, "ff");
    buf_free(&e);
    return b;
}

static void lp_int(const char *element, int64_t want)
{
    struct buf b = lp_of(element, 1);
    const uint8_t *it = NULL;
    struct elem e;
    char text[24];
    EQ_I(listpack_check(b.p, b.len), 1);
    EQ_I(listpack_next(b.p, b.len, &it, &e), 1);
    CHECK(e.is_int);
    EQ_I(e.v, want);
    int n = snprintf(text, sizeof text, "%lld", (long long)want);
    EQ_B(e.p, e.n, text, (size_t)n);
    EQ_I(listpack_next(b.p, b.len, &it, &e), 0);
    buf_free(&b);
}

static void listpack_ints(void)
{
    lp_int("00 01", 0);
    lp_int("7f 01", 127);
    lp_int("c0 80 02", 128);
    lp_int("cf ff 02", 4095);
    lp_int("d0 00 02", -4096);
    lp_int("df ff 02", -1);
    lp_int("f1 88 13 03", 5000);
    lp_int("f1 ff 7f 03", 32767);
    lp_int("f1 00 80 03", -32768);
    lp_int("f2 ff ff 7f 04", 8388607);
    lp_int("f2 00 00 80 04", -8388608);
    lp_int("f2 ff ff ff 04", -1);
    lp_int("f3 ff ff ff 7f 05", INT32_MAX);
    lp_int("f3 00 00 00 80 05", INT32_MIN);
    lp_int("f4 ff ff ff ff ff ff ff 7f 09", INT64_MAX);
    lp_int("f4 00 00 00 00 00 00 00 80 09", INT64_MIN);
}

/* backlen: rdb(5), PACKED CONTAINERS, "s < 16383" and so on */
static void add_backlen(struct buf *b, size_t s, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        unsigned group = (unsigned)(s >> (7 * (bytes - 1 - i))) & 127;
        add_le(b, i == 0 ? group : group | 128, 1);
    }
}

/* A string element of n bytes whose encoding has head bytes, with a backlen of so many bytes. */
static struct buf lp_string(size_t n, unsigned head, unsigned backlen)
{
    struct buf b = {.max = (size_t)1 << 30};
    add_le(&b, 7 + head + n + backlen, 4);
    add_le(&b, 1, 2);
    if (head == 1) {
        add_le(&b, 0x80 | n, 1);
    } else if (head == 2) {
        add_le(&b, 0xe0 | n >> 8, 1);
        add_le(&b, n & 255, 1);
    } else {
        add_le(&b, 0xf0, 1);
        add_le(&b, n, 4);
    }
    uint8_t *to = buf_room(&b, n);
    memset(to, 's', n);
    b.len += n;
    add_backlen(&b, head + n, backlen);
    add_hex(&b, "ff");
    return b;
}

static void listpack_strings(void)
{
    static const struct {
        size_t n;
        unsigned head, backlen;
    } list[] = {
        {0, 1, 1},     {63, 1, 1},      {64, 2, 1},      {125, 2, 1},     {126, 2, 2},
        {4095, 2, 2},  {4096, 5, 2},    {16377, 5, 2},   {16378, 5, 3}, /* s = 16383 takes three */
        {16379, 5, 3}, {2097145, 5, 3}, {2097146, 5, 4}, {2097147, 5, 4},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct buf b = lp_string(list[i].n, list[i].head, list[i].backlen);
        const uint8_t *it = NULL;
        struct elem e;
        EQ_I(listpack_check(b.p, b.len), 1);
        EQ_I(listpack_next(b.p, b.len, &it, &e), 1);
        CHECK(!e.is_int);
        EQ(e.n, list[i].n);
        CHECK(e.p == b.p + 6 + list[i].head);
        EQ_I(listpack_next(b.p, b.len, &it, &e), 0);
        buf_free(&b);
        /* a backlen of another size is corrupt: it would be read backwards wrongly */
        b = lp_string(list[i].n, list[i].head, list[i].backlen + 1);
        EQ_I(listpack_check(b.p, b.len), -1);
        buf_free(&b);
        b = lp_string(list[i].n, list[i].head,
                      0); /* nor may it be left out: nothing behind the end is read */
        uint8_t *p = exact(b.p, b.len);
        EQ_I(listpack_check(p, b.len), -1);
        free(p);
        buf_free(&b);
        if (list[i].backlen > 1) {
            b = lp_string(list[i].n, list[i].head, list[i].backlen - 1);
            EQ_I(listpack_check(b.p, b.len), -1);
            buf_free(&b);
        }
    }
}

static void listpacks(void)
{
    is(listpack_check, listpack_next, "14 00 00 00 04 00 81 66 02 81 76 02 81 6e 02 f1 88 13 03 ff", 4,
       "f v n #5000");
    is(listpack_check, listpack_next, "0a 00 00 00 01 00 81 61 02 ff", 1, "a");
    is(listpack_check, listpack_next, "07 00 00 00 00 00 ff", 0, "");
    is(listpack_check, listpack_next, "0a 00 00 00 ff ff 81 61 02 ff", 1, "a"); /* unknown count */
    is(listpack_check, listpack_next,
       "2a 00 00 00 0f 00 02 01 00 01 01 01 81 66 02 00 01 02 01 00 01 00 01 82 76 31 03 04 01 "
       "02 01 01 01 00 01 82 76 32 03 04 01 ff",
       15, "#2 #0 #1 f #0 #2 #0 #0 v1 #4 #2 #1 #0 v2 #4");
    bad(listpack_check, "0a 00 00 00 02 00 81 61 02 ff"); /* count */
    bad(listpack_check, "0b 00 00 00 01 00 81 61 02 ff"); /* total */
    bad(listpack_check, "0a 00 00 00 01 00 81 61 02 fe"); /* end */
    bad(listpack_check, "0a 00 00 00 01 00 81 61 03 ff"); /* backlen */
    bad(listpack_check, "0a 00 00 00 01 00 82 61 02 ff"); /* runs into the end */
    bad(listpack_check, "0a 00 00 00 01 00 bf 61 02 ff");
    bad(listpack_check, "0a 00 00 00 01 00 f5 61 02 ff"); /* f5 to fe are no encodings */
    bad(listpack_check, "0a 00 00 00 01 00 fe 61 02 ff");
    bad(listpack_check, "0a 00 00 00 01 00 ff 61 02 ff"); /* an end in the middle */
    bad(listpack_check, "0a 00 00 00 01 00 f4 61 02 ff");
    bad(listpack_check, "08 00 00 00 01 00 e0 ff"); /* heads that are cut */
    bad(listpack_check, "09 00 00 00 01 00 f0 00 ff");
    bad(listpack_check, "0c 00 00 00 01 00 f0 ff ff ff ff ff");
    bad(listpack_check, "08 00 00 00 01 00 c0 ff");
    bad(listpack_check, "08 00 00 00 01 00 05 ff"); /* no backlen */
    bad(listpack_check, "");
}

static void zl_int(const char *element, int64_t want)
{
    struct buf e = hex(element), b = {0};
    add_le(&b, 11 + e.len, 4);
    add_le(&b, 10, 4);
    add_le(&b, 1, 2);
    (void)buf_add(&b, e.p, e.len);
    add_hex(&b, "ff");
    const uint8_t *it = NULL;
    struct elem el;
    EQ_I(ziplist_check(b.p, b.len), 1);
    EQ_I(ziplist_next(b.p, b.len, &it, &el), 1);
    CHECK(el.is_int);
    EQ_I(el.v, want);
    EQ_I(ziplist_next(b.p, b.len, &it, &el), 0);
    buf_free(&b);
    buf_free(&e);
}

static void zl_string(size_t n, const char *head)
{
    struct buf h = hex(head), b = {0};
    add_le(&b, 12 + h.len + n, 4);
    add_le(&b, 10, 4);
    add_le(&b, 1, 2);
    add_hex(&b, "00");
    (void)buf_add(&b, h.p, h.len);
    for (size_t i = 0; i < n; i++)
        add_hex(&b, "'z'");
    add_hex(&b, "ff");
    const uint8_t *it = NULL;
    struct elem el;
    EQ_I(ziplist_check(b.p, b.len), 1);
    EQ_I(ziplist_next(b.p, b.len, &it, &el), 1);
    CHECK(!el.is_int);
    EQ(el.n, n);
    CHECK(el.p == b.p + 11 + h.len);
    buf_free(&b);
    buf_free(&h);
}

static void ziplists(void)
{
    is(ziplist_check, ziplist_next, "0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff", 2, "#2 #5");
    is(ziplist_check, ziplist_next, "0b 00 00 00 0a 00 00 00 00 00 ff", 0, "");
    is(ziplist_check, ziplist_next, "0f 00 00 00 0c 00 00 00 ff ff 00 f3 02 f6 ff", 2, "#2 #5");
    /* prevlen in five bytes although one would do: servers leave it so */
    is(ziplist_check, ziplist_next, "13 00 00 00 0c 00 00 00 02 00 00 f3 fe 02 00 00 00 f6 ff", 2, "#2 #5");
    zl_int("00 f1", 0);
    zl_int("00 fd", 12);
    zl_int("00 fe ff", -1);
    zl_int("00 fe 7f", 127);
    zl_int("00 c0 00 80", -32768);
    zl_int("00 f0 00 00 80", -8388608);
    zl_int("00 f0 ff ff 7f", 8388607);
    zl_int("00 d0 00 00 00 80", INT32_MIN);
    zl_int("00 e0 00 00 00 00 00 00 00 80", INT64_MIN);
    zl_string(0, "00");
    zl_string(63, "3f");
    zl_string(64, "40 40");
    zl_string(16383, "7f ff");
    zl_string(16384, "80 00 00 40 00");                                 /* big-endian */
    bad(ziplist_check, "0f 00 00 00 0c 00 00 00 03 00 00 f3 02 f6 ff"); /* count */
    bad(ziplist_check, "10 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff"); /* total */
    bad(ziplist_check, "0f 00 00 00 0b 00 00 00 02 00 00 f3 02 f6 ff"); /* offset of the last */
    bad(ziplist_check, "0f 00 00 00 0c 00 00 00 02 00 00 f3 03 f6 ff"); /* prevlen */
    bad(ziplist_check, "0f 00 00 00 0c 00 00 00 02 00 01 f3 02 f6 ff"); /* first prevlen */
    bad(ziplist_check, "0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 fe"); /* end */
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 81 ff");       /* 10xxxxxx but 80 */
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 c1 ff");
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 ff ff");
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 01 ff"); /* string into the end */
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 40 ff");
    bad(ziplist_check, "0d 00 00 00 0a 00 00 00 01 00 00 e0 ff");
    bad(ziplist_check, "0c 00 00 00 0a 00 00 00 01 00 00 ff");       /* nothing behind prevlen */
    bad(ziplist_check, "0e 00 00 00 0a 00 00 00 01 00 fe 00 00 ff"); /* prevlen cut */
}

static void intset_is(const char *text, size_t n, const int64_t *want)
{
    struct buf b = hex(text);
    uint8_t *p = exact(b.p, b.len);
    EQ_I(intset_check(p, b.len), (long)n);
    for (size_t i = 0; i < n; i++)
        EQ_I(intset_at(p, i), want[i]);
    for (size_t k = 0; k < b.len; k++)
        EQ_I(intset_check(p, k), -1);
    free(p);
    buf_free(&b);
}

static void ascends(const char *text, bool want)
{
    struct buf b = hex(text);
    EQ(intset_ascends(b.p), want);
    buf_free(&b);
}

static void intsets(void)
{
    ascends("02 00 00 00 00 00 00 00", true);
    ascends("02 00 00 00 03 00 00 00 ff ff 05 00 2c 01", true);
    ascends("02 00 00 00 02 00 00 00 05 00 05 00", false);
    ascends("02 00 00 00 02 00 00 00 05 00 ff ff", false);
    intset_is("02 00 00 00 03 00 00 00 ff ff 05 00 2c 01", 3, (const int64_t[]){-1, 5, 300});
    intset_is("02 00 00 00 02 00 00 00 00 80 ff 7f", 2, (const int64_t[]){-32768, 32767});
    intset_is("04 00 00 00 02 00 00 00 00 00 00 80 ff ff ff 7f", 2, (const int64_t[]){INT32_MIN, INT32_MAX});
    intset_is("08 00 00 00 02 00 00 00 00 00 00 00 00 00 00 80 ff ff ff ff ff ff ff 7f", 2,
              (const int64_t[]){INT64_MIN, INT64_MAX});
    intset_is("02 00 00 00 00 00 00 00", 0, NULL);
    bad(intset_check, "03 00 00 00 01 00 00 00 05 00 00"); /* width */
    bad(intset_check, "00 00 00 00 00 00 00 00");
    bad(intset_check, "02 00 00 00 03 00 00 00 05 00 06 00"); /* count */
    bad(intset_check, "02 00 00 00 01 00 00 00 05 00 06");    /* one byte too many */
    bad(intset_check, "08 00 00 00 00 00 00 20 00 00 00 00"); /* 2^32 bytes: must not wrap */
}

int main(void)
{
    listpacks();
    listpack_ints();
    listpack_strings();
    ziplists();
    intsets();
    return test_done();
}
