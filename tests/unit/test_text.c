/* What users write: URLs, sizes, configuration files, targets. */
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "../../common/conf.h"
#include "../../common/meta.h"
#include "../../common/size.h"
#include "../../common/url.h"
#include "../../parser/target.h"

/* ---- URLs ---- */

static void url_is(const char *text, const char *scheme, const char *user, const char *password,
                   const char *host, const char *port, int db)
{
    struct url u;
    const char *fault = url_parse(&u, text);
    if (!CHECK(fault == NULL))
        printf("  %s: %s\n", text, fault);
    EQ_S(u.scheme, scheme);
    EQ_S(u.user, user);
    EQ_S(u.password, password);
    EQ_S(u.host, host);
    EQ_S(u.port, port);
    CHECK(u.has_db == (db >= 0));
    if (db >= 0)
        EQ(u.db, db);
}

static void url_bad(const char *text, const char *want)
{
    struct url u;
    const char *fault = url_parse(&u, text);
    if (!EQ_S(fault, want))
        printf("  %s\n", text);
}

static void urls(void)
{
    url_is("dragonfly://localhost", "dragonfly", "", "", "localhost", "6379", -1);
    url_is("redis://h:7000", "redis", "", "", "h", "7000", -1);
    url_is("redis://h:7000/", "redis", "", "", "h", "7000", -1);
    url_is("redis://h/3", "redis", "", "", "h", "6379", 3);
    url_is("redis://h:1/0", "redis", "", "", "h", "1", 0);
    url_is("redis://user:pass@h", "redis", "user", "pass", "h", "6379", -1);
    url_is("redis://:pass@h", "redis", "", "pass", "h", "6379", -1);
    url_is("redis://user@h", "redis", "user", "", "h", "6379", -1);
    url_is("redis://u%40x:p%3a%2F%25@h:5", "redis", "u@x", "p:/%", "h", "5", -1);
    url_is("redis://u:p@w@h", "redis", "u", "p@w", "h", "6379", -1); /* the last @ ends the password */
    url_is("redis://u:p:w@h", "redis", "u", "p:w", "h", "6379", -1);
    url_is("redis://[::1]", "redis", "", "", "::1", "6379", -1);
    url_is("rediss://[fe80::1%25eth0]:7000/2", "rediss", "", "", "fe80::1%eth0", "7000", 2);
    url_is("redis+cluster://a:65535", "redis+cluster", "", "", "a", "65535", -1);
    url_bad("localhost:6379", "no scheme in URL");
    url_bad("://h", "no scheme in URL");
    url_bad("averyveryverylongscheme24://h", "no scheme in URL");
    url_bad("redis://", "no host in URL");
    url_bad("redis://:7000", "no host in URL");
    url_bad("redis://u:p@", "no host in URL");
    url_bad("redis://[]:1", "no host in URL");
    url_bad("redis://[::1", "missing ] in URL");
    url_bad("redis://[::1]x", "bad port in URL");
    url_bad("redis://h:", "bad port in URL");
    url_bad("redis://h:0", "bad port in URL");
    url_bad("redis://h:65536", "bad port in URL");
    url_bad("redis://h:12x", "bad port in URL");
    url_bad("redis://h:123456789", "bad port in URL");
    url_bad("redis://a:b:c", "bad port in URL");
    url_bad("redis://h/x", "bad database in URL");
    url_bad("redis://h/-1", "bad database in URL");
    url_bad("redis://h/1048577", "bad database in URL");
    url_bad("redis://h/1/2", "bad database in URL");
    url_bad("redis://h?x=1", "bad database in URL");
    url_bad("redis://u:%zz@h", "bad password in URL");
    url_bad("redis://u:%4@h", "bad password in URL");
    url_bad("redis://u:%00@h", "bad password in URL"); /* would cut it */
    url_bad("redis://%4@h", "bad user in URL");
    url_bad("redis://%00", "bad host in URL");
    /* lengths: 511 bytes of password are taken, not 512; the same for host and user (255) */
    char text[1200];
    struct url u;
    for (size_t n = 510; n < 514; n++) {
        memset(text, 'p', sizeof text);
        memcpy(text, "redis://:", 9);
        strcpy(text + 9 + n, "@h");
        CHECK((url_parse(&u, text) == NULL) == (n <= 511));
    }
    for (size_t n = 254; n < 258; n++) {
        memset(text, 'h', sizeof text);
        memcpy(text, "redis://", 8);
        text[8 + n] = '\0';
        CHECK((url_parse(&u, text) == NULL) == (n <= 255));
    }
}

