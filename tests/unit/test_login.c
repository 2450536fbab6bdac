/* The token of df2redis-monitor: what is one, and how many wrong ones are looked at. */
#include "test.h"

#include "../../monitor/login.c"

#include <arpa/inet.h>

#define TOKEN "0123456789abcdef"

static struct login *with(const char *text, char *why)
{
    char path[] = "/tmp/login.XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    struct login *l = login_open(path, why, 400);
    close(fd);
    unlink(path);
    return l;
}

static void test_files(void)
{
    static const char *const good[] = {TOKEN, TOKEN "\n", TOKEN "\r\nmore", TOKEN "+/=~._-"};
    static const char *const bad[] = {"",        "\n",      "0123456789abcde", "0123456789abcdef x",
                                      " " TOKEN, "\"" TOKEN};
    char why[400], longest[TOKEN_MAX + 3];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct login *l = with(good[i], why);
        CHECK(l != NULL);
        login_free(l);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why[0] = '\0';
        CHECK(with(bad[i], why) == NULL && why[0] != '\0');
    }
    memset(longest, 'a', sizeof longest);
    longest[TOKEN_MAX] = '\0';
    struct login *l = with(longest, why);
    char header[TOKEN_MAX + 20];
    snprintf(header, sizeof header, "Bearer %s", longest);
    EQ(login_check(l, NULL, header, 1), LOGIN_GOOD);
    strcat(header, "a");
    EQ(login_check(l, NULL, header, 1), LOGIN_WRONG);
    login_free(l);
    longest[TOKEN_MAX] = 'a';
    longest[TOKEN_MAX + 1] = '\0';
    CHECK(with(longest, why) == NULL);
}

static void test_headers(void)
{
    char why[400];
    struct login *l = with(TOKEN, why);
    EQ(login_check(l, NULL, NULL, 1), LOGIN_MISSING);
    EQ(login_check(l, NULL, "", 1), LOGIN_MISSING);
    EQ(login_check(l, NULL, "Bearer", 1), LOGIN_MISSING);
    EQ(login_check(l, NULL, "Basic " TOKEN, 1), LOGIN_MISSING);
    EQ(login_check(l, NULL, TOKEN, 1), LOGIN_MISSING);
    EQ(login_check(l, NULL, "Bearer ", 1), LOGIN_WRONG);
    EQ(login_check(l, NULL, "Bearer 0123456789abcdeF", 1), LOGIN_WRONG);
    EQ(login_check(l, NULL, "Bearer " TOKEN " ", 1), LOGIN_WRONG);
    EQ(login_check(l, NULL, "Bearer 0123456789abcde", 1), LOGIN_WRONG);
    EQ(login_check(l, NULL, "Bearer " TOKEN, 1), LOGIN_GOOD);
    EQ(login_check(l, NULL, "bEARER   " TOKEN, 1), LOGIN_GOOD);
    login_free(l);
}

static struct sockaddr_in ipv4(uint32_t n)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000000 + n)};
}

static enum login_result from4(struct login *l, uint32_t n, bool right, uint64_t now)
{
    struct sockaddr_in a = ipv4(n);
    return login_check(l, (const struct sockaddr *)&a, right ? "Bearer " TOKEN : "Bearer wrong", now);
}

static enum login_result from6(struct login *l, const char *text, uint64_t now)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    CHECK(inet_pton(AF_INET6, text, &a.sin6_addr) == 1);
    return login_check(l, (const struct sockaddr *)&a, "Bearer wrong", now);
}

static void test_limit(void)
{
    char why[400];
    struct login *l = with(TOKEN, why);
    uint64_t now = 5000000;
    for (unsigned i = 0; i < ONE_BURST; i++)
        EQ(from4(l, 1, false, now), LOGIN_WRONG);
    EQ(from4(l, 1, false, now), LOGIN_LIMITED);
    EQ(from4(l, 1, true, now), LOGIN_LIMITED); /* or it would tell that this one is right */
    EQ(from4(l, 2, true, now), LOGIN_GOOD);
    EQ(from4(l, 1, true, now + ONE_US - 1), LOGIN_LIMITED);
    EQ(from4(l, 1, true, now + ONE_US), LOGIN_GOOD);
    EQ(from4(l, 1, false, now + ONE_US), LOGIN_WRONG);
    EQ(from4(l, 1, false, now + ONE_US), LOGIN_LIMITED);
    /* A network of IPv6 is one; an address of IPv4 is one, in whatever form. */
    for (unsigned i = 0; i < ONE_BURST; i++)
        EQ(from6(l, i % 2 ? "2001:db8::1" : "2001:db8::ffff:2", now), LOGIN_WRONG);
    EQ(from6(l, "2001:db8::3", now), LOGIN_LIMITED);
    EQ(from6(l, "2001:db8:0:1::3", now), LOGIN_WRONG);
    EQ(from6(l, "::ffff:10.0.0.9", now), LOGIN_WRONG);
    EQ(from6(l, "::ffff:10.0.0.10", now), LOGIN_WRONG);
    login_free(l);
}

/* From however many addresses: all together have a limit, and those that are remembered, too. */
static void test_many(void)
{
    char why[400];
    struct login *l = with(TOKEN, why);
    uint64_t now = 5000000;
    unsigned wrong = 0;
    for (uint32_t i = 0; i < 10000; i++)
        wrong += from4(l, i, false, now) == LOGIN_WRONG;
    EQ(wrong, ALL_BURST);
    now += 60000000;
    for (uint32_t i = 0; i < 10000; i++, now += 1000)
        wrong += from4(l, i % 1000, false, now) == LOGIN_WRONG;
    CHECK(wrong <= 2 * ALL_BURST + 10000000 / ALL_US + 1 && wrong > ALL_BURST + 100);
    EQ(from4(l, 20000, true, now + ALL_BURST * ALL_US), LOGIN_GOOD);
    login_free(l);
}

int main(void)
{
    test_files();
    test_headers();
    test_limit();
    test_many();
    return test_done();
}
