/* What becomes of the commands of a Redis or Valkey, for targets of each kind. */
#include "test.h"

#include "../../common/crc64.h"
#include "../../common/psync.h"
#include "../../parser/flow.h"

#define NOW_MS UINT64_C(1700000000000)

static struct capture cap;
static struct flow flow;
static struct filter filter;
static bool publish;
static const char *modules = "";

/* Words of a line as a request; ~ is a blank. */
static void add_line(struct buf *b, const char *line)
{
    char copy[1024], *save = NULL;
    struct slice word[64];
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save)) {
        for (char *p = w; *p != '\0'; p++)
            if (*p == '~')
                *p = ' ';
        word[n++] = (struct slice){(const uint8_t *)w, strlen(w)};
    }
    (void)resp_add_array(b, n);
    for (size_t i = 0; i < n; i++)
        (void)resp_add_bulk(b, word[i].p, word[i].n);
}

static void give(const char *target, const struct buf *b)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    target_modules(&cap.e.target, modules);
    cap.e.publish = publish;
    cap.e.now_ms = NOW_MS;
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, 1, psync_position(1000, 0), NULL);
    flow_of_redis(&flow, psync_position(1000, 0));
    flow.to.own_master = true;
    if (filter.active)
        flow.to.filter = &filter;
    uint8_t *p = exact(b->p, b->len);
    if (flow_feed(&flow, &cap.e, p, b->len, 0, NOW_MS * 1000) < 0)
        printf("%s\n", flow.error);
    free(p);
}

static void done(void)
{
    CHECK(flow_end(&flow, false) == 0);
    EQ(flow.to.o.pos, flow.to.next_lsn); /* whatever became of it, its position is reached */
    flow_free(&flow);
    capture_free(&cap);
}

/* Without the numbers in front: flags, class and request, a line each. */
static const char *plain(void)
{
    static char text[4096];
    const char *p = capture_text(&cap);
    size_t n = 0;
    while (*p != '\0' && n < sizeof text - 2) {
        const char *end = strchr(p, '\n'), *from = p;
        if (*p >= '0' && *p <= '9')
            for (unsigned blanks = 0; blanks < 2 && from < end; from++)
                blanks += *from == ' ';
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s\n", (int)(end - from), from);
        p = end + 1;
    }
    text[n < sizeof text ? n : sizeof text - 1] = '\0';
    return text;
}

static void is(const char *target, const char *line, const char *want)
{
    struct buf b = {0};
    add_line(&b, line);
    give(target, &b);
    if (!EQ_S(plain(), want))
        printf("  for %s: %s\n", target, line);
    done();
    buf_free(&b);
}

/* Of a script only that it is one, and its arguments. */
static void script(const char *target, const char *line, const char *want)
{
    struct buf b = {0};
    add_line(&b, line);
    give(target, &b);
    const char *got = plain(), *one = strstr(got, " 1 k"),
               *arguments = one != NULL ? one : strstr(got, " 2 k");
    CHECK(strstr(got, "EVAL ") != NULL);
    if (!EQ_S(arguments != NULL ? arguments : got, want))
        printf("  for %s: %s\n", target, line);
    done();
    buf_free(&b);
}

#define PASSED "db=0 V position\n"

