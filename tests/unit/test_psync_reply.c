/* What dfreader gets from a Redis or Valkey server: the lines that answer PSYNC, INFO, errors; and who asks
 * for an acknowledgement in its stream. */
#include "test.h"

#include "../../common/exits.h"
#include "../../reader/redis/psync_reply.c"
#include "../../reader/redis/psync_scan.c"
#include "../../reader/reply.c"

#define ID   "0123456789abcdef0123456789abcdef01234567"
#define MARK "76543210fedcba9876543210fedcba9876543210"

/* The line that text begins with, from however few bytes. */
static enum psync_line line_of(const char *text, struct psync_line_value *v)
{
    size_t used = 0, n = strlen(text);
    const char *nl = strchr(text, '\n');
    for (size_t k = 0; nl != NULL && k <= (size_t)(nl - text); k++) {
        EQ_I(psync_line((const uint8_t *)text, k, &used, v), PSYNC_MORE);
        EQ(used, 0);
    }
    enum psync_line kind = psync_line((const uint8_t *)text, n, &used, v);
    if (nl != NULL)
        EQ(used, (size_t)(nl - text) + 1);
    return kind;
}

static void test_lines(void)
{
    struct psync_line_value v;
    EQ_I(line_of("\n", &v), PSYNC_NEWLINE);
    EQ_I(line_of("+FULLRESYNC " ID " 0\r\n", &v), PSYNC_FULL);
    EQ_S(v.replid, ID);
    EQ(v.offset, 0);
    EQ_I(line_of("+FULLRESYNC " ID " 18014398509481984\r\n$5\r\n", &v), PSYNC_FULL);
    EQ(v.offset, PSYNC_OFFSET_MAX + 1);
    EQ_I(line_of("+CONTINUE\r\n*1\r\n", &v), PSYNC_CONTINUE);
    EQ_S(v.replid, "");
    EQ_I(line_of("+CONTINUE " MARK "\r\n", &v), PSYNC_CONTINUE);
    EQ_S(v.replid, MARK);
    EQ_I(line_of("$EOF:" MARK "\r\n", &v), PSYNC_MARK);
    EQ_S(v.mark, MARK);
    EQ_I(line_of("$0\r\n", &v), PSYNC_SIZE);
    EQ(v.size, 0);
    EQ_I(line_of("$18446744073709551599\r\n", &v), PSYNC_SIZE);
    EQ(v.size, 18446744073709551599u);
    EQ_I(line_of("-NOMASTERLINK Can't SYNC while not connected with my master\r\n", &v), PSYNC_ERROR);
    EQ_S(v.text, "NOMASTERLINK Can't SYNC while not connected with my master");
}

