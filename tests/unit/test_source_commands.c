/* Commands that the table does not know: their keys as the source says them (COMMANDS), and what becomes of
 * them in the stream of a Redis, where they are read again. */
#include "parsed.h"

#include "../../common/exits.h"
#include "../../common/psync.h"
#include "../../parser/command/source_commands.h"

static struct source_commands said;

static bool take(const char *text)
{
    uint8_t *p = exact(text, strlen(text));
    bool ok = source_commands_take(&said, p, strlen(text));
    free(p);
    return ok;
}

/* The arguments that are keys, in order; "?" behind them: there may be others. */
static void keys_are(const char *line, const char *want)
{
    char copy[256], got[128] = "", *save = NULL;
    struct slice argv[32];
    size_t argc = 0, at_key[4], n = 0;
    bool whole;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        argv[argc++] = (struct slice){(const uint8_t *)w, strlen(w)};
    size_t keys = source_commands_keys(&said, argv, argc, at_key, 4, &whole);
    for (size_t i = 0; i < keys; i++)
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%.*s", i > 0 ? " " : "", (int)argv[at_key[i]].n,
                              (const char *)argv[at_key[i]].p);
    snprintf(got + n, sizeof got - n, "%s", whole ? "" : "?");
    if (!EQ_S(got, want))
        printf("  of %s\n", line);
}

static void places_of_keys(void)
{
    CHECK(take("command=ODD.SET,1:0:1:0\ncommand=ODD.ALL,2:-1:2:0\ncommand=ODD.LESS,1:-2:1:0\n"
               "command=ODD.NUM,1#0:1:1\ncommand=ODD.STORE,1:0:1:0,STORE@2:0:1:0\n"
               "command=ODD.BACK,KEYS@-2:-1:1:0\ncommand=ODD.HALF,STREAMS@1:-1:1:2\ncommand=ODD.NONE\n"
               "command=ODD.VAGUE,1:0:1:0,?\ncommand=SET,1:0:1:0\n"));
    EQ(said.n, 9); /* SET is known */
    keys_are("ODD.SET a b", "a");
    keys_are("ODD.SET", "");
    keys_are("ODD.ALL x a 1 b 2", "a b");
    keys_are("ODD.LESS a b timeout", "a b");
    keys_are("ODD.NUM 2 a b c", "a b");
    keys_are("ODD.NUM 9 a b c", "a b c?");
    keys_are("ODD.NUM many a", "?");
    keys_are("ODD.NUM 5 a b c d e f", "a b c d?"); /* more than are asked for */
    keys_are("ODD.STORE a BY x store d", "a d");
    keys_are("ODD.STORE a BY x", "a");
    keys_are("ODD.STORE a STORE a", "a a");
    keys_are("ODD.BACK x KEYS y KEYS a b", "a b");
    keys_are("ODD.NONE a", "");
    keys_are("ODD.VAGUE a b", "a?");
    keys_are("OTHER a", "?");
    source_commands_free(&said);
}

static void malformed(void)
{
    CHECK(!take("command=,1:0:1:0\n"));
    CHECK(!take("command=A,1:0:0:0\n"));
    CHECK(!take("command=A,1:0\n"));
    CHECK(!take("command=A,1:0:1:0x\n"));
    CHECK(!take("command=A,99999999999999999999:0:1:0\n"));
    CHECK(!take("command=A,1#-1:1:1\n"));
    CHECK(!take("command=A,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@1:0:1:0\n"));
    CHECK(take("other=1\ncommand=A,1:0:1:0"));
    EQ(said.n, 1);
    CHECK(take(""));
    EQ(said.n, 0);
}

/* ---- in a stream ---- */

static uint64_t offset; /* of the next byte */

static uint64_t give(const char *line)
{
    struct buf b = {0};
    char copy[256], *save = NULL;
    struct slice word[16];
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
        word[n++] = (struct slice){(const uint8_t *)w, strlen(w)};
    (void)resp_add_array(&b, n);
    for (size_t i = 0; i < n; i++)
        (void)resp_add_bulk(&b, word[i].p, word[i].n);
    EQ_I(record(REC_DATA, at, b.p, b.len), 0);
    at += b.len;
    offset += b.len;
    buf_free(&b);
    return psync_position(offset, 0);
}

static void begin_redis(void)
{
    static const char commands[] = "command=ODD.SET,1:0:1:0\ncommand=ODD.MOVE,1:1:1:0\n";
    char flow[160];
    offset = 1000;
    snprintf(flow, sizeof flow, "flow=0\nmode=PARTIAL\nlsn=%llu\nform=journal\nreplid=%040d\ndb=0\n",
             (unsigned long long)psync_position(offset, 0), 7);
    begin_of("redis", 1, "7.0", flow);
    EQ_I(record(REC_COMMANDS, 0, commands, sizeof commands - 1), 0);
    give("PING");
    asked("cut flow=0 epoch=1\nsynced flow=0 epoch=1\n");
}

