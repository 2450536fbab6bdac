/* Packed integers, strings, LZF: rdb(5), PRIMITIVES. */
#include "test.h"

#include "../../parser/value/prim.h"

/* Decode a plen from exactly these bytes, and from every shorter prefix: that must be NEED with the cursor
 * unmoved and a want that is not more than what is really missing. */
static void plen_is(const char *text, uint64_t want)
{
    struct buf b = hex(text);
    for (size_t n = 0; n <= b.len; n++) {
        uint8_t *p = exact(b.p, n);
        struct cur c = {p, p + n, 0, NULL};
        uint64_t v = 0;
        enum got g = cur_plen(&c, &v);
        if (n < b.len) {
            EQ_I(g, NEED);
            CHECK(c.p == p);
            CHECK(c.want >= 1 && c.want <= b.len - n);
        } else {
            EQ_I(g, GOT);
            EQ(v, want);
            CHECK(c.p == c.end);
        }
        free(p);
    }
    struct buf again = {0};
    add_plen(&again, want); /* the writer's shortest form: tests the harness, too */
    EQ_B(again.p, again.len, b.p, b.len);
    buf_free(&again);
    buf_free(&b);
}

static void plens(void)
{
    plen_is("00", 0);
    plen_is("01", 1);
    plen_is("3f", 63);
    plen_is("40 40", 64);
    plen_is("7f ff", 16383);
    plen_is("80 00 00 40 00", 16384);
    plen_is("80 ff ff ff ff", UINT32_MAX);
    plen_is("81 00 00 00 01 00 00 00 00", (uint64_t)1 << 32);
    plen_is("81 ff ff ff ff ff ff ff ff", UINT64_MAX);
    plen_is("41 2c", 300);
    /* longer forms than needed are legal to read */
    struct cur c;
    uint64_t v;
    struct buf b = hex("40 05 80 00 00 00 07 81 00 00 00 00 00 00 00 09");
    c = (struct cur){b.p, b.p + b.len, 0, NULL};
    EQ_I(cur_plen(&c, &v), GOT);
    EQ(v, 5);
    EQ_I(cur_plen(&c, &v), GOT);
    EQ(v, 7);
    EQ_I(cur_plen(&c, &v), GOT);
    EQ(v, 9);
    CHECK(c.p == c.end);
    buf_free(&b);
}

static void bad_plens(void)
{
    for (unsigned first = 0x80; first < 0x100; first++) {
        uint8_t p[16] = {(uint8_t)first};
        struct cur c = {p, p + sizeof p, 0, NULL};
        uint64_t v;
        enum got g = cur_plen(&c, &v);
        EQ_I(g, first == 0x80 || first == 0x81 ? GOT : BAD);
        if (g == BAD) {
            CHECK(c.p == p);
            CHECK(c.why != NULL);
        }
    }
}

/* Decode a pstr, unpack it if it is LZF; the same at every truncation. */
static void pstr_is(const char *text, const char *want)
{
    struct buf b = hex(text);
    struct buf w = hex(want);
    for (size_t n = 0; n <= b.len; n++) {
        uint8_t *p = exact(b.p, n);
        struct cur c = {p, p + n, 0, NULL};
        struct pstr s;
        enum got g = cur_pstr(&c, &s);
        if (n < b.len) {
            EQ_I(g, NEED);
            CHECK(c.p == p);
            CHECK(c.want >= 1 && c.want <= b.len - n);
        } else if (EQ_I(g, GOT), g == GOT) {
            CHECK(c.p == c.end);
            if (s.clen > 0) {
                uint8_t *out = malloc(s.n);
                EQ_I(lzf_unpack(s.p, s.clen, out, s.n), 0);
                EQ_B(out, s.n, w.p, w.len);
                free(out);
            } else {
                EQ_B(s.p, s.n, w.p, w.len);
            }
        }
        free(p);
    }
    buf_free(&b);
    buf_free(&w);
}

