/* Connections: input to requests, replies to output, and their end. */
#include "psync.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn *conn_new(struct master *m, int fd, unsigned node)
{
    struct conn *c = grab(sizeof *c);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    int one = 1;
    c->fd = fd;
    c->node = node;
    c->id = m->conns_accepted++;
    c->authenticated = opt.password == NULL;
    c->loading = c->id < opt.loading;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
    c->next = m->conns;
    m->conns = c;
    log_event(m, c, "accepted");
    return c;
}

void conn_arm(struct master *m, struct conn *c, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    if (c->closed || c->out_armed == out)
        return;
    c->out_armed = out;
    if (epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, c->fd, &e) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

void conn_reply(struct conn *c, const char *format, ...)
{
    va_list args, again;
    if (c->closed)
        return;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *p = (char *)buf_room(&c->out, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, again);
    c->out.len += (size_t)n;
    va_end(again);
    va_end(args);
}

/* How many of n reply bytes may go before a planned cut; 0: it is due. */
static size_t control_limit(struct master *m, const struct conn *c, size_t n)
{
    if (c->flow || !(c->session || c->announced))
        return n;
    uint32_t session = c->session ? c->session->ordinal : m->sessions_started + 1;
    const struct fault *f = fault_find(FAULT_CUT, FAULT_CONTROL, session, c->sent);
    return f && f->at - c->sent < n ? (size_t)(f->at - c->sent) : n;
}

bool conn_flush(struct master *m, struct conn *c)
{
    while (!c->closed && c->out_sent < c->out.len) {
        size_t n = control_limit(m, c, c->out.len - c->out_sent);
        if (n == 0) {
            conn_close(m, c, "planned cut");
            return false;
        }
        ssize_t w = send(c->fd, c->out.p + c->out_sent, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0 && errno == EAGAIN) {
            conn_arm(m, c, true);
            return false;
        }
        if (w < 0) {
            conn_close(m, c, strerror(errno));
            return false;
        }
        c->out_sent += (size_t)w;
        c->sent += (uint64_t)w;
    }
    if (c->closed)
        return false;
    c->out.len = c->out_sent = 0;
    if (c->quit)
        conn_close(m, c, "QUIT");
    return !c->closed;
}

static void run_requests(struct master *m, struct conn *c)
{
    struct request r = {0};
    size_t at = 0;
    while (!c->closed && !c->quit && at < c->in.len) {
        ssize_t n = request_parse(c->in.p + at, c->in.len - at, &r);
        if (n == 0 && c->in.len - at < MAX_REQUEST)
            break;
        if (n <= 0) {
            log_illegal(m, c, "unreadable request");
            conn_reply(c, "-ERR Protocol error\r\n");
            c->quit = true;
            break;
        }
        if (r.argc && (c->held = psync_holds(m, c, &r)))
            break;
        at += (size_t)n;
        if (r.argc)
            command_run(m, c, &r);
    }
    buf_free(&r.store);
    memmove(c->in.p, c->in.p + at, c->in.len - at);
    c->in.len -= at;
}

void conn_go_on(struct master *m, struct conn *c)
{
    run_requests(m, c);
    conn_flush(m, c);
}

void conn_readable(struct master *m, struct conn *c)
{
    for (unsigned turns = 0; turns < 8 && !c->closed; turns++) {
        size_t room = 16384;
        ssize_t n = recv(c->fd, buf_room(&c->in, room), room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0) {
            conn_close(m, c, n == 0 ? "closed by peer" : strerror(errno));
            return;
        }
        c->in.len += (size_t)n;
        run_requests(m, c);
    }
    if (!c->closed)
        conn_flush(m, c);
}

void conn_close(struct master *m, struct conn *c, const char *why)
{
    uint8_t sink[4096];
    if (c->closed)
        return;
    c->closed = true;
    log_event(m, c, "closed sent=%llu why=\"%s\"", (unsigned long long)c->sent, why);
    /* Unread acks would turn the FIN into a reset, which may overtake what was sent before. */
    for (unsigned i = 0; i < 16 && recv(c->fd, sink, sizeof sink, MSG_DONTWAIT) > 0; i++)
        continue;
    close(c->fd);
    if (c->session)
        session_end(m, c->session, why);
}

void conn_shut(struct conn *c)
{
    if (c->write_shut)
        return;
    c->write_shut = true;
    shutdown(c->fd, SHUT_WR);
}

void conn_reap(struct master *m)
{
    for (struct conn **at = &m->conns; *at;) {
        struct conn *c = *at;
        if (!c->closed) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        buf_free(&c->in);
        buf_free(&c->out);
        buf_free(&c->queued);
        free(c);
    }
}
