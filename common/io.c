#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <err.h>

int io_write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w >= 0) {
            p += w;
            n -= (size_t)w;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -1;
        struct pollfd pf = {.fd = fd, .events = POLLOUT};
        (void)poll(&pf, 1, -1);
    }
    return 0;
}

int io_write_at(int fd, const void *data, size_t n, uint64_t at)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t w = pwrite(fd, p, n, (off_t)at);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (w == 0)
                errno = ENOSPC;
            return -1;
        }
        p += w;
        n -= (size_t)w;
        at += (uint64_t)w;
    }
    return 0;
}

int io_read_at(int fd, void *to, size_t n, uint64_t at)
{
    uint8_t *p = to;
    while (n > 0) {
        ssize_t r = pread(fd, p, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            if (r == 0)
                errno = EIO;
            return -1;
        }
        p += r;
        n -= (size_t)r;
        at += (uint64_t)r;
    }
    return 0;
}

int io_wait2(int in, int in2, int out, int timeout_ms, bool *second)
{
    struct pollfd pf[3] = {
        {.fd = in, .events = POLLIN}, {.fd = in2, .events = POLLIN}, {.fd = out, .events = 0}};
    *second = false;
    int n = poll(pf, 3, timeout_ms);
    if (n < 0)
        return 0; /* a signal: the caller looks at its flags */
    *second = pf[1].revents != 0;
    if ((pf[2].revents & (POLLERR | POLLHUP)) != 0) {
        errno = EPIPE;
        return -1;
    }
    return pf[0].revents != 0 ? 1 : 0;
}

int io_wait(int in, int out, int timeout_ms)
{
    bool unused;
    return io_wait2(in, -1, out, timeout_ms, &unused);
}

static uint64_t clock_us(clockid_t id)
{
    struct timespec ts;
    if (clock_gettime(id, &ts) != 0)
        err(1, "clock_gettime");
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

uint64_t now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

uint64_t mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int set_nonblock(int fd, bool on)
{
    int fl = fcntl(fd, F_GETFL);
    if (fl < 0)
        return -1;
    return fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

size_t pipe_enlarge(int fd, size_t want)
{
    int size = fcntl(fd, F_GETPIPE_SZ);
    if (size < 0)
        return 0;
    for (size_t n = want; n > (size_t)size; n /= 2) {
        int got = fcntl(fd, F_SETPIPE_SZ, (int)n);
        if (got > 0)
            return (size_t)got;
    }
    return (size_t)size;
}

long io_unread(int fd)
{
    int n = 0;
    /* FIONREAD counts the unread bytes of a pipe from either end; a socket wants SIOCOUTQ. */
    return ioctl(fd, SIOCOUTQ, &n) == 0 || ioctl(fd, FIONREAD, &n) == 0 ? n : -1;
}

int io_open_own(const char *path, int flags, mode_t mode)
{
    struct stat st;
    int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd >= 0 || errno != ELOOP)
        return fd;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()))
        return open(path, flags | O_CLOEXEC, mode);
    errno = ELOOP;
    return -1;
}

FILE *io_fopen_own(const char *path)
{
    int fd = io_open_own(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL && fd >= 0)
        close(fd);
    return f;
}

int io_open_new(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return -1;
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

void raise_limits(void)
{
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
        rl.rlim_cur = rl.rlim_max < 65536 ? rl.rlim_max : 65536;
        (void)setrlimit(RLIMIT_NOFILE, &rl); /* what there is has to do, then */
    }
}

int io_tmpfile(const char *dir)
{
    const char *env = getenv("TMPDIR");
    if (dir == NULL)
        dir = env != NULL && env[0] != '\0' ? env : "/tmp";
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/df2redis.XXXXXX", dir) >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

bool io_signal_anew(void)
{
    static volatile uint64_t before; /* handlers do not interrupt each other for long enough to matter */
    uint64_t now = mono_us();
    bool anew = before == 0 || now - before >= 200000;
    if (anew)
        before = now;
    return anew;
}

void random_hex(char out[33])
{
    uint8_t raw[16];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        err(1, "getrandom");
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}
