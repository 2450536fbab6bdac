/* Commands for a cluster: what is taken apart by slot, what becomes a program, what is reported. Slots of the
 * keys: a 15495, b 3300, c 7365, d 11298, k 7629; {a}x lies in a's. */
#include "test.h"

#include "../../common/slot.h"
#include "../../parser/flow.h"
#include "../../parser/command/scripts.h"

#define NOW_MS  UINT64_C(1700000000000)
#define ONE     "1 pos=101 db=0 "
#define SKIPPED "1 pos=101 db=0 V position\n"

static struct capture cap;
static struct flow flow;

struct source {
    unsigned version; /* 0: 1.40 */
    uint32_t db;
    bool json, in_snapshot;
    const struct filter *filter;
};

static void begin(const char *target, struct source s)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    CHECK(cap.e.target.cluster);
    cap.e.target.has_json = s.json;
    flow_init(&flow, 0);
    flow.to.filter = s.filter;
    flow_begin(&flow, 1, false, true, 2, 100, NULL);
    if (s.version != 0)
        flow.to.dialect = dialect_dragonfly(s.version);
    flow.journal.db = s.db;
    flow.to.cut = flow.to.goes_on = !s.in_snapshot;
}

static void end(void)
{
    CHECK(flow_end(&flow, false) == 0);
    flow_free(&flow);
    capture_free(&cap);
}

static void feed(struct buf *b)
{
    uint8_t *p = exact(b->p, b->len);
    CHECK(flow_feed(&flow, &cap.e, p, b->len, flow.offset, NOW_MS * 1000) == 0);
    free(p);
    buf_free(b);
}

static void is_from(struct source s, const char *target, const char *line, const char *want)
{
    struct buf b = {0};
    begin(target, s);
    add_command(&b, 7, line);
    feed(&b);
    if (!EQ_S(capture_text(&cap), want))
        printf("  for %s: %s\n", target, line);
    EQ(flow.to.o.pos, 101); /* whatever became of it */
    end();
}

static void is(const char *line, const char *want)
{
    is_from((struct source){0}, "7.0/cluster", line, want);
}

static void older(const char *line, const char *want)
{
    is_from((struct source){0}, "6.2/cluster", line, want);
}

/* SORT and the like, which leave the destination as it is where there is nothing to read. */
static const char *store_if(const char *rest)
{
    static char want[1000];
    struct buf b = {0};
    show_bytes(&b, (const uint8_t *)LUA_STORE_IF, strlen(LUA_STORE_IF));
    snprintf(want, sizeof want, ONE "VK key=3 | EVAL %.*s %s\n", (int)b.len, (const char *)b.p, rest);
    buf_free(&b);
    return want;
}

static void one_slot(void)
{
    is("SET k v", ONE "IV string | SET k v\n");
    is("DEL {a}1 {a}2", ONE "IVK | DEL {a}1 {a}2\n");
    is("MSET {a}1 v {a}2 w", ONE "IVK | MSET {a}1 v {a}2 w\n");
    is("RENAME {a}1 {a}2", ONE "VK | RENAME {a}1 {a}2\n");
    is("ZUNIONSTORE {a}d 2 {a}1 {a}2", ONE "VK | ZUNIONSTORE {a}d 2 {a}1 {a}2\n");
    is("SORT {a}1 LIMIT 0 5 STORE {a}2", store_if("2 {a}1 {a}2 SORT {a}1 LIMIT 0 5 STORE {a}2"));
    is("XGROUP DESTROY k g", ONE "V key=2 | XGROUP DESTROY k g\n");
    is("COPY {a}1 {a}2 REPLACE", ONE "VK | COPY {a}1 {a}2 REPLACE\n");
}

