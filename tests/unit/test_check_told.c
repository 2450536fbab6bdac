/* df2redis-check with files: what commands say of a key does not depend on how it was cut into requests, nor
 * on an order that does not count; the two sides of each key find each other; keys that are known. */
#include "test.h"

#include "../../check/entry.h"
#include "../../check/known.h"
#include "../../check/match.h"
#include "../../check/piles.h"
#include "../../check/told.h"

/* ---- a stream ---- */

static struct told told;
static struct buf came; /* the entries of the keys that were complete */

static void key_came(void *ctx, const struct entry *head, const struct part *part, struct slice name)
{
    (void)ctx;
    CHECK(entry_put(&came, head, part, name, (struct slice){NULL, 0}) == 0);
}

static void begin_stream(void)
{
    came.len = 0;
    told_init(&told, key_came, NULL);
}

static const struct entry *entry_no(unsigned i)
{
    size_t at = 0;
    for (; i > 0 && at < came.len; i--)
        at += ((const struct entry *)(const void *)(came.p + at))->size;
    return at < came.len ? (const struct entry *)(const void *)(came.p + at) : NULL;
}

static unsigned class_for(const char *command)
{
    return strncmp(command, "SET", 3) == 0 ? CLASS_STRING : CLASS_HASH;
}

/* A request of words between blanks, in records of at most step bytes. */
static int request_in(const char *line, unsigned flags, uint32_t hash, size_t step)
{
    struct buf b = {0}, words = {0};
    unsigned n = 0, keyarg = strncmp(line, "XGROUP", 6) == 0 ? 2 : 1;
    char copy[512], *rest = copy, *word;
    snprintf(copy, sizeof copy, "%s", line);
    for (; (word = strsep(&rest, " ")) != NULL; n++)
        (void)resp_add_bulk(&words, word, strlen(word));
    (void)resp_add_array(&b, n);
    (void)buf_add(&b, words.p, words.len);
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < b.len; at += step) {
        size_t part = b.len - at < step ? b.len - at : step;
        struct rec r = {.type = REC_REQUEST,
                        .vclass = (uint8_t)class_for(line),
                        .len = (uint32_t)part,
                        .flags = (uint16_t)(flags | (at + part < b.len ? RF_MORE : 0)),
                        .keyarg = (uint8_t)keyarg,
                        .hash = hash};
        uint8_t *p = exact(b.p + at, part);
        rc = told_record(&told, &r, p);
        free(p);
    }
    buf_free(&b);
    buf_free(&words);
    return rc;
}

static int say(const char *line, unsigned flags, uint32_t hash)
{
    return request_in(line, flags, hash, SIZE_MAX / 2);
}

static void last(uint32_t hash)
{
    struct rec r = {.type = REC_POSITION, .flags = RF_LAST, .hash = hash};
    EQ_I(told_record(&told, &r, NULL), 0);
}

/* What differs between the first two keys that came: its name, or "same". */
static const char *difference(void)
{
    const struct depth full = {.mode = MODE_FULL, .ttl = true, .tolerance = 10, .field_ttl = true};
    struct finding f;
    const char *name = entry_differs(&full, entry_no(0), entry_no(1), &f) ? finding_name(f.kind) : "same";
    told_free(&told);
    return name;
}

static void make(const char *const *lines, uint32_t hash)
{
    EQ_I(say("DEL k", RF_FIRST, hash), 0);
    for (; *lines != NULL; lines++)
        EQ_I(say(*lines, 0, hash), 0);
    last(hash);
}

#define SAME_OR(expected, first, second)                                                                     \
    do {                                                                                                     \
        static const char *const a_[] = {first, NULL}, *const b_[] = {second, NULL};                         \
        begin_stream();                                                                                      \
        make(a_, 1);                                                                                         \
        make(b_, 2);                                                                                         \
        EQ_S(difference(), expected);                                                                        \
    } while (0)
#define AND ,

static void containers(void)
{
    SAME_OR("same", "SADD k a b c", "SADD k c" AND "SADD k b a");
    SAME_OR("member", "SADD k a b", "SADD k ab");
    SAME_OR("same", "HSET k f v g w", "HSET k g w" AND "HSET k f v");
    SAME_OR("field", "HSET k f v g w", "HSET k f w g v");
    SAME_OR("field_ttl", "HSET k f v" AND "HPEXPIREAT k 99 FIELDS 1 f", "HSET k f v");
    SAME_OR("same", "ZADD k 1 a 2.50 b", "ZADD k 2.5 b 1 a");
    SAME_OR("score", "ZADD k 0 a", "ZADD k -0 a");
    SAME_OR("score", "ZADD k 0.1 a", "ZADD k 0.10000000000000002 a");
    SAME_OR("member", "ZADD k 1 a", "ZADD k 1 b");
    SAME_OR("same", "RPUSH k a b c", "RPUSH k a" AND "RPUSH k b c");
    SAME_OR("element", "RPUSH k a b", "RPUSH k b a");
    SAME_OR("element", "RPUSH k a a", "RPUSH k a");
    SAME_OR("type", "RPUSH k a", "SADD k a");
    SAME_OR("ttl", "SADD k a" AND "PEXPIREAT k 1000", "SADD k a");
    SAME_OR("same", "SADD k a" AND "PEXPIREAT k 1000", "SADD k a" AND "PEXPIREAT k 1005");
    SAME_OR("ttl", "SADD k a" AND "PEXPIREAT k 1000", "SADD k a" AND "PEXPIREAT k 1011");
}

