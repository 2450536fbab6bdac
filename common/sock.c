#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <bsd/string.h>

#include "io.h"

#define OUTPUT_MS 10000 /* for whoever listens where a stream goes to */

bool endpoint_ok(const char *host, const char *port)
{
    static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%";
    size_t n = strlen(host), digits = strlen(port);
    if (n == 0 || n > 255 || strspn(host, chars) != n || digits == 0 || digits > 5 ||
        strspn(port, "0123456789") != digits)
        return false;
    unsigned long number = strtoul(port, NULL, 10);
    return number >= 1 && number <= 65535;
}

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

/* Begin to connect to one address. Returns the descriptor or -1 with errno. */
static int start_one(const struct addrinfo *ai)
{
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    if (fd < 0)
        return -1;
    tune(fd);
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    int fault = errno;
    close(fd);
    errno = fault;
    return -1;
}

int sock_tcp_done(int fd)
{
    int fault = 0;
    socklen_t len = sizeof fault;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &len) != 0)
        return -1;
    errno = fault;
    return fault == 0 ? 0 : -1;
}

/* Wait for the outcome. Returns 0, or -1 with errno: EINPROGRESS when ms have passed. */
static int outcome(int fd, int ms)
{
    struct pollfd pf = {.fd = fd, .events = POLLOUT};
    int rc = poll(&pf, 1, ms);
    if (rc < 0)
        return -1;
    if (rc == 0) {
        errno = EINPROGRESS;
        return -1;
    }
    return sock_tcp_done(fd);
}

/* Connect to one address. Returns the descriptor or -1 with errno. */
static int connect_one(const struct addrinfo *ai, uint64_t us)
{
    int fd = start_one(ai);
    if (fd < 0)
        return -1;
    if (outcome(fd, (int)((us + 999) / 1000)) == 0)
        return fd;
    int fault = errno == EINPROGRESS ? ETIMEDOUT : errno;
    close(fd);
    errno = fault;
    return -1;
}

static struct addrinfo *resolve(const char *host, const char *port, char *why, size_t whylen)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(host, port, &hints, &list);
    if (rc == EAI_NONAME) {
        hints.ai_flags = AI_ADDRCONFIG;
        rc = getaddrinfo(host, port, &hints, &list);
    }
    if (rc == 0)
        return list;
    snprintf(why, whylen, "cannot resolve %s: %s", host,
             rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
    errno = rc == EAI_SYSTEM ? errno : EHOSTUNREACH;
    return NULL;
}

static void cannot(const char *host, const char *port, char *why, size_t whylen)
{
    int fault = errno;
    bool v6 = strchr(host, ':') != NULL;
    snprintf(why, whylen, "cannot connect to %s%s%s:%s: %s", v6 ? "[" : "", host, v6 ? "]" : "", port,
             strerror(fault));
    errno = fault;
}

static int start_local(const char *path, int timeout_ms, char *why, size_t whylen)
{
    int fd = sock_unix_connect(path, timeout_ms);
    if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    int fault = errno;
    snprintf(why, whylen, "cannot connect to %s: %s", path, strerror(fault));
    if (fd >= 0)
        close(fd);
    errno = fault;
    return -1;
}

int sock_connect(const struct endpoint *e, int timeout_ms, char *why, size_t whylen)
{
    if (e->port[0] == '\0')
        return start_local(e->host, timeout_ms, why, whylen);
    struct addrinfo *list = resolve(e->host, e->port, why, whylen);
    if (list == NULL)
        return -1;
    unsigned left = 0;
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next)
        left++;
    uint64_t deadline = mono_us() + (uint64_t)timeout_ms * 1000;
    int fd = -1;
    /* Each address gets its share of the time: one that does not answer must not use it all up. */
    for (const struct addrinfo *ai = list; ai != NULL && fd < 0; ai = ai->ai_next, left--) {
        uint64_t now = mono_us();
        fd = connect_one(ai, now < deadline ? (deadline - now) / left : 0);
        if (fd < 0 && errno == EINTR)
            break;
    }
    if (fd < 0)
        cannot(e->host, e->port, why, whylen);
    int fault = errno;
    freeaddrinfo(list);
    errno = fault;
    return fd;
}