static void test_strange_lines(void)
{
    static const char *const strange[] = {
        "+FULLRESYNC " ID "\r\n",
        "+FULLRESYNC " ID " \r\n",
        "+FULLRESYNC " ID " -1\r\n",
        "+FULLRESYNC " ID " 1x\r\n",
        "+FULLRESYNC " ID " 99999999999999999999999\r\n",
        "+FULLRESYNC ? 7\r\n",
        "+FULLRESYNC 0123456789abcdef0123456789abcdef0123456 7\r\n",
        "+FULLRESYNC 0123456789abcdef0123456789abcdef0123456z 7\r\n",
        "+CONTINUE \r\n",
        "+CONTINUE 1\r\n",
        "+CONTINUED\r\n",
        "+RDBCHANNELSYNC 7\r\n",
        "+DUALCHANNELSYNC\r\n",
        "$EOF:0123\r\n",
        "$EOF:" MARK "0\r\n",
        "$EOF:                                        \r\n",
        "$-1\r\n",
        "$\r\n",
        "$99999999999999999999\r\n",
        "+OK\r\n",
        "*1\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    };
    struct psync_line_value v;
    char line[PSYNC_LINE_MAX + 1];
    size_t used;
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        if (line_of(strange[i], &v) != PSYNC_STRANGE)
            EQ_S(strange[i], "not taken");
    memset(line, 'x', sizeof line);
    EQ_I(psync_line((const uint8_t *)line, PSYNC_LINE_MAX - 1, &used, &v), PSYNC_MORE);
    EQ_I(psync_line((const uint8_t *)line, PSYNC_LINE_MAX, &used, &v), PSYNC_STRANGE);
    EQ(strlen(v.text), sizeof v.text - 1);
}

static void version_is(const char *info, const char *version)
{
    char got[48];
    info_version(info, got, sizeof got);
    EQ_S(got, version);
}

static void test_info(void)
{
    uint64_t n = 7;
    char small[4];
    static const char text[] = "# Replication\r\nrole:master\r\nmaster_replid2:00\r\nmaster_replid:" ID
                               "\r\nmaster_repl_offset:1234\r\nsecond_repl_offset:-1\r\nlast:9";
    char id[REPLID_LEN + 1];
    CHECK(info_field(text, "master_replid", id, sizeof id));
    EQ_S(id, ID);
    CHECK(!info_field(text, "role", small, sizeof small)); /* does not fit */
    CHECK(!info_field(text, "replid", id, sizeof id));     /* only a part of a name */
    CHECK(info_number(text, "master_repl_offset", &n));
    EQ(n, 1234);
    CHECK(!info_number(text, "second_repl_offset", &n));
    CHECK(info_number(text, "last", &n));
    EQ(n, 9);
    version_is("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n", "redis:7.0.15");
    version_is("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n", "valkey:9.1.2");
    version_is("redis_version:7.4.0\r\ndragonfly_version:df-v1.34.2\r\n", "dragonfly:1.34.2");
    version_is("redis_version:7 \"x\r\n", "");
    version_is("redis_version:\r\n", "");
    version_is("", "");
    CHECK(psync_wants_version("valkey:9.0.1") && psync_wants_version("valkey:10.0"));
    CHECK(!psync_wants_version("valkey:8.1.1") && !psync_wants_version("redis:9.0"));
    CHECK(psync_wants_version("")); /* it may be one */
    CHECK(psync_wants_version("valkey:9.1.0-rc2") && !psync_wants_version("redis:8.0-m03"));
    CHECK(psync_wants_version("valkey:") && psync_wants_version("other:9"));
}

static void refused(const char *text, int status, const char *advice)
{
    struct fault f;
    psync_refused(&f, "PSYNC", text);
    EQ_I(f.status, status);
    if (strstr(f.text, advice) == NULL)
        EQ_S(f.text, advice);
}

static void test_errors(void)
{
    refused("NOMASTERLINK Can't SYNC while not connected with my master", EXIT_RETRY, "replica");
    refused("LOADING Redis is loading the dataset in memory", EXIT_RETRY, "loading");
    refused("BUSY Redis is busy running a script.", EXIT_RETRY, "busy");
    refused("NOAUTH Authentication required.", EXIT_CANNOT, "--password-file");
    refused("WRONGPASS invalid username-password pair or user is disabled.", EXIT_CANNOT, "wrong user");
    refused("NOPERM User u has no permissions to run the 'psync' command", EXIT_CANNOT,
            "+psync +replconf +ping +info");
    refused("ERR unknown command 'PSYNC', with args beginning with: '?' '-1'", EXIT_CANNOT, "RDB file");
    refused("ERR \"what\"\x01", EXIT_CANNOT, "refuses");
}

/* ---- the stream ---- */

static const char stream[] = "*1\r\n$4\r\nPING\r\n"                                              /* to 14 */
                             "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$6\r\n*1\r\n$4\r\n"                  /* to 46 */
                             "*3\r\n$8\r\nreplconf\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"               /* to 83 */
                             "*4\r\n$7\r\nCLUSTER\r\n$7\r\nSETSLOT\r\n$1\r\n1\r\n$4\r\nNODE\r\n" /* to 130 */
                             "\n*0\r\n"
                             "*2\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n"
                             "*2\r\n$12\r\nREPLCONFXXXX\r\n$6\r\nGETACK\r\n"
                             "*3\r\n$3\r\nSET\r\n$20\r\nREPLCONF\r\n$6\r\nGETACK\r\n$0\r\n\r\n";

/* The same, however the bytes come. */
static void test_scan(void)
{
    size_t n = sizeof stream - 1;
    for (size_t step = 1; step <= n; step++) {
        struct psync_scan s;
        psync_scan_begin(&s, 1000);
        bool asked = false;
        for (size_t at = 0; at < n; at += step) {
            psync_scan(&s, (const uint8_t *)stream + at, step < n - at ? step : n - at);
            asked = asked || s.asks;
        }
        CHECK(asked && !s.lost);
        EQ(s.asked, 1046);
        EQ(s.setslot, 1130);
        EQ(s.offset, 1000 + n);
        EQ(s.begun, 1000 + n);
    }
}

/* What is no RESP is counted, and nothing else. */
static void test_scan_lost(void)
{
    static const char *const bad[] = {
        "PING\r\n", "*1\r\n*1\r\n", "*x\r\n", "*1\r\n$99999999999999\r\n", "*00000000000000000001\r\n",
        "*-1\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct psync_scan s;
        psync_scan_begin(&s, 0);
        psync_scan(&s, (const uint8_t *)bad[i], strlen(bad[i]));
        psync_scan(&s, (const uint8_t *)stream, sizeof stream - 1);
        CHECK(s.lost && !s.asks);
        EQ(s.offset, strlen(bad[i]) + sizeof stream - 1);
    }
}

static void test_databases(void)
{
    uint32_t db[2] = {9, 9};
    EQ(info_databases("# Keyspace\r\ndb0:keys=1,expires=0\r\ndb12:keys=3,expires=0\r\n", db, 2), 2);
    EQ(db[0], 0);
    EQ(db[1], 12);
    EQ(info_databases("db1:keys=1\ndb2:keys=1\ndb3:keys=1\n", db, 2), 3);
    EQ(info_databases("dbx:keys=1\ndb:keys=1\ndb4:other=1\ndb99999999999:keys=1\n", db, 2), 0);
    CHECK(cluster_has_databases("valkey:9.1.2") && !cluster_has_databases("valkey:8.1.1"));
    CHECK(!cluster_has_databases("redis:8.6.3") && !cluster_has_databases(""));
}

int main(void)
{
    test_databases();
    test_lines();
    test_strange_lines();
    test_info();
    test_errors();
    test_scan();
    test_scan_lost();
    return test_done();
}
