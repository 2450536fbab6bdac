/* Keys that are looked for at the target: where their PROBE records stand, what is read again, and which
 * commands have a key looked for before them. Whole parsers, raw records by hand, the control socket a pair
 * of descriptors. */
#include "parsed.h"

#include "../../common/exits.h"

static void entry(const char *line)
{
    struct buf b = {0};
    add_command(&b, 7, line);
    EQ_I(record(REC_DATA, at, b.p, b.len), 0);
    at += b.len;
    buf_free(&b);
}

static int check(const char *text)
{
    return record(REC_CHECK, 0, text, strlen(text));
}

#define SYNCED "cut flow=0 epoch=1\nsynced flow=0 epoch=1\n"
#define ASK(k) "reread flow=0 epoch=1 db=0 key=" k "\n"

/* A key is looked for behind all entries that the source had written by then. */
static void in_its_place(void)
{
    begin("7.0");
    entry("SET a 1"); /* 100 */
    wrote("1 pos=101 db=0 IV string | SET a 1\n");
    asked(SYNCED);
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=key\ndb=0\nat=101\nkey=a\nkey=b%20c\n"), 0);
    wrote("2 pos=101 db=0 probe 0 0:\n3 pos=101 db=0 probe 1 0:a | EXISTS a\n"
          "4 pos=101 db=0 probe 1 0:b c | EXISTS b\\x20c\n");
    EQ_I(check("state=key\ndb=2\nat=103\nkey=d\n"), 0);
    wrote("");
    entry("SET a 2");
    wrote("5 pos=102 db=0 IV string | SET a 2\n");
    entry("SET a 3"); /* with it the place has come, though no entry follows */
    wrote("6 pos=103 db=0 IV string | SET a 3\n7 pos=103 db=2 probe 1 2:d | EXISTS d\n");
    EQ_I(check("state=done\n"), 0);
    wrote("8 pos=103 db=0 probe 4 0:\n");
    asked("");
    end(EXIT_DONE);
}

/* What the target lacks is read again, and looked for behind its value. */
static void again(void)
{
    begin("7.0");
    entry("SET a 1"); /* 100 */
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=again\ndb=0\nkey=k\n"), 0);
    asked(SYNCED ASK("k"));
    (void)capture_text(&cap);
    entry("APPEND k x"); /* 101: the value contains it */
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 02 'vx'");
    wrote("4 pos=101 db=0 IFV string | SET k vx\n5 pos=101 db=0 LV position\n6 pos=102 db=0 V position\n"
          "7 pos=102 db=0 probe 2 0:k | EXISTS k\n");
    EQ_I(check("state=again\ndb=0\nkey=gone\n"), 0);
    asked(ASK("gone"));
    answer("key=gone\ndb=0\nstate=missing\nttl=-2\nfrom=102\nto=102\n", NULL);
    wrote("8 pos=102 db=0 IV | DEL gone\n9 pos=102 db=0 probe 2 0:gone | EXISTS gone\n");
    EQ_I(check("state=again\ndb=0\nkey=e\n"), 0);
    answer("key=e\ndb=0\nstate=error\nerror=refused\n", NULL);
    wrote("LOST kind=verify key=e\n10 pos=102 db=0 probe 2 0:e\n"); /* that it was reported is enough */
    EQ(parser->rereads.count, 0);
    end(EXIT_DATA);
}

/* A flush takes what was asked for with it, but dfreader waits for an answer. */
static void flushed(void)
{
    begin("7.0");
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=again\ndb=0\nkey=k\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    entry("FLUSHALL");
    wrote("2 pos=100 db=0 probe 2 0:k | EXISTS k\n3 pos=101 db=0 V BARRIER txid=7 | FLUSHALL\n");
    end(EXIT_DONE);
}

/* A key is given up while an entry is taken up: what is written then does not confirm that entry, of which a
 * part still follows. */
static void within_an_entry(void)
{
    begin("7.0");
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=again\ndb=0\nkey=k\n"), 0);
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=100\nto=102\n", "00 02 'vx'");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    ctl_close(&parser->ctl);
    entry("DEL k o"); /* 100: perhaps the answer has it, and nobody is there to be asked again */
    wrote("LOST kind=verify key=k\n2 pos=100 db=0 probe 2 0:k\n3 pos=100 db=0 IV | DEL o\n");
    end(EXIT_DATA);
}

/* A command that takes something over from what is there: once for each key, and only while it is verified.
 */
