/*
 * late_signal.so: a signal at a chosen moment, for LD_PRELOAD. At the LATE_SIGNAL-th call of open, connect,
 * poll or epoll_wait of this process since it handles SIGINT it raises SIGINT: before the call
 * (LATE_HOW=before: the call may then wait although the signal has come), or in place of a wait
 * (LATE_HOW=instead: EINTR). LATE_DONE names a file that is made when the signal is raised: a process may
 * make fewer calls.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size); /* poll of a fortified build */

static void *real(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL)
        abort();
    return f;
}

static bool handled(void)
{
    struct sigaction sa;
    return sigaction(SIGINT, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN;
}

static void note(const char *file)
{
    int (*real_open)(const char *, int, ...) = real("open");
    int fd = file != NULL ? real_open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0)
        close(fd);
}

/* Whether the call is not to be made. */
static bool now(void)
{
    static long calls;
    const char *at = getenv("LATE_SIGNAL"), *how = getenv("LATE_HOW");
    if (at == NULL || how == NULL || !handled() || ++calls != atol(at))
        return false;
    note(getenv("LATE_DONE"));
    raise(SIGINT);
    errno = EINTR;
    return strcmp(how, "instead") == 0;
}

int open(const char *path, int flags, ...)
{
    int (*call)(const char *, int, ...) = real("open");
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    (void)now();
    return call(path, flags, mode);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    int (*call)(int, const struct sockaddr *, socklen_t) = real("connect");
    (void)now(); /* a socket that does not block gives no EINTR */
    return call(fd, to, len);
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    int (*call)(struct pollfd *, nfds_t, int) = real("poll");
    return now() ? -1 : call(fds, n, timeout);
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
    int (*call)(struct pollfd *, nfds_t, int, size_t) = real("__poll_chk");
    return now() ? -1 : call(fds, n, timeout, size);
}

int epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
    int (*call)(int, struct epoll_event *, int, int) = real("epoll_wait");
    return now() ? -1 : call(ep, events, max, timeout);
}
