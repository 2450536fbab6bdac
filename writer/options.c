#include "options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "hiredis_kind.h"
#include "target/limit.h"
#include "log.h"
#include "target/node.h"
#include "option.h"
#include "record.h"

static const char usage[] =
    "usage: rediswriter [-qv] [-c FILE] [options] TARGET [input ...]\n"
    "\n"
    "Applies command records (see dfparse(1)) to a Redis or Valkey server. An input is a file, a\n"
    "FIFO or - (standard input, the default). TARGET is one of\n"
    "\n"
    "  redis://[user[:password]@]host[:port]         also valkey://; over TLS rediss:// or valkeys://\n"
    "  unix://[user[:password]@]/path                a Unix socket\n"
    "  sentinel://[user[:password]@]host[:port],.../NAME   the master that these sentinels know; over\n"
    "                                                TLS sentinels://\n"
    "  redis-cluster://...host[:port],...            nodes of a cluster; over TLS rediss-cluster://\n";

static const char *const existing_words[] = {"overwrite", "refuse", "flush", "skip", "fail", NULL};
static const char *const full_words[] = {"fail", "flush", "overwrite", NULL};
static const char *const flush_words[] = {"apply", "refuse", "ignore", NULL};

/* What the rows fill in. */
struct given {
    struct options o;
    const char *password_file, *sentinel_file, *sentinel_user;
    enum log_form log_form;
    int verbose;
    bool check_only;
};

static const char *take_listen(void *to, const char *text)
{
    struct given *g = to;
    if (strncmp(text, "unix:", 5) != 0 || text[5] == '\0')
        return "must be unix:PATH";
    g->o.listen = text + 5;
    return NULL;
}

#define AT(field) OPTION_AT(struct given, field)
#define DAY       86400

