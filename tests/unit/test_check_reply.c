/* Replies of servers as df2redis-check takes them apart, however they are cut; and the names of --db-map and
 * --rename-prefix. */
#include "test.h"

#include "../../check/names.c"
#include "../../check/reply.c"

static int feed(struct reply *r, const char *text, size_t n, size_t step, size_t *end)
{
    size_t have = 0, at = 0;
    int rc = 0;
    while (rc == 0 && have < n) {
        have = have + step < n ? have + step : n;
        size_t taken;
        uint8_t *p = exact(text + at, have - at);
        rc = reply_feed(r, p, have - at, &taken);
        free(p);
        at += taken;
    }
    *end = at;
    return rc;
}

/* The same whatever the pieces are. */
static void cut(void)
{
    static const char text[] = "*5\r\n$3\r\na\r\n\r\n:-12\r\n$-1\r\n*2\r\n+OK\r\n*0\r\n*-1\r\n-ERR no\r\n";
    static const size_t whole = sizeof text - sizeof "-ERR no\r\n";
    for (size_t step = 1; step <= sizeof text; step++) {
        struct reply r;
        size_t end;
        reply_init(&r);
        reply_begin(&r, KEEP_BEGIN);
        EQ_I(feed(&r, text, sizeof text - 1, step, &end), 1);
        EQ(end, whole);
        EQ(r.n, 8);
        EQ(r.e[0].n, 5);
        CHECK(elem_is(&r, &r.e[1], "a\r\n"));
        EQ_I((int64_t)r.e[2].n, -12);
        EQ(r.e[3].type, REPLY_NIL);
        EQ(r.e[4].type, REPLY_ARRAY);
        CHECK(elem_is(&r, &r.e[5], "OK"));
        EQ(r.e[6].n, 0);
        EQ(r.e[7].type, REPLY_NIL);
        EQ(reply_child(&r, 0, 3), 4);
        EQ(reply_child(&r, 0, 4), 7);
        EQ(reply_child(&r, 0, 5), r.n);
        EQ(reply_skip(&r, 4), 7);
        reply_free(&r);
    }
}

/* A text of n bytes: its hash does not depend on the pieces; of a DUMP it leaves out the last 10. */
static void large(size_t n, enum reply_keep keep, size_t hashed)
{
    char *text = xmalloc(n + 40);
    size_t head = (size_t)snprintf(text, 40, "$%zu\r\n", n), end;
    for (size_t i = 0; i < n; i++)
        text[head + i] = (char)(i * 7 % 251);
    memcpy(text + head + n, "\r\n", 2);
    XXH128_hash_t h = XXH3_128bits(text + head, hashed);
    static const size_t steps[] = {1000, 8191, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct reply r;
        reply_init(&r);
        reply_begin(&r, keep);
        EQ_I(feed(&r, text, head + n + 2, steps[i], &end), 1);
        EQ(end, head + n + 2);
        EQ(r.e[0].n, n);
        EQ(r.e[0].hash[0], h.low64);
        EQ(r.e[0].hash[1], h.high64);
        EQ(r.e[0].kept, keep == KEEP_ALL || n < REPLY_PREFIX ? n : REPLY_PREFIX);
        EQ_B(elem_text(&r, &r.e[0]), r.e[0].kept, text + head, r.e[0].kept);
        reply_free(&r);
    }
    free(text);
}

/* HSCAN: names are kept whole, values are not. */
static void names_kept(void)
{
    struct buf b = {0};
    struct reply r;
    char name[100], value[200];
    size_t end;
    memset(name, 'n', sizeof name);
    memset(value, 'v', sizeof value);
    (void)buf_addstr(&b, "*2\r\n");
    (void)buf_addf(&b, "$1\r\n0\r\n*4\r\n$100\r\n%.100s\r\n$200\r\n%.200s\r\n", name, value);
    (void)buf_addf(&b, "$100\r\n%.100s\r\n$3\r\nabc\r\n", name);
    for (size_t step = 1; step < b.len; step += 13) {
        reply_init(&r);
        reply_begin(&r, KEEP_NAMES);
        EQ_I(feed(&r, (const char *)b.p, b.len, step, &end), 1);
        EQ(r.n, 7);
        CHECK(elem_is(&r, &r.e[1], "0"));
        EQ(r.e[3].kept, 100);
        EQ(r.e[4].kept, REPLY_PREFIX);
        EQ(r.e[5].kept, 100);
        CHECK(elem_is(&r, &r.e[6], "abc"));
        CHECK(elem_same_text(&r.e[3], &r.e[5]));
        reply_free(&r);
    }
    buf_free(&b);
}

