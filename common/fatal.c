#include "fatal.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "meta.h"
#include "nearest.h"

static struct {
    int fd;
    enum rec_kind kind;
} stream = {.fd = -1};

/* Records are not mixed with messages: whoever reads both at once waits for no stream. */
static bool is_stderr(const struct stat *st)
{
    struct stat err;
    return fstat(STDERR_FILENO, &err) == 0 && err.st_dev == st->st_dev && err.st_ino == st->st_ino;
}

void fatal_stream(int fd, enum rec_kind kind)
{
    struct stat st;
    bool channel = fd >= 0 && fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
    stream.fd = channel && !is_stderr(&st) ? fd : -1;
    stream.kind = kind;
}

void fatal_write_stream(int fd, enum rec_kind kind, int status, const char *text)
{
    struct rec r = {.type = REC_END, .slot = REC_NO_SLOT, .epoch = 1, .time = now_us()};
    struct buf b = {.max = 4096};
    uint8_t head[REC_STREAM + REC_HEADER];
    meta_adds(&b, "reason", "error");
    meta_addu(&b, "status", (uint64_t)status);
    meta_adds(&b, "message", text);
    r.len = (uint32_t)b.len;
    rec_stream_header(head, kind);
    rec_encode(head + REC_STREAM, &r);
    (void)signal(SIGPIPE, SIG_IGN);
    if (io_write_all(fd, head, sizeof head) == 0)
        (void)io_write_all(fd, b.p, b.len); /* a reader that has gone needs no reason */
    buf_free(&b);
}

static void end(int status, char *text) __attribute__((noreturn));
static void end(int status, char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) /* names of files may hold anything */
            *p = '?';
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, text);
    if (stream.fd >= 0)
        fatal_write_stream(stream.fd, stream.kind, status, text);
    exit(status);
}

void fatal(int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    end(status, text);
}

void fatal_errno(int status, const char *fmt, ...)
{
    char text[1024];
    int fault = errno;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof text)
        (void)snprintf(text + n, sizeof text - (size_t)n, ": %s", strerror(fault));
    end(status, text);
}

static const char *meant(const char *arg, const struct option *known)
{
    char name[64];
    struct nearest n;
    (void)strlcpy(name, arg, sizeof name < strcspn(arg, "=") + 1 ? sizeof name : strcspn(arg, "=") + 1);
    nearest_begin(&n, name);
    for (; known->name != NULL; known++)
        nearest_offer(&n, known->name);
    return n.best;
}

void fatal_option(int c, char **argv, const struct option *known)
{
    const char *arg = argv[optind - 1];
    bool named = strncmp(arg, "--", 2) == 0;
    const char *nearest = named && c == '?' ? meant(arg + 2, known) : NULL;
    const char *what = c == ':'                            ? "needs a value"
                       : named && strchr(arg, '=') != NULL ? "is unknown or takes no value"
                                                           : "is unknown";
    if (nearest != NULL)
        fatal(EXIT_USAGE, "option %.*s %s (did you mean --%s?), see %s --help", (int)strcspn(arg, "="), arg,
              what, nearest, program_invocation_short_name);
    if (named) /* not what stands behind '=': it may be a secret */
        fatal(EXIT_USAGE, "option %.*s %s, see %s --help", (int)strcspn(arg, "="), arg, what,
              program_invocation_short_name);
    fatal(EXIT_USAGE, "option -%c %s, see %s --help", optopt, what, program_invocation_short_name);
}