static void strings(void)
{
    is("7.0", "set k v", "db=0 IV string | SET k v\n");
    is("7.0", "SET k v PX 1000000", "db=0 IV string | SET k v PXAT 1700001000000\n");
    is("7.0", "setex k 1000 v", "db=0 IV string | SET k v PXAT 1700001000000\n");
    is("7.0", "psetex k 1000000 v", "db=0 IV string | SET k v PXAT 1700001000000\n");
    is("7.0", "EXPIRE k 1000", "db=0 IV | PEXPIREAT k 1700001000000\n");
    is("7.0", "PEXPIREAT k 1900000000000 GT", "db=0 IV | PEXPIREAT k 1900000000000\n");
    /* Expired, but its DEL is to come. */
    is("7.0", "SET k v PXAT 1000", "db=0 IV string | SET k v PXAT 1700000060000\n");
    is("7.0", "SET k v KEEPTTL", "db=0 IV | SET k v KEEPTTL\n");
    is("7.0", "SET k v IFEQ w", "db=0 IV string | SET k v\n");
    is("7.0", "SET k v IFDNE 00", "db=0 IV string | SET k v\n");
    is("7.0", "SET k v IFEQ", "LOST kind=malformed-command key=k\n" PASSED);
    is("7.0", "DELEX k", "db=0 IV | DEL k\n");
    is("7.0", "INCRBYFLOAT k 1.5", "db=0 V | INCRBYFLOAT k 1.5\n");
    is("7.0", "PFCOUNT k", "db=0 IV | PFCOUNT k\n");
    is("7.0", "BITOP ONE d a b", "LOST kind=command-too-new key=d\n" PASSED);
    is("8.2", "BITOP ONE d a b", "db=0 VK key=2 | BITOP ONE d a b\n");
    is("7.0", "MSETEX 2 a 1 b 2", "db=0 IV string | SET a 1\ndb=0 IV string | SET b 2\n");
    is("7.0", "MSETEX 2 a 1 b 2 NX PXAT 1900000000000",
       "db=0 IV string | SET a 1 PXAT 1900000000000\ndb=0 IV string | SET b 2 PXAT 1900000000000\n");
    is("7.0", "MSETEX 1 a 1 XX KEEPTTL", "db=0 IV | SET a 1 KEEPTTL\n");
    is("7.0", "MSETEX 3 a 1 b 2", "LOST kind=malformed-command key=3\n" PASSED);
    is("7.0", "GEOSEARCHSTORE d k BYPOLYGON 3 1 1 2 2 3 3", "LOST kind=command-too-new key=d\n" PASSED);
    is("7.0", "zadd k 1 a", "db=0 IV | ZADD k 1 a\n");
}

static void fields(void)
{
    is("7.0", "HGETDEL k FIELDS 2 a b", "db=0 IV | HDEL k a b\n");
    is("7.0", "HGETDEL k a b c", "LOST kind=malformed-command key=k\n" PASSED);
    is("8.0", "HSETEX k KEEPTTL FIELDS 1 f v", "db=0 IV | HSETEX k KEEPTTL FIELDS 1 f v\n");
    is("valkey:9.0", "HSETEX k FNX PXAT 1900000000000 FIELDS 2 f v g w",
       "db=0 IV | HSETEX k PXAT 1900000000000 FIELDS 2 f v g w\n");
    is("7.4", "HSETEX k FXX PXAT 1900000000000 FIELDS 1 f v",
       "db=0 IV | HSET k f v\ndb=0 IV | HPEXPIREAT k 1900000000000 FIELDS 1 f\n");
    script("7.4", "HSETEX k KEEPTTL FIELDS 1 f v", " 1 k \"\" 1 0 f v\n");
    is("7.0", "HSETEX k KEEPTTL FIELDS 1 f v", "db=0 IV | HSET k f v\n");
    is("7.0", "HSETEX k PXAT 1900000000000 FIELDS 1 f v",
       "LOST kind=field-ttl key=k\ndb=0 IV | HSET k f v\n");
    is("7.0", "HSETEX k FIELDS 1 f v", "db=0 IV | HSET k f v\n");
    is("7.4", "HPEXPIREAT k 1900000000000 GT FIELDS 1 f",
       "db=0 V | HPEXPIREAT k 1900000000000 GT FIELDS 1 f\n");
    is("dragonfly:1.40", "HPEXPIREAT k 1700000100000 FIELDS 1 f", "db=0 IV | FIELDEXPIRE k 100 f\n");
    is("dragonfly:1.40", "HPEXPIREAT k 1700000100000 GT FIELDS 1 f", "LOST kind=field-ttl key=k\n" PASSED);
    script("dragonfly:1.40", "HSETEX k KEEPTTL FIELDS 1 f v", " 1 k f v\n");
}

