/* Append-only files in dfparse: lines between commands, ends of files, commands that nobody knows, and
 * expiries that wait. */
#include "test.h"

#include "../../parser/command/aof.h"
#include "../../parser/command/known.h"

static enum got annotation(const char *text, uint64_t *time, size_t *left)
{
    struct cur c = {(const uint8_t *)text, (const uint8_t *)text + strlen(text), 0, NULL};
    enum got g = aof_annotation(&c, time);
    *left = cur_left(&c);
    return g;
}

static void test_annotations(void)
{
    uint64_t time;
    size_t left;
    char longest[1100];
    EQ_I(annotation("#TS:1700000000\r\n*1", &time, &left), GOT);
    CHECK(time == 1700000000 && left == 2);
    EQ_I(annotation("#hello\n", &time, &left), GOT);
    CHECK(time == 0 && left == 0);
    EQ_I(annotation("#TS1700000000\r\n", &time, &left), GOT);
    CHECK(time == 0);
    EQ_I(annotation("#TS:x\r\n", &time, &left), GOT);
    CHECK(time == 0);
    EQ_I(annotation("#TS:99999999999999999999999\n", &time, &left), GOT);
    EQ_I(annotation("#TS:17", &time, &left), NEED);
    memset(longest, '#', sizeof longest);
    memcpy(longest + 1022, "\n", 2);
    EQ_I(annotation(longest, &time, &left), GOT);
    memcpy(longest + 1022, "##\n", 4);
    EQ_I(annotation(longest, &time, &left), BAD);
}

static enum got looks_cut(const char *text)
{
    uint64_t want = 0;
    enum got g = aof_looks_cut((const uint8_t *)text, (const uint8_t *)text + strlen(text), &want);
    CHECK(g != NEED || want > 0);
    return g;
}

static void test_looks_cut(void)
{
    EQ_I(looks_cut("*3\r\n$3\r\nSET\r\n$x\r\n"), NEED);
    EQ_I(looks_cut("*3\r\n$3\r\nSET\r\n$x"), NEED);
    EQ_I(looks_cut("*3\r\n$3\r\nSET\r\n$x\r\nkey\r\n"), BAD);
    EQ_I(looks_cut("*3\r\n$3\r\nSET\r\n$-1\r\n"), BAD);
    EQ_I(looks_cut("*x"), BAD);
    EQ_I(looks_cut("*0\r\n"), BAD);
    EQ_I(looks_cut("*-1\r\n"), BAD);
    EQ_I(looks_cut("x"), BAD);
    EQ_I(looks_cut("*1\r\nx"), BAD);
    EQ_I(looks_cut("*1\r\n$9999999999999\r\n"), BAD);
    EQ_I(looks_cut("*9999999\r\n"), BAD);
    EQ_I(looks_cut("*1\r\n$x\r\n\r\n"), BAD); /* a command can be made of it */
}

static enum verdict verdict(const char *name, size_t argc)
{
    struct slice argv[16] = {{(const uint8_t *)name, strlen(name)}};
    const char *why = NULL;
    enum verdict v = known_verdict(argv, argc, &why);
    CHECK((why != NULL) == (v == VERDICT_DAMAGED || v == VERDICT_CANNOT));
    return v;
}

static void test_known(void)
{
    EQ_I(verdict("SET", 3), VERDICT_TAKE);
    EQ_I(verdict("set", 3), VERDICT_TAKE);
    EQ_I(verdict("SET", 2), VERDICT_DAMAGED);
    EQ_I(verdict("ZUNIONSTORE", 4), VERDICT_TAKE);
    EQ_I(verdict("GET", 2), VERDICT_PASS);
    EQ_I(verdict("GET", 1), VERDICT_DAMAGED);
    EQ_I(verdict("DISCARD", 1), VERDICT_PASS);
    EQ_I(verdict("MULTI", 1), VERDICT_TAKE);
    EQ_I(verdict("JSON.SET", 1), VERDICT_TAKE);
    EQ_I(verdict("APPEND", 3), VERDICT_TAKE);
    EQ_I(verdict("ZUNION", 3), VERDICT_PASS);
    EQ_I(verdict("NOSUCHCMD", 2), VERDICT_CANNOT);
    EQ_I(verdict("", 1), VERDICT_CANNOT);
    EQ_I(verdict("A-NAME-THAT-IS-LONGER-THAN-THOSE-OF-ALL-COMMANDS", 1), VERDICT_CANNOT);
}

/* Keys of all databases come back in order, those in the file too; none twice in a row. */
struct seen {
    unsigned n;
    bool good;
};

static bool take(void *ctx, uint32_t db, const uint8_t *key, size_t n)
{
    struct seen *s = ctx;
    char name[400];
    int len = snprintf(name, sizeof name, "key:%0300u", s->n);
    s->good = s->good && db == s->n % 3 && (size_t)len == n && memcmp(name, key, n) == 0;
    s->n++;
    return true;
}

static void test_late(void)
{
    struct late l = {.fd = -1};
    char name[400];
    struct seen seen = {.good = true};
    late_begin(&l, 1000000, 500);
    CHECK(late_waits(&l, 1) && late_waits(&l, 1000500) && !late_waits(&l, 1000501));
    CHECK(late_time(&l, 5) == 1000000 + LATE_MS && late_time(&l, 1000400) == 1000400 + LATE_MS);
    CHECK(l.pending);
    for (unsigned i = 0; i < 5000; i++) {
        int n = snprintf(name, sizeof name, "key:%0300u", i);
        late_keep(&l, i % 3, (const uint8_t *)name, (size_t)n);
        late_keep(&l, i % 3, (const uint8_t *)name, (size_t)n);
    }
    CHECK(!l.pending && l.count == 5000 && l.stored > 0);
    EQ_I(late_each(&l, take, &seen), 0);
    CHECK(seen.n == 5000 && seen.good);
    /* Keys that are one in different databases only. */
    late_begin(&l, 1, 1);
    late_keep(&l, 0, (const uint8_t *)"a:l", 3);
    late_keep(&l, 2, (const uint8_t *)"a:n", 3);
    late_keep(&l, 0, (const uint8_t *)"a:n", 3);
    EQ_I(l.count, 3);
    late_swap(&l, 3, 4);
    late_swap(&l, 4, 5);
    EQ_I(l.nswapped, 3);
    late_free(&l);
}

static void test_hashes(void)
{
    /* Short keys in several databases are all different ones. */
    for (uint32_t db = 1; db < 16; db++)
        for (int c = 'a'; c <= 'z'; c++)
            for (int d = 'a'; d <= 'z'; d++) {
                char x[3] = {'a', ':', (char)c}, y[3] = {'a', ':', (char)d};
                CHECK(keyset_hash(0, x, 3) != keyset_hash(db, y, 3));
            }
}

int main(void)
{
    test_annotations();
    test_looks_cut();
    test_known();
    test_late();
    test_hashes();
    return test_done();
}
