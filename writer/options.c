#include "options.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "conf.h"
#include "exits.h"
#include "fatal.h"
#include "limit.h"
#include "log.h"
#include "node.h"
#include "record.h"
#include "size.h"
#include "version.h"

enum {
    OPT_EXISTING = 256,
    OPT_FLUSH,
    OPT_STRICT,
    OPT_LIVE,
    OPT_SUMMARY,
    OPT_ERRORS_TO,
    OPT_SPILL_DIR,
    OPT_SPILL_MAX,
    OPT_INPUT_TIMEOUT,
    OPT_RECONNECT,
    OPT_LISTEN,
    OPT_INPUTS,
    OPT_TASK,
    OPT_PASSWORD,
    OPT_NO_MSET,
    OPT_REPLY_TIMEOUT,
    OPT_FULL,
    OPT_POSITION_FILE,
    OPT_EXPECT_SAVED,
    OPT_WAIT,
    OPT_CONNECTIONS,
    OPT_AT_LEAST_ONCE,
    OPT_EXACTLY_ONCE,
    OPT_TAKEOVER,
    OPT_FORGET,
    OPT_DURABLE,
    OPT_CONNECT,
    OPT_SENTINEL_USER,
    OPT_SENTINEL_PASSWORD,
    OPT_MAX_OPS,
    OPT_MAX_BYTES,
    OPT_WINDOW,
    OPT_CHECK,
    OPT_VERSION,
};

