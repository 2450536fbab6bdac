/* Keys read again from the source: what is asked for, which entries an answer contains, and what is written
 * where. Whole parsers, raw records by hand, the control socket a pair of descriptors. */
#include "parsed.h"

#include "../../common/exits.h"

static void bytes(struct buf *b)
{
    EQ_I(record(REC_DATA, at, b->p, b->len), 0);
    at += b->len;
    buf_free(b);
}

static void entry_of(uint64_t txid, const char *line)
{
    struct buf b = {0};
    add_command(&b, txid, line);
    bytes(&b);
}

static void entry(const char *line)
{
    entry_of(7, line);
}

#define ASK(k)    "reread flow=0 epoch=1 db=0 key=" k "\n"
#define SYNCED    "cut flow=0 epoch=1\nsynced flow=0 epoch=1\n"
#define V(s, p)   s " pos=" p " db=0 "
#define POS(s, p) V(s, p) "V position\n"

/* ---- the procedure ---- */

/* The answer lies before the flow's present: it is written at once, and the position is free again. */
static void simple(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    asked(ASK("k") SYNCED);
    wrote(POS("1", "100"));
    entry("SET other 1"); /* 101: goes on, but nothing behind 100 is confirmed */
    wrote(V("2", "100") "IV string | SET other 1\n");
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 01 'v'");
    wrote(V("3", "100") "IFV string | SET k v\n" V("4", "100") "LV position\n" POS("5", "102"));
    entry("SET k 2"); /* 102 */
    wrote(V("6", "103") "IV string | SET k 2\n");
    asked("");
    EQ(parser->e.stats.reread, 1);
    end(EXIT_DONE);
}

static void expires_and_missing(void)
{
    begin("7.0");
    entry("CL.THROTTLE k 1 1 1");
    answer("key=k\ndb=0\nstate=value\nttl=100000\nfrom=101\nto=101\n", "00 01 'v'");
    wrote(POS("1", "100") V("2", "100") "IFV string | SET k v\n" V(
        "3", "100") "ILV string | PEXPIREAT k 4000000100000\n" POS("4", "101"));
    end(EXIT_DONE);
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    answer("key=k\ndb=0\nstate=missing\nttl=-2\nfrom=101\nto=101\n", NULL);
    wrote(POS("1", "100") V("2", "101") "IV | DEL k\n");
    end(EXIT_DONE);
}

/* Each counted record so far: its position, h where that is not reached, f where it is no part of an entry.
 */
static void places_are(const char *want)
{
    struct buf b = capture_bytes(&cap);
    char got[256] = "";
    struct rec r;
    for (size_t next = 0, n = 0; next + REC_HEADER <= b.len; next += REC_HEADER + r.len) {
        memcpy(&r, b.p + next, sizeof r);
        if (r.seq != 0)
            n += (size_t)snprintf(got + n, sizeof got - n, " %llu%s%s", (unsigned long long)r.pos,
                                  (r.flags & RF_HELD) != 0 ? "h" : "", (r.flags & RF_FRESH) != 0 ? "f" : "");
    }
    EQ_S(got, want);
    buf_free(&b);
}

/* Whenever the answer comes, the entries around it say the same of their places. */
static void places(void)
{
    static const char answered[] = "key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n";
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("SET other 1");         /* 101 */
    answer(answered, "00 01 'v'");
    entry("APPEND k b"); /* 102 */
    entry("SET other 2");
    (void)emit_flush(&parser->e);
    places_are(" 101h 102h 102hf 102hf 102f 103 104");
    end(EXIT_DONE);
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    entry("SET other 1");
    entry("APPEND k b"); /* kept */
    entry("SET other 2");
    answer(answered, "00 01 'v'");
    (void)emit_flush(&parser->e);
    places_are(" 101h 102h 103h 104h 104hf 104hf 104hf 104f");
    end(EXIT_DONE);
}

