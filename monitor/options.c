#include "options.h"

#include <jansson.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "option.h"

static const char usage[] =
    "usage: df2redis-monitor [options]\n"
    "\n"
    "Shows the tasks of df2redis(1) over HTTP: /metrics for Prometheus, /api/v1/tasks, a page.\n"
    "With a token they can be created, started, stopped, limited and removed.\n";

static const char *take_base(void *to, const char *dir)
{
    struct options *o = to;
    if (o->nbases == BASES_MAX)
        return "too many of them";
    o->base[o->nbases++] = dir;
    return dir[0] == '/' ? NULL : "must be an absolute path";
}

static const char *take_host(void *to, const char *name)
{
    struct options *o = to;
    if (o->nhosts == HOSTS_MAX)
        return "too many of them";
    o->host[o->nhosts++] = name;
    return NULL;
}

static const char *take_files(void *to, const char *dir)
{
    struct options *o = to;
    o->files = dir;
    return dir[0] == '/' ? NULL : "must be an absolute path";
}

#define AT(field) OPTION_AT(struct options, field)

static const struct option_row rows[] = {
    OPTION_ARG(TEXT, "listen", "HOST:PORT",
               "where (127.0.0.1:8080); port 0: any, which is said. Other than loopback\naddresses only with "
               "--tls-cert and --token-file",
               AT(listen)),
    OPTION_ARG(CALL, "tasks", "DIR",
               "directory with a run directory per task, may be repeated (those\nwhere df2redis keeps them)",
               .call = take_base),
    OPTION_ARG(CALL, "host", "NAME", "a name in the header Host that is accepted, too (of a proxy before it)",
               .call = take_host),
    OPTION_ARG(TEXT, "token-file", "FILE",
               "tasks can be controlled by who has the token, the first line of FILE", AT(token_file)),
    OPTION_ARG(CALL, "files", "DIR", "where the files are that tasks created over HTTP name (they name none)",
               .call = take_files),
    OPTION_ARG(TEXT, "tls-cert", "FILE", "TLS with this certificate (and chain), PEM", AT(tls_cert)),
    OPTION_ARG(TEXT, "tls-key", "FILE", "its key, PEM", AT(tls_key)),
    OPTION_ARG(WORD, "log-format", "human|logfmt|json",
               "how messages look (auto: human on a terminal, otherwise logfmt)", AT(log_form),
               .words = log_form_words),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "log more; twice: everything", AT(verbose)),
    OPTION_LAST_ROWS("monitor"),
};

static const struct option_library libraries[] = {
    {"libmicrohttpd", MHD_get_version}, {"jansson", jansson_version_str}, {NULL, NULL}};

static const struct option_program program = {
    .name = "df2redis-monitor", .section = "monitor", .usage = usage, .rows = rows, .libraries = libraries};

/* Where df2redis keeps its run directories, and where system services have theirs. */
static void default_bases(struct options *o)
{
    static char own[4096];
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (run != NULL && run[0] == '/') {
        if ((size_t)snprintf(own, sizeof own, "%s/df2redis", run) < sizeof own)
            o->base[o->nbases++] = own;
    } else if (geteuid() != 0) {
        snprintf(own, sizeof own, "/tmp/df2redis-%lu", (unsigned long)geteuid());
        o->base[o->nbases++] = own;
    }
    o->base[o->nbases++] = "/run/df2redis";
}

/* As df2redis(1), create, keeps them. */
static const char *default_kept(void)
{
    static char dir[4096];
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = -1;
    if (config != NULL && config[0] == '/')
        n = snprintf(dir, sizeof dir, "%s/df2redis", config);
    else if (geteuid() == 0)
        n = snprintf(dir, sizeof dir, "/etc/df2redis");
    else if (home != NULL && home[0] == '/')
        n = snprintf(dir, sizeof dir, "%s/.config/df2redis", home);
    return n > 0 && (size_t)n < sizeof dir ? dir : NULL;
}

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.listen = "127.0.0.1:8080"};
    int first = option_parse(&program, o, &argc, &argv);
    if (first != argc)
        fatal(EXIT_USAGE, "no arguments are taken, see df2redis-monitor --help");
    if ((o->tls_cert == NULL) != (o->tls_key == NULL))
        fatal(EXIT_USAGE, "--tls-cert and --tls-key belong together");
    if (o->files != NULL && o->token_file == NULL)
        fatal(EXIT_USAGE, "--files needs --token-file: only then tasks are created");
    if (o->nbases == 0)
        default_bases(o);
    if (o->token_file != NULL)
        o->kept = default_kept();
}
