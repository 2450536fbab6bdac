/* dfnotify NAME=VALUE...: tell the service manager something, as sd_notify(3) does: one datagram to the
 * socket that NOTIFY_SOCKET names. It waits until the manager has taken it, since a message of a process that
 * is gone by then cannot be assigned to its service. */
#include <err.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "buf.h"
#include "exits.h"
#include "version.h"

#define MESSAGE_MAX ((size_t)64 << 10)
#define BARRIER_MS  5000

/* The address in NOTIFY_SOCKET: a path, or with @ a name in the abstract namespace. Returns its length. */
static socklen_t address(struct sockaddr_un *sa)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path != NULL ? strlen(path) : 0;
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (n == 0)
        errx(EXIT_CANNOT, "NOTIFY_SOCKET is not set");
    if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof sa->sun_path)
        errx(EXIT_CANNOT, "NOTIFY_SOCKET is no path of a socket: %s", path);
    memcpy(sa->sun_path, path, n);
    if (path[0] == '@')
        sa->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

/* A further message, which carries the end of a pipe: the manager closes it when everything before was taken.
 * Managers without barriers close it at once, others than managers may refuse it; neither is a failure. */
static void barrier(int fd, struct sockaddr_un *sa, socklen_t salen)
{
    int pipefd[2];
    char text[] = "BARRIER=1";
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text - 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.space = {0}};
    struct msghdr m = {.msg_name = sa,
                       .msg_namelen = salen,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.space,
                       .msg_controllen = sizeof control.space};
    if (pipe(pipefd) != 0)
        err(EXIT_CANNOT, "pipe");
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pipefd[1], sizeof(int));
    ssize_t sent = sendmsg(fd, &m, MSG_NOSIGNAL);
    close(pipefd[1]);
    struct pollfd p = {.fd = pipefd[0]};
    if (sent >= 0)
        (void)poll(&p, 1, BARRIER_MS); /* the hangup is reported without being asked for */
    close(pipefd[0]);
}

int main(int argc, char **argv)
{
    struct sockaddr_un sa;
    struct buf b = {.max = MESSAGE_MAX};
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("dfnotify (df2redis) " DF2REDIS_VERSION);
        return EXIT_DONE;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: dfnotify NAME=VALUE...\nTells the service manager at NOTIFY_SOCKET, see sd_notify(3).");
        return EXIT_DONE;
    }
    if (argc < 2)
        errx(EXIT_USAGE, "usage: dfnotify NAME=VALUE...");
    for (int i = 1; i < argc; i++) {
        if (strchr(argv[i], '=') == NULL || argv[i][0] == '-')
            errx(EXIT_USAGE, "not NAME=VALUE: %s", argv[i]);
        if ((i > 1 && buf_addstr(&b, "\n") != 0) || buf_addstr(&b, argv[i]) != 0)
            errx(EXIT_USAGE, "the message is too long");
    }
    socklen_t salen = address(&sa);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(EXIT_CANNOT, "socket");
    if (sendto(fd, b.p, b.len, MSG_NOSIGNAL, (struct sockaddr *)&sa, salen) < 0)
        err(EXIT_CANNOT, "%s", getenv("NOTIFY_SOCKET"));
    barrier(fd, &sa, salen);
    close(fd);
    buf_free(&b);
    return EXIT_DONE;
}