/* text parses, and is shown so (NULL: as it stands) */
static struct url url_good(const char *text, const char *want)
{
    struct url u;
    char shown[400];
    const char *fault = url_parse(&u, text);
    if (!CHECK(fault == NULL))
        printf("  %s: %s\n", text, fault);
    url_show(&u, shown, sizeof shown);
    EQ_S(shown, want != NULL ? want : text);
    return u;
}

static void more_urls(void)
{
    struct url u = url_good("rediss://u:p@h:7000/1", "rediss://h:7000");
    CHECK(u.secure && !u.sentinel && !u.cluster && u.seeds == 1 && u.tls == NULL);
    CHECK(!url_good("redis://h:1", NULL).secure);
    CHECK(url_good("dragonflys://h:1", NULL).secure);
    u = url_good("redis-cluster://:pw@a,b:7000,[::1]:7001", "redis-cluster://a:6379,b:7000,[::1]:7001");
    CHECK(u.cluster && !u.secure && u.seeds == 3);
    EQ_S(u.host, "a");
    EQ_S(u.port, "6379");
    EQ_S(u.password, "pw");
    EQ_S(u.seed[2].host, "::1");
    EQ_S(u.seed[2].port, "7001");
    CHECK(url_good("rediss-cluster://a:1", NULL).secure);
    u = url_good("sentinel://u:p@s1:1,s2/my%20master/0", "sentinel://s1:1,s2:26379/my master");
    CHECK(u.sentinel && u.has_db && u.db == 0 && u.seeds == 2);
    EQ_S(u.name, "my master");
    u = url_good("sentinels://s/m/", "sentinels://s:26379/m");
    CHECK(u.secure && u.sentinel && !u.has_db);
    u = url_good("unix://user:p%40w@/run/redis%3f.sock?db=3", "unix:///run/redis?.sock");
    CHECK(u.seeds == 1 && u.db == 3 && u.host[0] == '\0' && u.seed[0].port[0] == '\0');
    EQ_S(u.seed[0].host, "/run/redis?.sock");
    EQ_S(u.password, "p@w");
    u = url_good("unix://u:p/@w@/run/a@b", "unix:///run/a@b");
    EQ_S(u.password, "p/@w");
    u = url_good("unix:///run/a:x@b", NULL);
    EQ_S(u.password, "");
    (void)url_good("redis+unix:///x", NULL);
    (void)url_good("dragonfly+unix:///x", NULL);
    url_bad("sentinel://s", "sentinels need the name of a master in URL: sentinel://host:port/name");
    url_bad("sentinel://s/", "sentinels need the name of a master in URL: sentinel://host:port/name");
    url_bad("sentinel://s/m/x", "bad database in URL");
    url_bad("sentinel://s/m?x", "bad name in URL");
    url_bad("sentinel://s,/m", "no host in URL");
    url_bad("redis-cluster://a,b:x", "bad port in URL");
    url_bad("redis-cluster://1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h", "too many hosts in URL");
    url_bad("unix://run/x",
            "the path of a Unix socket begins with a third slash: unix:///path (user:password@ before it)");
    url_bad("unix:///x?dbs=1", "only ?db=N may follow the path in URL");
    url_bad("unix:///x#1", "only ?db=N may follow the path in URL");
    url_bad("unix://", "bad path in URL");
}