static void before_commands(void)
{
    begin("7.0");
    EQ_I(check("state=begin\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    entry("INCR n");
    wrote("2 pos=100 db=0 probe 3 0:n | EXISTS n\n3 pos=101 db=0 V | INCR n\n");
    entry("INCR n");
    wrote("4 pos=102 db=0 V | INCR n\n");
    entry("SET n 1");
    entry("RPUSH l 1");
    entry("DEL n l");
    wrote("5 pos=103 db=0 IV string | SET n 1\n6 pos=104 db=0 V | RPUSH l 1\n7 pos=105 db=0 IVK | DEL n l\n");
    entry("SET t 1 KEEPTTL");
    wrote("8 pos=105 db=0 probe 3 0:t | EXISTS t\n9 pos=106 db=0 IV | SET t 1 KEEPTTL\n");
    entry("RENAME x y"); /* y is what is missing then */
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "10 pos=106 db=0 probe 3 0:y | EXISTS x\n") != NULL);
    EQ_I(check("state=done\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    entry("INCR m");
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "probe") == NULL);
    end(EXIT_DONE);
}

/* Keys that are left out, and those of which it was reported, are not asked for; new names are. */
static void selected(void)
{
    CHECK(filter_add_rule(&opt.filter, "prefix:no", true) == NULL);
    CHECK(filter_add_rename(&opt.filter, "old:=new:") == NULL);
    CHECK(filter_add_dbs(&opt.filter, "0=3") == NULL);
    begin("7.0");
    EQ_I(check("state=begin\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    EQ_I(check("state=key\ndb=0\nat=100\nkey=no1\nkey=old:1\nkey=x\n"), 0);
    wrote("2 pos=100 db=0 probe 1 0:no1\n3 pos=100 db=3 probe 1 0:old:1 | EXISTS new:1\n"
          "4 pos=100 db=3 probe 1 0:x | EXISTS x\n");
    entry("JSON.SET x $ 1");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    EQ_I(check("state=key\ndb=0\nat=100\nkey=x\n"), 0);
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "EXISTS") == NULL);
    end(EXIT_DATA);
    filter_clear(&opt.filter);
}

static void malformed(void)
{
    static const char *const wrong[] = {"",
                                        "state=other\n",
                                        "state=key\ndb=0\n",
                                        "state=key\nat=1\nkey=a\n",
                                        "state=key\ndb=0\nat=x\nkey=a\n",
                                        "state=again\nkey=a\n",
                                        "state=key\ndb=0\nat=1\nkey=a",
                                        "state=key\ndb=99999999999\nat=1\nkey=a\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        begin("7.0");
        EQ_I(check(wrong[i]), -1);
        end(EXIT_DAMAGED);
    }
}

/* Only the beginning may be told within the full sync, even between the parts of a key; no position with it.
 */
static void within_a_key(void)
{
    struct buf b = hex("'REDIS0009' fe 00 02 01 'k' 02 01 'a'");
    begin_flow("portable", "flow=0\nmode=FULL\n");
    EQ_I(record(REC_DATA, 0, b.p, b.len), 0);
    EQ_I(check("state=begin\n"), 0);
    wrote("1 pos=0 db=0 IF set | DEL k\n2 pos=0 db=0 I set | SADD k a\n3 pos=0 db=0 probe 0 0:\n");
    EQ_I(check("state=key\ndb=0\nat=0\nkey=k\n"), -1);
    end(EXIT_DAMAGED);
    buf_free(&b);
}

/* Nobody is there to answer: a stream that is replayed. */
static void offline(void)
{
    begin("7.0");
    ctl_close(&parser->ctl);
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=key\ndb=0\nat=100\nkey=a\n"), 0);
    entry("INCR a");
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "probe") == NULL);
    end(EXIT_DONE);
}

/* Keys cannot be read again: every question has an answer all the same. */
static void without_rereads(void)
{
    opt.no_reread = true;
    begin("7.0");
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=key\ndb=0\nat=100\nkey=a\nkey=b\n"), 0);
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "2 pos=100 db=0 probe 1 0:\n3 pos=100 db=0 probe 1 0:\n") != NULL);
    end(EXIT_DONE);
    opt.no_reread = false;
}

int main(void)
{
    in_its_place();
    again();
    flushed();
    within_an_entry();
    before_commands();
    selected();
    malformed();
    within_a_key();
    offline();
    without_rereads();
    return test_done();
}