static void streams(void)
{
    SAME_OR("same", "XADD k 1-1 f v" AND "XADD k 2-1 g w", "XADD k 1-1 f v" AND "XADD k 2-1 g w");
    SAME_OR("entry", "XADD k 1-1 f v g w", "XADD k 1-1 f v");
    SAME_OR("stream_id", "XSETID k 5-0", "XSETID k 6-0");
    SAME_OR("counter", "XSETID k 5-0 ENTRIESADDED 3 MAXDELETEDID 0-0",
            "XSETID k 5-0 ENTRIESADDED 4 MAXDELETEDID 0-0");
    SAME_OR("same", "XSETID k 5-0 ENTRIESADDED 3 MAXDELETEDID 1-0",
            "XSETID k 5-0"); /* not told: not compared */
    SAME_OR("group", "XGROUP CREATE k g 1-0", "XGROUP CREATE k g 2-0");
    SAME_OR("counter", "XGROUP CREATE k g 1-0 ENTRIESREAD 1", "XGROUP CREATE k g 1-0 ENTRIESREAD 2");
    SAME_OR("consumer", "XGROUP CREATE k g 1-0" AND "XGROUP CREATECONSUMER k g c", "XGROUP CREATE k g 1-0");
    SAME_OR("pending", "XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID",
            "XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 2 FORCE JUSTID");
    SAME_OR("same", "XGROUP CREATE k df2redis 0 MKSTREAM" AND "XGROUP DESTROY k df2redis" AND "XSETID k 5-0",
            "XSETID k 5-0"); /* without entries */
    SAME_OR("same", "XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID",
            "XCLAIM k g c 0 1-1 TIME 9 RETRYCOUNT 1 FORCE JUSTID");
}

static void strings(void)
{
    begin_stream();
    EQ_I(say("SET k abcdef", RF_PLAINSET, 1), 0);
    EQ_I(say("SET k ab", RF_FIRST, 2), 0);
    EQ_I(say("SETRANGE k 5 x", 0, 2), 0); /* makes room */
    EQ_I(say("SET other v", RF_PLAINSET, 3), 0);
    EQ_I(say("SETRANGE k 2 cd", 0, 2), 0);
    EQ_I(say("SETRANGE k 4 ef", 0, 2), 0);
    last(2);
    EQ(entry_no(0)->n, 6);
    EQ(entry_no(2)->n, 6);
    const struct part *a = entry_part(entry_no(0)), *b = entry_part(entry_no(2));
    EQ(a->lo, b->lo);
    EQ(a->hi, b->hi);
    EQ_I(say("SETRANGE k 9 xyz", 0, 2), -1);
    told_free(&told);
    /* However the records cut a request. */
    for (size_t step = 1; step < 40; step++) {
        begin_stream();
        EQ_I(say("SET k abcdef PXAT 7", 0, 1), 0);
        EQ_I(request_in("SET k abcdef PXAT 7", 0, 1, step), 0);
        EQ(entry_no(1)->ttl, 7);
        EQ_S(difference(), "same");
    }
}

/* Values in pieces stand between each other. */
static void interleaved(void)
{
    begin_stream();
    EQ_I(say("DEL a", RF_FIRST, 1), 0);
    EQ_I(say("DEL b", RF_FIRST, 2), 0);
    EQ_I(say("SADD a x", 0, 1), 0);
    EQ_I(say("SADD b x", 0, 2), 0);
    EQ_I(say("SADD a y", 0, 1), 0);
    EQ_I(say("SADD b y", 0, 2), 0);
    last(2);
    last(1);
    EQ(entry_name(entry_no(0)).p[0], 'b');
    EQ(entry_no(0)->n, 2);
    EQ_S(difference(), "same");
}

static void refused(void)
{
    static const char report_text[] = "kind=module\nkey=k\ndetail=x\ndb=3\nlost=1\n";
    static const char beside[] = "kind=function\nkey=lib\ndetail=x\ndb=0\nlost=1\n";
    static const char remark[] = "kind=script\nkey=k\ndetail=x\ndb=3\nlost=0\n";
    struct rec r = {.type = REC_REPORT, .len = sizeof report_text - 1};
    begin_stream();
    EQ_I(say("SET k v", RF_LIVE, 1), -1); /* an append-only file */
    EQ_I(say("APPEND k v", 0, 1), -1);
    EQ_I(say("ZADD k 1x m", 0, 2), -1);
    EQ_I(say("SET df2redis:{x} v", RF_PLAINSET, 3), 0);
    CHECK(entry_no(0) == NULL);
    EQ_I(told_record(&told, &r, (const uint8_t *)report_text), 0);
    EQ(entry_no(0)->flags, ENTRY_UNKNOWN);
    EQ(entry_no(0)->db, 3);
    r.len = sizeof remark - 1;
    EQ_I(told_record(&told, &r, (const uint8_t *)remark), 0);
    r.len = sizeof beside - 1;
    EQ_I(told_record(&told, &r, (const uint8_t *)beside), 0);
    CHECK(entry_no(1) == NULL);
    told_free(&told);
}