static const struct option_row rows[] = {
    OPTION_ARG(WORD, "on-existing", "overwrite|refuse|flush|skip|fail",
               "a target that holds keys (overwrite); skip and fail look at each\nkey of the snapshot",
               AT(o.on_existing), .words = existing_words),
    OPTION_ARG(WORD, "on-source-flush", "apply|refuse|ignore", "FLUSHALL and FLUSHDB of the source (apply)",
               AT(o.on_source_flush), .words = flush_words),
    OPTION_ARG(WORD, "on-full-resync", "fail|flush|overwrite", "when a session cannot be resumed (fail)",
               AT(o.on_full_resync), .words = full_words),
    OPTION_ARG(TEXT, "position-file", "FILE",
               "keep the positions there (clusters and Dragonfly; another single\nserver has them in a key)",
               AT(o.position_file)),
    OPTION_FLAG(ON, "expect-saved", AT(o.expect_saved),
                "positions must be there: without them, --on-full-resync decides"),
    OPTION_ARG(TEXT, "task", "NAME", "names the connections and the position key (default)", AT(o.task)),
    OPTION_ARG(CALL, "listen", "unix:PATH", "take inputs from connections to this socket",
               .call = take_listen),
    OPTION_ARG(NUMBER, "inputs", "N", "how many connections are expected there (1)", AT(o.inputs), .least = 1,
               .most = REC_FLOWS_MAX),
    OPTION_ARG(NUMBER, "input-timeout", "SEC", "an input that has not come by then is dead (30)",
               AT(o.input_timeout), .least = 1, .most = DAY),
    OPTION_ARG(NUMBER, "connect-timeout", "SEC", "for connecting, TLS included (10)", AT(o.connect_timeout),
               .least = 1, .most = 3600),
    OPTION_ARG(NUMBER, "reply-timeout", "SEC",
               "reconnect to a target that is silent for that long; 0: never\n(120)", AT(o.reply_timeout),
               .least = 0, .most = DAY),
    OPTION_ARG(NUMBER, "reconnect-timeout", "SEC", "how long to try to reconnect to a lost target (60)",
               AT(o.reconnect_timeout), .least = 0, .most = DAY),
    OPTION_ARG(NUMBER, "wait", "N", "applied is what N replicas have confirmed", AT(o.wait), .least = 1,
               .most = 100),
    OPTION_ARG(NUMBER, "connections", "N", "connections to each node (1)", AT(o.connections), .least = 1,
               .most = CONNECTIONS_MAX),
    OPTION_FLAG(ON, "at-least-once", AT(o.at_least_once),
                "no transactions (proxies); positions in --position-file"),
    OPTION_FLAG(ON, "takeover", AT(o.takeover), "take the task over from another writer, or another source"),
    OPTION_FLAG(ON, "exactly-once", AT(o.exactly_once), "refuse to begin where something may count twice"),
    OPTION_FLAG(ON, "forget", AT(o.forget),
                "remove the position keys of the task, and its --position-file,\nand end"),
    OPTION_FLAG(ON, "durable-target", AT(o.durable),
                "cluster: masters keep what they confirmed over a restart"),
    OPTION_ARG(NUMBER, "max-ops", "N", "requests per second (0: no limit)", AT(o.max_ops), .least = 0,
               .most = INT_MAX),
    OPTION_ARG(SIZE, "max-bytes", "SIZE", "bytes of requests per second (0: no limit)", AT(o.max_bytes),
               .least = 0, .most = LIMIT_MAX),
    OPTION_ARG(SIZE, "window", "SIZE", "bytes of requests in flight on a connection (4m)", AT(o.window),
               .least = 1, .most = RING_SIZE),
    OPTION_FLAG(ON, "live", AT(o.live), "fail when the session of the stream is not live"),
    OPTION_FLAG(ON, "strict", AT(o.strict), "stop at the first data error"),
    OPTION_ARG(TEXT, "errors-to", "FILE", "keep the requests that failed, as a stream to be replayed",
               AT(o.errors_to)),
    OPTION_ARG(TEXT, "spill-dir", "DIR", "where large values and waiting records go ($TMPDIR or /tmp)",
               AT(o.spill_dir)),
    OPTION_ARG(SIZE, "barrier-spill-max", "SIZE",
               "bytes a flow may keep there while it waits at a FLUSHALL (1g)", AT(o.barrier_spill),
               .least = 0, .most = INT64_MAX),
    OPTION_FLAG(OFF, "no-mset", AT(o.mset), "send each plain SET alone"),
    OPTION_ARG(TEXT, "password-file", "FILE", "the target's password (or DF2REDIS_TARGET_PASSWORD)",
               AT(password_file)),
    OPTION_ARG(TEXT, "sentinel-user", "NAME", "user of the sentinels", AT(sentinel_user)),
    OPTION_ARG(TEXT, "sentinel-password-file", "FILE", "their password (or DF2REDIS_SENTINEL_PASSWORD)",
               AT(sentinel_file)),
    {.kind = OPTION_TABLE, AT(o.tls), .table = tls_rows},
    OPTION_ARG(TEXT, "summary", "FILE", "write the summary as JSON as well", AT(o.summary)),
    OPTION_SHORT('q', ON, "quiet", NULL, "no summary on standard error", AT(o.quiet)),
    OPTION_ARG(WORD, "log-format", "human|logfmt|json",
               "how messages look (auto: human on a terminal, otherwise logfmt)", AT(log_form),
               .words = log_form_words),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "say more; twice: everything", AT(verbose)),
    OPTION_FLAG(ON, "check-options", AT(check_only), "check the options and end"),
    OPTION_LAST_ROWS("writer"),
};

static const struct option_library libraries[] = {
    {"hiredis", hiredis_version}, {"OpenSSL", tls_library_version}, {NULL, NULL}};

static const struct option_program program = {
    .name = "rediswriter", .section = "writer", .usage = usage, .rows = rows, .libraries = libraries};

