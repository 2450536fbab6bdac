/* Replies of a source that is scanned, piece by piece, and the form that elements get from them. */
#include "../../reader/scan/resp_in.c"
#include "../../reader/scan/scan_encode.c"
#include "test.h"

/* Nothing is read from a connection here. */
long conn_read(struct conn *c, uint8_t *to, size_t cap)
{
    (void)c;
    (void)to;
    (void)cap;
    return -1;
}

static struct buf out;

static void put(void *ctx, const void *p, size_t n)
{
    (void)ctx;
    CHECK(buf_add(&out, p, n) == 0);
}

/* Tokens of text, of which only so many bytes come at a time, as one line: type, depth, index. */
static const char *tokens(const char *text, size_t step, bool *bad)
{
    static char said[1024];
    struct resp_in in = {.at = 0};
    struct resp_token t;
    size_t n = strlen(text), at = 0;
    char last = '\0';
    resp_reset(&in);
    said[0] = '\0';
    *bad = false;
    for (;;) {
        enum resp_got got = resp_next(&in, &t);
        if (got == RESP_BAD) {
            *bad = true;
            break;
        }
        if (got == RESP_GOT) {
            char one[32];
            if (t.type != 'b' || last != 'b') { /* bytes may come in any number of pieces */
                snprintf(one, sizeof one, "%c%u.%u", t.type, t.depth, t.index);
                strcat(said, one);
            }
            last = t.type == 'b' && !t.whole ? 'b' : 'x';
            strcat(said, t.end ? "!" : "");
            continue;
        }
        if (at == n)
            break;
        size_t k = n - at < step ? n - at : step;
        CHECK(buf_add(&in.b, text + at, k) == 0);
        at += k;
    }
    resp_free(&in);
    return said;
}

static void test_tokens(void)
{
    static const char text[] =
        "*2\r\n$2\r\n17\r\n*2\r\n$3\r\na\r\n\r\n$0\r\n\r\n:5\r\n-ERR no\r\n$-1\r\n*0\r\n+OK\r\n";
    bool bad;
    char whole[1024];
    strcpy(whole, tokens(text, sizeof text, &bad));
    CHECK(!bad);
    CHECK(strcmp(whole, "*0.0$1.0b1.0*1.1$2.0b2.0$2.1b2.1!:0.0!-0.0!$0.0!*0.0!+0.0!") == 0);
    for (size_t step = 1; step < sizeof text; step++) {
        CHECK(strcmp(tokens(text, step, &bad), whole) == 0);
        CHECK(!bad);
    }
}

static void test_no_resp(void)
{
    static const char *const wrong[] = {
        "?\r\n",   "x",    "$3\r\nabcd\r\n", ":x\r\n",
        "$-2\r\n", "*1\n", ":\r\n",          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        bool bad;
        (void)tokens(wrong[i], 100, &bad);
        CHECK(bad == (strcmp(wrong[i], "x") != 0)); /* that may become something */
    }
}

static void encode(enum want_type type, const char *text)
{
    struct encoder e = {.put = put};
    struct resp_in in = {.at = 0};
    struct resp_token t;
    resp_reset(&in);
    out.len = 0;
    CHECK(buf_add(&in.b, text, strlen(text)) == 0);
    while (resp_next(&in, &t) == RESP_GOT)
        encode_token(&e, type, &t, t.index);
    resp_free(&in);
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
    test_tokens();
    test_no_resp();
    test_elements();
    test_types();
    buf_free(&out);
    return test_done();
}
