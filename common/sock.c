#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <bsd/string.h>

#include "io.h"

static void set_int(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* tuning: the default also works */
}

static void tune(int fd)
{
    set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
}

/* Connect to one address. Returns the descriptor or -1 with errno. */
static int connect_one(const struct addrinfo *ai, uint64_t deadline)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    int fault = 0;
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        fault = errno;
        if (fault == EINPROGRESS) {
            uint64_t now = mono_us();
            int left = now < deadline ? (int)((deadline - now) / 1000) : 0;
            struct pollfd pf = {.fd = fd, .events = POLLOUT};
            socklen_t len = sizeof fault;
            if (poll(&pf, 1, left) <= 0)
                fault = ETIMEDOUT;
            else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &len) != 0)
                fault = errno;
        }
    }
    if (fault != 0) {
        close(fd);
        errno = fault;
        return -1;
    }
    tune(fd);
    return fd;
}

int sock_tcp_connect(const char *host, const char *port, int timeout_ms, char *why, size_t whylen)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        snprintf(why, whylen, "cannot resolve %s: %s", host, gai_strerror(rc));
        return -1;
    }
    uint64_t deadline = mono_us() + (uint64_t)timeout_ms * 1000;
    int fd = -1;
    for (const struct addrinfo *ai = list; ai != NULL && fd < 0; ai = ai->ai_next)
        fd = connect_one(ai, deadline);
    if (fd < 0)
        snprintf(why, whylen, "cannot connect to %s:%s: %s", host, port, strerror(errno));
    freeaddrinfo(list);
    return fd;
}

int sock_connect_like(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getpeername(fd, (struct sockaddr *)&sa, &len) != 0)
        return -1;
    int new = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (new < 0)
        return -1;
    if (connect(new, (struct sockaddr *)&sa, len) != 0 && errno != EINPROGRESS) {
        int e = errno;
        close(new);
        errno = e;
        return -1;
    }
    if (sa.ss_family != AF_UNIX)
        tune(new);
    return new;
}

static int unix_address(struct sockaddr_un *sa, const char *path)
{
    memset(sa, 0, sizeof *sa);
    sa->sun_family = AF_UNIX;
    if (strlcpy(sa->sun_path, path, sizeof sa->sun_path) >= sizeof sa->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

int sock_unix_connect(const char *path)
{
    struct sockaddr_un sa;
    if (unix_address(&sa, path) < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

int sock_unix_listen(const char *path)
{
    struct sockaddr_un sa;
    if (unix_address(&sa, path) < 0)
        return -1;
    int probe = sock_unix_connect(path);
    if (probe >= 0) {
        close(probe);
        errno = EADDRINUSE;
        return -1;
    }
    if (errno == ECONNREFUSED)
        (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc != 0 || listen(fd, 128) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

static ssize_t plain_read(struct transport *t, void *to, size_t n)
{
    return recv(t->fd, to, n, 0);
}

static ssize_t plain_write(struct transport *t, const void *from, size_t n)
{
    return send(t->fd, from, n, MSG_NOSIGNAL);
}

static void plain_close(struct transport *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

void transport_plain(struct transport *t, int fd)
{
    *t = (struct transport){.fd = fd, .read = plain_read, .write = plain_write, .close = plain_close};
}

int transport_send(struct transport *t, const void *data, size_t n, int timeout_ms)
{
    const char *p = data;
    uint64_t deadline = mono_us() + (uint64_t)timeout_ms * 1000;
    while (n > 0) {
        ssize_t w = t->write(t, p, n);
        if (w > 0) {
            p += w;
            n -= (size_t)w;
            continue;
        }
        if (w < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        uint64_t now = mono_us();
        if (now >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        struct pollfd pf = {.fd = t->fd, .events = POLLOUT};
        (void)poll(&pf, 1, (int)((deadline - now) / 1000) + 1);
    }
    return 0;
}
