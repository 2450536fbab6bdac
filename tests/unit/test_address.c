/* By which names the monitor may be called, and where it listens. */
#include "test.h"

#include "../../monitor/address.c"

static bool host(const char *text)
{
    static const char *const names[] = {"proxy.example", "10.0.0.1"};
    return address_host(text, names, 2);
}

static void test_host(void)
{
    static const char *const good[] = {"localhost",         "LocalHost:8080", "127.0.0.1",
                                       "127.0.0.1:1",       "[::1]",          "[::1]:8080",
                                       "Proxy.Example:443", "10.0.0.1:80",    "localhost:"};
    static const char *const bad[] = {"",
                                      ":",
                                      ":80",
                                      "evil.example",
                                      "localhost.evil.example",
                                      "127.0.0.2",
                                      "[::1",
                                      "[::1]8080",
                                      "localhost evil",
                                      "localhost:123456789",
                                      "localhost,x",
                                      "[]",
                                      "[::2]:8080",
                                      "::1:8080x"};
    char longer[600];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!CHECK(host(good[i])))
            fprintf(stderr, "%s\n", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(!host(bad[i])))
            fprintf(stderr, "%s\n", bad[i]);
    CHECK(!host(NULL));
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK(!host(longer));
}

static void test_listen(void)
{
    static const char *const bad[] = {"",          "8080",   "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000",
                                      "0.0.0.0:0", "[::]:0", "10.1.2.3:0"};
    char why[400];
    struct address a = {.text = "127.0.0.1:0"};
    int fd = address_listen(&a, why, sizeof why);
    CHECK(fd >= 0 && a.port > 0 && !a.usage && a.loopback);
    EQ_S(a.host, "127.0.0.1");
    char again[32];
    snprintf(again, sizeof again, "127.0.0.1:%u", a.port);
    struct address taken = {.text = again};
    CHECK(address_listen(&taken, why, sizeof why) < 0 && !taken.usage);
    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct address one = {.text = bad[i]};
        why[0] = '\0';
        CHECK(address_listen(&one, why, sizeof why) < 0 && one.usage && why[0] != '\0');
    }
    struct address safe = {.text = "0.0.0.0:0", .safe = true};
    fd = address_listen(&safe, why, sizeof why);
    CHECK(fd >= 0 && !safe.loopback && !safe.usage);
    close(fd);
}

int main(void)
{
    test_host();
    test_listen();
    return test_done();
}
