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

/* The same where a writer tells what is missing: only if the key is there is anything done, also within the
 * full sync, else the key, or the one that is made of it, is missing afterwards. */
#define S        "\\x20"
#define IF_THERE "if" S "redis.pcall('EXISTS',KEYS[1])==0" S "then" S "return" S "0" S "end" S
#define ELSE_DEL                                                                                             \
    "if" S "redis.pcall('EXISTS',KEYS[1])==0" S "then" S "return" S "redis.call('DEL',KEYS[2])" S "end" S
#define IT "return" S "redis.call(unpack(ARGV))"

static void begin_guarded(void)
{
    begin("7.0");
    parser->rereads.writer = true;
    EQ_I(check("state=begin\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
}

static void wrote_of(const char *line, const char *want)
{
    entry(line);
    wrote(want);
}

static void guarded(void)
{
    begin_guarded();
    wrote_of("INCR n", "2 pos=100 db=0 probe 3 0:n | EXISTS n\n"
                       "3 pos=101 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    wrote_of("APPEND n x", "4 pos=102 db=0 V key=3 | EVAL " IF_THERE IT " 1 n APPEND n x\n");
    /* What else is done with it may have removed it: what makes it anew then is told. */
    wrote_of("PERSIST n", "5 pos=103 db=0 IV | PERSIST n\n");
    wrote_of("INCR n", "6 pos=103 db=0 probe 3 0:n | EXISTS n\n"
                       "7 pos=104 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    wrote_of("PREPEND p x", "8 pos=104 db=0 probe 3 0:p | EXISTS p\n"
                            "9 pos=105 db=0 V key=3 | EVAL " IF_THERE "return" S
                            "redis.call('SET',KEYS[1],ARGV[1]..(redis.call('GET',KEYS[1])" S "or" S
                            "''),'KEEPTTL') 1 p x\n");
    wrote_of("RENAME x y", "10 pos=105 db=0 probe 3 0:y | EXISTS x\n"
                           "11 pos=106 db=0 VK key=3 | EVAL " ELSE_DEL IT " 2 x y RENAME x y\n");
    wrote_of("RPUSH l 1", "12 pos=107 db=0 V | RPUSH l 1\n");
    end(EXIT_DONE);
}

/* What a command was guarded for need not be looked for by itself, but what it only reads. */
static void guarded_is_looked_for(void)
{
    begin_guarded();
    EQ_I(check("state=key\ndb=0\nat=100\nkey=a\n"), 0);
    entry("INCR n");
    entry("COPY x y REPLACE");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    EQ_I(check("state=key\ndb=0\nat=102\nkey=n\nkey=x\nkey=y\nkey=z\n"), 0);
    wrote("7 pos=102 db=0 probe 1 0:n\n8 pos=102 db=0 probe 1 0:x | EXISTS x\n"
          "9 pos=102 db=0 probe 1 0:y\n10 pos=102 db=0 probe 1 0:z | EXISTS z\n");
    end(EXIT_DONE);
}

/* Before the place of the first key that this run asks for, the target may be further than the entries: what
 * it says of their keys counts for nothing. */
static void guarded_again_by_another_run(void)
{
    begin_guarded();
    entry("INCR n");
    entry("RENAME x y");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    EQ_I(check("state=key\ndb=0\nat=103\nkey=n\nkey=y\n"), 0);
    wrote("");
    wrote_of("SET a 1", "6 pos=103 db=0 IV string | SET a 1\n7 pos=103 db=0 probe 1 0:n | EXISTS n\n"
                        "8 pos=103 db=0 probe 1 0:y | EXISTS y\n");
    wrote_of("INCR n", "9 pos=103 db=0 probe 3 0:n | EXISTS n\n"
                       "10 pos=104 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    EQ_I(check("state=key\ndb=0\nat=103\nkey=n\n"), 0);
    wrote("11 pos=104 db=0 probe 1 0:n\n");
    end(EXIT_DONE);
}

/* A key that is read again because the target lacks it keeps nothing back, no position either: a run that
 * resumes would not know of it. An answer that an entry may not be in is asked for once more. */
static void guarded_and_passing(void)
{
    begin_guarded();
    asked(SYNCED);
    EQ_I(check("state=again\ndb=0\nown=1\nkey=y\n"), 0);
    wrote("");
    wrote_of("RENAME x y", "2 pos=100 db=0 probe 3 0:y | EXISTS x\n"
                           "3 pos=101 db=0 VK key=3 | EVAL " ELSE_DEL IT " 2 x y RENAME x y\n");
    wrote_of("DEL y z", "4 pos=102 db=0 IVK | DEL y z\n");
    wrote_of("SET y 1", "5 pos=103 db=0 IV string | SET y 1\n");
    asked(ASK("y"));
    answer("key=y\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=103\n", "00 01 'a'");
    asked(ASK("y"));
    answer("key=y\ndb=0\nstate=value\nttl=-1\nfrom=104\nto=105\n", "00 01 'b'");
    wrote_of("APPEND y c", "6 pos=103 db=0 probe 3 0:y | EXISTS y\n"
                           "7 pos=104 db=0 V key=3 | EVAL " IF_THERE IT " 1 y APPEND y c\n");
    asked("");
    wrote_of("APPEND y d", "8 pos=105 db=0 V key=3 | EVAL " IF_THERE IT " 1 y APPEND y d\n");
    asked(ASK("y"));
    answer("key=y\ndb=0\nstate=value\nttl=100000\nfrom=105\nto=105\n", "00 02 'cd'");
    wrote("9 pos=105 db=0 IV string | SET y cd PXAT 4000000100000\n"
          "10 pos=105 db=0 probe 5 0:y | EXISTS y\n");
    end(EXIT_DONE);
}

/* Of the value nothing but the whole is written; what takes several requests is no string, and there. */
static void guarded_and_whole(void)
{
    begin("portable");
    parser->rereads.writer = true;
    EQ_I(check("state=begin\n"), 0);
    EQ_I(check("state=again\ndb=0\nkey=l\n"), 0);
    answer("key=l\ndb=0\nstate=value\nttl=-1\nfrom=100\nto=100\n", "02 01 01 'a'");
    wrote("1 pos=100 db=0 probe 0 0:\n2 pos=100 db=0 V position\n3 pos=100 db=0 probe 2 0:l | EXISTS l\n");
    end(EXIT_DONE);
}

/* A key that could not be told to be missing has no condition. */
static void not_guarded(void)
{
    char line[1600] = "INCR ";
    begin_guarded();
    memset(line + 5, 0x78, 1500);
    entry(line);
    entry("JSON.SET j $ 1");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    wrote_of("INCR j", "5 pos=102 db=0 probe 3 0:j\n6 pos=103 db=0 V | INCR j\n");
    entry(line);
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "EVAL") == NULL);
    end(EXIT_DATA);
}

/* A flush takes all with it: what makes a key anew behind it is told. */
static void guarded_behind_flush(void)
{
    begin_guarded();
    entry("INCR n");
    entry("FLUSHALL");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    entry("INCR n");
    (void)emit_flush(&parser->e);
    CHECK(strstr(capture_text(&cap), "probe 3 0:n | EXISTS n\n") != NULL);
    end(EXIT_DONE);
}

/* Commands that take in more than that: what they write is read again. */
static void guarded_by_reading(void)
{
    begin_guarded();
    asked(SYNCED);
    wrote_of("BITOP OR d a b", "2 pos=100 db=0 V position\n");
    asked(ASK("d"));
    wrote_of("RENAMENX e f", "3 pos=100 db=0 V position\n");
    asked(ASK("e") ASK("f"));
    wrote_of("MOVE g 5", "4 pos=100 db=0 V position\n");
    asked("reread flow=0 epoch=1 db=5 key=g\n" ASK("g"));
    wrote_of("COPY g h DB 4", "5 pos=100 db=0 V position\n");
    (void)emit_flush(&parser->e);
    parser_drop_flows(parser);
    close_parser();
}

/* When all keys were looked for, a key that may have been missing on the way here needs to be there, and is
 * told if it is not; others are made anew. */
static void guarded_at_the_end(void)
{
    begin_guarded();
    entry("INCR n");
    entry("PERSIST n");
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    EQ_I(check("state=ends\n"), 0);
    wrote("5 pos=102 db=0 probe 1 0:\n");
    wrote_of("INCR n", "6 pos=102 db=0 probe 3 0:n | EXISTS n\n"
                       "7 pos=103 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    wrote_of("INCR m", "8 pos=104 db=0 V | INCR m\n");
    EQ_I(check("state=again\ndb=0\nown=1\nkey=n\n"), 0);
    answer("key=n\ndb=0\nstate=value\nttl=-1\nfrom=104\nto=104\n", "00 01 '2'");
    wrote("9 pos=104 db=0 IV string | SET n 2\n10 pos=104 db=0 probe 5 0:n | EXISTS n\n");
    EQ_I(check("state=done\n"), 0);
    wrote("11 pos=104 db=0 probe 4 0:\n");
    wrote_of("INCR n", "12 pos=105 db=0 V | INCR n\n");
    end(EXIT_DONE);
}

/* From the second time on what could be missing is read again without being looked for, as that would be told
 * too late; then it is there. It is verified behind that, and behind what else is read again. */
static void guarded_to_the_last(void)
{
    begin_guarded();
    asked(SYNCED);
    entry("INCR n");
    EQ_I(check("state=ends\n"), 0);
    EQ_I(check("state=ends\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    wrote_of("INCR n", "6 pos=102 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    wrote_of("RENAME x y", "7 pos=103 db=0 VK | RENAME x y\n");
    asked(ASK("n"));
    EQ_I(check("state=done\n"), 0);
    wrote_of("RENAMENX e f", "8 pos=103 db=0 V position\n");
    asked(ASK("e") ASK("f"));
    answer("key=n\ndb=0\nstate=value\nttl=-1\nfrom=104\nto=104\n", "00 01 '2'");
    wrote("9 pos=103 db=0 IV string | SET n 2\n");
    wrote_of("INCR n", "10 pos=103 db=0 V | INCR n\n");
    answer("key=e\ndb=0\nstate=missing\nfrom=105\nto=105\n", NULL);
    answer("key=f\ndb=0\nstate=missing\nfrom=105\nto=105\n", NULL);
    wrote("11 pos=103 db=0 IV | DEL e\n12 pos=105 db=0 IV | DEL f\n13 pos=105 db=0 probe 4 0:\n");
    end(EXIT_DONE);
}

/* There is no room to read it again: it is looked for, and the flow not verified in this run. */
static void guarded_without_room(void)
{
    begin_guarded();
    entry("INCR n");
    EQ_I(check("state=ends\n"), 0);
    EQ_I(check("state=ends\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    parser->rereads.count = REREAD_KEYS;
    wrote_of("INCR n", "6 pos=101 db=0 probe 3 0:n | EXISTS n\n"
                       "7 pos=102 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    parser->rereads.count = 0;
    EQ_I(check("state=done\n"), 0);
    wrote("");
    end(EXIT_DONE);
}

/* The stream ends while keys are read again: the run that resumes does that. It finds the one missing, and
 * gets the entry again that made the other be asked for. */
static void guarded_until_the_end(void)
{
    begin_guarded();
    EQ_I(check("state=again\ndb=0\nown=1\nkey=n\n"), 0);
    entry("INCR n");
    wrote_of("BITOP OR d a b",
             "2 pos=100 db=0 probe 3 0:n | EXISTS n\n"
             "3 pos=101 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n4 pos=101 db=0 V position\n");
    parser_end_rereads(parser);
    EQ(sink_reached(&parser->flows[0]->to), 101);
    wrote_of("SET a 1", "5 pos=101 db=0 IV string | SET a 1\n");
    end(EXIT_DONE);
}

/* The stream ends before the place of an answer: with the value the target would have entries that the run
 * that resumes gets again. */
static void guarded_ahead_of_the_end(void)
{
    begin_guarded();
    EQ_I(check("state=again\ndb=0\nown=1\nkey=n\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    answer("key=n\ndb=0\nstate=value\nttl=-1\nfrom=120\nto=120\n", "00 01 '2'");
    parser_end_rereads(parser);
    wrote("");
    end(EXIT_DONE);
}

/* It is verified no longer, and not because all is there. */
static void guarded_until_it_failed(void)
{
    begin_guarded();
    entry("INCR n");
    EQ_I(check("state=failed\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    wrote_of("INCR n", "4 pos=102 db=0 V | INCR n\n");
    end(EXIT_DONE);
}

/* Within the full sync, too. */
static void guarded_within_the_full_sync(void)
{
    struct buf b = hex("'REDIS0009' d2 01"), e = {0};
    begin_flow("7.0", "flow=0\nmode=FULL\n");
    parser->rereads.writer = true;
    EQ_I(check("state=begin\n"), 0);
    (void)emit_flush(&parser->e);
    (void)capture_text(&cap);
    add_command(&e, 7, "INCR n");
    add_plen(&b, e.len);
    (void)buf_add(&b, e.p, e.len);
    EQ_I(record(REC_DATA, 0, b.p, b.len), 0);
    wrote("2 pos=0 db=0 probe 3 0:n | EXISTS n\n3 pos=0 db=0 V key=3 | EVAL " IF_THERE IT " 1 n INCR n\n");
    parser_drop_flows(parser);
    close_parser();
    buf_free(&b);
    buf_free(&e);
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
    guarded();
    guarded_is_looked_for();
    guarded_again_by_another_run();
    guarded_and_passing();
    guarded_and_whole();
    not_guarded();
    guarded_behind_flush();
    guarded_by_reading();
    guarded_at_the_end();
    guarded_to_the_last();
    guarded_without_room();
    guarded_until_the_end();
    guarded_ahead_of_the_end();
    guarded_until_it_failed();
    guarded_within_the_full_sync();
    selected();
    malformed();
    within_a_key();
    offline();
    without_rereads();
    return test_done();
}