static void secrets(void)
{
    struct url u;
    char shown[400];
    CHECK(url_parse(&u, "redis://user:secret@[::1]:7000/2") == NULL);
    url_show(&u, shown, sizeof shown);
    EQ_S(shown, "redis://[::1]:7000");
    CHECK(url_parse(&u, "redis://user:secret@host") == NULL);
    url_show(&u, shown, sizeof shown);
    EQ_S(shown, "redis://host:6379");
    static const char *const args[][2] = {{"redis://user:secret@host/1", "redis://user:******@host/1"},
                                          {"redis://:se@cret@host", "redis://:*******@host"},
                                          {"redis://user@host", "redis://user@host"},
                                          {"redis://host:7000", "redis://host:7000"},
                                          {"no url", "no url"},
                                          {"redis://h/x:y@z", "redis://h/x:*@z"},
                                          {"redis://u:se/c?r#e[t@host", "redis://u:**********@host"},
                                          {"unix://u:se/cret@/run/a@b", "unix://u:*******@/run/a@b"},
                                          {"unix:///run/a:b@c", "unix:///run/a:b@c"}};
    for (size_t i = 0; i < sizeof args / sizeof args[0]; i++) {
        char arg[64];
        strcpy(arg, args[i][0]);
        url_hide_argument(arg);
        EQ_S(arg, args[i][1]);
    }
}

static void without_passwords(void)
{
    static const char *const texts[][2] = {{"redis://u:p@h:1/2", "redis://u@h:1/2"},
                                           {"redis://:p/#?@x@h", "redis://h"},
                                           {"redis://u@h", "redis://u@h"},
                                           {"redis://u:@h", "redis://u@h"},
                                           {"unix://:p/x@/run/a@b?db=1", "unix:///run/a@b?db=1"},
                                           {"sentinel://u:p@a,b:1/m", "sentinel://u@a,b:1/m"}};
    char out[64];
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CHECK(url_without_password(texts[i][0], out, sizeof out));
        EQ_S(out, texts[i][1]);
    }
    CHECK(!url_without_password("redis://user@host", out, 17));
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        abort();
}

static void passwords(void)
{
    struct url u;
    char path[64];
    snprintf(path, sizeof path, "/tmp/unit-pw-%d", (int)getpid());
    CHECK(url_parse(&u, "redis://:given@h") == NULL);
    setenv("UNIT_PW", "from-env", 1);
    CHECK(url_password(&u, NULL, "UNIT_PW") == NULL);
    EQ_S(u.password, "given");
    u.password[0] = '\0';
    CHECK(url_password(&u, NULL, "UNIT_PW") == NULL);
    EQ_S(u.password, "from-env");
    unsetenv("UNIT_PW");
    u.password[0] = '\0';
    CHECK(url_password(&u, NULL, "UNIT_PW") == NULL);
    EQ_S(u.password, "");
    write_file(path, "first line\nsecond\n");
    CHECK(url_password(&u, path, "UNIT_PW") == NULL);
    EQ_S(u.password, "first line");
    u.password[0] = '\0';
    write_file(path, "");
    CHECK(url_password(&u, path, "UNIT_PW") != NULL);
    u.password[0] = '\0';
    char big[700];
    memset(big, 'p', sizeof big);
    big[600] = '\0';
    write_file(path, big); /* must be refused, not cut */
    CHECK(url_password(&u, path, "UNIT_PW") != NULL);
    setenv("UNIT_PW", big, 1);
    u.password[0] = '\0';
    CHECK(url_password(&u, NULL, "UNIT_PW") != NULL);
    unlink(path);
    u.password[0] = '\0';
    CHECK(url_password(&u, path, "UNIT_PW") != NULL);
}

/* ---- sizes ---- */

