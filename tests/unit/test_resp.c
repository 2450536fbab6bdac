/* RESP: formatting, and taking requests apart. */
#include "test.h"

#include "../../common/resp.h"

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

int main(void)
{
    numbers();
    lengths();
    splits();
    return test_done();
}
