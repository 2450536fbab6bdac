/* Which run of which server it is (writer/target/identity.c). */
#include "../../writer/target/identity.c"
#include "../../writer/target/info.c"
#include "../../writer/words.c"
#include "test.h"

#define REDIS(run, replid, replid2)                                                                          \
    "# Server\r\nredis_version:7.0.15\r\nprocess_id:7\r\nrun_id:" run "\r\nuptime_in_seconds:100\r\n"        \
    "# Replication\r\nrole:master\r\nmaster_replid:" replid "\r\nmaster_replid2:" replid2 "\r\n"
#define DRAGONFLY(replid, uptime)                                                                            \
    "# Server\r\ndragonfly_version:df-v1.34.0\r\nuptime_in_seconds:" uptime "\r\n"                           \
    "# Replication\r\nrole:master\r\nmaster_replid:" replid "\r\n"

static struct identity of(const char *info)
{
    struct identity id = {0};
    identity_learn(&id, info);
    return id;
}

static bool same(const char *a, const char *b)
{
    struct identity x = of(a), y = of(b);
    return identity_same(&x, &y);
}

static bool follows(const char *a, const char *b)
{
    struct identity x = of(a), y = of(b);
    return identity_follows(&x, &y);
}

static void with_run_id(void)
{
    CHECK(same(REDIS("a", "r", "0"), REDIS("a", "r", "0")));
    CHECK(same(REDIS("a", "r", "0"), REDIS("a", "s", "r"))); /* promoted: the same process */
    CHECK(!same(REDIS("a", "r", "0"), REDIS("b", "r", "0")));
    CHECK(!same(REDIS("a", "r", "0"), DRAGONFLY("r", "100")));
}

static void without(void)
{
    CHECK(same(DRAGONFLY("r", "100"), DRAGONFLY("r", "103")));
    CHECK(!same(DRAGONFLY("r", "100"), DRAGONFLY("s", "100")));
    CHECK(!same(DRAGONFLY("r", "100"), DRAGONFLY("r", "1")));
    CHECK(!same("", ""));
    CHECK(!same("uptime_in_seconds:100\r\n", "uptime_in_seconds:100\r\n"));
    CHECK(same("process_id:8\r\nuptime_in_seconds:100\r\n", "process_id:8\r\nuptime_in_seconds:101\r\n"));
    CHECK(!same("process_id:1\r\nuptime_in_seconds:100\r\n", "process_id:1\r\nuptime_in_seconds:2\r\n"));
    CHECK(!same("process_id:1\r\n", "process_id:1\r\n"));
}

static void taking_over(void)
{
    CHECK(follows(REDIS("a", "r", "0"), REDIS("b", "s", "r")));
    CHECK(!follows(REDIS("a", "r", "0"), REDIS("b", "s", "t")));
    CHECK(!follows("", ""));
}

static void as_text(void)
{
    char text[IDENTITY_TEXT];
    struct identity id = of(DRAGONFLY("r", "100")), back;
    identity_print(&id, text);
    CHECK(identity_parse(&back, text) && identity_same(&id, &back));
    id = (struct identity){0};
    identity_print(&id, text);
    CHECK(identity_parse(&back, text) && !identity_same(&id, &back));
    CHECK(!identity_parse(&back, "a b"));
    CHECK(!identity_parse(&back, "a b c 9223372036854775808") && !identity_parse(&back, "a b c -1"));
    CHECK(of("uptime_in_seconds:-9223372036854775808\r\n").started == 0); /* no uptime */
    CHECK(of("uptime_in_seconds:9223372036854775807\r\n").started == 0);
    id = of("run_id:a b\r\nmaster_replid:x\r\n"); /* no word: not taken */
    CHECK(id.run_id[0] == '\0' && strcmp(id.replid, "x") == 0);
}

int main(void)
{
    with_run_id();
    without();
    taking_over();
    as_text();
    return test_done();
}
