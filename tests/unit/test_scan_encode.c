/* The form that elements of a source that is scanned get. */
#include "../../reader/scan/scan_encode.c"
#include "test.h"

static struct buf out;

static void put(void *ctx, const void *p, size_t n)
{
    (void)ctx;
    CHECK(buf_add(&out, p, n) == 0);
}

static void encode(enum want_type type, const char *text)
{
    struct encoder e = {.put = put};
    struct resp_in in = {.depth = 0};
    struct resp_token t;
    size_t n = strlen(text), taken;
    out.len = 0;
    for (size_t at = 0; resp_next(&in, (const uint8_t *)text + at, n - at, &taken, &t) == RESP_GOT;
         at += taken)
        encode_token(&e, type, &t, t.index);
}

static bool is(const char *bytes, size_t n)
{
    return out.len == n && memcmp(out.p, bytes, n) == 0;
}

static void test_elements(void)
{
    char text[20000];
    encode(TYPE_LIST, "*2\r\n$1\r\na\r\n$2\r\nbc\r\n");
    CHECK(is("\1a\2bc", 5));
    encode(TYPE_ZSET, "*6\r\n$1\r\na\r\n$3\r\n1.5\r\n$1\r\nb\r\n$4\r\n-inf\r\n$1\r\nc\r\n$3\r\ninf\r\n");
    CHECK(is("\1a\3"
             "1.5\1b\377\1c\376",
             12));
    encode(TYPE_HASH, "*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    CHECK(is("\1f\1v\377\377\377\377\377\377\377\377", 12));
    encode(TYPE_STRING, "$3\r\nabc\r\n");
    CHECK(is("abc", 3));
    snprintf(text, sizeof text, "*1\r\n$100\r\n%0100d\r\n", 0);
    encode(TYPE_SET, text);
    CHECK(out.len == 102 && out.p[0] == 0x40 && out.p[1] == 100);
    snprintf(text, sizeof text, "*1\r\n$17000\r\n%017000d\r\n", 0);
    encode(TYPE_SET, text);
    CHECK(out.len == 17005 && out.p[0] == 0x80 && out.p[3] == 17000 / 256 && out.p[4] == 17000 % 256);
}

static void test_types(void)
{
    CHECK(type_named("string", 6) == TYPE_STRING);
    CHECK(type_named("zset", 4) == TYPE_ZSET);
    CHECK(type_named("none", 4) == TYPE_NONE);
    CHECK(type_named("ReJSON-RL", 9) == TYPE_OTHER);
    CHECK(type_named("strin", 5) == TYPE_OTHER);
}

int main(void)
{
    test_elements();
    test_types();
    buf_free(&out);
    return test_done();
}