static void sorted_sets(void)
{
    is("6.2", "GEORADIUS k 1 1 5 km STORE d", "db=0 VK | GEORADIUS k 1 1 5 km STORE d\n");
    script("5.0", "GEORADIUS k 1 1 5 km STORE d", " 2 k d GEORADIUS k 1 1 5 km STORE d\n");
    script("4.0", "GEORADIUSBYMEMBER k m 5 km STOREDIST d",
           " 2 k d GEORADIUSBYMEMBER k m 5 km STOREDIST d\n");
    is("5.0", "SORT k STORE d", "db=0 VK | SORT k STORE d\n");
}

static void streams(void)
{
    is("7.0", "XADD k IDMP p i 1-1 f v", "db=0 V | XADD k 1-1 f v\n");
    is("7.0", "XADD k NOMKSTREAM IDMPAUTO p MAXLEN = 5 1-1 f v",
       "db=0 V | XADD k NOMKSTREAM MAXLEN = 5 1-1 f v\n");
    is("8.6", "XADD k IDMP p i * f v", PASSED);
    is("7.0", "XADD k IDMP p", "LOST kind=malformed-command key=k\n" PASSED);
    is("8.2", "XADD k DELREF MAXLEN = 5 1-1 f v", "db=0 V | XADD k DELREF MAXLEN = 5 1-1 f v\n");
    is("7.0", "XADD k KEEPREF MAXLEN = 5 1-1 f v", "db=0 V | XADD k MAXLEN = 5 1-1 f v\n");
    is("7.0", "XADD k MAXLEN = 5 DELREF 1-1 f v",
       "REMARK kind=stream-references key=k\ndb=0 V | XADD k MAXLEN = 5 1-1 f v\n");
    is("7.0", "XADD k ACKED MAXLEN = 5 LIMIT 3 1-1 f v",
       "LOST kind=stream-references key=k\ndb=0 V | XADD k 1-1 f v\n");
    is("7.0", "XTRIM k MAXLEN = 5 ACKED", "LOST kind=stream-references key=k\n" PASSED);
    is("7.0", "XTRIM k MAXLEN = 5", "db=0 IV | XTRIM k MAXLEN = 5\n");
    is("7.0", "XTRIM k MAXLEN = 5 LIMIT 10", "db=0 IV | XTRIM k MAXLEN = 5\n");
    is("8.6", "XADD k MINID = 5 LIMIT 10 ACKED 1-1 f v", "db=0 V | XADD k MINID = 5 ACKED 1-1 f v\n");
    is("7.0", "XADD k MAXLEN = 5 LIMIT 3 1-1 LIMIT 4", "db=0 V | XADD k MAXLEN = 5 1-1 LIMIT 4\n");
    is("7.0", "XDELEX k KEEPREF IDS 2 1-1 2-2", "db=0 IV | XDEL k 1-1 2-2\n");
    is("8.2", "XDELEX k DELREF IDS 1 1-1", "db=0 V | XDELEX k DELREF IDS 1 1-1\n");
    script("7.0", "XDELEX k DELREF IDS 1 1-1", " 1 k DELREF \"\" 1-1\n");
    script("valkey:9.0", "XACKDEL k g ACKED IDS 2 1-1 2-2", " 1 k ACKED g 1-1 2-2\n");
    is("4.0", "XDELEX k IDS 1 1-1", "LOST kind=command-too-new key=k\n" PASSED);
    is("7.0", "XDELEX k 1 1-1 2", "LOST kind=malformed-command key=k\n" PASSED);
    is("7.0", "XCFGSET k IDMP-DURATION 5", "REMARK kind=stream-config key=k\n" PASSED);
    is("8.6", "XCFGSET k IDMP-DURATION 5", "db=0 IV | XCFGSET k IDMP-DURATION 5\n");
    is("6.2", "XGROUP SETID k g 1-1 ENTRIESREAD -1", "db=0 V key=2 | XGROUP SETID k g 1-1\n");
    is("7.0", "XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
       "db=0 V | XCLAIM k g c 0 1-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1\n");
}