/* A request a slot; the position is reached with the last. */
static void taken_apart(void)
{
    is("DEL a b", "1 pos=100 db=0 IV | DEL b\n2 pos=101 db=0 IV | DEL a\n");
    is("UNLINK a b {a}1 c {b}1", "1 pos=100 db=0 IVK | UNLINK b {b}1\n2 pos=100 db=0 IV | UNLINK c\n"
                                 "3 pos=101 db=0 IVK | UNLINK a {a}1\n");
    is("MSET a 1 b 2 {a}x 3 a 4", "1 pos=100 db=0 IV | MSET b 2\n2 pos=101 db=0 IVK | MSET a 1 {a}x 3 a 4\n");
    is("MSETNX a 1 b 2", "1 pos=100 db=0 IV | MSET b 2\n2 pos=101 db=0 IV | MSET a 1\n");
    is("MSETNX {a}1 1 {a}2 2", ONE "IVK | MSET {a}1 1 {a}2 2\n"); /* it was logged, so it happened */
    is("MSET a 1 b", "LOST kind=malformed-command key=a\n" SKIPPED);
    is_from((struct source){.json = true}, "8.0/cluster", "JSON.MSET a $ 1 b $.x 2",
            "1 pos=100 db=0 IV | JSON.MSET b $.x 2\n2 pos=101 db=0 IV | JSON.MSET a $ 1\n");
    is("JSON.MSET a $ 1 b $ 2", "LOST kind=json key=a\n" SKIPPED);
}

static void renames(void)
{
    is("RENAME a b",
       ONE "VK PROGRAM | 15495>1M: DUMP a | 15495>2T: PEXPIRETIME a | 3300: RESTORE b $2 $1 REPLACE ABSTTL | "
           "15495: DEL a\n");
    older("RENAME a b",
          ONE "VK PROGRAM | 15495>1M: DUMP a | 15495>2T: PTTL a | 3300: RESTORE b $2 $1 REPLACE | "
              "15495: DEL a\n");
    is("RENAMENX a b", ONE "VK PROGRAM | 3300>4: EXISTS b | 15495!4>1M: DUMP a | 15495?1>2T: PEXPIRETIME a | "
                           "3300?1: RESTORE b $2 $1 REPLACE ABSTTL | 15495?1: DEL a\n");
    is("COPY a b REPLACE", ONE "VK PROGRAM | 15495>1: DUMP a | 15495?1>2T: PEXPIRETIME a | "
                               "3300?1: RESTORE b $2 $1 REPLACE ABSTTL\n");
    is("COPY a b", ONE "VK PROGRAM | 3300>4: EXISTS b | 15495!4>1: DUMP a | 15495?1>2T: PEXPIRETIME a | "
                       "3300?1: RESTORE b $2 $1 REPLACE ABSTTL\n");
    /* masters before v1.38 keep an overwritten destination's expiry where both have one */
    struct buf want = {0};
    (void)buf_addstr(&want, ONE "VK PROGRAM | 15495>1M: DUMP a | 15495>2T: PEXPIRETIME a | 15495>5: EVAL ");
    static const char script[] =
        "local t=redis.call('PEXPIRETIME',KEYS[1]) if t>0 then return t end return false";
    show_bytes(&want, (const uint8_t *)script, strlen(script));
    (void)buf_addstr(&want, " 1 a | 3300?5>3: EVAL ");
    show_bytes(&want, (const uint8_t *)script, strlen(script));
    (void)buf_addstr(
        &want, " 1 b | 3300?3: RESTORE b $3 $1 REPLACE ABSTTL | 3300!3: RESTORE b $2 $1 REPLACE ABSTTL | "
               "15495: DEL a\n");
    (void)buf_add(&want, "", 1);
    is_from((struct source){.version = VERSION(1, 37)}, "7.0/cluster", "RENAME a b", (const char *)want.p);
    buf_free(&want);
    /* with a selection by type the source may not be there */
    struct filter filter = {0};
    CHECK(filter_add_rule(&filter, "type:hash", false) == NULL);
    is_from(
        (struct source){.filter = &filter}, "7.0/cluster", "RENAME a b",
        ONE
        "VK PROGRAM | 15495>1: DUMP a | 15495?1>2T: PEXPIRETIME a | 3300?1: RESTORE b $2 $1 REPLACE ABSTTL | "
        "15495?1: DEL a | 3300!1: DEL b\n");
    filter_clear(&filter);
}

