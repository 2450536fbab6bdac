/* dfparse: raw records in, command records out. See dfparse(1). */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "counting.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "session.h"
#include "sock.h"

static volatile sig_atomic_t signals;

/* The first signal reaches all stages of a pipeline: this one goes on to the END record that the source side
 * sends. The second ends it. */
static void on_signal(int sig)
{
    (void)sig;
    if (io_signal_anew() && signals++ > 0)
        _exit(EXIT_RETRY);
}

static void set_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &sa, NULL);
}

/* More bytes into the buffer. Nothing of ours waits while the input is idle. Returns 0, or -1 when the input
 * cannot be read or the output's reader has gone. */
static int fill(struct parser *p, struct recin *in)
{
    bool control;
    int ready = io_wait2(in->fd, p->ctl.fd, p->e.out.fd, 0, &control);
    counting_tick(p, mono_us());
    while (ready == 0) {
        if (control)
            parser_control(p);
        if (emit_flush(&p->e) < 0)
            return -1;
        uint64_t begun = mono_us();
        ready = io_wait2(in->fd, p->ctl.fd, p->e.out.fd, parser_waits(p) || counting_pending(p) ? 1000 : -1,
                         &control);
        p->counted.input += mono_us() - begun;
        counting_tick(p, mono_us());
        if (ready == 0 && parser_waits(p))
            parser_poll(p);
    }
    if (ready < 0) {
        p->e.failed = true;
        p->e.fault = EPIPE; /* io_wait2; errno may be that of a control socket by now */
        return -1;
    }
    long n = recin_fill(in);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        parser_fault(p, EXIT_CANNOT, "error", strerror(errno));
        return -1;
    }
    return 0;
}

/* Read one input to its end. Returns 0, or -1 when the others are not to be read. */
static int run_input(struct parser *p, int fd)
{
    struct recin in;
    recin_init(&in, fd, p->opt->expand ? KIND_COMMAND : show_takes(p) ? KIND_ANY : KIND_RAW);
    int rc = 0;
    for (bool more = true; more && rc == 0;) {
        struct rec r;
        const uint8_t *payload;
        switch (recin_next(&in, &r, &payload)) {
        case RECIN_RECORD:
            rc = p->opt->expand        ? expand_record(p, &r, payload)
                 : in.kind == KIND_RAW ? parser_record(p, &r, payload)
                                       : show_record(p, &r, payload);
            break;
        case RECIN_MORE: rc = fill(p, &in); break;
        case RECIN_STREAM: break;
        case RECIN_END: more = false; break;
        case RECIN_CUT:
            parser_fault(p, p->was_live || recin_never_began(&in) ? EXIT_RETRY : EXIT_DAMAGED, "lost",
                         in.error);
            rc = -1;
            break;
        case RECIN_DAMAGED:
            parser_fault(p, EXIT_DAMAGED, "error", in.error);
            rc = -1;
            break;
        }
        if (p->e.failed)
            rc = -1;
    }
    recin_free(&in);
    return rc;
}

/* Returns a descriptor, or -1 and says why in what the stream ends with. */
static int open_input(struct parser *p, const char *name)
{
    char what[256];
    if (strcmp(name, "-") == 0)
        return STDIN_FILENO;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    snprintf(what, sizeof what, "%.180s: %s", name, strerror(errno));
    parser_fault(p, EXIT_CANNOT, "error", what);
    return -1;
}

static void run(struct parser *p, char **inputs)
{
    static char stdin_name[] = "-";
    static char *only_stdin[] = {stdin_name, NULL};
    if (inputs[0] == NULL)
        inputs = only_stdin;
    for (char **name = inputs; *name != NULL; name++) {
        int fd = open_input(p, *name);
        if (fd < 0)
            break;
        (void)pipe_enlarge(fd, (size_t)1 << 20);
        int rc = run_input(p, fd);
        if (fd != STDIN_FILENO)
            close(fd);
        if (rc < 0)
            break;
    }
}

static bool open_report(struct parser *p, const char *name)
{
    char what[256];
    if (name == NULL || (p->e.report = io_fopen_own(name)) != NULL)
        return true;
    snprintf(what, sizeof what, "%.180s: %s", name, strerror(errno));
    parser_fault(p, EXIT_CANNOT, "error", what);
    return false;
}

/* Whoever reads standard output expects a stream, unless something else was asked for or it goes elsewhere.
 */
static bool streams_to_stdout(char **argv)
{
    static const char *const other[] = {"--json", "--resp", "--null", "--rdb", "--inspect", "--output", "-o"};
    for (; *argv != NULL; argv++)
        for (size_t i = 0; i < sizeof other / sizeof *other; i++)
            if (strncmp(*argv, other[i], strlen(other[i])) == 0 && strcmp(*argv, "-o-") != 0)
                return false;
    return true;
}

static int open_output(const struct options *opt)
{
    if (opt->rdb != NULL) {
        bool to_stdout = strcmp(opt->rdb, "-") == 0;
        if (to_stdout && isatty(STDOUT_FILENO))
            fatal(EXIT_USAGE, "an RDB file is not for a terminal: name one with --rdb");
        return to_stdout ? STDOUT_FILENO : -1;
    }
    int out = sock_open_output(opt->output);
    if (out < 0) { /* where nobody listens any more, the writer has died before we came */
        bool gone = strncmp(opt->output, "unix:", 5) == 0 && (errno == ECONNREFUSED || errno == ENOENT);
        fatal_errno(gone ? EXIT_RETRY : EXIT_CANNOT, "%s", opt->output);
    }
    if (opt->mode == EMIT_RECORDS && isatty(out))
        fatal(
            EXIT_USAGE,
            "command records are not for a terminal: pipe them into rediswriter, name a file with --output, "
            "or look at them with --json");
    if (opt->inspect != INSPECT_NONE)
        return out;
    fatal_stream(-1, KIND_COMMAND); /* from here on the stream is the parser's */
    (void)pipe_enlarge(out, (size_t)1 << 20);
    return out;
}

int main(int argc, char **argv)
{
    static struct options opt; /* for the leak checker: its rules are reachable to the end */
    if (streams_to_stdout(argv))
        fatal_stream(STDOUT_FILENO, KIND_COMMAND);
    options_parse(&opt, argc, argv);
    log_set_form(opt.log_form);
    log_init("dfparse", opt.verbose == 0 ? LOG_WARN : opt.verbose == 1 ? LOG_INFO : LOG_DEBUG);
    set_signals();
    raise_limits();
    int out = open_output(&opt);
    struct parser *p = xcalloc(1, sizeof *p);
    parser_init(p, &opt, out);
    if (open_report(p, opt.report))
        run(p, opt.inputs);
    counting_last(p);
    int status = parser_end(p);
    if (p->e.report != NULL && fclose(p->e.report) != 0) {
        warn("%s", opt.report);
        status = exit_worse(status, EXIT_CANNOT);
    }
    outlets_free(p);
    parser_free(p);
    free(p);
    return status;
}