static void whole_servers(void)
{
    is("7.0", "FLUSHALL ASYNC", "db=0 VO BARRIER txid=0 | FLUSHALL\n");
    is("7.0", "SWAPDB 0 3", "db=0 VK key=0 | SWAPDB 0 3\n");
    is("7.0", "SWAPDB 3 3", PASSED);
    is("7.0/cluster", "SWAPDB 0 3", "LOST kind=database key=0\n" PASSED);
    is("dragonfly:1.40", "SWAPDB 0 3", "LOST kind=database key=0\n" PASSED);
    is("7.0", "SWAPDB 0 x", "LOST kind=malformed-command key=0\n" PASSED);
    is("7.0", "PUBLISH c m", PASSED);
    publish = true;
    is("7.0", "PUBLISH c m", "db=0 V | PUBLISH c m\n");
    is("7.0", "SPUBLISH c m", "db=0 V | SPUBLISH c m\n");
    is("6.2", "SPUBLISH c m", "LOST kind=command-too-new key=c\n" PASSED);
    is("7.0", "PUBLISH __sentinel__:hello m", PASSED);
    publish = false;
    is("7.0", "SCRIPT LOAD return~1", "db=0 IVK key=0 | SCRIPT LOAD return\\x201\n");
    is("7.0", "SCRIPT FLUSH ASYNC", "db=0 IVK key=0 | SCRIPT FLUSH\n");
    is("7.0", "EVAL return~1 2 a b c", "db=0 VK key=3 | EVAL return\\x201 2 a b c\n");
    is("6.0", "EVAL redis.call('PTTL','a') 1 a", "db=0 V key=3 | EVAL redis.call('PTTL','a') 1 a\n");
    is("7.0", "EVALSHA 00 0", "db=0 VK key=0 | EVALSHA 00 0\n");
    is("7.0/cluster", "EVAL x 2 {a}1 {a}2", "db=0 VK key=3 | EVAL x 2 {a}1 {a}2\n");
    is("7.0/cluster", "EVAL x 2 a b", "LOST kind=slots key=a\n" PASSED);
    is("7.0/cluster", "EVAL x 0", "LOST kind=slots key=0\n" PASSED);
    is("7.0", "FUNCTION LOAD code", "db=0 IVK key=0 | FUNCTION LOAD REPLACE code\n");
    is("7.0", "FUNCTION LOAD REPLACE code", "db=0 IVK key=0 | FUNCTION LOAD REPLACE code\n");
    is("7.0", "FUNCTION FLUSH SYNC", "db=0 IVK key=0 | FUNCTION FLUSH\n");
    /* One that is missing, as this was executed before, is no error. */
    is("7.0", "FUNCTION DELETE lib",
       "db=0 IVK key=0 | FUNCTION LOAD REPLACE "
       "#!lua\\x20name=lib\\x0aredis.register_function('df2redis_lib',\\x20function()\\x20end)\n"
       "db=0 IVK key=0 | FUNCTION DELETE lib\n");
    is("6.2", "FUNCTION LOAD code", "LOST kind=function key=code\n" PASSED);
    is("7.0", "FUNCTION STATS x", "LOST kind=unknown-command key=\n" PASSED);
    is("7.0", "CLUSTER SETSLOT 1 NODE x", PASSED);
    is("7.0", "CLUSTER SYNCSLOTS CONF x", "REMARK kind=slot-migration key=\n" PASSED);
    is("7.0", "CLUSTER FLUSHSLOT 1", "LOST kind=flush-slots key=\n" PASSED);
    is("7.0", "TRIMSLOTS RANGES 1 0 99", "LOST kind=flush-slots key=\n" PASSED);
    is("7.0", "NEWCOMMAND k v", "LOST kind=unknown-command key=k\n" PASSED);
    is("7.0", "KEYDB.CRON k", "LOST kind=unknown-command key=k\n" PASSED);
}

