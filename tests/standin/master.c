/* The event loop: one epoll set for the listener, the signals and all connections. */
#include "psync.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64

void wake_at(struct master *m, int64_t when_us)
{
    if (when_us < m->wake_at)
        m->wake_at = when_us;
}

static bool listen_on(struct listener *l, uint64_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof a;
    int one = 1;
    if (inet_pton(AF_INET, opt.bind, &a.sin_addr) != 1) {
        complain("--bind %s: not an IPv4 address", opt.bind);
        return false;
    }
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd >= 0)
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(l->fd, 1024) != 0 ||
        getsockname(l->fd, (struct sockaddr *)&a, &len) != 0) {
        complain("%s:%llu: %s", opt.bind, (unsigned long long)port, strerror(errno));
        return false;
    }
    l->port = ntohs(a.sin_port);
    return true;
}

bool master_listen(struct master *m)
{
    unsigned many = m->psync ? m->psync->nodes : 1;
    for (; m->listeners < many; m->listeners++)
        if (!listen_on(&m->listener[m->listeners], opt.port ? opt.port + m->listeners : 0))
            return false;
    printf("port=%u\n", m->listener[0].port);
    for (unsigned i = 1; i < many; i++)
        printf("port%u=%u\n", i, m->listener[i].port);
    puts("ready");
    fflush(stdout);
    return true;
}

static void watch(struct master *m, const int *fd, void *what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = what};
    if (*fd < 0 || epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, *fd, &e) != 0)
        die("epoll: %s", strerror(errno));
}

static void accept_all(struct master *m, unsigned node)
{
    int fd;
    while ((fd = accept4(m->listener[node].fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        conn_new(m, fd, node);
}

/* Index of the listener that an event is of; m->listeners: it is something else. */
static unsigned listener_of(const struct master *m, const void *what)
{
    unsigned i = 0;
    while (i < m->listeners && what != &m->listener[i])
        i++;
    return i;
}

static void on_signal(struct master *m)
{
    struct signalfd_siginfo info;
    if (read(m->signal_fd, &info, sizeof info) != sizeof info)
        return;
    log_event(m, NULL, "signal number=%u", info.ssi_signo);
    m->stop = true;
    m->status = m->illegal ? 1 : 0;
}

static void on_writable(struct master *m, struct conn *c)
{
    conn_arm(m, c, false);
    if (c->flow && c->flow->blocked) {
        c->flow->blocked = false;
        c->flow->blocked_total += clock_us() - c->flow->blocked_since;
    }
    conn_flush(m, c);
}

static void on_event(struct master *m, const struct epoll_event *e)
{
    unsigned listener = listener_of(m, e->data.ptr);
    if (listener < m->listeners) {
        accept_all(m, listener);
    } else if (e->data.ptr == &m->signal_fd) {
        on_signal(m);
    } else {
        struct conn *c = e->data.ptr;
        if (!c->closed && (e->events & EPOLLOUT))
            on_writable(m, c);
        if (!c->closed && (e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            conn_readable(m, c);
    }
}

static int epoll_timeout(const struct master *m, bool more, int64_t now_us)
{
    if (more || m->wake_at <= now_us)
        return 0;
    if (m->wake_at == NEVER)
        return -1;
    int64_t ms = (m->wake_at - now_us + 999) / 1000;
    return ms > 60000 ? 60000 : (int)ms;
}

static void check_timeout(struct master *m, int64_t now_us)
{
    if (!opt.timeout)
        return;
    int64_t limit = m->started_us + (int64_t)opt.timeout * 1000000;
    wake_at(m, limit);
    if (now_us < limit)
        return;
    log_event(m, NULL, "timeout");
    m->stop = true;
    m->status = 1;
}

static void open_signals(struct master *m)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    m->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void close_all(struct master *m)
{
    for (struct session *s = m->sessions; s; s = s->next)
        session_end(m, s, "stand-in stops");
    for (struct conn *c = m->conns; c; c = c->next)
        conn_close(m, c, "stand-in stops");
    session_reap(m);
    conn_reap(m);
    for (unsigned i = 0; i < m->listeners; i++)
        close(m->listener[i].fd);
    close(m->signal_fd);
    close(m->epoll_fd);
}

int master_run(struct master *m)
{
    struct epoll_event event[EVENTS];
    bool more = false;
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    open_signals(m);
    for (unsigned i = 0; i < m->listeners; i++)
        watch(m, &m->listener[i].fd, &m->listener[i]);
    watch(m, &m->signal_fd, &m->signal_fd);
    m->wake_at = NEVER;
    check_timeout(m, clock_us());
    while (!m->stop) {
        int n = epoll_wait(m->epoll_fd, event, EVENTS, epoll_timeout(m, more, clock_us()));
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n && !m->stop; i++)
            on_event(m, &event[i]);
        int64_t now_us = clock_us();
        m->wake_at = NEVER;
        if (!m->stop)
            check_timeout(m, now_us);
        if (!m->stop && m->live)
            live_tick(m, now_us);
        if (!m->stop)
            more = sessions_pump(m, now_us);
        if (!m->stop && m->psync)
            psync_tick(m);
        session_reap(m);
        conn_reap(m);
    }
    close_all(m);
    return m->status;
}