static void elements(void)
{
    is("SMOVE a b m", ONE "VK PROGRAM | 15495>1: SISMEMBER a m | 3300?1: SADD b m | 15495?1: SREM a m\n");
    is("LMOVE a b LEFT RIGHT",
       ONE "VK PROGRAM | 15495>1: LINDEX a 0 | 3300?1: RPUSH b $1 | 15495?1: LPOP a\n");
    is("LMOVE a b right left",
       ONE "VK PROGRAM | 15495>1: LINDEX a -1 | 3300?1: LPUSH b $1 | 15495?1: RPOP a\n");
    is("RPOPLPUSH a b", ONE "VK PROGRAM | 15495>1: LINDEX a -1 | 3300?1: LPUSH b $1 | 15495?1: RPOP a\n");
    is("SMOVE a b", "LOST kind=malformed-command key=a\n" SKIPPED);
    is("LMOVE a b LEFT", "LOST kind=malformed-command key=a\n" SKIPPED);
}

/* The temporary names of d's slot. */
static const char *temporary(unsigned n)
{
    static char text[4][64];
    char tag[SLOT_TAG_MAX];
    slot_tag(11298, tag);
    snprintf(text[n], sizeof text[n], "df2redis:{%s}:0.%u", tag, n);
    EQ(key_slot(text[n], strlen(text[n])), 11298);
    return text[n];
}

/* The command with the n-th temporary name in place of @n. */
static const char *fill(const char *command)
{
    static char text[300];
    size_t n = 0;
    for (const char *p = command; *p != '\0'; p++) {
        if (*p != '@') {
            text[n++] = *p;
            continue;
        }
        const char *name = temporary((unsigned)(*++p - '0'));
        memcpy(text + n, name, strlen(name));
        n += strlen(name);
    }
    text[n] = '\0';
    return text;
}

/* a and b, fetched beside d, around the command. */
static void gathered(const char *line, const char *command)
{
    char want[2000];
    const char *t0 = temporary(0), *t1 = temporary(1);
    const char *text = fill(command);
    snprintf(want, sizeof want,
             ONE "VK PROGRAM | 11298: DEL %s %s | 15495>1: DUMP a | 11298?1: RESTORE %s 0 $1 REPLACE | "
                 "3300>1: DUMP b | 11298?1: RESTORE %s 0 $1 REPLACE | 11298: %s | 11298A: DEL %s %s\n",
             t0, t1, t0, t1, text, t0, t1);
    is(line, want);
}

static void one_gathered(const char *line, const char *command, const char *cond)
{
    char want[2000];
    const char *t0 = temporary(0);
    const char *text = fill(command);
    snprintf(want, sizeof want,
             ONE "VK PROGRAM | 11298: DEL %s | 15495>1: DUMP a | 11298?1: RESTORE %s 0 $1 REPLACE | "
                 "11298%s: %s | 11298A: DEL %s\n",
             t0, t0, cond, text, t0);
    is(line, want);
}

/* Where the destination is a source, too, and the result would be another one the second time. */
static void own_source(const char *line, const char *command)
{
    char want[2000];
    const char *t0 = temporary(0), *t1 = temporary(1);
    snprintf(want, sizeof want,
             ONE "VK PROGRAM | 11298: DEL %s %s | 11298>1: DUMP d | 11298?1: RESTORE %s 0 $1 REPLACE | "
                 "15495>1: DUMP a | 11298?1: RESTORE %s 0 $1 REPLACE | 11298: %s | 11298A: DEL %s %s\n",
             t0, t1, t0, t1, fill(command), t0, t1);
    is(line, want);
}