/* Entries that the answer contains are dropped, those behind it follow it in order, with their own times. */
static void kept_back(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("APPEND k a");          /* 101: contained */
    entry("APPEND k b");          /* 102: behind */
    entry("EXPIRE k 100");        /* 103: behind */
    wrote(POS("1", "100") POS("2", "100") POS("3", "100") POS("4", "100"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 01 'v'");
    wrote(V("5", "100") "IFV string | SET k v\n" V("6", "100") "LV position\n" POS("7", "100")
              V("8", "100") "V | APPEND k b\n" V("9", "104") "IV | PEXPIREAT k 4000000100000\n");
    end(EXIT_DONE);
}

/* Answered before the flow has come so far: the value waits for its place. */
static void ahead(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=103\nto=103\n", "00 01 'v'");
    wrote(POS("1", "100"));
    entry("APPEND k a"); /* 101: contained */
    wrote(POS("2", "100"));
    entry("SET other 1"); /* 102: and now it is as far as the value, whether more comes or not */
    wrote(V("3", "100") "IV string | SET other 1\n" V("4", "100") "IFV string | SET k v\n" V(
        "5", "100") "LV position\n" POS("6", "103"));
    entry("APPEND k b"); /* 103 */
    wrote(V("7", "104") "V | APPEND k b\n");
    asked(ASK("k") SYNCED);
    end(EXIT_DONE);
}

/* Its place lies within the bytes of one record. */
static void in_between(void)
{
    struct buf b = {0};
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    answer("key=k\ndb=0\nstate=missing\nfrom=102\nto=102\n", NULL);
    add_command(&b, 7, "SET other 1"); /* 101 */
    add_command(&b, 7, "APPEND k b");  /* 102 */
    bytes(&b);
    wrote(POS("1", "100") V("2", "100") "IV string | SET other 1\n" V("3", "102") "IV | DEL k\n" V(
        "4", "103") "V | APPEND k b\n");
    end(EXIT_DONE);
}

/* An entry that the answer may contain or not. */
static void ambiguous(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("APPEND k a");          /* 101 */
    asked(ASK("k") SYNCED);
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=102\n", "00 01 'x'");
    asked(ASK("k"));
    wrote(POS("1", "100") POS("2", "100"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=104\n",
           "00 01 'y'"); /* and again while it waits */
    asked("");
    entry("APPEND k b"); /* 102 */
    asked(ASK("k"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=103\n", "00 01 'y'"); /* begun too early */
    asked(ASK("k"));
    wrote(POS("3", "100"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=103\nto=103\n", "00 01 'z'");
    wrote(V("4", "100") "IFV string | SET k z\n" V("5", "100") "LV position\n" POS("6", "103"));
    end(EXIT_DONE);
}

static void never_still(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("APPEND k a");          /* 101 */
    for (unsigned i = 0; i < REREAD_TRIES; i++)
        answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=102\n", "00 01 'x'");
    /* it is lost what the first entry did; the second is written as if nothing had been asked */
    wrote(POS("1", "100")
              POS("2", "100") "LOST kind=command-needs-source key=k\n" V("3", "102") "V | APPEND k a\n");
    entry("SET k 1");
    wrote(V("4", "103") "IV string | SET k 1\n");
    end(EXIT_DATA);
}

static void errors(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    entry("APPEND k a");
    answer("key=k\ndb=0\nstate=error\nerror=NOPERM%20no\n", NULL);
    wrote(POS("1", "100")
              POS("2", "100") "LOST kind=command-needs-source key=k\n" V("3", "102") "V | APPEND k a\n");
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=103\nto=103\n", "00 01 'x'"); /* nobody waits for it */
    wrote("");
    EQ_I(record(REC_KEY, 0, "key=k\n", 6), -1); /* no blank line */
    end(EXIT_DAMAGED);
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=101\n",
           NULL); /* no value: like a damaged RESTORE */
    wrote(POS("1", "100") "LOST kind=restore-payload key=k\n" V("2", "101") "IV | DEL k\n");
    end(EXIT_DATA);
}

static void nobody_answers(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    entry("APPEND k a");
    wrote(POS("1", "100") POS("2", "100"));
    EQ_I(parser_end(parser), EXIT_DATA);
    const char *text = capture_text(&cap);
    CHECK(strstr(text, "LOST kind=command-needs-source key=k\n" V("3", "102") "V | APPEND k a\n") == text);
    parser_free(parser);
    free(parser);
    capture_free(&cap);
    close(peer);
    /* an entry that was kept back wants the same: there is no time for that any more */
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    entry("CL.THROTTLE k 1 1 1");
    (void)parser_end(parser);
    EQ(parser->rereads.count, 0);
    EQ(parser->e.stats.lost, 2);
    end(EXIT_DATA);
    /* dfreader has gone */
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    close(peer);
    parser_control(parser);
    wrote(POS("1", "100") "LOST kind=command-needs-source key=k\n" POS("2", "101"));
    entry("CL.THROTTLE k 1 1 1"); /* nobody to ask */
    wrote("LOST kind=command-needs-source key=k\n" POS("3", "102"));
    peer = -1;
    end(EXIT_DATA);
    /* no answer for a minute */
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    TAILQ_FIRST(&parser->rereads.list)->requested_at -= REREAD_TIMEOUT + 1;
    parser_poll(parser);
    wrote(POS("1", "100") "LOST kind=command-needs-source key=k\n" POS("2", "101"));
    end(EXIT_DATA);
    opt.no_reread = true;
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    asked(SYNCED);
    wrote("LOST kind=command-needs-source key=k\n" POS("1", "101"));
    end(EXIT_DATA);
    opt.no_reread = false;
}

/* ---- commands with several keys ---- */

static void joined(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("RENAME k d");          /* 101: what d is now only the source knows */
    asked(ASK("k") SYNCED ASK("d"));
    wrote(POS("1", "100") POS("2", "100"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=101\n", "00 01 'v'"); /* before the RENAME */
    asked(ASK("k"));
    answer("key=d\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 01 'v'");
    wrote(V("3", "100") "IFV string | SET d v\n" V("4", "100") "LV position\n" POS("5", "100"));
    answer("key=k\ndb=0\nstate=missing\nfrom=102\nto=102\n", NULL);
    wrote(V("6", "102") "IV | DEL k\n");
    end(EXIT_DONE);
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("MOVE k 3");            /* 101 */
    asked(ASK("k") SYNCED "reread flow=0 epoch=1 db=3 key=k\n");
    wrote(POS("1", "100") POS("2", "100"));
    answer("key=k\ndb=3\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 01 'v'");
    wrote("3 pos=100 db=3 IFV string | SET k v\n4 pos=100 db=3 LV position\n5 pos=100 db=3 V position\n");
    end(EXIT_DATA); /* k of database 0 was not answered */
}

/* Of DEL and MSET only the parts of such a key are kept back. */
static void divided(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    entry("DEL a k b");           /* 101 */
    entry("MSET k 1 c 2");        /* 102 */
    entry("DEL k");               /* 103 */
    wrote(POS("1", "100") V("2", "100") "IVK | DEL a b\n" V("3", "100") "IV | MSET c 2\n" POS("4", "100"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=102\nto=102\n", "00 01 'v'");
    wrote(V("5", "100") "IFV string | SET k v\n" V("6", "100") "LV position\n" POS("7", "100")
              V("8", "100") "IV | MSET k 1\n" V("9", "104") "IV | DEL k\n");
    end(EXIT_DONE);
}

/* What a flush empties need not be read; a value read before it is none. */
static void flushed(void)
{
    begin("portable");
    entry("CL.THROTTLE k 1 1 1"); /* 100 */
    asked(ASK("k") SYNCED);
    entry("FLUSHALL"); /* 101 */
    wrote(POS("1", "100") V("2", "102") "V BARRIER txid=7 | FLUSHALL\n");
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=101\n", "00 01 'v'");
    asked("");
    wrote("");
    entry("CL.THROTTLE k 1 1 1"); /* 102 */
    asked(ASK("k"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=101\nto=101\n", "00 01 'v'"); /* late, once more */
    asked(ASK("k"));
    answer("key=k\ndb=0\nstate=missing\nfrom=103\nto=103\n", NULL);
    wrote(POS("3", "102") V("4", "103") "IV | DEL k\n");
    end(EXIT_DONE);
    /* A cluster has one database: the position is not held before the flush, where other flows are past it.
     */
    begin("7.0/cluster");
    entry("CL.THROTTLE k 1 1 1");
    entry("FLUSHDB");
    wrote(POS("1", "100") V("2", "102") "V BARRIER txid=7 | FLUSHDB\n");
    end(EXIT_DONE);
    /* Where keys are selected the flush is reported, and the key is still read. */
    CHECK(filter_add_rule(&opt.filter, "prefix:x", true) == NULL);
    begin("7.0");
    entry("CL.THROTTLE k 1 1 1");
    entry("FLUSHALL");
    wrote(POS("1", "100") "LOST kind=selection key=\n" POS("2", "100"));
    answer("key=k\ndb=0\nstate=missing\nfrom=102\nto=102\n", NULL);
    wrote(V("3", "102") "IV | DEL k\n");
    end(EXIT_DATA);
    filter_clear(&opt.filter);
}

/* ---- what is asked for ---- */

static void one(const char *target, const char *line, const char *want)
{
    begin(target);
    entry(line);
    asked(want);
    end(want[0] == 'r' ? EXIT_DATA : EXIT_DONE);
}

static void reasons(void)
{
    one("portable", "DELEX k IFDEQ 01", ASK("k") SYNCED);
    one("7.0", "HSETEX k NX 100 f v", ASK("k") SYNCED);
    one("portable", "SORT k", ASK("k") SYNCED);
    one("6.0", "ZRANGESTORE d k 0 -1", ASK("d") SYNCED);
    one("6.0", "XAUTOCLAIM k g c 0 0", ASK("k") SYNCED);
    one("7.0/cluster", "SORT a BY w_* STORE d", ASK("d") SYNCED);
    one("portable", "NOSUCH%1 x", ASK("x") SYNCED);
    begin("portable");
    entry("NOSUCH k x");
    asked(ASK("k") SYNCED);
    wrote(POS("1", "100") "REMARK kind=unknown-command key=k\n");
    answer("key=k\ndb=0\nstate=missing\nfrom=101\nto=101\n", NULL);
    end(EXIT_DONE);
}

static void selected(void)
{
    CHECK(filter_add_rule(&opt.filter, "prefix:x", true) == NULL);
    CHECK(filter_add_rename(&opt.filter, "k=new:") == NULL);
    begin("portable");
    entry("CL.THROTTLE x1 1 1 1"); /* left out */
    entry("NOSUCH x2");
    asked(SYNCED);
    entry("CL.THROTTLE k1 1 1 1"); /* 102: by its name at the source */
    entry("SUNIONSTORE d x1 x2");  /* 103: the target lacks x1 and x2 */
    entry("APPEND k1 a");          /* 104 */
    asked(ASK("k1") ASK("d"));
    wrote(POS("1", "101") POS("2", "102") POS("3", "102") POS("4", "102") POS("5", "102"));
    answer("key=k1\ndb=0\nstate=value\nttl=-1\nfrom=104\nto=104\n", "00 01 'v'");
    wrote(V("6", "102") "IFV string | SET new:1 v\n" V("7", "102") "LV position\n" POS("8", "102")
              V("9", "102") "V | APPEND new:1 a\n");
    answer("key=d\ndb=0\nstate=missing\nfrom=105\nto=105\n", NULL);
    wrote(V("10", "105") "IV | DEL d\n");
    end(EXIT_DONE);
    filter_clear(&opt.filter);
}

/* In the full sync there are no positions: it is asked when that is over, and before synced is said. */
static void in_the_full_sync(void)
{
    struct buf b = hex("'REDIS0009'"), j = {0};
    begin_flow("portable", "flow=0\nmode=FULL\ntoken=0123456789012345678901234567890123456789\n");
    add_command(&j, 1, "CL.THROTTLE k 1 1 1");
    add_hex(&b, "d2 01");
    add_pstr(&b, j.p, j.len);
    j.len = 0;
    add_command(&j, 2, "APPEND k a"); /* contained in what will be asked for */
    add_hex(&b, "d2 01");
    add_pstr(&b, j.p, j.len);
    add_hex(&b, "c8 0000000000000000");
    bytes(&b);
    asked("cut flow=0 epoch=1\n");
    wrote(POS("1", "0") POS("2", "0"));
    b = hex("d3 6400000000000000 ff 0000000000000000 '0123456789012345678901234567890123456789'");
    bytes(&b);
    asked(ASK("k"));
    wrote(V("3", "0") "V synced\n"); /* until then a crash needs a new full sync */
    entry("SET other 1");            /* 100 */
    wrote(V("4", "100") "IV string | SET other 1\n");
    answer("key=k\ndb=0\nstate=missing\nfrom=100\nto=100\n", NULL);
    wrote(V("5", "101") "IV | DEL k\n");
    asked("synced flow=0 epoch=1\n");
    end(EXIT_DONE);
    buf_free(&j);
}

static void bounds(void)
{
    char line[80];
    begin("portable");
    for (unsigned i = 0; i < REREAD_KEYS; i++) {
        snprintf(line, sizeof line, "CL.THROTTLE k%u 1 1 1", i);
        entry(line);
        char sink[4096];
        while (recv(peer, sink, sizeof sink, MSG_DONTWAIT) > 0)
            ;
    }
    EQ(parser->e.stats.lost, 0);
    entry("CL.THROTTLE one 1 1 1");
    EQ(parser->e.stats.lost, 1);
    entry("CL.THROTTLE k5 1 1 1"); /* it is on its way already */
    EQ(parser->e.stats.lost, 1);
    (void)parser_end(parser);
    parser_free(parser);
    free(parser);
    capture_free(&cap);
    close(peer);
    /* a name that no control message has room for */
    struct buf b = {0};
    char *name = malloc(5000);
    memset(name, 'n', 5000);
    struct slice argv[2] = {SLICE("CL.THROTTLE"), {(uint8_t *)name, 5000}};
    begin("portable");
    add_entry(&b, 10, 1, argv, 2);
    bytes(&b);
    EQ(parser->e.stats.lost, 1);
    end(EXIT_DATA);
    free(name);
}

/* Entries and values beyond the bound: entries are contained in a later answer, a value is given up. */
static void too_much(void)
{
    size_t n = (size_t)1 << 20;
    uint8_t *v = malloc(n);
    memset(v, 'v', n);
    begin("portable");
    entry("CL.THROTTLE k 1 1 1");
    for (int i = 0; i < 70; i++) {
        struct buf b = {.max = 2 * n};
        struct slice argv[3] = {SLICE("APPEND"), SLICE("k"), {v, n - 100}};
        add_entry(&b, 10, 1, argv, 3);
        for (size_t done = 0; done < b.len; done += n) {
            size_t step = b.len - done < n ? b.len - done : n;
            EQ_I(record(REC_DATA, at, b.p + done, step), 0);
            at += step;
        }
        buf_free(&b);
        CHECK(parser->rereads.bytes <= REREAD_BYTES);
    }
    asked(ASK("k") SYNCED);
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=110\nto=110\n", "00 01 'x'");
    asked(ASK("k"));
    static const char head[] = "key=k\ndb=0\nstate=value\nttl=-1\nfrom=171\nto=171\n\n";
    EQ_I(record_with(REC_KEY, RF_MORE, 0, head, sizeof head - 1), 0);
    for (int i = 0; i < 70; i++) {
        EQ_I(record_with(REC_KEY, i < 69 ? RF_MORE : 0, 0, v, n), 0);
        CHECK(parser->rereads.bytes <= REREAD_BYTES);
    }
    EQ(parser->e.stats.lost, 1);
    EQ(parser->rereads.count, 0);
    EQ(parser->rereads.bytes, 0);
    free(v);
    end(EXIT_DATA);
}

/* ZUNIONSTORE and its kin are logged as DEL and ZADD, with scores of 6 digits: the ZADD is written, and the
 * key read again. */
static void rounded(void)
{
    begin("7.0");
    entry("DEL k");                          /* 100 */
    entry("ZADD k 2.1935 a -1.5e+20 b 1 c"); /* 101 */
    asked(SYNCED ASK("k"));
    wrote(V("1", "101") "IV | DEL k\n" V("2", "101") "IV | ZADD k 2.1935 a -1.5e+20 b 1 c\n");
    entry("ZADD k 3 d"); /* 102: kept back */
    wrote(POS("3", "101"));
    answer("key=k\ndb=0\nstate=value\nttl=-1\nfrom=103\nto=103\n", "00 01 'v'");
    wrote(V("4", "101") "IFV string | SET k v\n" V("5", "101") "LV position\n" POS("6", "103"));
    end(EXIT_DONE);
    /* Without an answer what was written stays, and what was kept back follows it. */
    static const char *const answers[] = {"key=k\ndb=0\nstate=error\nerror=busy\n",
                                          "key=k\ndb=0\nstate=missing\nttl=-2\nfrom=104\nto=104\n"};
    for (int i = 0; i < 2; i++) {
        begin("7.0");
        entry("DEL k");
        entry("ZADD k 1 a");
        entry("ZADD k 3 d");
        entry("DEL k");
        wrote(V("1", "101") "IV | DEL k\n" V("2", "101") "IV | ZADD k 1 a\n" POS("3", "101") POS("4", "101"));
        answer(answers[i], NULL);
        if (i == 0)
            wrote("REMARK kind=rounded-scores key=k\n" V("5", "101") "IV | ZADD k 3 d\n" V(
                "6", "104") "IV | DEL k\n");
        else
            wrote(V("5", "101") "IV | ZADD k 3 d\n" V("6", "104") "IV | DEL k\n");
        end(EXIT_DONE);
    }
    /* What cannot come of that. */
    begin("7.0");
    entry("DEL k");
    entry_of(8, "ZADD k 1 a"); /* another transaction */
    entry("DEL k");
    entry("ZADD j 1 a"); /* another key */
    entry("DEL k");
    entry("ZADD k 2.19351 a 2.193511 b"); /* too many digits */
    entry("DEL k");
    entry("ZADD k NX 1 a");
    entry("DEL k l");
    entry("ZADD k 1 a");
    entry("DEL k");
    entry("SET l 1");
    entry("ZADD k 1 a"); /* not directly behind it */
    entry_of(0, "DEL k");
    entry_of(0, "ZADD k 1 a");
    asked(SYNCED);
    end(EXIT_DONE);
    /* Later masters write all digits. */
    begin("7.0");
    parser->flows[0]->to.dialect = dialect_dragonfly(VERSION(1, 41));
    entry("DEL k");
    entry("ZADD k 1 a");
    asked(SYNCED);
    end(EXIT_DONE);
}

int main(void)
{
    simple();
    expires_and_missing();
    kept_back();
    places();
    ahead();
    in_between();
    ambiguous();
    never_still();
    errors();
    nobody_answers();
    joined();
    divided();
    flushed();
    reasons();
    selected();
    in_the_full_sync();
    bounds();
    too_much();
    rounded();
    return test_done();
}
