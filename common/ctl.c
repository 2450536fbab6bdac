#include "ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <bsd/string.h>

#include "io.h"
#include "meta.h"
#include "sock.h"

#define OUT_MAX ((size_t)64 << 10)

void ctl_init(struct ctl *c, int fd)
{
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->in.max = 4 * CTL_LINE_MAX;
    c->out.max = OUT_MAX;
    if (fd >= 0)
        (void)set_nonblock(fd, true);
}

void ctl_close(struct ctl *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
    buf_free(&c->out);
    c->taken = 0;
}

int ctl_flush(struct ctl *c)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        buf_shift(&c->out, (size_t)n);
    }
    return 0;
}

int ctl_send(struct ctl *c, const char *fmt, ...)
{
    char line[CTL_LINE_MAX];
    if (c->fd < 0)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line - 1, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line - 1)
        return -1;
    line[n++] = '\n';
    if (buf_add(&c->out, line, (size_t)n) < 0)
        return -1;
    return ctl_flush(c);
}

int ctl_fill(struct ctl *c)
{
    if (c->taken > 0) {
        buf_shift(&c->in, c->taken);
        c->taken = 0;
    }
    uint8_t *to = buf_room(&c->in, CTL_LINE_MAX);
    if (to == NULL)
        return -1; /* lines longer than any may be */
    ssize_t n = recv(c->fd, to, CTL_LINE_MAX, 0);
    if (n > 0) {
        c->in.len += (size_t)n;
        return 1;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

char *ctl_line(struct ctl *c)
{
    if (c->in.len == c->taken)
        return NULL;
    char *start = (char *)c->in.p + c->taken;
    char *nl = memchr(start, '\n', c->in.len - c->taken);
    if (nl == NULL)
        return NULL;
    *nl = '\0';
    c->taken += (size_t)(nl + 1 - start);
    return start;
}

bool ctl_is(const char *line, const char *verb)
{
    size_t n = strlen(verb);
    return strncmp(line, verb, n) == 0 && (line[n] == ' ' || line[n] == '\0');
}

long ctl_get(const char *line, const char *name, char *out, size_t cap)
{
    return meta_get(line, strlen(line), name, out, cap);
}

bool ctl_getu(const char *line, const char *name, uint64_t *out)
{
    return meta_getu(line, strlen(line), name, out);
}

int ctl_hello(struct ctl *c, const char *path, const char *hello, int timeout_ms, char *answer, size_t cap)
{
    uint64_t deadline = mono_us() + (uint64_t)timeout_ms * 1000;
    ctl_init(c, sock_unix_connect(path, timeout_ms));
    if (c->fd < 0)
        return -1;
    if (ctl_send(c, "hello %s", hello) == 0) {
        for (uint64_t now = mono_us(); now < deadline; now = mono_us()) {
            (void)io_wait(c->fd, -1, (int)((deadline - now) / 1000) + 1);
            if (ctl_fill(c) < 0)
                break;
            const char *line = ctl_line(c);
            if (line == NULL)
                continue;
            strlcpy(answer, line, cap);
            if (ctl_is(line, "welcome"))
                return 0;
            break;
        }
    }
    ctl_close(c);
    return -1;
}

bool ctl_just_died(const char *path, uint64_t started)
{
    int fd = sock_unix_connect(path, 0);
    bool refused = fd < 0 && errno == ECONNREFUSED;
    uint64_t now = now_us() / 1000000;
    if (fd >= 0)
        close(fd);
    return refused && started <= now && now - started < 60;
}