/* The address to begin with: every one has its turn. */
static const struct addrinfo *turn_of(const struct addrinfo *list, unsigned turn)
{
    unsigned n = 0;
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next)
        n++;
    for (turn %= n; turn > 0; turn--)
        list = list->ai_next;
    return list;
}

int sock_tcp_start(const char *host, const char *port, unsigned turn, char *why, size_t whylen)
{
    if (port[0] == '\0')
        return start_local(host, 0, why, whylen);
    struct addrinfo *list = resolve(host, port, why, whylen);
    if (list == NULL)
        return -1;
    int fd = -1;
    for (const struct addrinfo *ai = turn_of(list, turn); ai != NULL && fd < 0; ai = ai->ai_next) {
        fd = start_one(ai);
        /* "localhost" has two addresses, and the refusal of the wrong one is there at once. */
        if (fd < 0 || ai->ai_next == NULL || outcome(fd, 0) == 0 || errno == EINPROGRESS)
            continue;
        close(fd);
        fd = -1;
    }
    if (fd < 0)
        cannot(host, port, why, whylen);
    freeaddrinfo(list);
    return fd;
}

int sock_connect_like(int fd)
{
    struct sockaddr_storage sa = {0};
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

int sock_unix_connect(const char *path, int timeout_ms)
{
    struct sockaddr_un sa;
    if (unix_address(&sa, path) < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (timeout_ms <= 0 ? SOCK_NONBLOCK : 0), 0);
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000}, none = {0};
    if (fd < 0)
        return -1;
    if ((timeout_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) ||
        connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        (timeout_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none) != 0) ||
        (timeout_ms <= 0 && set_nonblock(fd, false) != 0)) {
        int e = errno == EAGAIN ? ETIMEDOUT : errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

int sock_open_output(const char *where)
{
    if (strcmp(where, "-") == 0)
        return dup(STDOUT_FILENO);
    if (strncmp(where, "unix:", 5) == 0)
        return sock_unix_connect(where + 5, OUTPUT_MS);
    return io_open_own(where, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

/* Bind and listen under another name first: whoever finds the socket at path can connect to it. */
static int listen_as(int fd, const char *path, const char *name)
{
    struct sockaddr_un sa;
    if (unix_address(&sa, name) < 0)
        return -1;
    (void)unlink(name);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc != 0)
        return -1;
    rc = listen(fd, 128) == 0 ? link(name, path) : -1;
    int e = errno == EEXIST ? EADDRINUSE : errno;
    (void)unlink(name);
    errno = e;
    return rc;
}

int sock_unix_listen(const char *path)
{
    char name[sizeof(struct sockaddr_un)];
    int probe = sock_unix_connect(path, 0);
    if (probe >= 0) {
        close(probe);
        errno = EADDRINUSE;
        return -1;
    }
    if (errno == ETIMEDOUT) { /* somebody listens, and is slow */
        errno = EADDRINUSE;
        return -1;
    }
    if (errno == ECONNREFUSED)
        (void)unlink(path);
    if ((size_t)snprintf(name, sizeof name, "%s~", path) >= sizeof name) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (listen_as(fd, path, name) != 0) {
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

static void plain_finish(struct transport *t)
{
    (void)shutdown(t->fd, SHUT_WR);
}

static void plain_close(struct transport *t)
{
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}

static const char *plain_reason(const struct transport *t)
{
    (void)t;
    return strerror(errno);
}

void transport_plain(struct transport *t, int fd)
{
    *t = (struct transport){.fd = fd,
                            .read = plain_read,
                            .write = plain_write,
                            .finish = plain_finish,
                            .close = plain_close,
                            .reason = plain_reason};
}

const char *transport_reason(const struct transport *t)
{
    return t->reason != NULL ? t->reason(t) : strerror(errno);
}

void transport_wait(const struct transport *t, bool reading, int timeout_ms)
{
    bool in = reading || t->write_wants_in;
    bool out = t->read_wants_out || !in;
    struct pollfd pf = {.fd = t->fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
    (void)poll(&pf, 1, timeout_ms);
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
        transport_wait(t, false, (int)((deadline - now) / 1000) + 1);
    }
    return 0;
}
