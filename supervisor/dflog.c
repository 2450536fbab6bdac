/* dflog [-f FORM] [-e ERRORFILE] [-t RECENT] [-p PID] FILE: append the lines of standard input to a file,
 * each with the time before it. The file is opened anew on SIGHUP (it was moved away by logrotate). FILE -:
 * to standard error, as they are. The first lines with level=error, and what stages say before they log, are
 * kept in ERRORFILE, until that is removed. RECENT and RECENT.1 hold the last lines, at most 64 KiB of them.
 * FORM is how lines are written: log_form.h. PID gets a SIGHUP when nobody reads standard error any more.
 * Ends with its input only: the last words of the others count. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bsd/stdlib.h>

#include "exits.h"
#include "io.h"
#include "log_form.h"
#include "version.h"

#define LINE_MAX_BYTES 8192 /* a longer one is broken */

static volatile sig_atomic_t hup;
static const char *error_file;
static pid_t parent;
static const char *recent_file;
static enum log_form form = LOG_FORM_LOGFMT;
static bool stamped;

static void on_hup(int sig)
{
    (void)sig;
    hup = 1;
}

static int open_log(const char *file)
{
    if (!stamped)
        return STDERR_FILENO;
    return io_open_own(file, O_WRONLY | O_APPEND | O_CREAT, 0640);
}

/* When it cannot be opened again, what is open goes on being written. */
static void reopen(int *fd, const char *file)
{
    hup = 0;
    if (!stamped)
        return;
    int again = open_log(file);
    if (again < 0) {
        warn("%s", file);
        return;
    }
    close(*fd);
    *fd = again;
}

#define KEPT_BYTES (16 << 10) /* of errors */

/* An error of a stage, or what it says before it can log: a usage error. */
static bool is_error(const char *text, size_t n)
{
    static const char *const marks[] = {"level=error ", "dfreader: ", "dfparse: ", "rediswriter: "};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (n >= strlen(marks[i]) && memcmp(text, marks[i], strlen(marks[i])) == 0)
            return true;
    return false;
}

/* The first errors after the last start tell more than those that follow from them. */
static void keep_error(const char *text, size_t n)
{
    if (error_file == NULL || !is_error(text, n))
        return;
    int fd = open(error_file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (lseek(fd, 0, SEEK_END) < KEPT_BYTES)
        (void)dprintf(fd, "%.*s\n", (int)n, text);
    close(fd);
}

#define RECENT_BYTES (32 << 10) /* of one of the two files */

/* With the time, where it has none. */
static void keep_recent(const char *line, size_t n)
{
    static int fd = -1;
    static size_t held;
    char older[4096];
    if (recent_file == NULL)
        return;
    if (fd >= 0 && held + n > RECENT_BYTES) {
        close(fd);
        fd = -1;
        if ((size_t)snprintf(older, sizeof older, "%s.1", recent_file) < sizeof older)
            (void)rename(recent_file, older);
    }
    if (fd < 0) {
        held = 0;
        fd = io_open_new(recent_file);
    }
    if (fd >= 0 && write(fd, line, n) > 0)
        held += n;
}

/* "time=… " of now. Returns its length. */
static size_t put_time(char to[64])
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t at = strftime(to, 40, "time=%Y-%m-%dT%H:%M:%S", &tm);
    return at + (size_t)snprintf(to + at, 16, ".%03dZ ", (int)(now.tv_nsec / 1000000));
}

/* One write per line. A disk that is full takes less, and nothing is gained by ending. */
static void put_line(int fd, const char *text, size_t n)
{
    char line[64 + LINE_MAX_BYTES + 1];
    size_t time = put_time(line), skip = stamped ? 0 : time;
    struct buf out = {.max = (size_t)8 * LINE_MAX_BYTES};
    memcpy(line + time, text, n);
    line[time + n] = '\n';
    keep_recent(line, time + n + 1);
    log_form_line(form, line + skip, time + n - skip, &out);
    (void)buf_add(&out, "\n", 1);
    ssize_t w = write(fd, out.p, out.len);
    buf_free(&out);
    if (w < 0 && !stamped && parent > 0 && (errno == EPIPE || errno == EIO)) {
        (void)kill(parent, SIGHUP);
        parent = 0; /* once */
    }
    keep_error(text, n);
}

/* Write the whole lines of buf; what is left stands at its begin. Returns its length. */
static size_t put_lines(int fd, char *buf, size_t have)
{
    char *from = buf, *end;
    while ((end = memchr(from, '\n', have)) != NULL) {
        put_line(fd, from, (size_t)(end - from));
        have -= (size_t)(end + 1 - from);
        from = end + 1;
    }
    if (from == buf && have == LINE_MAX_BYTES) {
        put_line(fd, buf, have);
        return 0;
    }
    memmove(buf, from, have);
    return have;
}

/* Read until the end of the input; a SIGHUP interrupts the read. Returns the status. */
static int copy(int fd, const char *file)
{
    char buf[LINE_MAX_BYTES];
    size_t have = 0;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, buf + have, sizeof buf - have);
        if (n < 0 && errno != EINTR)
            err(EXIT_CANNOT, "standard input");
        if (hup)
            reopen(&fd, file);
        if (n == 0)
            break;
        if (n > 0)
            have = put_lines(fd, buf, have + (size_t)n);
    }
    if (have > 0)
        put_line(fd, buf, have);
    return close(fd) == 0 ? EXIT_DONE : EXIT_CANNOT;
}

/* auto is logfmt here: nobody reads along. Returns NULL, or what is wrong. */
static const char *take_form(const char *word)
{
    for (unsigned i = 0; log_form_words[i] != NULL; i++) {
        if (strcmp(word, log_form_words[i]) == 0) {
            form = i == LOG_FORM_AUTO ? LOG_FORM_LOGFMT : (enum log_form)i;
            return NULL;
        }
    }
    return "unknown";
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("dflog (df2redis) " DF2REDIS_VERSION);
        return EXIT_DONE;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: dflog [-f FORM] [-e ERRORFILE] [-t RECENT] [-p PID] FILE\nAppends lines to a file, with "
             "the time; opens it "
             "anew on "
             "SIGHUP.");
        return EXIT_DONE;
    }
    opterr = 0; /* the usage says it */
    for (int opt; (opt = getopt(argc, argv, "e:f:p:t:")) != -1;) {
        const char *fault = NULL;
        if (opt == 'e')
            error_file = optarg;
        else if (opt == 't')
            recent_file = optarg;
        else if (opt == 'f')
            fault = take_form(optarg);
        else if (opt == 'p')
            parent = (pid_t)strtonum(optarg, 1, INT_MAX, &fault);
        if (opt == '?' || fault != NULL)
            errx(EXIT_USAGE, "usage: dflog [-f FORM] [-e ERRORFILE] [-t RECENT] [-p PID] FILE");
    }
    if (optind != argc - 1)
        errx(EXIT_USAGE, "usage: dflog [-f FORM] [-e ERRORFILE] [-t RECENT] [-p PID] FILE");
    const char *file = argv[optind];
    stamped = strcmp(file, "-") != 0;
    struct sigaction sa = {.sa_handler = on_hup};
    (void)sigaction(SIGHUP, &sa, NULL); /* no SA_RESTART */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = open_log(file);
    if (fd < 0)
        err(EXIT_CANNOT, "%s", file);
    return copy(fd, file);
}
