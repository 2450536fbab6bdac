/* RESP: formatting, and taking requests apart. */
#include "test.h"

#include "../../common/resp.h"
#include "../../common/resp_in.h"

static void numbers(void)
{
    static const struct {
        int64_t v;
        const char *text;
    } list[] = {{0, "0"},
                {9, "9"},
                {10, "10"},
                {99, "99"},
                {100, "100"},
                {-1, "-1"},
                {-10, "-10"},
                {INT64_MAX, "9223372036854775807"},
                {INT64_MIN, "-9223372036854775808"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        uint8_t p[21];
        EQ_B(p, dec_i64(p, list[i].v), list[i].text, strlen(list[i].text));
    }
    uint8_t p[20];
    EQ_B(p, dec_u64(p, UINT64_MAX), "18446744073709551615", 20);
}

static void lengths(void)
{
    static const uint64_t list[] = {0, 1, 9, 10, 99, 100, 101, 65536, UINT64_MAX};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        uint8_t p[RESP_LEN_MAX];
        char want[32];
        int n = snprintf(want, sizeof want, "$%llu\r\n", (unsigned long long)list[i]);
        size_t got = (size_t)(resp_len(p, '$', list[i]) - p);
        CHECK(got <= RESP_LEN_MAX);
        EQ_B(p, got, want, (size_t)n);
    }
    struct buf b = {0};
    EQ_I(resp_add_array(&b, 3), 0);
    EQ_I(resp_add_bulk(&b, "a\0b", 3), 0);
    EQ_I(resp_add_str(&b, ""), 0);
    EQ_I(resp_add_num(&b, -42), 0);
    EQ_B(b.p, b.len, "*3\r\n$3\r\na\0b\r\n$0\r\n\r\n$3\r\n-42\r\n", 28);
    buf_free(&b);
    b.max = 30;
    EQ_I(resp_add_bulk(&b, "0123456789", 10), -1); /* its bound */
    EQ(b.len, 0);
    buf_free(&b);
}

static long split(const char *text, size_t n, size_t max, struct slice *out, int *whole)
{
    uint8_t *p = exact(text, n);
    long rc = resp_split(p, n, out, max, whole);
    for (size_t i = 0; i < max; i++) /* make them outlive p */
        if (out[i].p != NULL)
            out[i].p = (const uint8_t *)text + (out[i].p - p);
    free(p);
    return rc;
}

static void splits(void)
{
    static const char text[] = "*3\r\n$3\r\nSET\r\n$5\r\nab\r\nc\r\n$0\r\n\r\n";
    const size_t n = sizeof text - 1;
    struct slice out[4] = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    int whole = 9;
    EQ_I(split(text, n, 4, out, &whole), 3);
    EQ_I(whole, 1);
    EQ_B(out[0].p, out[0].n, "SET", 3);
    EQ_B(out[1].p, out[1].n, "ab\r\nc", 5);
    EQ_B(out[2].p, out[2].n, "", 0);
    CHECK(out[3].p == NULL);
    struct slice one[1] = {{NULL, 0}};
    EQ_I(split(text, n, 1, one, &whole), 3); /* more than there is room for */
    EQ_I(whole, 1);
    EQ_B(one[0].p, one[0].n, "SET", 3);
    /* every cut: never whole; the number of arguments once a first argument is there in part */
    for (size_t k = 0; k < n; k++) {
        struct slice part[4] = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
        whole = 9;
        long rc = split(text, k, 4, part, &whole);
        EQ_I(whole, 0);
        if (k < 8)
            EQ_I(rc, -1);
        else
            EQ_I(rc, 3);
        if (k >= 13)
            EQ_B(part[0].p, part[0].n, "SET", 3);
        if (k >= 17 && k < 22)
            EQ_B(part[1].p, part[1].n, "ab\r\nc", k - 17);
    }
    static const char *const bad[] = {"",
                                      "SET k v\r\n",
                                      "*0\r\n",
                                      "*-1\r\n",
                                      "*1\r\n:5\r\n",
                                      "*1\r\n$3\r\nSETxx",
                                      "*1\r\n$3\nSET\r\n",
                                      "*1\r\n$3\r\nSET\r\nx",
                                      "*1\r\n$-1\r\n",
                                      "*99999999999999999999\r\n",
                                      "*1\r\n$9999999999999999999\r\nx",
                                      "*2\r\n$1\r\na\r\nXX",
                                      "*2\r\n$1\r\na\r\n:5\r\n",
                                      "*2\r\n$1\r\na\r\n$x\r\n",
                                      "*2\r\n$1\r\na\r\n$1\rx"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice part[4] = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
        if (!EQ_I(split(bad[i], strlen(bad[i]), 4, part, &whole), -1))
            printf("  accepted: %s\n", bad[i]);
        EQ_I(whole, 0);
    }
}

/* Tokens of text, of which only so many bytes come at a time, as one line: type, depth, index. */
static const char *tokens(const char *text, size_t step, bool *bad)
{
    static char said[1024];
    struct resp_in in = {.depth = 0};
    struct resp_token t;
    size_t n = strlen(text), have = 0, at = 0, taken;
    char last = '\0';
    said[0] = '\0';
    *bad = false;
    for (;;) {
        uint8_t *p = exact(text + at, have - at);
        enum resp_got got = resp_next(&in, p, have - at, &taken, &t);
        free(p);
        at += taken;
        if (got >= RESP_BAD) {
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
        if (have == n)
            break;
        have = n - have < step ? n : have + step;
    }
    return said;
}

static void reply_tokens(void)
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

static void no_resp(void)
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

/* The first token of text: what became of it. */
static enum resp_got first(const char *text, size_t n, int64_t *number)
{
    struct resp_in in = {.depth = 0};
    struct resp_token t = {.n = 0};
    size_t taken;
    enum resp_got got = resp_next(&in, (const uint8_t *)text, n, &taken, &t);
    *number = t.n;
    return got;
}

static void limits_of_tokens(void)
{
    static char line[RESP_LINE_MAX + 2];
    int64_t n;
    EQ(first(":9223372036854775807\r\n", 22, &n), RESP_GOT);
    EQ_I(n, INT64_MAX);
    EQ(first(":-9223372036854775808\r\n", 23, &n), RESP_GOT);
    EQ_I(n, INT64_MIN);
    EQ(first(":9223372036854775808\r\n", 22, &n), RESP_BAD);
    EQ(first(":-9223372036854775809\r\n", 23, &n), RESP_BAD);
    memset(line, '+', sizeof line);
    EQ(first(line, RESP_LINE_MAX - 1, &n), RESP_NONE);
    EQ(first(line, RESP_LINE_MAX, &n), RESP_BAD);
    memcpy(line + RESP_LINE_MAX - 2, "\r\n", 2);
    EQ(first(line, sizeof line, &n), RESP_GOT);

    struct resp_in in = {.depth = 0};
    struct resp_token t;
    size_t taken;
    for (unsigned i = 0; i < RESP_DEPTH; i++)
        EQ(resp_next(&in, (const uint8_t *)"*1\r\n", 4, &taken, &t), RESP_GOT);
    EQ(resp_next(&in, (const uint8_t *)"*1\r\n", 4, &taken, &t), RESP_DEEP);
}

int main(void)
{
    numbers();
    lengths();
    splits();
    reply_tokens();
    no_resp();
    limits_of_tokens();
    return test_done();
}