static void check_task(const char *task)
{
    size_t n = strspn(task, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (n == 0 || n > 64 || task[n] != '\0')
        fatal(EXIT_USAGE, "--task %s: 1 to 64 letters, digits, dots, dashes and underscores", task);
}

static bool known_scheme(const char *scheme)
{
    static const char *const known[] = {"redis",         "rediss",        "valkey",   "valkeys",
                                        "unix",          "redis+unix",    "sentinel", "sentinels",
                                        "redis-cluster", "rediss-cluster"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(scheme, known[i]) == 0)
            return true;
    return false;
}

static void prepare_tls(struct options *o)
{
    char why[400];
    if (!o->url.secure) {
        if (tls_options_given(&o->tls))
            fatal(EXIT_USAGE, "--tls-* belongs to a target over TLS: rediss://HOST");
        return;
    }
    o->url.tls = tls_client(&o->tls, why, sizeof why);
    if (o->url.tls == NULL)
        fatal(EXIT_CANNOT, "%s", why);
    if (o->tls.insecure)
        log_event(LOG_WARN, NO_FLOW, "event=tls_not_verified target=%s note=%s", o->shown,
                  "\"--tls-insecure: whoever answers is believed\"");
}

static void parse_sentinel(struct options *o, const struct given *g)
{
    if (!o->url.sentinel && (g->sentinel_file != NULL || g->sentinel_user != NULL))
        fatal(EXIT_USAGE, "--sentinel-* belongs to a target that sentinels know: sentinel://HOST/NAME");
    if (!o->url.sentinel)
        return;
    const char *user = g->sentinel_user != NULL ? g->sentinel_user : "";
    if (strlcpy(o->sentinel_user, user, sizeof o->sentinel_user) >= sizeof o->sentinel_user)
        fatal(EXIT_USAGE, "--sentinel-user: too long");
    const char *fault = url_secret(o->sentinel_password, sizeof o->sentinel_password, g->sentinel_file,
                                   "DF2REDIS_SENTINEL_PASSWORD");
    if (fault != NULL)
        fatal(g->sentinel_file != NULL ? EXIT_CANNOT : EXIT_USAGE, "password of the sentinels: %s", fault);
}

static void parse_target(struct options *o, char *text, const char *password_file)
{
    const char *fault = url_parse(&o->url, text);
    url_hide_argument(text);
    if (fault != NULL)
        fatal(EXIT_USAGE, "target: %s", fault);
    if (o->url.scan)
        fatal(EXIT_USAGE, "target: ?mode=scan belongs to a source");
    o->must_cluster = o->url.cluster;
    if (!known_scheme(o->url.scheme))
        fatal(EXIT_USAGE, "target: %s:// is not supported, use redis:// or rediss://", o->url.scheme);
    if (o->url.db != 0)
        fatal(EXIT_USAGE, "target: databases keep their numbers: /%u cannot be given", o->url.db);
    fault = url_password(&o->url, password_file, "DF2REDIS_TARGET_PASSWORD");
    if (fault != NULL)
        fatal(password_file != NULL ? EXIT_CANNOT : EXIT_USAGE, "password of the target: %s", fault);
    url_show(&o->url, o->shown, sizeof o->shown);
    prepare_tls(o);
}

static void parse_inputs(struct options *o, int argc, char **argv)
{
    static char dash[] = "-";
    static char *standard[] = {dash, NULL};
    o->files = argv;
    o->nfiles = (unsigned)argc;
    if (argc == 0 && o->listen == NULL) {
        o->files = standard;
        o->nfiles = 1;
    }
    if (o->listen == NULL)
        o->inputs = 0;
    if (o->nfiles + o->inputs > REC_FLOWS_MAX)
        fatal(EXIT_USAGE, "more than %d inputs", REC_FLOWS_MAX);
}

/* What else a file of options says is for other runs. */
static void only_forget(struct options *o, int inputs)
{
    if (inputs > 0 || o->listen != NULL)
        fatal(EXIT_USAGE, "--forget takes no input");
    o->exactly_once = o->takeover = o->live = o->expect_saved = o->at_least_once = false;
    o->forget_file = o->position_file;
    o->position_file = o->summary = o->errors_to = NULL;
    o->connections = 1;
    o->wait = 0;
    o->on_existing = EXISTING_OVERWRITE;
}

void options_parse(struct options *o, int argc, char **argv)
{
    struct given g = {.o = {.task = "default",
                            .mset = true,
                            .barrier_spill = (uint64_t)1 << 30,
                            .input_timeout = 30,
                            .connect_timeout = 10,
                            .reconnect_timeout = 60,
                            .reply_timeout = 120,
                            .connections = 1,
                            .window = RING_SIZE,
                            .inputs = 1}};
    char **given = argv;
    int ngiven = argc;
    int first = option_parse(&program, &g, &argc, &argv);
    log_set_form(g.log_form);
    log_init("rediswriter", g.verbose > 1 ? LOG_DEBUG : g.verbose > 0 ? LOG_INFO : LOG_WARN);
    if (first >= argc)
        fatal(EXIT_USAGE, "a target is needed, see rediswriter --help");
    *o = g.o;
    check_task(o->task);
    parse_target(o, argv[first], g.password_file);
    parse_sentinel(o, &g);
    if (o->exactly_once && o->at_least_once)
        fatal(EXIT_USAGE, "--exactly-once: not with --at-least-once");
    if (o->url.sentinel && (o->connections > 1 || o->wait > 0))
        fatal(EXIT_USAGE,
              "--connections and --wait need a target that stays where it is: not with sentinel://");
    for (int i = 1; given != argv && i < ngiven; i++)
        url_hide_argument(given[i]); /* what was parsed is a copy */
    parse_inputs(o, argc - first - 1, argv + first + 1);
    if (o->forget)
        only_forget(o, argc - first - 1);
    if (g.check_only)
        exit(EXIT_DONE);
}
