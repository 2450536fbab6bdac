/*
 * A relay in a process of its own: the only way to cut a real master's connections one by one.  Orders come
 * over a socket pair: "cut N 0|1", "stall US", "count"; each is answered by the number of connections.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"
#include "traffic.h"

#define PAIRS 64u
#define ROOM  ((size_t)32 * 1024)

struct half { /* what goes from one socket to the other */
    int from, to;
    bool ended;
    size_t len, at, got; /* got: with the last read */
    char bytes[ROOM];
};

struct pair {
    bool used;
    bool stream; /* of dfreader: it has asked for PSYNC */
    bool replica;
    int64_t lags_until; /* its stream is held back */
    uint64_t order;
    struct half up, down;
};

static struct pair pairs[PAIRS];
static unsigned upstream_port;
static uint64_t opened;
static int64_t stalled_until, most_lag;
static uint64_t rng;

static void pair_close(struct pair *p, bool reset)
{
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    int fd[2] = {p->up.from, p->up.to};
    for (unsigned i = 0; i < 2; i++) {
        if (reset)
            setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &l, sizeof l);
        close(fd[i]);
    }
    p->used = false;
}

static void pair_open(int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)upstream_port)};
    int one = 1, to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pair *p = pairs;
    while (p < pairs + PAIRS && p->used)
        p++;
    if (p == pairs + PAIRS || to < 0 || connect(to, (struct sockaddr *)&a, sizeof a) != 0) {
        say("the proxy finds no master at port %u: %s", upstream_port, strerror(errno));
        close(fd);
        if (to >= 0)
            close(to);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *p = (struct pair){
        .used = true, .order = opened++, .up = {.from = fd, .to = to}, .down = {.from = to, .to = fd}};
}

static unsigned count(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PAIRS; i++)
        n += pairs[i].used;
    return n;
}

static void cut(unsigned which, bool reset)
{
    uint64_t least = 0;
    for (;; which--) {
        struct pair *p = NULL;
        for (unsigned i = 0; i < PAIRS; i++)
            if (pairs[i].used && pairs[i].order >= least && (!p || pairs[i].order < p->order))
                p = &pairs[i];
        if (!p)
            return;
        if (which == 0) {
            pair_close(p, reset);
            return;
        }
        least = p->order + 1;
    }
}

static void obey(int fd)
{
    char line[64];
    unsigned which, reset;
    long long us;
    ssize_t n = recv(fd, line, sizeof line - 1, 0);
    if (n <= 0)
        _exit(0);
    line[n] = '\0';
    if (sscanf(line, "cut %u %u", &which, &reset) == 2)
        cut(which, reset);
    else if (sscanf(line, "stall %lld", &us) == 1)
        stalled_until = now_us() + us;
    n = snprintf(line, sizeof line, "%u", count());
    if (send(fd, line, (size_t)n, 0) != n)
        _exit(0);
}

static bool sends(const struct pair *p, const char *word)
{
    return memmem(p->up.bytes, p->up.got, word, strlen(word)) != NULL;
}

/* The cluster's own replica, which says on which port it listens, is not held back. */
static void note_stream(struct pair *p)
{
    if (most_lag == 0 || p->stream || p->replica)
        return;
    p->replica = sends(p, "listening-port");
    p->stream = !p->replica && sends(p, "PSYNC");
}

/* A stream that has caught up is held back for a while again. */
static void note_lag(struct pair *p, bool more)
{
    if (p->stream && !more && now_us() >= p->lags_until)
        p->lags_until = now_us() + (int64_t)traffic_below(&rng, (uint64_t)most_lag);
}