/* Of Redis from 8.8 on. */
static void newer(void)
{
    is("8.8", "ARSET k 0 a b", "db=0 IV | ARSET k 0 a b\n");
    is("8.8", "ARINSERT k a", "db=0 V | ARINSERT k a\n");
    is("8.6", "ARSET k 0 a", "LOST kind=array key=k\n" PASSED);
    is("valkey:9.1", "ARRING k 3 a", "LOST kind=array key=k\n" PASSED);
    is("dragonfly:1.40", "ARDEL k 0", "LOST kind=array key=k\n" PASSED);
    is("8.8", "INCREX k BYINT 2", "db=0 V | INCREX k BYINT 2\n");
    is("valkey:9.2", "INCREX k BYINT 2", "db=0 V | INCREX k BYINT 2\n");
    is("7.0", "INCREX k BYINT 2", "LOST kind=command-too-new key=k\n" PASSED);
    is("8.8", "XNACK k g FAIL IDS 1 1-1", "db=0 V | XNACK k g FAIL IDS 1 1-1\n");
    is("8.6", "XNACK k g FAIL IDS 1 1-1", "LOST kind=command-too-new key=k\n" PASSED);
    is("8.10", "LMOVEM k l LEFT RIGHT COUNT 2 OBO", "db=0 VK | LMOVEM k l LEFT RIGHT COUNT 2 OBO\n");
    is("8.8", "LMOVEM k l LEFT RIGHT COUNT 2 OBO", "LOST kind=command-too-new key=k\n" PASSED);
    is("7.0", "LMOVEM k l LEFT RIGHT", "db=0 VK | LMOVE k l LEFT RIGHT\n");
    is("8.8", "ZUNIONSTORE d 2 a b AGGREGATE COUNT", "db=0 VK | ZUNIONSTORE d 2 a b AGGREGATE COUNT\n");
    is("7.0", "ZUNIONSTORE d 2 a b AGGREGATE COUNT", "LOST kind=command-too-new key=d\n" PASSED);
    is("7.0", "PFDEBUG TODENSE k", PASSED);
    is("8.6", "XIDMPRECORD k p i 1-1", "db=0 IV | XIDMPRECORD k p i 1-1\n");
    is("8.4", "XIDMPRECORD k p i 1-1", "REMARK kind=stream-messages key=k\n" PASSED);
    is("valkey:9.1", "XIDMPRECORD k p i 1-1", "REMARK kind=stream-messages key=k\n" PASSED);
    is("7.0", "SFLUSH 0 16383", "LOST kind=flush-slots key=\n" PASSED);
}

static void of_modules(void)
{
    is("7.0", "VADD k VALUES 1 2 e", "LOST kind=module key=k\n" PASSED);
    is("8.0", "VADD k VALUES 1 2 e", "db=0 V | VADD k VALUES 1 2 e\n");
    is("7.0", "BF.ADD k v", "LOST kind=probabilistic key=k\n" PASSED);
    is("dragonfly:1.40", "BF.ADD k v", "LOST kind=probabilistic key=k\n" PASSED);
    is("7.0", "TS.ADD k 1 2", "LOST kind=unknown-command key=k\n" PASSED);
    modules = "bf,timeseries,search,odd";
    is("7.0", "BF.ADD k v", "db=0 V | BF.ADD k v\n");
    is("valkey:8.0", "CMS.INCRBY k v 1", "LOST kind=probabilistic key=k\n" PASSED);
    is("7.0", "TS.ADD k 1 2", "db=0 VK other | TS.ADD k 1 2\n");
    is("7.0", "FT.CREATE i SCHEMA", "db=0 VK key=0 | FT.CREATE i SCHEMA\n");
    is("7.0", "ODD.SET k v", "db=0 VK other | ODD.SET k v\n");
    is("7.0", "EVEN.SET k v", "LOST kind=unknown-command key=k\n" PASSED);
    modules = "";
}

/* A payload of DUMP, with its checksum or without one, as Redis 8.4 and later have it between the masters of
 * a cluster. want: what of the value's type the target gets, and the RDB version that goes with it; NULL:
 * nothing. */
