/* Metadata and control lines: dfrecord(5). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"

#include "../../common/ctl.h"
#include "../../common/exits.h"
#include "../../common/meta.h"
#include "../../common/sock.h"

static void escape_is(const void *value, size_t n, const char *want)
{
    struct buf b = {0};
    char back[1024];
    meta_add(&b, "x", value, n, '\n');
    char line[1100];
    int k = snprintf(line, sizeof line, "x=%s\n", want);
    EQ_B(b.p, b.len, line, (size_t)k);
    EQ_I(meta_get(b.p, b.len, "x", back, sizeof back), (long)n);
    EQ_B(back, n, value, n);
    EQ_I(back[n], 0);
    buf_free(&b);
}

static void escapes(void)
{
    escape_is("plain", 5, "plain");
    escape_is("", 0, "");
    escape_is("a b", 3, "a%20b");
    escape_is("a\nb=c", 5, "a%0ab=c");
    escape_is("100%", 4, "100%25");
    escape_is("\0\x7f\x80\xff!~", 6, "%00%7f%80%ff!~");
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    struct buf b = {0};
    char back[300];
    meta_add(&b, "all", all, sizeof all, ' ');
    EQ_I(meta_get(b.p, b.len, "all", back, sizeof back), 256);
    EQ_B(back, 256, all, 256);
    for (size_t i = 0; i + 1 < b.len; i++)
        CHECK(b.p[i] > 0x20 && b.p[i] < 0x7f);
    b.len = 0;
    meta_escape(&b, "abcdef", 6, 3);
    EQ_B(b.p, b.len, "abc...", 6);
    buf_free(&b);
}

static long get(const char *text, const char *name, char *out, size_t cap)
{
    size_t n = strlen(text);
    uint8_t *p = exact(text, n);
    long rc = meta_get(p, n, name, out, cap);
    free(p);
    return rc;
}

static void values(void)
{
    static const char text[] = "kind=redis\nversion=7.0.15\nempty=\nxkind=no\nrdb=10\n";
    char v[16];
    uint64_t u = 0;
    EQ_I(get(text, "kind", v, sizeof v), 5);
    EQ_S(v, "redis");
    EQ_I(get(text, "version", v, sizeof v), 6);
    EQ_I(get(text, "empty", v, sizeof v), 0);
    EQ_S(v, "");
    EQ_I(get(text, "ersion", v, sizeof v), -1);
    EQ_I(get(text, "ind", v, sizeof v), -1);
    EQ_I(get(text, "kin", v, sizeof v), -1);
    EQ_I(get(text, "missing", v, sizeof v), -1);
    EQ_S(v, "");
    EQ_I(get("name=123456789012345", "name", v, sizeof v), 15); /* exactly fits with its NUL */
    EQ_I(get("name=1234567890123456", "name", v, sizeof v), -1);
    EQ_I(get("a=1 b=2 c=3", "b", v, sizeof v), 1);
    EQ_S(v, "2");
    EQ_I(get("a=%41%4a%4A%zz%4", "a", v, sizeof v), 8);
    EQ_S(v, "AJJ%zz%4");
    EQ_I(get("a=1\na=2\n", "a", v, sizeof v), 1); /* the first counts */
    EQ_S(v, "1");
    EQ_I(get("", "a", v, sizeof v), -1);
    EQ_I(get("a", "a", v, sizeof v), -1);

    static const struct {
        const char *text;
        bool ok;
        uint64_t v;
    } nums[] = {{"n=0", true, 0},
                {"n=10\n", true, 10},
                {"n=18446744073709551615", true, UINT64_MAX},
                {"n=18446744073709551616", false, 0}, /* does not fit */
                {"n=99999999999999999999", false, 0},
                {"n=-1", false, 0},
                {"n=+1", false, 0},
                {"n=%201", false, 0},
                {"n=1x", false, 0},
                {"n=0x10", false, 0},
                {"n=", false, 0},
                {"n=1%00", false, 0},
                {"m=1", false, 0}};
    for (size_t i = 0; i < sizeof nums / sizeof nums[0]; i++) {
        bool ok = meta_getu(nums[i].text, strlen(nums[i].text), "n", &u);
        if (!CHECK(ok == nums[i].ok))
            printf("  %s\n", nums[i].text);
        if (ok)
            EQ(u, nums[i].v);
    }
    struct buf b = {0};
    meta_adds(&b, "s", "a b");
    meta_addu(&b, "u", UINT64_MAX);
    EQ_B(b.p, b.len, "s=a%20b\nu=18446744073709551615\n", 31);
    buf_free(&b);
}

/* ---- control lines ---- */

static void pair(struct ctl *a, int *other)
{
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) != 0)
        abort();
    ctl_init(a, sv[0]);
    *other = sv[1];
}

static void put(int fd, const char *text, size_t n)
{
    if (write(fd, text, n) != (ssize_t)n)
        abort();
}