static const struct option table[] = {
    {"on-existing", required_argument, NULL, OPT_EXISTING},
    {"on-source-flush", required_argument, NULL, OPT_FLUSH},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"live", no_argument, NULL, OPT_LIVE},
    {"errors-to", required_argument, NULL, OPT_ERRORS_TO},
    {"summary", required_argument, NULL, OPT_SUMMARY},
    {"spill-dir", required_argument, NULL, OPT_SPILL_DIR},
    {"barrier-spill-max", required_argument, NULL, OPT_SPILL_MAX},
    {"input-timeout", required_argument, NULL, OPT_INPUT_TIMEOUT},
    {"reconnect-timeout", required_argument, NULL, OPT_RECONNECT},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"inputs", required_argument, NULL, OPT_INPUTS},
    {"task", required_argument, NULL, OPT_TASK},
    {"password-file", required_argument, NULL, OPT_PASSWORD},
    {"on-full-resync", required_argument, NULL, OPT_FULL},
    {"position-file", required_argument, NULL, OPT_POSITION_FILE},
    {"expect-saved", no_argument, NULL, OPT_EXPECT_SAVED},
    {"reply-timeout", required_argument, NULL, OPT_REPLY_TIMEOUT},
    {"wait", required_argument, NULL, OPT_WAIT},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"at-least-once", no_argument, NULL, OPT_AT_LEAST_ONCE},
    {"forget", no_argument, NULL, OPT_FORGET},
    {"exactly-once", no_argument, NULL, OPT_EXACTLY_ONCE},
    {"takeover", no_argument, NULL, OPT_TAKEOVER},
    {"durable-target", no_argument, NULL, OPT_DURABLE},
    {"sentinel-user", required_argument, NULL, OPT_SENTINEL_USER},
    {"sentinel-password-file", required_argument, NULL, OPT_SENTINEL_PASSWORD},
    {"connect-timeout", required_argument, NULL, OPT_CONNECT},
    TLS_LONG_OPTIONS,
    {"max-ops", required_argument, NULL, OPT_MAX_OPS},
    {"max-bytes", required_argument, NULL, OPT_MAX_BYTES},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"no-mset", no_argument, NULL, OPT_NO_MSET},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"check-options", no_argument, NULL, OPT_CHECK},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fputs(
        "usage: rediswriter [-qv] [-c file] [options] TARGET [input ...]\n"
        "\n"
        "Applies command records (see dfparse(1)) to a Redis or Valkey server. An input is a file, a\n"
        "FIFO or - (standard input, the default). TARGET is one of\n"
        "\n"
        "  redis://[user[:password]@]host[:port]         also valkey://; over TLS rediss:// or valkeys://\n"
        "  unix://[user[:password]@]/path                a Unix socket\n"
        "  sentinel://[user[:password]@]host[:port],.../NAME   the master that these sentinels know; over\n"
        "                                                TLS sentinels://\n"
        "  redis-cluster://...host[:port],...            nodes of a cluster; over TLS rediss-cluster://\n"
        "\n"
        "  --on-existing overwrite|refuse|flush   what to do with a target that holds keys (overwrite);\n"
        "                skip|fail                or with each key of the snapshot that it holds\n"
        "  --on-source-flush apply|refuse|ignore  FLUSHALL and FLUSHDB of the source (apply)\n"
        "  --on-full-resync fail|flush|overwrite  when a session cannot go on where it was (fail)\n"
        "  --position-file FILE     keep the positions there (clusters; a single server has them in a key)\n"
        "  --expect-saved           positions must be there: without them, --on-full-resync decides\n"
        "  --task NAME              names the connections and the position key (default)\n"
        "  --listen unix:PATH       take inputs from connections to this socket\n"
        "  --inputs N               how many connections are expected there (1)\n"
        "  --input-timeout SEC      an input that has not come by then is dead (30)\n"
        "  --connect-timeout SEC    for connecting, TLS included (10)\n"
        "  --reply-timeout SEC      a target silent for that long is connected to anew; 0: never (120)\n"
        "  --reconnect-timeout SEC  how long a lost target is looked for (60)\n"
        "  --wait N                 applied is what N replicas have confirmed\n"
        "  --connections N          connections to each node (1)\n"
        "  --at-least-once          single server: no transactions; positions in --position-file\n"
        "  --takeover               take the task over from another writer, or another source\n"
        "  --exactly-once           cluster: a position key in each slot, so that nothing counts twice\n"
        "  --forget                 remove the position keys of the task, and its --position-file, and end\n"
        "  --durable-target         cluster: masters keep what they confirmed when they are started anew\n"
        "  --max-ops N              requests a second (0: no limit)\n"
        "  --max-bytes SIZE         bytes of requests a second (0: no limit)\n"
        "  --window SIZE            bytes of requests in flight on a connection (4m)\n"
        "  --live                   fail when the session of the stream is not live\n"
        "  --strict                 stop at the first data error\n"
        "  --errors-to FILE         keep the requests that failed, as a stream to be replayed\n"
        "  --spill-dir DIR          where large values and waiting records go ($TMPDIR or /tmp)\n"
        "  --barrier-spill-max SIZE bytes a flow may keep there while it waits at a FLUSHALL (1g)\n"
        "  --no-mset                send each plain SET alone\n"
        "  --password-file FILE     the target's password (or DF2REDIS_TARGET_PASSWORD)\n"
        "  --sentinel-user NAME     user of the sentinels, with\n"
        "  --sentinel-password-file FILE   their password (or DF2REDIS_SENTINEL_PASSWORD)\n"
        "  --tls-ca FILE|DIR        CA certificates to trust (those of the system)\n"
        "  --tls-cert FILE          our own certificate, where the target wants one\n"
        "  --tls-key FILE           its key (in the same file)\n"
        "  --tls-key-password-file FILE   password of the key\n"
        "  --tls-server-name NAME   name in the target's certificate (the host)\n"
        "  --tls-insecure           do not verify the target's certificate\n"
        "  --summary FILE           write the summary as JSON as well\n"
        "  -q, --quiet              no summary on standard error\n"
        "  -v, --verbose            say more; twice: everything\n"
        "  -c, --config FILE        options from section [writer] of an INI file\n"
        "  -h, --help, --version\n",
        stdout);
}