static void restore(const char *target, const char *value, bool sum, unsigned version, const char *want,
                    unsigned older)
{
    struct buf b = {0}, v = hex(value), w = {0};
    add_le(&v, version, 2);
    add_le(&v, sum ? crc64(0, v.p, v.len) : 0, 8);
    (void)resp_add_array(&b, 5);
    (void)resp_add_str(&b, "RESTORE-ASKING");
    (void)resp_add_str(&b, "k");
    (void)resp_add_str(&b, "1900000000000");
    (void)resp_add_bulk(&b, v.p, v.len);
    (void)resp_add_str(&b, "ABSTTL");
    give(target, &b);
    const char *got = strchr(plain(), '|');
    if (want == NULL) {
        EQ_S(got, "| DEL k\n");
    } else {
        v.len = 0;
        add_hex(&v, want);
        add_le(&v, older, 2);
        add_le(&v, crc64(0, v.p, v.len), 8);
        (void)buf_addstr(&w, "| RESTORE k 1900000000000 ");
        show_bytes(&w, v.p, v.len);
        (void)buf_addstr(&w, " REPLACE ABSTTL\n");
        (void)buf_add(&w, "", 1);
        EQ_S(got, (const char *)w.p);
    }
    done();
    buf_free(&b);
    buf_free(&v);
    buf_free(&w);
}

static void restores(void)
{
    static const char intset[] = "0b 0a 02000000 01000000 0500";
    restore("7.0", intset, false, 12, intset, 6);
    restore("7.0", intset, true, 80, intset, 6);
    restore("7.0", "0b 0a 02000000 02000000 0500", true, 12, NULL, 0); /* damaged */
    restore("7.0", "0b 0a 02000000 01000000 0500 00", true, 12, NULL, 0);
    restore("7.0", "1d 00", true, 14, NULL, 0); /* Redis 8.10: a hash template */
    /* Types above 21 are those of the payload's writer: 22 of Valkey is a hash whose fields expire. */
    static const char hash[] = "16 01 01'f' 01'v' 00204aa9d1010000";
    restore("valkey:9.0", hash, true, 80, hash, 80);
    restore("valkey:9.0", hash, true, 12, NULL, 0);
}

static void functions(void)
{
    struct buf b = {0}, v = hex("f5 04'lib1' f5 04'lib2'");
    add_le(&v, 80, 2);
    add_le(&v, crc64(0, v.p, v.len), 8);
    (void)resp_add_array(&b, 4);
    (void)resp_add_str(&b, "FUNCTION");
    (void)resp_add_str(&b, "RESTORE");
    (void)resp_add_bulk(&b, v.p, v.len);
    (void)resp_add_str(&b, "FLUSH");
    give("7.0", &b);
    EQ_S(plain(), "db=0 IVK key=0 | FUNCTION FLUSH\ndb=0 IVK key=0 | FUNCTION LOAD REPLACE lib1\n"
                  "db=0 IVK key=0 | FUNCTION LOAD REPLACE lib2\ndb=0 V position\n");
    done();
    b.p[b.len - 20] ^= 1; /* of the checksum */
    give("7.0", &b);
    EQ_S(plain(), "LOST kind=function key=\n" PASSED);
    done();
    buf_free(&b);
    buf_free(&v);
}

/* A KeyDB wraps its commands up. */
static void wrapped(void)
{
    struct buf b = {0}, in = {0};
    add_line(&in, "INCR a");
    add_line(&in, "SELECT 3");
    add_line(&in, "incr b");
    (void)resp_add_array(&b, 5);
    (void)resp_add_str(&b, "RREPLAY");
    (void)resp_add_str(&b, "uuid");
    (void)resp_add_bulk(&b, in.p, in.len);
    (void)resp_add_str(&b, "2");
    (void)resp_add_str(&b, "77");
    add_line(&b, "INCR c");
    give("7.0", &b);
    EQ_S(plain(), "db=2 V | INCR a\ndb=3 V | INCR b\ndb=0 V position\ndb=0 V | INCR c\n");
    done();
    buf_free(&b);
    buf_free(&in);
}