static void sizes(void)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t v;
    } list[] = {{"0", true, 0},
                {"64", true, 64},
                {"64k", true, 65536},
                {"64K", true, 65536},
                {"1m", true, 1048576},
                {"2G", true, UINT64_C(2) << 30},
                {"18446744073709551615", true, UINT64_MAX},
                {"18446744073709551616", false, 0},
                {"99999999999999999999999", false, 0},
                {"17179869183g", true, UINT64_C(17179869183) << 30},
                {"17179869184g", false, 0},
                {"", false, 0},
                {"k", false, 0},
                {"-1", false, 0},
                {"+1", false, 0},
                {" 1", false, 0},
                {"1 ", false, 0},
                {"1kb", false, 0},
                {"1t", false, 0},
                {"1.5m", false, 0},
                {"0x10", false, 0}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        uint64_t v = 7;
        bool ok = size_parse(list[i].text, &v);
        if (!CHECK(ok == list[i].ok))
            printf("  \"%s\"\n", list[i].text);
        if (ok && list[i].ok)
            EQ(v, list[i].v);
    }
}

/* ---- configuration ---- */

static char conf_path[64];

static const struct option conf_known[] = {
    {"stall-timeout", required_argument, NULL, 1},
    {"resume", no_argument, NULL, 2},
    {"one-file", no_argument, NULL, 3},
    {"spool", required_argument, NULL, 4},
    {"include", required_argument, NULL, 5},
    {"config", required_argument, NULL, 6},
    {NULL, 0, NULL, 0},
};

/* The arguments joined by blanks; the file's text and the rest of the command line are given. */
static void conf_is(const char *file, const char *line, const char *want)
{
    char words[512], joined[2048] = "";
    char *argv[32];
    int argc = 0;
    write_file(conf_path, file);
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, " "); w != NULL; w = strtok(NULL, " "))
        argv[argc++] = strcmp(w, "FILE") == 0 ? conf_path : w;
    argv[argc] = NULL;
    char **out = conf_argv("reader", conf_known, &argc, argv);
    for (int i = 0; i < argc; i++) {
        strcat(joined, i > 0 ? " " : "");
        strcat(joined, out[i]);
    }
    CHECK(out[argc] == NULL);
    EQ_S(joined, want);
    if (out != argv)
        for (int i = 0; i < argc; i++)
            free(out[i]);
    if (out != argv)
        free(out);
}

