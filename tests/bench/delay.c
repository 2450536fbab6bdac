/*
 * delay: a TCP relay that stands in for distance. Each byte is delivered a fixed time after it arrived, in
 * both directions, at any rate; a round trip through it takes twice that time longer.
 *
 *   delay PORT MICROSECONDS    relays to 127.0.0.1:PORT; prints "port=N", the port of 127.0.0.1 that it
 * listens on
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS    64
#define READ_SIZE ((size_t)256 << 10)
#define WAY_LIMIT ((size_t)256 << 20) /* bytes under way in one direction; then nothing more is read */

struct piece { /* what one read gave */
    struct piece *next;
    uint64_t due; /* ns */
    size_t n, at;
    uint8_t bytes[];
};

struct way {
    int from, to;
    struct piece *head, *tail;
    size_t queued;
    bool readable, blocked, ended, shut; /* edges that epoll told of; the end was read, was passed on */
};

struct pair {
    struct pair *next;
    struct way way[2];
    bool broken;
};

struct relay {
    int epoll, listener, timer;
    uint16_t port;
    uint64_t delay; /* ns, one way */
    struct pair *pairs;
    uint8_t buf[READ_SIZE];
};

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Read what there is. Returns -1 when the connection is broken. */
static int way_read(struct relay *r, struct way *w)
{
    while (w->readable && !w->ended && w->queued < WAY_LIMIT) {
        ssize_t n = recv(w->from, r->buf, sizeof r->buf, 0);
        if (n < 0 && !would_block())
            return -1;
        if (n < 0)
            w->readable = false;
        if (n == 0)
            w->ended = true;
        if (n <= 0)
            return 0;
        struct piece *p = malloc(sizeof *p + (size_t)n);
        if (p == NULL)
            err(1, "malloc");
        *p = (struct piece){.due = now_ns() + r->delay, .n = (size_t)n};
        memcpy(p->bytes, r->buf, (size_t)n);
        if (w->tail != NULL)
            w->tail->next = p;
        else
            w->head = p;
        w->tail = p;
        w->queued += (size_t)n;
    }
    return 0;
}

static void drop_head(struct way *w)
{
    struct piece *p = w->head;
    w->head = p->next;
    if (w->head == NULL)
        w->tail = NULL;
    w->queued -= p->n;
    free(p);
}

/* Deliver what is due. Returns -1 when the connection is broken. */
static int way_write(struct way *w)
{
    while (w->head != NULL && !w->blocked && w->head->due <= now_ns()) {
        struct piece *p = w->head;
        ssize_t n = send(w->to, p->bytes + p->at, p->n - p->at, MSG_NOSIGNAL);
        if (n < 0 && !would_block())
            return -1;
        if (n < 0)
            w->blocked = true;
        else
            p->at += (size_t)n;
        if (p->at == p->n)
            drop_head(w);
    }
    if (w->ended && w->head == NULL && !w->shut) {
        w->shut = true;
        (void)shutdown(w->to, SHUT_WR);
    }
    return 0;
}

static void pair_free(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        while (p->way[i].head != NULL)
            drop_head(&p->way[i]);
        close(p->way[i].from);
    }
    free(p);
}

/* Move what can be moved; pairs that have ended go. Returns when the next piece is due, 0 for never. */
static uint64_t move_all(struct relay *r)
{
    uint64_t next = 0;
    for (struct pair **at = &r->pairs; *at != NULL;) {
        struct pair *p = *at;
        for (unsigned i = 0; i < 2; i++) {
            struct way *w = &p->way[i];
            p->broken = p->broken || way_read(r, w) < 0 || way_write(w) < 0;
            if (w->head != NULL && !w->blocked && (next == 0 || w->head->due < next))
                next = w->head->due;
            if (w->readable && !w->ended && w->queued < WAY_LIMIT)
                next = 1; /* there was no room before: at once */
        }
        if (p->broken || (p->way[0].shut && p->way[1].shut)) {
            *at = p->next;
            pair_free(p);
        } else {
            at = &p->next;
        }
    }
    return next;
}

static void watch(struct relay *r, int fd, struct pair *p, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        err(1, "epoll_ctl");
}

static void accept_one(struct relay *r)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(r->port)};
    int one = 1, fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (to < 0 || connect(to, (struct sockaddr *)&a, sizeof a) != 0) {
        if (to >= 0)
            close(to);
        close(fd);
        return;
    }
    struct pair *p = calloc(1, sizeof *p);
    if (p == NULL || fcntl(to, F_SETFL, O_NONBLOCK) != 0)
        err(1, "a connection");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->way[0] = (struct way){.from = fd, .to = to};
    p->way[1] = (struct way){.from = to, .to = fd};
    p->next = r->pairs;
    r->pairs = p;
    watch(r, fd, p, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    watch(r, to, p, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Whose edge it was is not kept: both ways try. */
static void note_edges(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        p->way[i].readable = true;
        p->way[i].blocked = false;
    }
}

static void wait_for_events(struct relay *r, uint64_t next)
{
    struct epoll_event e[EVENTS];
    uint64_t past;
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)}};
    if (timerfd_settime(r->timer, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        err(1, "timerfd_settime");
    int n = epoll_wait(r->epoll, e, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        if (e[i].data.ptr == NULL)
            accept_one(r);
        else if (e[i].data.ptr == r)
            (void)!read(r->timer, &past, sizeof past);
        else
            note_edges(e[i].data.ptr);
    }
}

static void listen_somewhere(struct relay *r)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(r->listener, 64) != 0 || getsockname(r->listener, (struct sockaddr *)&a, &len) != 0)
        err(1, "listen");
    printf("port=%u\n", ntohs(a.sin_port));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct relay r;
    if (argc != 3 || atoi(argv[1]) <= 0 || atoi(argv[1]) > 65535 || atol(argv[2]) < 0)
        errx(2, "usage: delay PORT MICROSECONDS");
    r.port = (uint16_t)atoi(argv[1]);
    r.delay = (uint64_t)atol(argv[2]) * 1000;
    r.epoll = epoll_create1(EPOLL_CLOEXEC);
    r.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (r.epoll < 0 || r.timer < 0)
        err(1, "epoll, timerfd");
    listen_somewhere(&r);
    watch(&r, r.listener, NULL, EPOLLIN);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = &r};
    if (epoll_ctl(r.epoll, EPOLL_CTL_ADD, r.timer, &e) != 0)
        err(1, "epoll_ctl");
    for (;;)
        wait_for_events(&r, move_all(&r));
}