static void selected(void)
{
    CHECK(filter_add_rule(&filter, "prefix:a", false) == NULL);
    CHECK(filter_add_rename(&filter, "a=z") == NULL);
    CHECK(filter_add_dbs(&filter, "3=5") == NULL);
    is("7.0", "MSETEX 3 a1 1 b 2 a2 3 PXAT 1900000000000",
       "db=0 IV string | SET z1 1 PXAT 1900000000000\ndb=0 V position\n"
       "db=0 IV string | SET z2 3 PXAT 1900000000000\n");
    is("7.0", "HGETDEL a FIELDS 1 f", "db=0 IV | HDEL z f\n");
    is("7.0", "HGETDEL b FIELDS 1 f", PASSED);
    is("7.0", "XADD a IDMP p i 1-1 f v", "db=0 V | XADD z 1-1 f v\n");
    is("7.0", "VADD a VALUES 1 2 e", "LOST kind=module key=z\n" PASSED);
    is("7.0", "SWAPDB 0 3", "db=0 VK key=0 | SWAPDB 0 5\n");
    is("7.0", "EVAL x 2 a1 b", "LOST kind=selection key=a1\n" PASSED);
    is("7.0", "EVAL x 1 a1", "db=0 V key=3 | EVAL x 1 z1\n");
    is("7.0", "EVAL x 0", "LOST kind=selection key=0\n" PASSED);
    is("7.0", "FUNCTION LOAD code", "db=0 IVK key=0 | FUNCTION LOAD REPLACE code\n");
    is("7.0", "NEWCOMMAND b", PASSED);
    modules = "bf";
    is("7.0", "CMS.MERGE a1 2 a2 a3 WEIGHTS 1 2", "db=0 VK | CMS.MERGE z1 2 z2 z3 WEIGHTS 1 2\n");
    is("7.0", "CMS.MERGE a1 1 b", "LOST kind=selection key=a1\n" PASSED);
    modules = "";
    is("7.0", "SUNIONSTORE b a1 a2", PASSED); /* what selected keys are only read for */
    is("7.0", "BITOP NOT b a", PASSED);
    is("7.0", "SUNIONSTORE a b", "LOST kind=selection key=a\n" PASSED);
    is("7.0", "SORT a BY nosort GET # STORE a1", "db=0 VK | SORT z BY nosort GET # STORE z1\n");
    is("7.0", "SORT a BY w* STORE a1", "LOST kind=selection key=a\n" PASSED);
    is("7.0", "SORT a GET w*->f STORE b", PASSED);
    filter_clear(&filter);
    CHECK(filter_add_rename(&filter, "a=z") == NULL);
    is("7.0", "SORT b GET a* STORE c", "LOST kind=selection key=b\n" PASSED);
    filter_clear(&filter);
    CHECK(filter_add_rule(&filter, "db:3", false) == NULL);
    is("7.0", "MOVE a 3", "LOST kind=selection key=a\n" PASSED);
    is("7.0", "MOVE a 4", PASSED);
    is("7.0", "COPY a b DB 3 REPLACE", "LOST kind=selection key=a\n" PASSED);
    filter_clear(&filter);
    CHECK(filter_add_rule(&filter, "db:0", false) == NULL);
    is("7.0", "SORT a GET w* STORE c", "db=0 VK | SORT a GET w* STORE c\n");
    is("7.0", "MOVE a 3", "db=0 IV | DEL a\n");
    is("7.0", "COPY a b DB 3", PASSED);
    is("7.0", "SWAPDB 0 3", "LOST kind=database key=0\n" PASSED);
    is("7.0", "SWAPDB 2 3", PASSED);
    filter_clear(&filter);
    CHECK(filter_add_dbs(&filter, "1=0") == NULL);
    is("7.0", "SWAPDB 0 3", "LOST kind=database key=0\n" PASSED);
    is("7.0", "MOVE a 1", PASSED); /* both are one at the target */
    is("7.0", "COPY a a DB 1", PASSED);
    is("7.0", "COPY a b DB 1", "db=0 VK | COPY a b DB 0\n");
    is("7.0", "MOVE a 2", "db=0 V | MOVE a 2\n");
    filter_clear(&filter);
}

int main(void)
{
    strings();
    fields();
    sorted_sets();
    streams();
    whole_servers();
    newer();
    of_modules();
    restores();
    functions();
    wrapped();
    selected();
    return test_done();
}