static void pstrs(void)
{
    pstr_is("00", "");
    pstr_is("05 'hello'", "'hello'");
    pstr_is("c0 00", "'0'");
    pstr_is("c0 40", "'64'");
    pstr_is("c0 7f", "'127'");
    pstr_is("c0 80", "'-128'");
    pstr_is("c0 ff", "'-1'");
    pstr_is("c1 80 00", "'128'");
    pstr_is("c1 ff 7f", "'32767'");
    pstr_is("c1 00 80", "'-32768'");
    pstr_is("c2 80 0d 7c 05", "'92016000'"); /* 4.3 */
    pstr_is("c2 00 b9 55 69", "'1767225600'");
    pstr_is("c2 00 00 00 80", "'-2147483648'");
    pstr_is("c2 ff ff ff 7f", "'2147483647'");
    pstr_is("c3 05 28 00 61 e0 1e 00", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'");

    /* every form of the length, at its boundaries */
    static const size_t lengths[] = {1, 63, 64, 300, 16383, 16384, 70000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buf b = {0};
        uint8_t *text = malloc(lengths[i]);
        memset(text, 'x', lengths[i]);
        add_pstr(&b, text, lengths[i]);
        struct cur c = {b.p, b.p + b.len, 0, NULL};
        struct pstr s;
        EQ_I(cur_pstr(&c, &s), GOT);
        EQ_B(s.p, s.n, text, lengths[i]);
        CHECK(c.p == c.end);
        c = (struct cur){b.p, b.p + b.len - 1, 0, NULL}; /* one byte short: exactly one is wanted */
        EQ_I(cur_pstr(&c, &s), NEED);
        EQ(c.want, 1);
        CHECK(c.p == b.p);
        free(text);
        buf_free(&b);
    }
}

static void bad_pstr(const char *text)
{
    struct buf b = hex(text);
    struct cur c = {b.p, b.p + b.len, 0, NULL};
    struct pstr s;
    EQ_I(cur_pstr(&c, &s), BAD);
    CHECK(c.p == b.p);
    CHECK(c.why != NULL);
    buf_free(&b);
}

static void bad_pstrs(void)
{
    bad_pstr("82");
    bad_pstr("bf");
    bad_pstr("c4");
    bad_pstr("ff");
    bad_pstr("81 00 00 00 01 00 00 00 01"); /* above 4 GiB */
    bad_pstr("c3 00 05");                   /* nothing compressed */
    bad_pstr("c3 01 80 00 10 00 00 00");    /* one byte cannot become a million */
    bad_pstr("c3 c0 05");                   /* a string where a length stands */
    bad_pstr("c3 81 ff ff ff ff ff ff ff ff 05");
}

static void heads(void)
{
    struct buf b = hex("40 50");
    struct cur c = {b.p, b.p + 1, 0, NULL};
    uint64_t n = 0;
    bool plain;
    EQ_I(cur_pstr_head(&c, &n, &plain), NEED);
    c.end++;
    EQ_I(cur_pstr_head(&c, &n, &plain), GOT);
    CHECK(plain);
    EQ(n, 80);
    CHECK(c.p == c.end);
    EQ_I(cur_pstr_head(&c, &n, &plain), NEED);
    buf_free(&b);
    b = hex("c3 05 28");
    c = (struct cur){b.p, b.p + 3, 0, NULL};
    EQ_I(cur_pstr_head(&c, &n, &plain), GOT);
    CHECK(!plain);
    CHECK(c.p == b.p);
    buf_free(&b);
    b = hex("81 00 00 00 02 00 00 00 00");
    c = (struct cur){b.p, b.p + 9, 0, NULL};
    EQ_I(cur_pstr_head(&c, &n, &plain), BAD);
    buf_free(&b);
}

static int unpack(const char *text, size_t outn, const char *want)
{
    struct buf b = hex(text);
    uint8_t *in = exact(b.p, b.len);
    uint8_t *out = malloc(outn > 0 ? outn : 1);
    int rc = lzf_unpack(in, b.len, out, outn);
    if (rc == 0 && want != NULL)
        EQ_HEX(out, outn, want);
    free(in);
    free(out);
    buf_free(&b);
    return rc;
}

static void lzf(void)
{
    EQ_I(unpack("00 61 e0 1e 00", 40, "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"), 0);
    EQ_I(unpack("02 61 62 63", 3, "'abc'"), 0);
    EQ_I(unpack("01 61 62 20 01", 5, "'ababa'"), 0);           /* 3 copies from 2 back */
    EQ_I(unpack("01 61 62 c0 01", 10, "'ababababab'"), 0);     /* the longest short form: 6 + 2 */
    EQ_I(unpack("01 61 62 e0 00 01", 11, "'abababababa'"), 0); /* the long form: 7 + 0 + 2 */
    EQ_I(unpack("", 0, ""), 0);
    /* all 32 literals */
    struct buf b = {0};
    add_hex(&b, "1f");
    for (unsigned i = 0; i < 32; i++)
        add_le(&b, i, 1);
    uint8_t out[32];
    EQ_I(lzf_unpack(b.p, b.len, out, 32), 0);
    EQ_B(out, 32, b.p + 1, 32);
    buf_free(&b);
    /* distance of 8192, the greatest */
    b = (struct buf){0};
    for (unsigned i = 0; i < 256; i++) {
        add_hex(&b, "1f");
        for (unsigned k = 0; k < 32; k++)
            add_le(&b, i ^ k, 1);
    }
    add_hex(&b, "3f ff");
    uint8_t *big = malloc(8195);
    EQ_I(lzf_unpack(b.p, b.len, big, 8195), 0);
    EQ_B(big + 8192, 3, big, 3);
    free(big);
    buf_free(&b);

    EQ_I(unpack("00 61 e0 1e 00", 39, NULL), -1); /* too much */
    EQ_I(unpack("00 61 e0 1e 00", 41, NULL), -1); /* too little */
    EQ_I(unpack("02 61 62", 3, NULL), -1);        /* literals end early */
    EQ_I(unpack("00 61 20", 4, NULL), -1);        /* no distance */
    EQ_I(unpack("00 61 e0", 40, NULL), -1);       /* no length byte */
    EQ_I(unpack("00 61 e0 1e", 40, NULL), -1);
    EQ_I(unpack("00 61 20 01", 4, NULL), -1); /* before the first byte */
    EQ_I(unpack("20 00", 3, NULL), -1);       /* copy of nothing */
    EQ_I(unpack("02 61 62 63", 2, NULL), -1); /* literals do not fit */
}

int main(void)
{
    plens();
    bad_plens();
    pstrs();
    bad_pstrs();
    heads();
    lzf();
    return test_done();
}