/* How the process ends when the file is wrong. */
static int conf_status(const char *file, const char *option)
{
    write_file(conf_path, file);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char name[] = "prog", opt[16];
        char *argv[] = {name, opt, conf_path, NULL};
        int argc = 3;
        strcpy(opt, option);
        if (strcmp(option, "-c-missing") == 0)
            argc = 2, argv[2] = NULL, strcpy(opt, "-c/no/such");
        if (strcmp(option, "-c-nothing") == 0)
            argc = 2, argv[2] = NULL, strcpy(opt, "-c");
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(99);
        (void)conf_argv("reader", conf_known, &argc, argv);
        _exit(0);
    }
    int status = 0;
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void configurations(void)
{
    snprintf(conf_path, sizeof conf_path, "/tmp/unit-conf-%d", (int)getpid());
    static const char file[] =
        "# comment\n[reader]\nstall-timeout = 60\nresume = yes\none-file = no\nspool =\n"
        "[writer]\nmset = 64\n";
    conf_is(file, "prog", "prog");
    conf_is(file, "prog -c FILE", "prog --stall-timeout=60 --resume --spool=");
    conf_is(file, "prog --config FILE -v url", "prog --stall-timeout=60 --resume --spool= -v url");
    conf_is(file, "prog -v -c FILE url",
            "prog --stall-timeout=60 --resume --spool= -v url"); /* the line wins: it is last */
    char want[800];
    snprintf(want, sizeof want, "prog -v -- -c %s", conf_path);
    conf_is(file, "prog -v -- -c FILE", want); /* behind -- nothing is an option */
    conf_is("[reader]\nspool = yes\n", "prog -c FILE", "prog --spool=yes");
    conf_is("[writer]\na = b\n", "prog -c FILE -v", "prog -v"); /* its business */
    conf_is("[reader]\ninclude = a*\ninclude = b*\n", "prog -c FILE", "prog --include=a* --include=b*");
    EQ_I(conf_status("[other]\n", "-c"), 2);
    EQ_I(conf_status("[other]\na = b\n", "-c"), 2);
    EQ_I(conf_status("[Reader]\nspool = a\n", "-c"), 2);
    EQ_I(conf_status("spool = a\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nspoool = a\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nspoo = a\n", "-c"), 2); /* no abbreviations */
    EQ_I(conf_status("[reader]\nconfig = a\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nresume = true\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nspool = a\nspool = a\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nspool = a\n[writer]\nx = 1\n[reader]\nspool = b\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nspool = a\n[writer]\nx = 1\n x = 2\n", "-c"), 2);
    /* a long line is refused, never cut or taken for two */
    char text[800], value[600];
    memset(value, 'v', sizeof value);
    value[500] = '\0';
    memcpy(value + 300, " = ", 3);
    snprintf(text, sizeof text, "[reader]\nspool = %s\n", value);
    EQ_I(conf_status(text, "-c"), 2);
    value[150] = '\0';
    snprintf(text, sizeof text, "[reader]\nspool = %s\n", value);
    snprintf(want, sizeof want, "prog --spool=%s", value);
    conf_is(text, "prog -c FILE", want);
    EQ_I(conf_status(file, "-c"), 0);
    EQ_I(conf_status("[reader\nx = 1\n", "-c"), 2);
    EQ_I(conf_status("[reader]\nno value\n", "-c"), 2);
    EQ_I(conf_status(file, "-c-missing"), 1);
    EQ_I(conf_status(file, "-c-nothing"), 2);
    unlink(conf_path);
}

/* ---- targets ---- */

static void target_is(const char *text, enum server_kind kind, unsigned version, unsigned rdb)
{
    struct target t;
    if (!CHECK(target_parse(&t, text)))
        printf("  %s\n", text);
    EQ(t.kind, kind);
    EQ(t.version, version);
    EQ(t.rdb, rdb);
    EQ(t.maxbulk, UINT64_C(512) << 20);
}

