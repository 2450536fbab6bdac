/* What the sweep keeps of keys: the set of hashes through its doublings, and the arguments of requests that
 * come in pieces. */
#include "test.h"

#include "../../writer/conn/args.c"
#include "../../writer/target/seen.c"

static void members(uint64_t n)
{
    struct seen s;
    char key[32];
    uint64_t missing = 0, wrong = 0;
    CHECK(seen_open(&s, NULL) == 0);
    for (uint64_t i = 0; i < n; i++) {
        int len = snprintf(key, sizeof key, "key:%llu", (unsigned long long)i / 2 * 2); /* each twice */
        (void)seen_add(&s, seen_hash((uint32_t)(i / 2 % 3), key, (size_t)len));
        if (i % 1000 != 999)
            continue;
        uint64_t k = i / 2 * 7919 % (i / 2 + 1); /* one of those before, while they move, too */
        len = snprintf(key, sizeof key, "key:%llu", (unsigned long long)k * 2);
        missing += seen_has(&s, seen_hash((uint32_t)(k % 3), key, (size_t)len)) != 1;
        wrong += seen_has(&s, seen_hash((uint32_t)((k + 1) % 3), key, (size_t)len)) != 0;
    }
    EQ(missing, 0);
    EQ(wrong, 0);
    for (uint64_t i = 0; i < n / 2; i++) {
        int len = snprintf(key, sizeof key, "key:%llu", (unsigned long long)i * 2);
        missing += seen_has(&s, seen_hash((uint32_t)(i % 3), key, (size_t)len)) != 1;
    }
    EQ(missing, 0);
    CHECK(s.now.bits > BITS_MIN || n < 60000);
    seen_close(&s);
    seen_close(&s);
}

/* Where the CRC alone was the hash, these were one. */
static void databases(void)
{
    CHECK(seen_hash(0, "c1", 2) != seen_hash(2, "a1", 2));
    CHECK(seen_hash(0, "\0a", 2) != seen_hash(0, "a", 1));
    CHECK(seen_hash(1, "", 0) != seen_hash(2, "", 0));
}

static void no_room(void)
{
    struct seen s;
    CHECK(seen_open(&s, "/nowhere/at/all") < 0);
    seen_close(&s);
}

struct seen_args {
    struct buf text; /* each: place, length, bytes or - */
    unsigned n;
    uint64_t sum;
};

static void take(void *ctx, unsigned at, const struct slice *arg, uint64_t crc)
{
    struct seen_args *a = ctx;
    (void)buf_addf(&a->text, "%u:%zu:", at, arg->n);
    if (arg->p != NULL)
        (void)buf_add(&a->text, arg->p, arg->n < 20 ? arg->n : 20);
    (void)buf_addstr(&a->text, arg->p != NULL ? "\n" : "-\n");
    a->n++;
    a->sum = a->sum * 31 + crc;
}

static void other(void *ctx, unsigned at, const struct slice *arg, uint64_t crc)
{
    (void)at;
    (void)arg;
    *(uint64_t *)ctx += crc;
}

/* Cut anywhere, and each piece offered twice, the arguments are the same. */
static void pieces(void)
{
    static const char request[] =
        "*6\r\n$4\r\nMSET\r\n$0\r\n\r\n$3\r\na\r\n\r\n$12\r\n$3\r\nabc\r\n*2\r\r\n$1\r\nx\r\n$2\r\n\r\n\r\n";
    size_t n = sizeof request - 1;
    struct args fresh = {0};
    struct seen_args whole = {0};
    args_walk(&fresh, (const uint8_t *)request, n, take, &whole, false);
    EQ(whole.n, 6);
    static const char want[] = "0:4:MSET\n1:0:\n2:3:a\r\n\n3:12:$3\r\nabc\r\n*2\r\n4:1:x\n5:2:\r\n\n";
    EQ_B(whole.text.p, whole.text.len, want, sizeof want - 1);
    for (size_t one = 0; one <= n; one++)
        for (size_t two = one; two <= n; two += 1 + one % 3) {
            const size_t cut[] = {0, one, two, n};
            struct args a = {0};
            struct seen_args got = {0};
            uint64_t unused = 0;
            for (unsigned i = 0; i < 3; i++) {
                const uint8_t *p = (const uint8_t *)request + cut[i];
                args_walk(&a, p, cut[i + 1] - cut[i], other, &unused, false);
                args_walk(&a, p, cut[i + 1] - cut[i], take, &got, true);
            }
            EQ_B(got.text.p, got.text.len, whole.text.p, whole.text.len);
            EQ(got.sum, whole.sum);
            buf_free(&got.text);
            args_free(&a);
        }
    buf_free(&whole.text);
}

/* Of an argument that is too long to be kept the CRC is known. */
static void long_one(void)
{
    struct args a = {0};
    struct seen_args got = {0};
    struct buf b = {0};
    uint8_t *big = xmalloc(200000);
    memset(big, 'y', 200000);
    (void)resp_add_array(&b, 2);
    (void)resp_add_str(&b, "DEL");
    (void)resp_add_bulk(&b, big, 200000);
    for (size_t at = 0; at < b.len; at += 1000)
        args_walk(&a, b.p + at, b.len - at < 1000 ? b.len - at : 1000, take, &got, true);
    EQ_B(got.text.p, got.text.len, "0:3:DEL\n1:0:-\n", 14);
    EQ(got.sum, crc64(SEEN_CRC, "DEL", 3) * 31 + crc64(SEEN_CRC, big, 200000));
    free(big);
    buf_free(&b);
    buf_free(&got.text);
    args_free(&a);
}

int main(void)
{
    members(1000);
    members(500000);
    databases();
    no_room();
    pieces();
    long_one();
    return test_done();
}