static void maps(void)
{
    static const char text[] = "*4\r\n$4\r\nname\r\n$1\r\ng\r\n$7\r\npending\r\n:3\r\n";
    struct reply r;
    size_t end;
    reply_init(&r);
    reply_begin(&r, KEEP_ALL);
    EQ_I(feed(&r, text, sizeof text - 1, 5, &end), 1);
    EQ(reply_field(&r, 0, "pending"), 4);
    EQ(reply_field(&r, 0, "name"), 2);
    EQ(reply_field(&r, 0, "g"), r.n);
    EQ(reply_field(&r, 0, "none"), r.n);
    reply_free(&r);
}

static void bad(void)
{
    static const char *const list[] = {"HTTP/1.1\r\n",
                                       "$x\r\n",
                                       ":\r\n",
                                       ":12345678901234567890\r\n",
                                       "$9\n\r\n",
                                       "!3\r\n",
                                       "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct reply r;
        size_t end;
        reply_init(&r);
        reply_begin(&r, KEEP_ALL);
        EQ_I(feed(&r, list[i], strlen(list[i]), 100, &end), -1);
        CHECK(r.fault != NULL);
        reply_free(&r);
    }
}

static void db_names(void)
{
    static struct filter n;
    CHECK(filter_add_dbs(&n, "0=3,2=4") == NULL);
    CHECK(filter_add_dbs(&n, "*=9") == NULL);
    CHECK(filter_add_dbs(&n, "1") != NULL);
    CHECK(filter_add_dbs(&n, "a=1") != NULL);
    CHECK(filter_add_dbs(&n, "1=") != NULL);
    EQ(filter_db(&n, 0), 3);
    EQ(filter_db(&n, 2), 4);
    EQ(filter_db(&n, 5), 9);
}

static void key_names(void)
{
    static struct filter n;
    struct buf b = {0};
    CHECK(filter_add_rename(&n, "user:=u:") == NULL);
    CHECK(filter_add_rename(&n, "us=x") == NULL);
    CHECK(filter_add_rename(&n, "user") != NULL);
    EQ_I(names_to_target(&n, "user:1", 6, &b), 1);
    EQ_B(b.p, b.len, "u:1", 3);
    b.len = 0;
    EQ_I(names_to_target(&n, "usa", 3, &b), 1);
    EQ_B(b.p, b.len, "xa", 2);
    b.len = 0;
    EQ_I(names_to_source(&n, 0, "u:1", 3, &b), 1);
    EQ_B(b.p, b.len, "user:1", 6);
    b.len = 0;
    EQ_I(names_to_source(&n, 1, "xer:1", 5, &b), 0); /* user:1 is renamed by the first rule */
    EQ_I(names_to_source(&n, 2, "user:1", 6, &b), 0);
    EQ_I(names_to_source(&n, 2, "u:1", 3, &b), 1); /* a key that has this name already */
    EQ_I(names_to_source(&n, 3, "u:1", 3, &b), -1);
    buf_free(&b);
}

int main(void)
{
    cut();
    large(0, KEEP_BEGIN, 0);
    large(39, KEEP_BEGIN, 39);
    large(100000, KEEP_BEGIN, 100000);
    large(100000, KEEP_ALL, 100000);
    large(100000, KEEP_DUMP, 99990);
    large(5, KEEP_DUMP, 0);
    names_kept();
    maps();
    bad();
    db_names();
    key_names();
    return test_done();
}