static void stores(void)
{
    gathered("SUNIONSTORE d a b", "SUNIONSTORE d @0 @1");
    gathered("SINTERSTORE d a d b", "SINTERSTORE d @0 d @1");
    gathered("SDIFFSTORE d a b", "SDIFFSTORE d @0 @1");
    gathered("PFMERGE d a b", "PFMERGE d @0 @1");
    gathered("BITOP AND d a b", "BITOP AND d @0 @1");
    gathered("ZUNIONSTORE d 2 a b WEIGHTS 2 3 AGGREGATE MAX",
             "ZUNIONSTORE d 2 @0 @1 WEIGHTS 2 3 AGGREGATE MAX");
    gathered("ZINTERSTORE d 3 {d}1 a b", "ZINTERSTORE d 3 {d}1 @0 @1");
    gathered("ZDIFFSTORE d 2 a b", "ZDIFFSTORE d 2 @0 @1");
    own_source("ZUNIONSTORE d 2 d a", "ZUNIONSTORE d 2 @0 @1");
    own_source("BITOP XOR d d a", "BITOP XOR d @0 @1");
    one_gathered("ZRANGESTORE d a 0 -1", "ZRANGESTORE d @0 0 -1", "");
    one_gathered("GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
                 "GEOSEARCHSTORE d @0 FROMMEMBER m BYRADIUS 1 m", "");
    one_gathered("SORT a LIMIT 0 5 ALPHA STORE d", "SORT @0 LIMIT 0 5 ALPHA STORE d", "?1");
    one_gathered("SORT a BY nosort GET # STORE d", "SORT @0 BY nosort GET # STORE d", "?1");
    one_gathered("GEORADIUS a 1 2 3 m STOREDIST d", "GEORADIUS @0 1 2 3 m STOREDIST d", "?1");
    is("ZUNIONSTORE d 5 a b", "LOST kind=malformed-command key=d\n" SKIPPED);
    is_from((struct source){0}, "6.0/cluster", "ZRANGESTORE d a 0 -1",
            "LOST kind=command-too-new key=d\n" SKIPPED);
    is("SORT a BY w_* STORE d", "LOST kind=slots key=a\n" SKIPPED);
    is("SORT {a}1 GET w_* STORE {a}2", "LOST kind=slots key={a}1\n" SKIPPED);
}

/* As many foreign keys as a program has steps for, and one more. */
static void many(void)
{
    char line[600] = "SUNIONSTORE d";
    for (int i = 0; i < 30; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), " k%d", i);
    struct buf b = {0};
    begin("7.0/cluster", (struct source){0});
    add_command(&b, 7, line);
    feed(&b);
    const char *text = capture_text(&cap);
    CHECK(strncmp(text, ONE "VK PROGRAM | 11298: DEL df2redis:", 45) == 0);
    CHECK(strstr(text, "MALFORMED") == NULL);
    end();
    is("SUNIONSTORE d a 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31",
       "LOST kind=slots key=d\n" SKIPPED);
}

/* Arguments too large for a program. */
static void large(void)
{
    struct buf b = {.max = (size_t)16 << 20};
    size_t n = ((size_t)1 << 20) + 5;
    uint8_t *v = malloc(n);
    memset(v, 'v', n);
    struct slice argv[4] = {SLICE("SMOVE"), SLICE("a"), SLICE("b"), {v, n}};
    begin("7.0/cluster", (struct source){0});
    add_entry(&b, 10, 1, argv, 4);
    feed(&b);
    EQ_S(capture_text(&cap), "LOST kind=command-too-large key=a\n" SKIPPED);
    end();
    free(v);
}

static void databases(void)
{
    is("MOVE k 3", "LOST kind=database key=k\n" ONE "IV | DEL k\n");
    is("COPY a b DB 3", "LOST kind=database key=a\n" SKIPPED);
    is("COPY {a}1 {a}2 DB 3 REPLACE", "LOST kind=database key={a}1\n" SKIPPED);
    is("COPY {a}1 {a}2 DB 0", ONE "VK | COPY {a}1 {a}2 DB 0\n");
    struct filter filter = {0};
    CHECK(filter_add_dbs(&filter, "3=0") == NULL);
    is_from((struct source){.filter = &filter}, "7.0/cluster", "MOVE k 3", SKIPPED); /* both are 0 there */
}

static void others(void)
{
    is_from((struct source){.in_snapshot = true}, "7.0/cluster", "SDIFFSTORE {d}1 {d}2 {d}3",
            "LOST kind=command-in-snapshot key={d}1\n" ONE "VK | SDIFFSTORE {d}1 {d}2 {d}3\n");
    is("BITOP AND", "LOST kind=malformed-command key=\n" SKIPPED);
    is("FLUSHALL", ONE "V BARRIER txid=7 | FLUSHALL\n");
    /* the snapshot's strings may go into single SETs */
    struct buf b = hex("'REDIS0009' 00 01 'k' 01 'v'");
    begin("7.0/cluster", (struct source){0});
    flow_begin(&flow, 1, false, true, 1, 0, NULL);
    feed(&b);
    EQ_S(capture_text(&cap), "1 pos=0 db=0 PI string | SET k v\n");
    flow_free(&flow);
    capture_free(&cap);
}

int main(void)
{
    one_slot();
    taken_apart();
    renames();
    elements();
    stores();
    many();
    large();
    databases();
    others();
    return test_done();
}
