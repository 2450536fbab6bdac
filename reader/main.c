/* dfreader: the first stage of a pipeline. Speaks to the source and writes raw records. dfreader(1). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dragonfly/ask.h"
#include "exits.h"
#include "fatal.h"
#include "flow_process.h"
#include "io.h"
#include "locate.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "session.h"

/* Descriptors 0 to 2 that are closed would be given to sockets: records would go into a log, or the other way
 * round. */
static void check_descriptors(const struct options *o)
{
    bool needed = o->mode != MODE_ASK && !o->session_only && strcmp(o->output, "-") == 0;
    if (needed && fcntl(STDOUT_FILENO, F_GETFD) < 0)
        fatal(EXIT_CANNOT, "standard output is closed");
    if (needed && isatty(STDOUT_FILENO))
        fatal(EXIT_USAGE,
              "raw records are not for a terminal: pipe them into dfparse, or name a file with --output");
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fatal_errno(EXIT_CANNOT, "/dev/null");
    } while (fd <= STDERR_FILENO);
    close(fd);
}

/* Whoever reads standard output expects a stream, unless something else was asked for or it goes elsewhere.
 */
static bool streams_to_stdout(char **argv)
{
    for (; *argv != NULL; argv++)
        if (strncmp(*argv, "--ask", 5) == 0 || strncmp(*argv, "--session-only", 14) == 0 ||
            strncmp(*argv, "--output", 8) == 0 || (strncmp(*argv, "-o", 2) == 0 && strcmp(*argv, "-o-") != 0))
            return false;
    return true;
}

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

/* Where the URL does not say what the source is, it is asked. */
static const struct source_kind *kind_of(const struct options *o)
{
    if (o->file != NULL)
        return &source_file;
    if (o->scan)
        return &source_scan;
    if (begins(o->url.scheme, "dragonfly"))
        return &source_dragonfly;
    if (o->url.cluster)
        return &source_cluster;
    return !o->url.sentinel && locate_dragonfly(o) ? &source_dragonfly : &source_psync;
}

/* A Redis cuts off whoever reads too slowly, so what comes from it is spooled. Not in /tmp, which is often a
 * file system in memory. */
static void choose_spool(struct options *o, const struct source_kind *kind)
{
    const char *dir = getenv("TMPDIR");
    bool reads = o->mode == MODE_FLOW || !o->session_only;
    if ((kind != &source_psync && kind != &source_cluster) || o->spool != NULL || o->no_spool || !reads)
        return;
    o->spool = dir != NULL && dir[0] != '\0' ? dir : "/var/tmp";
}

static int run(struct options *o)
{
    if (o->mode == MODE_ASK)
        return ask_run(o);
    const struct source_kind *kind = kind_of(o);
    choose_spool(o, kind);
    return o->mode == MODE_FLOW ? flow_process_run(o, kind) : session_run(o, kind);
}

int main(int argc, char **argv)
{
    struct options o;
    if (streams_to_stdout(argv))
        fatal_stream(STDOUT_FILENO, KIND_RAW);
    options_parse(&o, argc, argv);
    log_set_form(o.log_form);
    log_init("dfreader", o.verbose == 0 ? LOG_WARN : o.verbose == 1 ? LOG_INFO : LOG_DEBUG);
    if (o.tls.insecure)
        log_event(LOG_WARN, NO_FLOW,
                  "event=tls_not_verified source=%s note=\"--tls-insecure: whoever answers is believed\"",
                  o.shown);
    check_descriptors(&o);
    raise_limits();
    if (o.mode != MODE_ASK) /* a question ends with the signal */
        signals_init();
    int status = run(&o);
    tls_free(o.url.tls);
    return status;
}
