/* Journaled commands: dragonfly-replication(7), JOURNAL: what is sent to targets of several versions. */
#include "journaled.h"

#include "../../parser/command/scripts.h"

/* What is sent is this script, whatever is said before it. */
static void scripted(const char *target, const char *line, const char *script, const char *rest,
                     const char *flags)
{
    struct buf want = {0};
    (void)buf_addf(&want, ONE "%s key=3 | EVAL ", flags);
    show_bytes(&want, (const uint8_t *)script, strlen(script));
    (void)buf_addf(&want, " %s\n", rest);
    (void)buf_add(&want, "", 1);
    is(target, line, (const char *)want.p);
    buf_free(&want);
}

/* ---- 5.7: rewritten by the source ---- */

static void strings(void)
{
    all("SET k v1", ONE "IV string | SET k v1\n");
    all("SET k v PXAT 1767225600000", ONE "IV string | SET k v PXAT 1767225600000\n");
    all("SET k v KEEPTTL", ONE "IV | SET k v KEEPTTL\n");
    all("SET k v STICK", ONE "IV string | SET k v\n");
    all("SET k v _MCFLAGS 7", ONE "IV string | SET k v\n");
    all("SET k v PXAT 1767225600000 STICK _MCFLAGS 7", ONE "IV string | SET k v PXAT 1767225600000\n");
    all("SET k v KEEPTTL STICK", ONE "IV | SET k v KEEPTTL\n");
    all("SET k v EX 100", ONE "IV string | SET k v PXAT 1700000100000\n");
    all("SET k v PX 100000", ONE "IV string | SET k v PXAT 1700000100000\n");
    all("SET k v EXAT 1767225600", ONE "IV string | SET k v PXAT 1767225600000\n");
    all("SET k v NX", ONE "IV string | SET k v\n");
    all("SET k v pxat 1767225600000 nx", ONE "IV string | SET k v PXAT 1767225600000\n");
    all("SET k v PXAT 1", ONE "IV string | SET k v PXAT 1700000060000\n"); /* passed: a minute from now */
    all("SET k v PXAT 1700000001000", ONE "IV string | SET k v PXAT 1700000060000\n"); /* within a second */
    all("SET k v PXAT 1700000001001", ONE "IV string | SET k v PXAT 1700000001001\n");
    all("SET k v PXAT", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SET k v PXAT x", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SET k v EX 0", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SET k v WHAT", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SET k v _MCFLAGS", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SET k", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SETEX k 100 v", ONE "IV string | SET k v PXAT 1700000100000\n");
    all("PSETEX k 100000 v", ONE "IV string | SET k v PXAT 1700000100000\n");
    all("SETEX k 0 v", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("SETEX k 100", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("MSET a 1 b 2", ONE "IVK | MSET a 1 b 2\n");
    all("DEL k", ONE "IV | DEL k\n");
    all("DEL a b c", ONE "IVK | DEL a b c\n");
    all("UNLINK a b", ONE "IVK | UNLINK a b\n");
    all("APPEND k x", ONE "V | APPEND k x\n");
    all("INCRBY k 5", ONE "V | INCRBY k 5\n");
    all("SETRANGE k 5 x", ONE "IV | SETRANGE k 5 x\n");
    all("GETDEL k", ONE "V | GETDEL k\n");
    all("PEXPIREAT k 1767225600000", ONE "IV | PEXPIREAT k 1767225600000\n");
    all("PEXPIREAT k 1", ONE "IV | PEXPIREAT k 1700000060000\n");
    all("PEXPIREAT k -5", ONE "IV | PEXPIREAT k 1700000060000\n");
    all("PEXPIREAT k 0", ONE "IV | PERSIST k\n"); /* gat 0 */
    all("EXPIREAT k 1767225600", ONE "IV | PEXPIREAT k 1767225600000\n");
    all("EXPIRE k 100", ONE "IV | PEXPIREAT k 1700000100000\n");
    all("PEXPIRE k 100000", ONE "IV | PEXPIREAT k 1700000100000\n");
    all("PEXPIREAT k x", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("PEXPIREAT k", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("PERSIST k", ONE "IV | PERSIST k\n");
    all("MOVE k 3", ONE "V | MOVE k 3\n");
}

static void collections(void)
{
    all("SADD k a b", ONE "IV | SADD k a b\n");
    all("SREM k a", ONE "IV | SREM k a\n");
    all("ZADD d 1.5 m", ONE "IV | ZADD d 1.5 m\n");
    for (size_t i = 0; i < 4; i++) { /* logged also where the key is of another type */
        scripted(targets[i], "ZPOPMIN k 2", LUA_TRY, "1 k ZPOPMIN k 2", "V");
        scripted(targets[i], "ZPOPMAX k", LUA_TRY, "1 k ZPOPMAX k", "V");
    }
    is("dragonfly:1.40", "ZPOPMIN k 2", ONE "V | ZPOPMIN k 2\n");
    all("LPOP k", ONE "V | LPOP k\n");
    all("RPOP k 3", ONE "V | RPOP k 3\n");
    all("LPUSH dst v", ONE "V | LPUSH dst v\n");
    all("HSET k f v", ONE "IV | HSET k f v\n");
    all("HDEL k f", ONE "IV | HDEL k f\n");
    all("ZUNIONSTORE d 2 a b", ONE "VK | ZUNIONSTORE d 2 a b\n");
    all("XADD k MINID 5-0 NOMKSTREAM 6-1 f v", ONE "V | XADD k MINID 5-0 NOMKSTREAM 6-1 f v\n");
    all("XADD k MAXLEN 0 6-1 f v", ONE "V | XADD k MAXLEN 0 6-1 f v\n");
    all("XTRIM k MINID 5-0", ONE "IV | XTRIM k MINID 5-0\n");
    all("XCLAIM k g c 0 5-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 5-0",
        ONE "V | XCLAIM k g c 0 5-0 TIME 1700000000000 RETRYCOUNT 1 FORCE JUSTID LASTID 5-0\n");
    all("XGROUP CREATECONSUMER k g c", ONE "V key=2 | XGROUP CREATECONSUMER k g c\n");
    all("XGROUP DESTROY k g", ONE "V key=2 | XGROUP DESTROY k g\n");
    /* ENTRIESREAD, ENTRIESADDED and MAXDELETEDID came with 7.0 */
    differs("XGROUP SETID k g 5-0 ENTRIESREAD 7", ONE "V key=2 | XGROUP SETID k g 5-0\n",
            ONE "V key=2 | XGROUP SETID k g 5-0 ENTRIESREAD 7\n");
    differs("XGROUP SETID k g 5-0 ENTRIESREAD -1", ONE "V key=2 | XGROUP SETID k g 5-0\n",
            ONE "V key=2 | XGROUP SETID k g 5-0 ENTRIESREAD -1\n");
    differs("XGROUP CREATE k g 5-0 MKSTREAM entriesread 7", ONE "V key=2 | XGROUP CREATE k g 5-0 MKSTREAM\n",
            ONE "V key=2 | XGROUP CREATE k g 5-0 MKSTREAM entriesread 7\n");
    differs("XGROUP CREATE k g 5-0 ENTRIESREAD 7 MKSTREAM", ONE "V key=2 | XGROUP CREATE k g 5-0 MKSTREAM\n",
            ONE "V key=2 | XGROUP CREATE k g 5-0 ENTRIESREAD 7 MKSTREAM\n");
    scripted("6.2", "XSETID k 5-0 ENTRIESADDED 9 MAXDELETEDID 3-0", LUA_TRY, "1 k XSETID k 5-0", "IV");
    scripted("7.0", "XSETID k 5-0 ENTRIESADDED 9 MAXDELETEDID 3-0", LUA_TRY,
             "1 k XSETID k 5-0 ENTRIESADDED 9 MAXDELETEDID 3-0", "IV");
    scripted("portable", "XSETID k 5-0", LUA_TRY, "1 k XSETID k 5-0", "IV");
    is("dragonfly:1.40", "XSETID k 5-0", ONE "IV | XSETID k 5-0\n");
    all("XGROUP CREATE k ENTRIESREAD 0",
        ONE "V key=2 | XGROUP CREATE k ENTRIESREAD 0\n"); /* a group of that name */
}

/* Logged although there was nothing to do. */
static void without_elements(void)
{
    static const char *const lines[] = {"DEL",     "UNLINK",   "MSET",      "JSON.MSET", "SREM k",
                                        "SADD k",  "ZREM k",   "ZADD k",    "HDEL k",    "HSET k",
                                        "HMSET k", "LPUSH k",  "RPUSH k",   "LPUSHX k",  "RPUSHX k",
                                        "XDEL k",  "XACK k g", "SADDEX k 5"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        all(lines[i], SKIPPED);
}

#define NEEDS "LOST kind=command-needs-source key="

/* Commands whose keys stand behind a number: masters v1.27 to v1.33 log LMPOP and ZMPOP as they were issued,
 * or with the keys of one shard only. */
static void numbered_keys(void)
{
    all("LMPOP 1 l LEFT COUNT 2", ONE "V | LPOP l 2\n");
    all("LMPOP 1 l left", ONE "V | LPOP l\n");
    all("LMPOP 1 l RIGHT count 3", ONE "V | RPOP l 3\n");
    all("ZMPOP 1 z MIN", ONE "V | ZPOPMIN z\n");
    all("ZMPOP 1 z MAX COUNT 2", ONE "V | ZPOPMAX z 2\n");
    all("BLMPOP 0 1 l LEFT COUNT 2", ONE "V | LPOP l 2\n");
    all("BZMPOP 0.5 1 z MAX", ONE "V | ZPOPMAX z\n");
    all("LMPOP 1 l LEFT COUNT", "LOST kind=malformed-command key=l\n" SKIPPED);
    all("LMPOP 1 l LEFT WHAT 2", "LOST kind=malformed-command key=l\n" SKIPPED);
    all("LMPOP 2 a b LEFT", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("ZMPOP 2 a b MIN COUNT 3", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("BLMPOP 1 2 a b RIGHT", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("LMPOP a b", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("LMPOP 3 a b LEFT", NEEDS "3\n" NEEDS "a\n" NEEDS "b\n" NEEDS "LEFT\n" SKIPPED);
    all("LMPOP 99999999999999999999 a LEFT",
        NEEDS "99999999999999999999\n" NEEDS "a\n" NEEDS "LEFT\n" SKIPPED);
    all("LMPOP 1", NEEDS "1\n" SKIPPED);
    all("MSETEX 2 a 1 b 2 EX 5", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("MSETEX 3 a 1 b 2", "LOST kind=malformed-command key=3\n" SKIPPED);
    all("EVAL script 2 a b c", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("FCALL f 0 c", "LOST kind=malformed-command key=0\n" SKIPPED);
    all("XREADGROUP GROUP g c COUNT 1 STREAMS a b > >", NEEDS "a\n" NEEDS "b\n" SKIPPED);
    all("XREADGROUP GROUP g c STREAMS a b >", "LOST kind=malformed-command key=GROUP\n" SKIPPED);
    all("CL.THROTTLE k 1 2 3", NEEDS "k\n" SKIPPED);
    /* of a command that is not known the number may be one of keys: none is guessed at */
    all("NEWPOP 1 k", "LOST kind=unknown-command key=1\n" SKIPPED);
}

static void to_newer_only(void)
{
    static const char *const lines[] = {"COPY a b", "LMOVE a b LEFT RIGHT", "ZRANGESTORE d s 0 -1",
                                        "GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m", "GETDEL k"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char want[200];
        bool one = i == 4;
        snprintf(want, sizeof want, ONE "V%s | %s\n", one ? "" : "K", lines[i]);
        all(lines[i], want);
        if (i == 2 || i == 3)
            is("5.0", lines[i], "LOST kind=command-too-new key=d\n" SKIPPED);
    }
    is("6.0", "XAUTOCLAIM k g c 0 0", "LOST kind=command-too-new key=k\n" SKIPPED);
    is("4.0", "XADD k 1-1 f v", "LOST kind=command-too-new key=k\n" SKIPPED);
    is("4.0", "XCLAIM k g c 0 1-1", "LOST kind=command-too-new key=k\n" SKIPPED);
}

/* What a script begins and ends with: the text of our own is not repeated here. tests/bats/commands.bats runs
 * them. */
static void is_script(const char *target, const char *line, const char *with)
{
    struct buf b = {0};
    begin(target, (struct source){0});
    add_command(&b, 7, line);
    feed(&b);
    const char *text = capture_text(&cap);
    size_t n = strlen(text), m = strlen(with);
    if (!CHECK(n > m + 1 && strstr(text, "key=3 | EVAL ") != NULL && memcmp(text + n - m - 1, with, m) == 0))
        printf("  for %s: %s: %s\n", target, line, text);
    end();
    buf_free(&b);
}

static void is_later(const char *line, const char *want)
{
    struct buf b = {0};
    begin("dragonfly:1.40", (struct source){0});
    cap.e.now_ms += 30500;
    add_command(&b, 7, line);
    feed(&b);
    EQ_S(capture_text(&cap), want);
    end();
    buf_free(&b);
}

static void to_dragonfly(void)
{
    static const char df[] = "dragonfly:1.40";
    is(df, "PREPEND k v", ONE "V | PREPEND k v\n");
    is(df, "INCRBYFLOAT k 1.5", ONE "V | INCRBYFLOAT k 1.5\n");
    is(df, "BF.ADD k v", ONE "V | BF.ADD k v\n");
    is(df, "TOPK.ADD k v w", ONE "V | TOPK.ADD k v w\n");
    is(df, "FT.CREATE i SCHEMA t TEXT", ONE "VK key=0 | FT.CREATE i SCHEMA t TEXT\n"); /* of flow 0 */
    is(df, "STICK k", ONE "V | STICK k\n");
    is(df, "STICK k l", ONE "VK | STICK k l\n");
    is(df, "SHRINK k", ONE "V position\n");
    is(df, "SET k v STICK", ONE "V | SET k v STICK\n");
    is(df, "SET k v PXAT 4102444800000", ONE "IV string | SET k v PXAT 4102444800000\n");
    is(df, "HPERSIST k FIELDS 1 f", ONE "V | HPERSIST k FIELDS 1 f\n");
    is(df, "HSETEX k PXAT 4102444800000 FIELDS 1 f v", ONE "V | HSETEX k PXAT 4102444800000 FIELDS 1 f v\n");
    is(df, "CL.THROTTLE k 5 10 60 1", ONE "V | CL.THROTTLE k 5 10 60 1\n");
    is(df, "NOSUCH k", "LOST kind=unknown-command key=k\n" SKIPPED);
    is(df, "SADDEX k 100 m", ONE "V | SADDEX k 100 m\n");
    is(df, "HEXPIRE k 100 FIELDS 1 f", ONE "V | HEXPIRE k 100 FIELDS 1 f\n");
    /* What is left of a time that came 30.5 s ago. */
    is_later("SADDEX k 100 m", ONE "V | SADDEX k 70 m\n");
    is_later("SADDEX k KEEPTTL 31 m", ONE "V | SADDEX k KEEPTTL 1 m\n");
    is_later("HSETEX k NX 3 f v", ONE "V | HSETEX k NX 1 f v\n");
    is_later("HSETEX k EX 100 FIELDS 1 f v", ONE "V | HSETEX k EX 70 FIELDS 1 f v\n");
    is_later("HGETEX k PX 40000 FIELDS 1 f", ONE "V | HGETEX k PX 9500 FIELDS 1 f\n");
    is_later("FIELDEXPIRE k 100 f g", ONE "V | FIELDEXPIRE k 70 f g\n");
    is_later("HGETEX k PERSIST FIELDS 1 f", ONE "V | HGETEX k PERSIST FIELDS 1 f\n");
}

static void to_older(void)
{
    is("6.0", "SET k v KEEPTTL", ONE "IV | SET k v KEEPTTL\n");
    is_script("5.0", "SET k v KEEPTTL", " 1 k v");
    is("6.0", "GETDEL k", ONE "V | DEL k\n");
    is("6.0", "LPOP k 3", ONE "V | LTRIM k 3 -1\n");
    is("6.0", "LPOP k", ONE "V | LPOP k\n");
    is("6.0", "RPOP k 3", ONE "V | LTRIM k 0 -4\n");
    is("6.0", "RPOP k x", ONE "V | RPOP k x\n");
    scripted("5.0", "ZPOPMIN k", LUA_TRY, "1 k ZPOPMIN k", "V");
    is("4.0", "ZPOPMIN k", ONE "V | ZREMRANGEBYRANK k 0 0\n");
    is("4.0", "ZPOPMIN k 3", ONE "V | ZREMRANGEBYRANK k 0 2\n");
    is("4.0", "ZPOPMAX k 3", ONE "V | ZREMRANGEBYRANK k -3 -1\n");
    is("6.0", "ZADD k NX 1 a", ONE "IV | ZADD k NX 1 a\n");
    is("6.0", "ZADD k XX INCR 1 a", ONE "V | ZADD k XX INCR 1 a\n");
    is_script("6.0", "ZADD k XX gt CH 1 a 2 b", " 1 k GT XX \"\" 1 a 2 b");
    is_script("6.0", "ZADD k GT INCR 1 a", " 1 k GT \"\" INCR 1 a");
    is("6.0", "GEOADD k CH 1 2 a", ONE "IV | GEOADD k 1 2 a\n");
    is_script("6.0", "GEOADD k CH NX 1 2 a", " 1 k NX 1 2 a");
    is("6.0", "XADD k MAXLEN 5 1-1 f v", ONE "V | XADD k MAXLEN 5 1-1 f v\n");
    is_script("6.0", "XADD k MINID 1-0 NOMKSTREAM 1-1 f v", " 1 k 1-0 \"\" NOMKSTREAM 1-1 f v");
    is("5.0", "XADD k MAXLEN = 7 LIMIT 9 1-1 f v", ONE "V | XADD k MAXLEN = 7 1-1 f v\n");
    is_script("5.0", "XADD k MAXLEN ~ 7 LIMIT 9 1-1 f v", " 1 k \"\" 7 \"\" 1-1 f v");
    is_script("6.0", "XTRIM k MINID = 3-0", " 1 k 3-0");
    is("6.0", "XTRIM k MAXLEN ~ 3 LIMIT 7", ONE "IV | XTRIM k MAXLEN 3\n");
    is("6.0", "XTRIM k MINID", ONE "IV | XTRIM k MINID\n");
    is("6.0", "XGROUP CREATECONSUMER k g c", ONE "V key=7 | XREADGROUP GROUP g c COUNT 1 STREAMS k 0\n");
    is("6.0", "XGROUP DESTROY k g", ONE "V key=2 | XGROUP DESTROY k g\n");
    is_script("6.0", "COPY a b", " 2 a b \"\"");
    is_script("5.0", "COPY a b DB 3 REPLACE", " 2 a b REPLACE 3");
    is_script("5.0", "LMOVE a b LEFT RIGHT", " 2 a b LEFT RIGHT");
    is_script("4.0", "INCRBYFLOAT k 1.5", " 1 k 1.5");
}

/* Commands that go as they are: V with I when sending twice does no harm, K when it has more keys than one.
 */
static void as_they_are(void)
{
    static const struct {
        const char *flags, *line;
    } list[] = {{"V", "APPEND k v"},
                {"V", "BITFIELD k SET u8 0 1"},
                {"VK key=2", "BITOP AND d a"},
                {"V", "DECR k"},
                {"V", "DECRBY k 1"},
                {"V", "GETSET k v"},
                {"IV", "GEOADD k 1 2 m"},
                {"V", "HINCRBY k f 1"},
                {"IV", "HMSET k f v"},
                {"V", "HSETNX k f v"},
                {"V", "INCR k"},
                {"V", "LINSERT k BEFORE a b"},
                {"V", "LPUSHX k v"},
                {"V", "LREM k 1 v"},
                {"IV", "LSET k 0 v"},
                {"V", "LTRIM k 0 1"},
                {"VK", "MSETNX a 1 b 2"},
                {"IV", "PFADD k a"},
                {"IVK", "PFMERGE d a b"},
                {"VK", "RPOPLPUSH a b"},
                {"V", "RPUSH k v"},
                {"V", "RPUSHX k v"},
                {"VK", "SDIFFSTORE d a b"},
                {"IV", "SETBIT k 1 1"},
                {"V", "SETNX k v"},
                {"VK", "SINTERSTORE d a b"},
                {"VK", "SMOVE a b m"},
                {"V", "SPOP k"},
                {"VK", "SUNIONSTORE d a b"},
                {"IV", "XACK k g 1-0"},
                {"IV", "XDEL k 1-0"},
                {"V", "ZINCRBY k 1 m"},
                {"VK", "ZINTERSTORE d 1 a"},
                {"IV", "ZREM k m"},
                {"IV", "ZREMRANGEBYLEX k [a [b"},
                {"V", "ZREMRANGEBYRANK k 0 1"},
                {"IV", "ZREMRANGEBYSCORE k 0 1"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char want[200];
        snprintf(want, sizeof want, ONE "%s | %s\n", list[i].flags, list[i].line);
        all(list[i].line, want);
    }
}

/* ---- 5.6 and 5.8 ---- */

static void nothing_to_do(void)
{
    static const char *const lines[] = {"PING",          "STICK k",        "SHRINK k",
                                        "SCRIPT LOAD x", "SCRIPT FLAGS x", "TOUCH k"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        all(lines[i], SKIPPED);
}

static void not_carried(void)
{
    static const struct {
        const char *line, *want;
    } list[] = {
        {"BF.ADD k x", "LOST kind=probabilistic key=k\n"},
        {"BF.LOADCHUNK k 1 x", "LOST kind=probabilistic key=k\n"},
        {"CF.ADD k x", "LOST kind=probabilistic key=k\n"},
        {"CMS.MERGE k 1 s", "LOST kind=probabilistic key=k\n"},
        {"TOPK.ADD k x", "LOST kind=probabilistic key=k\n"},
        {"CL.THROTTLE k 1 1 1", "LOST kind=command-needs-source key=k\n"},
        {"FT.CREATE i SCHEMA x", "LOST kind=search-index key=i\n"},
        {"DFLYCLUSTER FLUSHSLOTS 0 5", "LOST kind=flush-slots key=\n"},
        {"SORT s", "LOST kind=command-needs-source key=s\n"}, /* truncated to one shard's keys */
        {"JSON.SET k $ 1", "LOST kind=json key=k\n"},
        {"NOSUCH k", "LOST kind=unknown-command key=k\n"},
        {"set k v", "LOST kind=unknown-command key=k\n"}, /* names are canonical upper case */
        {"DELX", "LOST kind=unknown-command key=\n"},
        {"GETDEL", "LOST kind=unknown-command key=\n"}, /* too few arguments */
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char want[200];
        snprintf(want, sizeof want, "%s" SKIPPED, list[i].want);
        all(list[i].line, want);
    }
    /* with one flow, or with all arguments there, nothing was left out */
    for (size_t i = 0; i < 3; i++) {
        scripted(targets[i], "SORT s STORE d", LUA_STORE_IF, "2 s d SORT s STORE d", "VK");
        scripted(targets[i], "GEORADIUS s 1 2 3 m STOREDIST d", LUA_STORE_IF,
                 "2 s d GEORADIUS s 1 2 3 m STOREDIST d", "VK");
    }
    is_from((struct source){.flows = 1}, "dragonfly:1.40", "SORT s STORE d", ONE "VK | SORT s STORE d\n");
    is("dragonfly:1.40", "SORT s STORE d", ONE "VK | SORT s STORE d\n");
    is_from((struct source){.json = true}, "7.0", "JSON.SET k $ 1", ONE "V | JSON.SET k $ 1\n");
    is_from((struct source){.json = true}, "7.0", "JSON.MSET a $ 1", ONE "V | JSON.MSET a $ 1\n");
    is_from((struct source){.json = true}, "7.0", "JSON.MSET a $ 1 b $ 2",
            ONE "VK | JSON.MSET a $ 1 b $ 2\n");
}

static void fields(void)
{
    static const char lost[] = "LOST kind=field-ttl key=k\n";
    char want[300];
    /* Dragonfly's form: seconds first */
    is("7.4", "HSETEX k 100 f v g w",
       "1 pos=100 db=0 IV | HSET k f v g w\n2 pos=101 db=0 IV | HPEXPIREAT k 1700000100000 FIELDS 2 f g\n");
    is("valkey:9.0", "HSETEX k 100 f v",
       "1 pos=100 db=0 IV | HSET k f v\n2 pos=101 db=0 IV | HPEXPIREAT k 1700000100000 FIELDS 1 f\n");
    snprintf(want, sizeof want, "%s" ONE "IV | HSET k f v g w\n", lost);
    for (size_t i = 0; i < 3; i++)
        is(targets[i], "HSETEX k 100 f v g w", want);
    /* Redis' form */
    is("7.4", "HSETEX k PXAT 1767225600000 FIELDS 2 f v g w",
       "1 pos=100 db=0 IV | HSET k f v g w\n2 pos=101 db=0 IV | HPEXPIREAT k 1767225600000 FIELDS 2 f g\n");
    is("7.4", "HSETEX k EX 100 FIELDS 1 f v",
       "1 pos=100 db=0 IV | HSET k f v\n2 pos=101 db=0 IV | HPEXPIREAT k 1700000100000 FIELDS 1 f\n");
    all("HSETEX k FIELDS 1 f v", ONE "IV | HSET k f v\n");
    for (size_t i = 0; i < 3; i++)
        is(targets[i], "HSETEX k NX 100 f v", "LOST kind=command-needs-source key=k\n" SKIPPED);
    scripted("7.4", "HSETEX k NX 100 f v", LUA_HSETEX, "1 k NX \"\" 1700000100000 f v", "V");
    scripted("7.4", "HSETEX k KEEPTTL 100 f v g w", LUA_HSETEX, "1 k \"\" 1 1700000100000 f v g w", "V");
    scripted("7.4", "HSETEX k FNX FIELDS 1 f v", LUA_HSETEX, "1 k FNX \"\" 0 f v", "V");
    scripted("valkey:9.0", "HSETEX k FXX KEEPTTL PX 100000 FIELDS 1 f v", LUA_HSETEX,
             "1 k FXX 1 1700000100000 f v", "V");
    is("7.0", "HSETEX k KEEPTTL 100 f v", "LOST kind=field-ttl key=k\n" ONE "IV | HSET k f v\n");
    all("HSETEX k 100 f v g", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("HSETEX k 0 f v", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("HSETEX k abc f v", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("HSETEX k EX 0 FIELDS 1 f v", "LOST kind=malformed-command key=k\n" SKIPPED);
    /* expiries of fields */
    static const char *const lines[] = {"HEXPIRE k 100 FIELDS 2 f g",
                                        "HPEXPIRE k 100000 FIELDS 2 f g",
                                        "HEXPIREAT k 1700000100 FIELDS 2 f g",
                                        "HPEXPIREAT k 1700000100000 FIELDS 2 f g",
                                        "HGETEX k EX 100 FIELDS 2 f g",
                                        "HGETEX k PX 100000 FIELDS 2 f g",
                                        "HGETEX k EXAT 1700000100 FIELDS 2 f g",
                                        "HGETEX k PXAT 1700000100000 FIELDS 2 f g"};
    snprintf(want, sizeof want, "%s" SKIPPED, lost);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        is("7.4", lines[i], ONE "IV | HPEXPIREAT k 1700000100000 FIELDS 2 f g\n");
        is("7.0", lines[i], want);
        is("portable", lines[i], want);
    }
    is("7.0", "FIELDEXPIRE k 100 f g", want);
    is("7.4", "HPERSIST k FIELDS 1 f", ONE "IV | HPERSIST k FIELDS 1 f\n");
    is("7.4", "HGETEX k PERSIST FIELDS 1 f", ONE "IV | HPERSIST k FIELDS 1 f\n");
    struct buf script = {0};
    (void)buf_addstr(&script, "REMARK kind=member-ttl key=k\n" ONE "IV key=3 | EVAL ");
    show_bytes(&script, (const uint8_t *)LUA_FIELDEXPIRE, strlen(LUA_FIELDEXPIRE));
    (void)buf_addstr(&script, " 1 k 1700000100000 f g\n");
    (void)buf_add(&script, "", 1);
    is("7.4", "FIELDEXPIRE k 100 f g", (const char *)script.p);
    buf_free(&script);
    is("7.4", "HEXPIRE k 100 NX FIELDS 1 f", ONE "V | HPEXPIREAT k 1700000100000 NX FIELDS 1 f\n");
    all("HEXPIRE k 0 FIELDS 2 f g", ONE "IV | HDEL k f g\n"); /* whatever the target */
    all("HGETEX k EX 0 FIELDS 1 f", ONE "IV | HDEL k f\n");
    all("HGETEX k FIELDS 1 f", SKIPPED);
    is("7.4", "HPEXPIREAT k 5 FIELDS 1 f", ONE "IV | HPEXPIREAT k 1700000060000 FIELDS 1 f\n");
    is("7.4", "HEXPIRE k x FIELDS 1 f", "LOST kind=malformed-command key=k\n" SKIPPED);
    is("7.4", "HEXPIRE k 100 FIELDS 1", "LOST kind=malformed-command key=k\n" SKIPPED);
    /* members of sets have none anywhere */
    all("SADDEX k 100 a b", "LOST kind=member-ttl key=k\n" ONE "IV | SADD k a b\n");
    all("SADDEX k KEEPTTL 100 a b", "LOST kind=member-ttl key=k\n" ONE "IV | SADD k a b\n");
    all("SADDEX k KEEPTTL 100", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("DELEX k", ONE "IV | DEL k\n");
    all("DELEX k IFDEQ 0123", "LOST kind=command-needs-source key=k\n" SKIPPED);
    is("8.4", "DELEX k IFDEQ 0123", ONE "IV | DELEX k IFDEQ 0123\n");
    /* Dragonfly makes the consumer also when there is nothing to claim */
    all("XAUTOCLAIM k g c 0 0", "1 pos=100 db=0 IV key=2 | XGROUP CREATECONSUMER k g c\n"
                                "2 pos=101 db=0 V | XAUTOCLAIM k g c 0 0\n");
}

/* "EVAL script nkeys arguments" with the script as it is shown. */
static void evals(unsigned version, const char *line, const char *script, const char *rest, const char *flags)
{
    struct buf want = {0};
    (void)buf_addf(&want, ONE "%s key=3 | EVAL ", flags);
    show_bytes(&want, (const uint8_t *)script, strlen(script));
    (void)buf_addf(&want, " %s\n", rest);
    (void)buf_add(&want, "", 1);
    is_from((struct source){.version = version}, "7.0", line, (const char *)want.p);
    is_from((struct source){.version = version}, "portable", line, (const char *)want.p);
    buf_free(&want);
}

static void scripts(void)
{
    evals(0, "PREPEND k v", LUA_PREPEND, "1 k v", "V");
    evals(0, "INCRBYFLOAT k 1.5", LUA_INCRBYFLOAT, "1 k 1.5", "V");
    evals(0, "HINCRBYFLOAT k f 1.5", LUA_HINCRBYFLOAT, "1 k f 1.5", "V");
    is_from((struct source){.version = VERSION(1, 34)}, "7.0", "HINCRBYFLOAT k f 1.5",
            ONE "V | HINCRBYFLOAT k f 1.5\n");
    evals(VERSION(1, 35), "HINCRBYFLOAT k f 1.5", LUA_HINCRBYFLOAT, "1 k f 1.5", "V");
    all("RENAME a b", ONE "VK | RENAME a b\n");
    all("RENAMENX a b", ONE "VK | RENAMENX a b\n");
    evals(VERSION(1, 37), "RENAME a b", LUA_OLD_RENAME, "2 a b", "VK");
    evals(1, "RENAME a b", LUA_OLD_RENAME, "2 a b", "VK"); /* a release that does not say which */
    all("PREPEND k", "LOST kind=malformed-command key=k\n" SKIPPED);
    all("INCRBYFLOAT k 1 2", "LOST kind=malformed-command key=k\n" SKIPPED);
}

static void barriers(void)
{
    all("FLUSHALL", "1 pos=101 db=0 V BARRIER txid=7 | FLUSHALL\n");
    all("FLUSHALL SYNC", "1 pos=101 db=0 V BARRIER txid=7 | FLUSHALL\n");
    all("FLUSHDB", "1 pos=101 db=0 V BARRIER txid=7 | FLUSHDB\n");
    /* Of a flow that is a master of its own: it concerns that alone. Where the target has keys of others,
     * nobody knows which of them are meant. */
    struct source one = {.flows = 1, .own_master = true}, several = {.flows = 2, .own_master = true};
    is_from(one, "7.0", "FLUSHALL", "1 pos=101 db=0 VO BARRIER txid=7 | FLUSHALL\n");
    is_from(several, "7.0", "FLUSHALL", "LOST kind=flush key=\n" SKIPPED);
    is_from(several, "7.0", "FLUSHDB", "LOST kind=flush key=\n" SKIPPED);
    /* before the flow's cut, between cut and end, after it */
    struct buf b = hex("'REDIS0009' d2 01 10 06 02 0a 05 01 01 08 08 'FLUSHALL' c8 0000000000000000 "
                       "d2 01 10 06 02 0a 06 01 01 08 08 'FLUSHALL' d3 6400000000000000 ff 0000000000000000 "
                       "'0123456789012345678901234567890123456789' 0a 08 01 01 07 07 'FLUSHDB'");
    begin("7.0", (struct source){0});
    flow_begin(&flow, 1, false, true, 2, 0, NULL);
    feed(&b);
    EQ_S(capture_text(&cap),
         "1 pos=0 db=2 VC BARRIER txid=5 | FLUSHALL\n2 pos=0 db=2 V BARRIER txid=6 | FLUSHALL\n"
         "3 pos=100 db=2 V synced\n4 pos=101 db=0 V BARRIER txid=8 | FLUSHDB\n");
    end();
    buf_free(&b);
}

int main(void)
{
    strings();
    collections();
    without_elements();
    numbered_keys();
    to_newer_only();
    to_older();
    to_dragonfly();
    as_they_are();
    nothing_to_do();
    not_carried();
    fields();
    scripts();
    barriers();
    return test_done();
}