static int number(const char *name, const char *text, int least, int most)
{
    const char *fault;
    long long n = strtonum(text, least, most, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--%s %s: %s (%d to %d)", name, text, fault, least, most);
    return (int)n;
}

static uint64_t size(const char *name, const char *text)
{
    uint64_t n;
    if (!size_parse(text, &n) || n > UINT64_MAX >> 1)
        fatal(EXIT_USAGE, "--%s %s: no size (a number with k, m or g)", name, text);
    return n;
}

static uint64_t bounded(const char *name, const char *text, uint64_t least, uint64_t most)
{
    uint64_t n = size(name, text);
    if (n < least || n > most)
        fatal(EXIT_USAGE, "--%s %s: %llu to %llu", name, text, (unsigned long long)least,
              (unsigned long long)most);
    return n;
}

static int choice(const char *name, const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    char list[128] = "";
    for (int i = 0; words[i] != NULL; i++) {
        if (i > 0)
            strlcat(list, words[i + 1] != NULL ? ", " : " or ", sizeof list);
        strlcat(list, words[i], sizeof list);
    }
    fatal(EXIT_USAGE, "--%s %s: must be %s", name, text, list);
}

static void check_task(const char *task)
{
    size_t n = strspn(task, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (n == 0 || n > 64 || task[n] != '\0')
        fatal(EXIT_USAGE, "--task %s: 1 to 64 letters, digits, dots, dashes and underscores", task);
}

static const char *listen_path(const char *text)
{
    if (strncmp(text, "unix:", 5) != 0 || text[5] == '\0')
        fatal(EXIT_USAGE, "--listen %s: must be unix:PATH", text);
    return text + 5;
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

static void sentinel_password(struct options *o, const char *file)
{
    if (!o->url.sentinel && (file != NULL || o->sentinel_user[0] != '\0'))
        fatal(EXIT_USAGE, "--sentinel-* belongs to a target that sentinels know: sentinel://HOST/NAME");
    if (!o->url.sentinel)
        return;
    const char *fault =
        url_secret(o->sentinel_password, sizeof o->sentinel_password, file, "DF2REDIS_SENTINEL_PASSWORD");
    if (fault != NULL)
        fatal(file != NULL ? EXIT_CANNOT : EXIT_USAGE, "password of the sentinels: %s", fault);
}

static void parse_target(struct options *o, char *text, const char *password_file)
{
    const char *fault = url_parse(&o->url, text);
    url_hide_argument(text);
    if (fault != NULL)
        fatal(EXIT_USAGE, "target: %s", fault);
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
    static const char *const existing[] = {"overwrite", "refuse", "flush", "skip", "fail", NULL};
    static const char *const full[] = {"fail", "flush", "overwrite", NULL};
    static const char *const flush[] = {"apply", "refuse", "ignore", NULL};
    const char *password_file = NULL, *sentinel_file = NULL;
    enum log_level level = LOG_WARN;
    bool check_only = false;
    *o = (struct options){.task = "default",
                          .mset = true,
                          .barrier_spill = (uint64_t)1 << 30,
                          .input_timeout = 30,
                          .connect_timeout = 10,
                          .reconnect_timeout = 60,
                          .reply_timeout = 120,
                          .connections = 1,
                          .window = RING_SIZE,
                          .inputs = 1};
    char **given = argv;
    int ngiven = argc;
    argv = conf_argv("writer", table, &argc, argv);
    int c;
    opterr = 0;
    while ((c = getopt_long(argc, argv, ":qvc:h", table, NULL)) != -1) {
        switch (c) {
        case OPT_EXISTING: o->on_existing = (enum on_existing)choice("on-existing", optarg, existing); break;
        case OPT_FULL: o->on_full_resync = (enum on_full)choice("on-full-resync", optarg, full); break;
        case OPT_POSITION_FILE: o->position_file = optarg; break;
        case OPT_EXPECT_SAVED: o->expect_saved = true; break;
        case OPT_FLUSH: o->on_source_flush = (enum on_flush)choice("on-source-flush", optarg, flush); break;
        case OPT_STRICT: o->strict = true; break;
        case OPT_LIVE: o->live = true; break;
        case OPT_ERRORS_TO: o->errors_to = optarg; break;
        case OPT_SUMMARY: o->summary = optarg; break;
        case OPT_SPILL_DIR: o->spill_dir = optarg; break;
        case OPT_SPILL_MAX: o->barrier_spill = size("barrier-spill-max", optarg); break;
        case OPT_INPUT_TIMEOUT: o->input_timeout = number("input-timeout", optarg, 1, 86400); break;
        case OPT_RECONNECT: o->reconnect_timeout = number("reconnect-timeout", optarg, 0, 86400); break;
        case OPT_REPLY_TIMEOUT: o->reply_timeout = number("reply-timeout", optarg, 0, 86400); break;
        case OPT_WAIT: o->wait = number("wait", optarg, 1, 100); break;
        case OPT_DURABLE: o->durable = true; break;
        case OPT_FORGET: o->forget = true; break;
        case OPT_EXACTLY_ONCE: o->exactly_once = true; break;
        case OPT_TAKEOVER: o->takeover = true; break;
        case OPT_AT_LEAST_ONCE: o->at_least_once = true; break;
        case OPT_CONNECTIONS:
            o->connections = (unsigned)number("connections", optarg, 1, CONNECTIONS_MAX);
            break;
        case OPT_MAX_OPS: o->max_ops = (uint64_t)number("max-ops", optarg, 0, INT_MAX); break;
        case OPT_MAX_BYTES: o->max_bytes = bounded("max-bytes", optarg, 0, LIMIT_MAX); break;
        case OPT_WINDOW: o->window = (size_t)bounded("window", optarg, 1, RING_SIZE); break;
        case OPT_LISTEN: o->listen = listen_path(optarg); break;
        case OPT_INPUTS: o->inputs = (unsigned)number("inputs", optarg, 1, REC_FLOWS_MAX); break;
        case OPT_TASK: o->task = optarg; break;
        case OPT_PASSWORD: password_file = optarg; break;
        case OPT_CONNECT: o->connect_timeout = number("connect-timeout", optarg, 1, 3600); break;
        case OPT_SENTINEL_USER:
            if (strlcpy(o->sentinel_user, optarg, sizeof o->sentinel_user) >= sizeof o->sentinel_user)
                fatal(EXIT_USAGE, "--sentinel-user: too long");
            break;
        case OPT_SENTINEL_PASSWORD: sentinel_file = optarg; break;
        case OPT_NO_MSET: o->mset = false; break;
        case OPT_CHECK: check_only = true; break;
        case 'q': o->quiet = true; break;
        case 'v': level = level < LOG_DEBUG ? level + 1 : level; break;
        case 'h': usage(); exit(fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT);
        case OPT_VERSION:
            puts("rediswriter " DF2REDIS_VERSION);
            exit(fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT);
        default:
            if (tls_option(&o->tls, c, optarg))
                break;
            fatal_option(c, argv);
        }
    }
    log_init("rediswriter", level);
    if (optind >= argc)
        fatal(EXIT_USAGE, "a target is needed, see rediswriter --help");
    check_task(o->task);
    parse_target(o, argv[optind], password_file);
    sentinel_password(o, sentinel_file);
    if (o->exactly_once && (o->connections > 1 || o->at_least_once))
        fatal(EXIT_USAGE, "--exactly-once: neither with --connections nor with --at-least-once");
    if (o->url.sentinel && (o->connections > 1 || o->wait > 0))
        fatal(EXIT_USAGE,
              "--connections and --wait need a target that stays where it is: not with sentinel://");
    for (int i = 1; given != argv && i < ngiven; i++)
        url_hide_argument(given[i]); /* what was parsed is a copy */
    parse_inputs(o, argc - optind - 1, argv + optind + 1);
    if (o->forget)
        only_forget(o, argc - optind - 1);
    if (check_only)
        exit(EXIT_DONE);
}