static void targets(void)
{
    struct target t;
    struct buf b = {0};
    target_is("portable", SERVER_PORTABLE, VERSION(6, 2), 0);
    target_is("7.0.15", SERVER_REDIS, VERSION(7, 0) | 15, 10);
    target_is("redis:7.2", SERVER_REDIS, VERSION(7, 2), 11);
    target_is("redis:7", SERVER_REDIS, VERSION(7, 0), 10);
    target_is("6.2", SERVER_REDIS, VERSION(6, 2), 9);
    target_is("7.4", SERVER_REDIS, VERSION(7, 4), 12);
    target_is("redis:8.4.1", SERVER_REDIS, VERSION(8, 4) | 1, 12);
    target_is("redis:8.6", SERVER_REDIS, VERSION(8, 6), 13);
    target_is("valkey:8", SERVER_VALKEY, VERSION(8, 0), 11);
    target_is("valkey:9.0.0", SERVER_VALKEY, VERSION(9, 0), 80);
    static const char *const bad[] = {"",        "x",          "redis:",    "redis", "7.",   "7..0",
                                      "7.0.",    "7.0.15.3",   "7.0x",      "7.300", "-7",   "7.-1",
                                      "mysql:8", "portable:7", "redis:3.2", "0",     "7 .0", " 7.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!CHECK(!target_parse(&t, bad[i])))
            printf("  accepted: \"%s\"\n", bad[i]);
    CHECK(
        target_said(&t, "target kind=redis version=7.0.15 rdb=10 cluster=1 maxbulk=1000 modules=bf,ReJSON"));
    EQ(t.rdb, 10);
    CHECK(t.cluster);
    EQ(t.maxbulk, 1000);
    CHECK(t.has_json);
    CHECK(target_said(&t, "target kind=redis version=7.0.15 modules=jsonx,xbf,searching"));
    CHECK(!t.has_json && !t.cluster);
    CHECK(target_said(&t, "target kind=valkey version=8.0.1 modules="));
    EQ(t.rdb, 11);
    CHECK(!target_said(&t, "target kind=redis"));
    CHECK(!target_said(&t, "target version=7.0.0"));
    CHECK(!target_said(&t, "target kind=mysql version=7.0.0"));
    CHECK(target_parse(&t, "valkey:8.1.2"));
    target_meta(&t, &b);
    EQ_B(b.p, b.len, "kind=valkey\nversion=8.1.2\ncluster=0\nexisting=overwrite\n", 55);
    buf_free(&b);
    static const struct {
        const char *target;
        unsigned type, ver;
    } list[] = {{"portable", 4, 0},
                {"6.2", 4, 6},
                {"6.2", 5, 8},
                {"6.2", 15, 9},
                {"6.2", 16, 0},
                {"7.0", 16, 10},
                {"7.0", 20, 0},
                {"7.0", 21, 0},
                {"7.2", 21, 11},
                {"7.4", 31, 0},
                {"7.4", 30, 0},
                {"7.4", 6, 0},
                {"7.4", T_REDIS + 24, 12},
                {"valkey:8", 24, 0},
                {"valkey:9", 24, 0},
                {"valkey:9", 21, 11},
                {"7.4", 22, 0}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        CHECK(target_parse(&t, list[i].target));
        if (!EQ(target_restore_version(&t, list[i].type), list[i].ver))
            printf("  %s type %u\n", list[i].target, list[i].type);
    }
    static const struct {
        const char *target;
        bool yes;
    } ttl[] = {{"portable", false}, {"7.2", false},     {"7.4", true},           {"8.0", true},
               {"valkey:8", false}, {"valkey:9", true}, {"dragonfly:1.40", true}};
    for (size_t i = 0; i < sizeof ttl / sizeof ttl[0]; i++) {
        CHECK(target_parse(&t, ttl[i].target));
        CHECK(target_field_ttl(&t) == ttl[i].yes);
    }
}

/* ---- servers ---- */

static void servers(void)
{
    enum server_kind kind = SERVER_PORTABLE;
    unsigned v = 0;
    CHECK(server_kind_parse("valkey:9", 6, &kind));
    EQ_I(kind, SERVER_VALKEY);
    CHECK(!server_kind_parse("valkey", 5, &kind));
    CHECK(!server_kind_parse("portable", 8, &kind));
    CHECK(server_version_parse("8.8.1", &v));
    EQ(v, VERSION(8, 8) + 1);
    static const char *const wrong[] = {"",        "0",       "0.0.0", "8.", ".8",
                                        "8.8.1.1", "8.8-rc1", "256",   " 8", "+8"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!server_version_parse(wrong[i], &v));
    EQ(server_rdb(SERVER_REDIS, VERSION(8, 8)), 14); /* arrays, and what came with them, go by RESTORE */
    EQ(server_rdb(SERVER_REDIS, VERSION(8, 6) - 1), 12);
    EQ(server_rdb(SERVER_REDIS, VERSION(255, 255)), 15);
    EQ(server_rdb(SERVER_REDIS, VERSION(3, 2)), 0);
    EQ(server_rdb(SERVER_VALKEY, VERSION(8, 1)), 11);
    EQ(server_rdb(SERVER_VALKEY, VERSION(9, 0)), 80);
}

int main(void)
{
    servers();
    urls();
    more_urls();
    secrets();
    without_passwords();
    passwords();
    sizes();
    configurations();
    targets();
    return test_done();
}