/* ---- matching ---- */

struct seen {
    unsigned both, source, target, marks, unknown;
};

static void count(void *ctx, const struct entry *const e[MATCH_PILES])
{
    struct seen *s = ctx;
    bool a = e[MATCH_SOURCE] != NULL, b = e[MATCH_TARGET] != NULL;
    s->both += a && b && e[MATCH_SOURCE]->n == e[MATCH_TARGET]->n;
    s->source += a && !b;
    s->target += b && !a;
    s->marks += e[MATCH_MARKS] != NULL;
    s->unknown += a && (e[MATCH_SOURCE]->flags & ENTRY_UNKNOWN) != 0;
}

static void pile_up(struct piles *p, unsigned i, unsigned flags, size_t padding)
{
    static struct buf line;
    char name[4096];
    int n = snprintf(name, sizeof name, "key:%0*u", (int)padding, i);
    struct part part = {i, i};
    struct entry head = {
        .db = i % 3, .type = VALUE_STRING, .parts = 1, .ttl = -1, .n = i, .flags = (uint8_t)flags};
    line.len = 0;
    CHECK(entry_put(&line, &head, &part, (struct slice){(const uint8_t *)name, (size_t)n},
                    (struct slice){NULL, 0}) == 0);
    piles_add(p, entry_hash(head.db, name, (size_t)n), (const struct entry *)(const void *)line.p);
}

/* n keys with long names are more than is matched at once, so that piles are spread again. */
static void matches(unsigned n, size_t padding)
{
    static struct piles p[MATCH_PILES];
    struct piles *const all[] = {&p[0], &p[1], &p[2]};
    struct seen s = {0};
    for (unsigned i = 0; i < MATCH_PILES; i++)
        piles_init(&p[i], 0);
    for (unsigned i = 0; i < n; i++) {
        if (i % 10 != 0)
            pile_up(&p[MATCH_SOURCE], i, i == 7 ? ENTRY_UNKNOWN : 0, padding);
        if (i % 7 != 0)
            pile_up(&p[MATCH_TARGET], i, 0, padding);
        if (i % 100 == 0)
            pile_up(&p[MATCH_MARKS], i, ENTRY_MARK, padding);
    }
    pile_up(&p[MATCH_SOURCE], 7, 0, padding); /* once more */
    match_all(all, count, &s);
    unsigned both = 0, source = 0, target = 0, marks = 0;
    for (unsigned i = 0; i < n; i++) {
        both += i % 10 != 0 && i % 7 != 0;
        source += i % 10 != 0 && i % 7 == 0;
        target += i % 10 == 0 && i % 7 != 0;
        marks += i % 100 == 0;
    }
    EQ(s.both, both);
    EQ(s.source, source);
    EQ(s.target, target);
    EQ(s.marks, marks);
    EQ(s.unknown, 1);
    for (unsigned i = 0; i < MATCH_PILES; i++)
        piles_free(&p[i]);
}

/* ---- what is known ---- */

static void known_lines(void)
{
    static const struct {
        const char *line, *key;
        uint32_t db;
    } lines[] = {
        {"{\"kind\":\"module\",\"lost\":true,\"db\":2,\"key\":\"a\\\"b\\u00ff\",\"detail\":\"\\\"db\\\":9\"}",
         "a\"b\xff", 2},
        {"{\"key\":\"k\",\"db\":0,\"lost\":true}", "k", 0},
        {"{\"key\":\"k\",\"db\":0,\"lost\":false}", NULL, 0},
        {"{\"key\":\"k\",\"lost\":true}", NULL, 0},
        {"{\"key\":\"\",\"db\":0,\"lost\":true}", NULL, 0},
        {"{\"key\":\"k\\u01ff\",\"db\":0,\"lost\":true}", NULL, 0},
        {"{\"lost\":true,\"db\":0,\"key\":\"k", NULL, 0},
        {"{\"lost\":true,\"db\":0,\"key\":\"k\\", NULL, 0},
    };
    uint8_t name[16];
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        uint32_t db = 0;
        long n = known_parse(lines[i].line, strlen(lines[i].line), &db, name, sizeof name);
        if (lines[i].key == NULL)
            EQ_I(n, -1);
        else {
            EQ_B(name, (size_t)n, lines[i].key, strlen(lines[i].key));
            EQ(db, lines[i].db);
        }
    }
}

int main(void)
{
    containers();
    streams();
    strings();
    interleaved();
    refused();
    matches(1000, 1);
    matches(20000, 2000);
    known_lines();
    buf_free(&came);
    return test_done();
}
