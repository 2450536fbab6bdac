/* Raw records through a whole parser, without a control socket: sessions, databases, the end. */

#define TIME UINT64_C(1700000000000000)
#include "parsed.h"

#include "../../common/exits.h"

static int session(const char *more)
{
    char text[400];
    int n = snprintf(
        text, sizeof text,
        "nonce=00000000000000000000000000000000\nsource=dragonfly\nflows=1\nepoch=1\njournal=1\n%s", more);
    return record(REC_SESSION, 0, text, (size_t)n);
}

static bool says(const char *what)
{
    return strstr(parser->message, what) != NULL;
}

/* ---- databases of a cluster ---- */

static void options_of(const char *dbs, const char *exclude)
{
    filter_clear(&opt.filter);
    if (dbs != NULL)
        CHECK(filter_add_dbs(&opt.filter, dbs) == NULL);
    if (exclude != NULL)
        CHECK(filter_add_rule(&opt.filter, exclude, true) == NULL);
}

static void begun(const char *target, const char *list, const char *dbs, const char *exclude,
                  const char *refused)
{
    options_of(dbs, exclude);
    open_parser(target);
    EQ_I(session(list), refused != NULL ? -1 : 0);
    if (refused != NULL && !CHECK(says(refused)))
        printf("  %s\n", parser->message);
    CHECK(says("--db-map") == (refused != NULL));
    end(refused != NULL ? EXIT_USAGE : EXIT_DONE);
}

static void known_at_the_start(void)
{
    begun("7.0/cluster", "dbs=0\n", NULL, NULL, NULL);
    begun("7.0/cluster", "dbs=0,1,3\n", NULL, NULL, "database 1, 3,");
    begun("7.0", "dbs=0,1,3\n", NULL, NULL, NULL);
    begun("7.0/cluster", "", NULL, NULL, NULL);
    begun("7.0/cluster", "dbs=0,1,3\n", "1=0", NULL, "database 3,");
    begun("7.0/cluster", "dbs=0,1,3\n", "1=0,3=0", NULL, NULL);
    begun("7.0/cluster", "dbs=0,1,3\n", "*=0", NULL, NULL);
    begun("7.0/cluster", "dbs=0,1,3\n", "*=0,3=1", NULL, "database 3,");
    begun("7.0/cluster", "dbs=0,1\n", NULL, "db:1", NULL);
    begun("7.0/cluster", "dbs=1\n", NULL, "x*", NULL); /* perhaps all its keys are excluded */
    begun("7.0/cluster", "dbs=1\n", "0=1", NULL, "database 1,");
}

static int data(const char *hextext)
{
    static const char flow[] = "flow=0\nmode=FULL\ntoken=0123456789012345678901234567890123456789\n";
    struct buf b = hex(hextext);
    EQ_I(session(""), 0);
    EQ_I(record(REC_FLOW, 0, flow, sizeof flow - 1), 0);
    int rc = record(REC_DATA, 0, b.p, b.len);
    buf_free(&b);
    return rc;
}

/* Nothing of the key is written, nor of what follows it. */
static void found_later(void)
{
    static const char snapshot[] =
        "'REDIS0009' 00 01 'a' 01 '1' fe 03 00 01 'b' 01 '2' fe 00 00 01 'c' 01 '3'";
    static const char journal[] =
        "'REDIS0009' d2 01 0d 06 03 0a 01 01 02 04 03 'DEL' 01 'x' d2 01 0d 06 00 0a 01 01 02 04 03 "
        "'DEL' 01 'y'";
    static const char flush[] =
        "'REDIS0009' c8 0000000000000000 d3 6400000000000000 ff 0000000000000000 "
        "'0123456789012345678901234567890123456789' 06 03 0a 08 01 01 08 08 'FLUSHALL' "
        "0a 09 01 01 07 07 'FLUSHDB'";
    options_of(NULL, NULL);
    open_parser("7.0/cluster");
    EQ_I(data(snapshot), -1);
    CHECK(says("something of database 3,") && says("--db-map 3=0"));
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "SET a 1\n") != NULL);
    CHECK(strstr(capture_text(&cap), "SET b 2\n") == NULL);
    end(EXIT_USAGE);
    open_parser("7.0/cluster");
    EQ_I(data(journal), -1);
    EQ(parser->e.stats.requests, 0);
    end(EXIT_USAGE);
    open_parser("7.0/cluster");
    EQ_I(data(flush), 0); /* FLUSHALL concerns all, and FLUSHDB nothing that is there */
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "db=0 V BARRIER txid=8 | FLUSHALL\n") != NULL);
    CHECK(strstr(capture_text(&cap), "FLUSHDB") == NULL);
    end(0);
    options_of(NULL, "db:3");
    open_parser("7.0/cluster");
    EQ_I(data(snapshot), 0);
    end(EXIT_DAMAGED); /* cut short */
    options_of("*=0", NULL);
    open_parser("7.0/cluster");
    EQ_I(data(journal), 0);
    EQ(parser->e.stats.requests, 2);
    end(EXIT_DAMAGED);
    open_parser("7.0/cluster");
    EQ_I(data(flush), 0);
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "LOST kind=database key=\n") != NULL);
    end(EXIT_DATA);
    options_of(NULL, NULL);
}

int main(void)
{
    known_at_the_start();
    found_later();
    return test_done();
}