/* False: the connection is lost. */
static bool half_move(struct half *h, short in, short out)
{
    if (in && !h->ended && h->len == 0) {
        ssize_t n = recv(h->from, h->bytes, ROOM, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n == 0) {
            h->ended = true;
            shutdown(h->to, SHUT_WR);
        }
        h->got = h->len = n > 0 ? (size_t)n : 0;
        h->at = 0;
    }
    if (h->at < h->len && (in || out)) {
        ssize_t n = send(h->to, h->bytes + h->at, h->len - h->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        h->at += n > 0 ? (size_t)n : 0;
        if (h->at == h->len)
            h->at = h->len = 0;
    }
    return true;
}

static void turn(int listener, int order)
{
    struct pollfd fd[2 + 2 * PAIRS] = {{.fd = order, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    bool stalled = now_us() < stalled_until;
    for (unsigned i = 0; i < PAIRS; i++) {
        struct pair *p = &pairs[i];
        struct pollfd *a = &fd[2 + 2 * i], *b = a + 1;
        a->fd = b->fd = -1;
        if (!p->used || stalled)
            continue;
        *a = (struct pollfd){.fd = p->up.from};
        *b = (struct pollfd){.fd = p->up.to};
        a->events = (short)((p->up.len || p->up.ended ? 0 : POLLIN) | (p->down.len ? POLLOUT : 0));
        b->events = (short)((p->down.len || p->down.ended || now_us() < p->lags_until ? 0 : POLLIN) |
                            (p->up.len ? POLLOUT : 0));
        if (!a->events)
            a->fd = -1;
        if (!b->events)
            b->fd = -1;
    }
    if (poll(fd, 2 + 2 * PAIRS, stalled || most_lag ? 10 : 1000) < 0 && errno != EINTR)
        _exit(1);
    for (unsigned i = 0; i < PAIRS && !stalled; i++) {
        struct pair *p = &pairs[i];
        short a = fd[2 + 2 * i].revents, b = fd[3 + 2 * i].revents;
        if (!p->used || fd[2 + 2 * i].fd + fd[3 + 2 * i].fd == -2)
            continue;
        bool ok = half_move(&p->up, a & (POLLIN | POLLHUP | POLLERR), b & POLLOUT);
        note_stream(p);
        note_lag(p, !(fd[3 + 2 * i].events & POLLIN) || b & POLLIN || p->down.len);
        ok = ok && half_move(&p->down, b & (POLLIN | POLLHUP | POLLERR), a & POLLOUT);
        if (!ok || (p->up.ended && p->down.ended && !p->up.len && !p->down.len))
            pair_close(p, false);
    }
    if (fd[1].revents & POLLIN) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0)
            pair_open(client);
    }
    if (fd[0].revents)
        obey(order);
}

void proxy_start(struct proxy *p, unsigned upstream, int64_t lag_us)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), sp[2];
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, len) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) != 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) != 0)
        fail("proxy: %s", strerror(errno));
    rng = lag_us ? below(UINT64_MAX / 2) : 0;
    p->pid = fork();
    if (p->pid < 0)
        fail("fork: %s", strerror(errno));
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(sp[0]);
        upstream_port = upstream;
        most_lag = lag_us;
        for (;;)
            turn(listener, sp[1]);
    }
    close(listener);
    close(sp[1]);
    p->orders = sp[0];
    p->port = ntohs(a.sin_port);
}

void proxy_stop(struct proxy *p)
{
    if (p->pid <= 0)
        return;
    end_child(&p->pid);
    close(p->orders);
}

static unsigned order(struct proxy *p, const char *text)
{
    char line[16];
    if (send(p->orders, text, strlen(text), 0) < 0)
        fail("the proxy has gone");
    ssize_t n = recv(p->orders, line, sizeof line - 1, 0);
    if (n <= 0)
        fail("the proxy has gone");
    line[n] = '\0';
    return (unsigned)strtoul(line, NULL, 10);
}

unsigned proxy_connections(struct proxy *p)
{
    return order(p, "count");
}

void proxy_cut(struct proxy *p, unsigned which, bool reset)
{
    char text[64];
    snprintf(text, sizeof text, "cut %u %u", which, reset);
    order(p, text);
}

void proxy_stall(struct proxy *p, int64_t us)
{
    char text[64];
    snprintf(text, sizeof text, "stall %lld", (long long)us);
    order(p, text);
}
