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
    unsigned port = 0;
    bool usage = true;
    int fd = address_listen("127.0.0.1:0", &port, &usage, why, sizeof why);
    CHECK(fd >= 0 && port > 0 && !usage);
    char again[32];
    snprintf(again, sizeof again, "127.0.0.1:%u", port);
    CHECK(address_listen(again, &port, &usage, why, sizeof why) < 0 && !usage);
    close(fd);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why[0] = '\0';
        CHECK(address_listen(bad[i], &port, &usage, why, sizeof why) < 0 && usage && why[0] != '\0');
    }
}

int main(void)
{
    test_host();
    test_listen();
    return test_done();
}