static void lines(void)
{
    struct ctl c;
    int peer;
    uint64_t u;
    char v[32];
    pair(&c, &peer);
    EQ_I(ctl_fill(&c), 0); /* nothing yet */
    CHECK(ctl_line(&c) == NULL);
    static const char two[] = "cut flow=3 epoch=2\nstatus\napplied flow=1";
    for (size_t i = 0; i < sizeof two - 1; i++) { /* byte by byte */
        put(peer, two + i, 1);
        EQ_I(ctl_fill(&c), 1);
        char *line = ctl_line(&c);
        CHECK((line != NULL) == (two[i] == '\n'));
        if (line != NULL && i < 20) {
            EQ_S(line, "cut flow=3 epoch=2");
            CHECK(ctl_is(line, "cut"));
            CHECK(!ctl_is(line, "cu"));
            CHECK(!ctl_is(line, "cut2"));
            CHECK(ctl_getu(line, "epoch", &u) && u == 2);
            EQ_I(ctl_get(line, "flow", v, sizeof v), 1);
        } else if (line != NULL) {
            EQ_S(line, "status");
            CHECK(ctl_is(line, "status"));
        }
    }
    put(peer, " pos=9\nstop\n", 12); /* several lines in one read */
    EQ_I(ctl_fill(&c), 1);
    EQ_S(ctl_line(&c), "applied flow=1 pos=9");
    EQ_S(ctl_line(&c), "stop");
    CHECK(ctl_line(&c) == NULL);
    put(peer, "last\n", 5);
    close(peer);
    EQ_I(ctl_fill(&c), 1);
    EQ_I(ctl_fill(&c), -1);
    EQ_S(ctl_line(&c), "last"); /* what was read before stays */
    ctl_close(&c);
    EQ_I(c.fd, -1);
    EQ_I(ctl_send(&c, "x"), -1);
}

static void limits(void)
{
    struct ctl c;
    int peer;
    char *big = malloc(20000);
    memset(big, 'a', 20000);
    pair(&c, &peer);
    /* a line of 4096 bytes with its newline is the longest */
    big[4095] = '\n';
    put(peer, big, 4096);
    char *line = NULL;
    int rc = 1;
    while (line == NULL && rc > 0) {
        rc = ctl_fill(&c);
        line = ctl_line(&c);
    }
    CHECK(line != NULL && strlen(line) == 4095);
    /* one without end is refused before it takes more memory */
    big[4095] = 'a';
    put(peer, big, 20000);
    rc = 1;
    for (int i = 0; i < 100 && rc > 0; i++) {
        rc = ctl_fill(&c);
        CHECK(ctl_line(&c) == NULL);
    }
    EQ_I(rc, -1);
    CHECK(c.in.cap <= 4 * CTL_LINE_MAX);
    ctl_close(&c);
    close(peer);

    pair(&c, &peer);
    EQ_I(ctl_send(&c, "%.*s", 4094, big), 0); /* with its newline and a NUL it fits 4096 */
    EQ_I(ctl_send(&c, "%.*s", 4095, big), -1);
    EQ_I(ctl_send(&c, "%.*s", 9000, big), -1);
    char got[8192];
    EQ_I(read(peer, got, sizeof got), 4095);
    EQ_I(got[4094], '\n');
    EQ_I(read(peer, got, 0), 0);
    /* a peer that does not read is given up, after no more than 64 KiB of ours */
    int sent = 0;
    while (sent < 100000 && ctl_send(&c, "%.*s", 4000, big) == 0)
        sent++;
    CHECK(sent < 100000);
    CHECK(c.out.len <= (size_t)64 << 10);
    CHECK(!ctl_idle(&c));
    ctl_close(&c);
    close(peer);
    pair(&c, &peer); /* nor one that has gone */
    close(peer);
    EQ_I(ctl_send(&c, "x"), -1);
    ctl_close(&c);
    free(big);
}

/* ---- hello ---- */

static void *answer(void *arg)
{
    int *fds = arg; /* listener; then: what to do */
    struct pollfd ready = {.fd = fds[0], .events = POLLIN};
    (void)poll(&ready, 1, 1000); /* the listener does not block */
    int fd = accept(fds[0], NULL, NULL);
    char line[256];
    ssize_t n = read(fd, line, sizeof line - 1);
    line[n > 0 ? n : 0] = '\0';
    if (fds[1] == 0 && strcmp(line, "hello role=parser nonce=abc\n") == 0)
        put(fd, "welcome session=1\ntarget kind=redis\n", 36);
    else if (fds[1] == 1)
        put(fd, "refused\n", 8);
    if (fds[1] == 2)
        usleep(300000); /* silent */
    close(fd);
    return NULL;
}

static void hellos(void)
{
    char path[64], got[64] = "";
    struct ctl c;
    snprintf(path, sizeof path, "/tmp/unit-ctl-%d", (int)getpid());
    EQ_I(ctl_hello(&c, path, "role=parser nonce=abc", 200, got, sizeof got), -1);
    EQ_I(c.fd, -1);
    for (int what = 0; what < 3; what++) {
        int fds[2] = {sock_unix_listen(path), what};
        pthread_t t;
        CHECK(fds[0] >= 0);
        (void)pthread_create(&t, NULL, answer, fds);
        int rc = ctl_hello(&c, path, "role=parser nonce=abc", 100, got, sizeof got);
        EQ_I(rc, what == 0 ? 0 : -1);
        if (what == 0) {
            EQ_S(got, "welcome session=1");
            char *line = ctl_line(&c);
            if (line == NULL && ctl_fill(&c) > 0)
                line = ctl_line(&c);
            EQ_S(line, "target kind=redis"); /* came together with the welcome */
            ctl_close(&c);
        }
        EQ_I(c.fd, -1);
        (void)pthread_join(t, NULL);
        close(fds[0]);
        unlink(path);
    }
}

static void statuses(void)
{
    static const int best_first[] = {0, 3, 5, 75, 4, 1, 2};
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < 7; k++)
            EQ_I(exit_worse(best_first[i], best_first[k]), best_first[i > k ? i : k]);
    static const int unknown[] = {-1, 6, 7, 74, 255, 256};
    for (size_t i = 0; i < 6; i++) {
        EQ_I(exit_worse(0, unknown[i]), 1);
        EQ_I(exit_worse(unknown[i], 4), 1);
        EQ_I(exit_worse(unknown[i], 2), 2);
    }
}

int main(void)
{
    statuses();
    escapes();
    values();
    lines();
    limits();
    hellos();
    return test_done();
}
