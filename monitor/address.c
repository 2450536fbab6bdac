#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#define BACKLOG  64
#define HOST_MAX sizeof((struct address *)NULL)->host

/* HOST:PORT, [HOST]:PORT; without a port *port stays "". False: it is neither. */
static bool split(const char *text, char host[HOST_MAX], char port[8])
{
    const char *end, *colon;
    size_t n;
    port[0] = '\0';
    if (text[0] == '[') {
        end = strchr(++text, ']');
        if (end == NULL || (end[1] != ':' && end[1] != '\0'))
            return false;
        colon = end[1] == ':' ? end + 1 : NULL;
    } else {
        colon = strrchr(text, ':');
        end = colon != NULL ? colon : text + strlen(text);
    }
    n = (size_t)(end - text);
    if (n == 0 || n >= HOST_MAX ||
        (colon != NULL && (strlen(colon + 1) >= 8 || colon[1 + strspn(colon + 1, "0123456789")] != '\0')))
        return false;
    memcpy(host, text, n);
    host[n] = '\0';
    if (colon != NULL)
        strlcpy(port, colon + 1, 8);
    return true;
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static unsigned port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {.in6 = {.sin6_family = AF_UNSPEC}};
    socklen_t n = sizeof a;
    if (getsockname(fd, &a.any, &n) != 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

static int listen_at(const struct addrinfo *a)
{
    int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int address_listen(struct address *a, char *why, size_t cap)
{
    char service[8];
    const char *fault = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    a->usage = true;
    if (!split(a->text, a->host, service) || service[0] == '\0' ||
        (strtonum(service, 0, 65535, &fault), fault != NULL)) {
        snprintf(why, cap, "%.100s: not HOST:PORT", a->text);
        return -1;
    }
    int rc = getaddrinfo(a->host, service, &hints, &found);
    if (rc != 0) {
        snprintf(why, cap, "%s: %s", a->text, gai_strerror(rc));
        return -1;
    }
    int fd = -1;
    a->loopback = is_loopback(found->ai_addr);
    if (!a->loopback && !a->safe) {
        snprintf(why, cap,
                 "%s is no loopback address: there both TLS (--tls-cert) and a token (--token-file) are "
                 "needed; or listen at 127.0.0.1 and put a proxy with TLS before it (--host NAME)",
                 a->text);
    } else {
        a->usage = false;
        fd = listen_at(found);
        if (fd < 0)
            snprintf(why, cap, "cannot listen at %s: %s", a->text, strerror(errno));
        else
            a->port = port_of(fd);
    }
    freeaddrinfo(found);
    return fd;
}

bool address_host(const char *host, const char *const *names, unsigned n)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "::1"};
    char name[HOST_MAX], port[8];
    if (host == NULL || !split(host, name, port))
        return false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcasecmp(name, own[i]) == 0)
            return true;
    for (unsigned i = 0; i < n; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}
