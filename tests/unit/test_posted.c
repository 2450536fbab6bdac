/* What a posted configuration may say, and that nothing else comes through. */
#include "test.h"

#include "../../monitor/posted.c"
#include "../../monitor/posted_names.c"

static char why[200];

/* The configuration that comes out; NULL: refused, and why says why. */
static const char *config(const char *body, const char *files)
{
    static char text[4096];
    struct posted p;
    bool ok = posted_task(body, strlen(body), files, &p, why, sizeof why);
    snprintf(text, sizeof text, "%.*s", (int)p.config.len, p.config.len > 0 ? (const char *)p.config.p : "");
    buf_free(&p.config);
    CHECK(ok == (why[0] == '\0'));
    return ok ? text : NULL;
}

#define ENDS "\"source\":\"redis://a\",\"target\":\"redis://b\""

static const char *with(const char *more, const char *files)
{
    char body[1000];
    snprintf(body, sizeof body, "{\"name\":\"a\",\"config\":{\"kind\":\"full\"," ENDS "%s}}", more);
    return config(body, files);
}

static void test_good(void)
{
    EQ_S(with("", NULL), "[df2redis]\nkind = full\nsource = redis://a\ntarget = redis://b\n");
    EQ_S(with(",\"single\":true,\"max-ops\":7,\"strict\":false,\"include\":[\"a*\",\"prefix:b;c\"]", NULL),
         "[df2redis]\nkind = full\nsingle = yes\nmax-ops = 7\nstrict = no\ninclude = a*\ninclude = "
         "prefix:b;c\n"
         "source = redis://a\ntarget = redis://b\n");
    EQ_S(with(",\"position-file\":\"p\",\"source-tls-ca\":\"ca.pem\"", "/f"),
         "[df2redis]\nkind = full\nposition-file = /f/p\nsource-tls-ca = /f/ca.pem\nsource = redis://a\n"
         "target = redis://b\n");
    EQ_S(config("{\"name\":\"a\",\"config\":\"[df2redis]\\n# no\\nkind = import ; yes\\nsource=x.rdb\\n"
                "target = rediss://b:1/2\"}",
                "/f"),
         "[df2redis]\nkind = import\nsource = /f/x.rdb\ntarget = rediss://b:1/2\n");
}

static void test_bad(void)
{
    static const char *const more[] = {",\"kind\":\"full\"",
                                       ",\"nothing\":1",
                                       ",\"task\":\"a\"",
                                       ",\"run-dir\":\"a\"",
                                       ",\"position-file\":\"p\"",
                                       ",\"include\":\"a\\nb\"",
                                       ",\"include\":\"a\\tb\"",
                                       ",\"include\":\" a\"",
                                       ",\"include\":\"a \"",
                                       ",\"include\":\"a ;b\"",
                                       ",\"include\":\";b\"",
                                       ",\"include\":null",
                                       ",\"include\":{}",
                                       ",\"max-ops\":1.5",
                                       ",\"strict\":[\"yes\",\"no\"]",
                                       ",\"source-source\":\"a\"",
                                       ",\"source-reply-timeout\":1"};
    static const char *const files[] = {"",   ".", "..",  "../x",   "/x", "a/b",      ".x",
                                        "-x", "~", "a b", "a\\\\b", "$x", "x\\u00e4", "x%2fy"};
    char body[400];
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (!CHECK(with(more[i], NULL) == NULL))
            fprintf(stderr, "%s\n", more[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(body, sizeof body, ",\"errors-to\":\"%s\"", files[i]);
        if (!CHECK(with(body, "/f") == NULL))
            fprintf(stderr, "%s\n", files[i]);
    }
    CHECK(with(",\"include\":[]", NULL) != NULL);
    CHECK(config("{\"name\":\"a\",\"config\":{\"kind\":\"a kind that is too long to be one\"}}", NULL) ==
          NULL);
    memset(body, 'a', sizeof body);
    snprintf(body, 30, ",\"include\":\"");
    body[strlen(body)] = 'a';
    strcpy(body + 300, "\"");
    CHECK(with(body, NULL) == NULL);
}

static void test_servers(void)
{
    static const char *const good[] = {"redis://a", "sentinels://a,b/m", "redis-cluster://[::1]:1",
                                       "dragonfly://u:p@h"};
    static const char *const bad[] = {"",          "redis",           "redis:", "redis:/a", "redis:///a",
                                      "unix:///a", "redis+unix:///a", "/a",     "file:/a",  "Redis://a",
                                      "http://a",  "redis2://a",      "./a"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(is_server(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(!is_server(bad[i])))
            fprintf(stderr, "%s\n", bad[i]);
}

static void test_others(void)
{
    struct posted p;
    CHECK(posted_stop("", 0, &p, why, sizeof why) && !p.final && p.timeout[0] == '\0');
    CHECK(posted_stop("{\"final\":true,\"timeout\":100}", 28, &p, why, sizeof why) && p.final);
    EQ_S(p.timeout, "100");
    CHECK(posted_limit("{\"max-bytes\":\"10m\"}", 19, &p, why, sizeof why) && p.max_ops[0] == '\0');
    EQ_S(p.max_bytes, "10485760");
    CHECK(!posted_limit("{\"max-ops\":\"1k\"}", 16, &p, why, sizeof why));
    CHECK(!posted_limit("", 0, &p, why, sizeof why));
    CHECK(posted_nothing("", 0, why, sizeof why) && posted_nothing("{}", 2, why, sizeof why));
    CHECK(!posted_nothing("{\"a\":1}", 7, why, sizeof why) && !posted_nothing("x", 1, why, sizeof why));
}

/* Each name stands in the table once for each side. */
static void test_names(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(names[i].name, names[k].name) != 0 || (names[i].sides & names[k].sides) == 0);
}

int main(void)
{
    test_good();
    test_bad();
    test_servers();
    test_others();
    test_names();
    return test_done();
}