static void value_at(uint64_t from, const char *key, const char *value)
{
    char head[160];
    snprintf(head, sizeof head, "key=%s\ndb=0\nstate=value\nttl=-1\nfrom=%llu\nto=%llu\n", key,
             (unsigned long long)from, (unsigned long long)from);
    answer(head, value);
}

#define ASK(k) "reread flow=0 epoch=1 db=0 key=" k "\n"

/* What is written is asked for its requests alone. */
static void requests_are(const char *want)
{
    (void)emit_flush(&parser->e);
    const char *p = capture_text(&cap);
    char got[512] = "";
    size_t n = 0;
    for (const char *bar; (bar = strstr(p, " | ")) != NULL; p = strchr(bar, '\n'))
        n += (size_t)snprintf(got + n, sizeof got - n, "%.*s\n", (int)strcspn(bar + 3, "\n"), bar + 3);
    EQ_S(got, want);
}

static void read_again(void)
{
    begin_redis();
    uint64_t before = give("SET a 1");
    give("ODD.SET k x");
    asked(ASK("k"));
    give("APPEND k y");
    uint64_t read_at = give("SET b 1");
    give("APPEND k z");
    requests_are("SET a 1\nSET b 1\n");
    CHECK(parser->flows[0]->to.hold == before);
    value_at(read_at, "k", "00 01 'v'");
    requests_are("SET k v\nAPPEND k z\n");
    CHECK(parser->flows[0]->to.hold == UINT64_MAX);
    give("ODD.MOVE k l");
    asked(ASK("k") ASK("l"));
    uint64_t behind = give("PING");
    value_at(behind, "k", "00 01 'w'");
    value_at(behind, "l", "00 01 'x'");
    requests_are("SET k w\nSET l x\n");
    end(EXIT_DONE);
}

/* Within a transaction nothing behind its MULTI is confirmed before the value is there; a value from before
 * the EXEC is none. */
static void within_a_transaction(void)
{
    begin_redis();
    uint64_t before = give("SET a 1");
    give("MULTI");
    give("ODD.SET k x");
    give("SET b 2");
    uint64_t behind = give("EXEC");
    asked(ASK("k"));
    requests_are("SET a 1\nSET b 2\n");
    CHECK(parser->flows[0]->to.hold == before);
    value_at(before, "k", "00 01 'o'");
    asked(ASK("k"));
    value_at(behind, "k", "00 01 'v'");
    requests_are("SET k v\n");
    CHECK(parser->flows[0]->to.hold == UINT64_MAX);
    end(EXIT_DONE);
}

/* The databases are exchanged while one of their keys is read: what was there before is in the other one. */
static void swapped(void)
{
    begin_redis();
    give("ODD.SET k x");
    asked(ASK("k"));
    give("SWAPDB 0 1");
    asked("reread flow=0 epoch=1 db=1 key=k\n");
    uint64_t behind = give("PING");
    requests_are("SWAPDB 0 1\n");
    value_at(psync_position(1000, 0), "k", "00 01 'o'"); /* from before it */
    asked(ASK("k"));
    value_at(behind, "k", "00 01 'v'");
    requests_are("SET k v\n");
    CHECK(parser->flows[0]->to.hold != UINT64_MAX); /* that of database 1 is still to come */
    close_parser();
}

/* Another master goes on: the record passes, and the numbering of the flow goes on. */
static void lineage(void)
{
    static const char other[] = "flow=0\nmode=LINEAGE\nreplid=1111111111111111111111111111111111111111\n";
    begin_redis();
    give("SET a 1");
    EQ_I(record(REC_FLOW, 0, other, sizeof other - 1), 0);
    give("SET b 1");
    (void)emit_flush(&parser->e);
    const char *text = capture_text(&cap);
    CHECK(strstr(text, "SET a 1") != NULL && strstr(text, "SET b 1") != NULL);
    end(EXIT_DONE);
    begin("7.0"); /* of a Dragonfly's flows all have one */
    EQ_I(record(REC_FLOW, 0, other, sizeof other - 1), -1);
    EQ_I(parser->status, EXIT_DAMAGED);
    close_parser();
}

int main(void)
{
    places_of_keys();
    malformed();
    read_again();
    within_a_transaction();
    swapped();
    lineage();
    return test_done();
}
