#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "conf.h"
#include "exits.h"
#include "fatal.h"
#include "record.h"
#include "size.h"
#include "version.h"

#define PASSWORD_ENV "DF2REDIS_SOURCE_PASSWORD"

enum {
    OPT_CONTROL = 256,
    OPT_SESSION,
    OPT_SESSION_ONLY,
    OPT_FLOW,
    OPT_ASK,
    OPT_ONE_FILE,
    OPT_PASSWORD,
    OPT_UNTIL,
    OPT_RESUME,
    OPT_FULL_RESYNC,
    OPT_STALL,
    OPT_BARRIER,
    OPT_PING,
    OPT_PARSER,
    OPT_CONNECT,
    OPT_SPILL_MAX,
    OPT_SPILL_DIR,
    OPT_SPOOL,
    OPT_SPOOL_MAX,
    OPT_BUFFER,
    OPT_NO_VERIFY,
    OPT_VERIFY_RATE,
    OPT_CHECK,
    OPT_VERSION
};

static const struct option longs[] = {
    {"output", required_argument, NULL, 'o'},
    {"control", required_argument, NULL, OPT_CONTROL},
    {"session", required_argument, NULL, OPT_SESSION},
    {"session-only", no_argument, NULL, OPT_SESSION_ONLY},
    {"flow", required_argument, NULL, OPT_FLOW},
    {"ask", required_argument, NULL, OPT_ASK},
    {"one-file", no_argument, NULL, OPT_ONE_FILE},
    {"password-file", required_argument, NULL, OPT_PASSWORD},
    {"until", required_argument, NULL, OPT_UNTIL},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"on-full-resync", required_argument, NULL, OPT_FULL_RESYNC},
    {"stall-timeout", required_argument, NULL, OPT_STALL},
    {"barrier-timeout", required_argument, NULL, OPT_BARRIER},
    {"ping-timeout", required_argument, NULL, OPT_PING},
    {"parser-timeout", required_argument, NULL, OPT_PARSER},
    {"connect-timeout", required_argument, NULL, OPT_CONNECT},
    TLS_LONG_OPTIONS,
    {"spill-max", required_argument, NULL, OPT_SPILL_MAX},
    {"spill-dir", required_argument, NULL, OPT_SPILL_DIR},
    {"spool", required_argument, NULL, OPT_SPOOL},
    {"spool-max", required_argument, NULL, OPT_SPOOL_MAX},
    {"buffer", required_argument, NULL, OPT_BUFFER},
    {"no-verify", no_argument, NULL, OPT_NO_VERIFY},
    {"verify-rate", required_argument, NULL, OPT_VERIFY_RATE},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"check-options", no_argument, NULL, OPT_CHECK},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "usage: dfreader [options] SOURCE            write the source as raw records, dfrecord(5)\n"
    "       dfreader --session-only --control PATH dragonfly://HOST\n"
    "       dfreader --flow N --session PATH dragonfly://HOST\n"
    "       dfreader --ask PATH [status|stop|limit ops=N bytes=N]\n"
    "\n"
    "SOURCE: dragonfly://[user[:password]@]host[:port] (dragonflys:// over TLS), dragonfly+unix:///path,\n"
    "        a snapshot file (.rdb), any file of a .dfs set or its folder, file:PATH, - (stdin)\n"
    "\n"
    "  -o, --output WHERE       - (stdout), a file or unix:PATH\n"
    "      --control PATH       control socket (default: dfreader.PID.sock in $XDG_RUNTIME_DIR or\n"
    "                           /tmp/df2redis-UID)\n"
    "      --session-only       own the session, leave the flows to other processes\n"
    "      --flow N             read flow N of the session ...\n"
    "      --session PATH       ... whose control socket this is\n"
    "      --ask PATH           ask the dfreader with that control socket: status (default), stop,\n"
    "                           limit (requests and bytes a second that the target gets; 0 no limit)\n"
    "      --one-file           of a .dfs set read only the file that was named\n"
    "      --password-file FILE password of the source (or environment " PASSWORD_ENV ")\n"
    "      --tls-ca WHERE       file or folder of CA certificates to trust (those of the system)\n"
    "      --tls-cert FILE      our own certificate, where the source wants one, and ...\n"
    "      --tls-key FILE       ... its key (in the same file) ...\n"
    "      --tls-key-password-file FILE   ... and the key's password\n"
    "      --tls-server-name N  name in the source's certificate (the host in the URL)\n"
    "      --tls-insecure       do not verify the source's certificate\n"
    "      --until synced       end when the full sync is complete\n"
    "      --resume             go on from the positions that the writer has saved\n"
    "      --on-full-resync P   where that is impossible: fail (default), flush or overwrite (by the "
    "writer)\n"
    "      --no-verify          do not look for lost keys after the full sync of a master from v1.39 on\n"
    "      --verify-rate N      keys a second that this looks at (100000)\n"
    "      --connect-timeout S  for connecting and each reply of the handshake (20)\n"
    "      --parser-timeout S   for a parser to show up after the full sync began (30)\n"
    "      --stall-timeout S    for a flow that does not move during the full sync (600)\n"
    "      --barrier-timeout S  for a FLUSH that waits for all flows (600)\n"
    "      --ping-timeout S     for the master to answer on the control connection (60)\n"
    "      --buffer SIZE        what may wait for the output before flows are no longer read (256k)\n"
    "      --spool DIR          never slow the source down: what the output does not take waits there ...\n"
    "      --spool-max SIZE     ... up to this size (10g)\n"
    "      --spill-max SIZE     bound of the files for what has to be read whatever happens (1g)\n"
    "      --spill-dir DIR      where those are ($TMPDIR or /tmp)\n"
    "  -c, --config FILE        options from section [reader] of an INI file\n"
    "  -v, --verbose            log more; twice: everything\n"
    "  -h, --help, --version\n";

static int seconds(const char *name, const char *text)
{
    const char *fault;
    int n = (int)strtonum(text, 1, 1000000, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--%s %s: %s", name, text, fault);
    return n;
}

static unsigned keys_a_second(const char *text)
{
    const char *fault;
    unsigned n = (unsigned)strtonum(text, 1, 100000000, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--verify-rate %s: %s", text, fault);
    return n;
}

static uint64_t size_of(const char *name, const char *text, uint64_t least, uint64_t most)
{
    uint64_t v;
    if (!size_parse(text, &v) || v < least || v > most)
        fatal(EXIT_USAGE, "--%s %s: not a size of %llu to %llu bytes", name, text, (unsigned long long)least,
              (unsigned long long)most);
    return v;
}

static unsigned flow_number(const char *text)
{
    const char *fault;
    unsigned n = (unsigned)strtonum(text, 0, REC_FLOWS_MAX - 1, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--flow %s: %s", text, fault);
    return n;
}

static enum full_resync full_resync(const char *text)
{
    static const char *const names[] = {"fail", "flush", "overwrite"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0)
            return (enum full_resync)i;
    fatal(EXIT_USAGE, "--on-full-resync %s: expected fail, flush or overwrite", text);
}

static void set_option(struct options *o, int opt, const char *arg, char **argv)
{
    switch (opt) {
    case 'o': o->output = arg; break;
    case 'v': o->verbose++; break;
    case OPT_CHECK: o->check_only = true; break;
    case OPT_CONTROL: o->control = arg; break;
    case OPT_SESSION: o->session = arg; break;
    case OPT_SESSION_ONLY: o->session_only = true; break;
    case OPT_FLOW:
        o->flow = flow_number(arg);
        o->mode = MODE_FLOW;
        break;
    case OPT_ASK:
        o->session = arg;
        o->mode = MODE_ASK;
        break;
    case OPT_ONE_FILE: o->one_file = true; break;
    case OPT_PASSWORD: o->password_file = arg; break;
    case OPT_UNTIL:
        if (strcmp(arg, "synced") != 0)
            fatal(EXIT_USAGE, "--until %s: only \"synced\" is known", arg);
        o->until_synced = true;
        break;
    case OPT_RESUME: o->resume = true; break;
    case OPT_FULL_RESYNC: o->on_full_resync = full_resync(arg); break;
    case OPT_STALL: o->stall_timeout = seconds("stall-timeout", arg); break;
    case OPT_BARRIER: o->barrier_timeout = seconds("barrier-timeout", arg); break;
    case OPT_PING: o->ping_timeout = seconds("ping-timeout", arg); break;
    case OPT_PARSER: o->parser_timeout = seconds("parser-timeout", arg); break;
    case OPT_CONNECT: o->connect_timeout = seconds("connect-timeout", arg); break;
    case OPT_SPILL_MAX: o->spill_max = size_of("spill-max", arg, 0, (uint64_t)1 << 50); break;
    case OPT_SPILL_DIR: o->spill_dir = arg; break;
    case OPT_SPOOL: o->spool = arg; break;
    case OPT_SPOOL_MAX: o->spool_max = size_of("spool-max", arg, (uint64_t)1 << 20, (uint64_t)1 << 50); break;
    case OPT_BUFFER: o->buffer = (size_t)size_of("buffer", arg, 4096, (uint64_t)1 << 30); break;
    case OPT_NO_VERIFY: o->no_verify = true; break;
    case OPT_VERIFY_RATE: o->verify_rate = keys_a_second(arg); break;
    case 'h': fputs(help_text, stdout); exit(fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT);
    case OPT_VERSION: puts("dfreader " DF2REDIS_VERSION); exit(fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT);
    default:
        if (!tls_option(&o->tls, opt, arg))
            fatal_option(opt, argv);
    }
}

static void check_scheme(const struct options *o)
{
    static const char *const other[] = {"redis",      "rediss",        "valkey",         "valkeys",
                                        "redis+unix", "redis-cluster", "rediss-cluster", "sentinel",
                                        "sentinels",  "unix"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (strcmp(o->url.scheme, other[i]) == 0)
            fatal(EXIT_USAGE,
                  "a live Redis or Valkey (%s://) cannot be a source yet: save an RDB file and give its path",
                  o->url.scheme);
    if (strcmp(o->url.scheme, "dragonfly") != 0 && strcmp(o->url.scheme, "dragonflys") != 0 &&
        strcmp(o->url.scheme, "dragonfly+unix") != 0)
        fatal(EXIT_USAGE, "unknown scheme %s://: a source is dragonfly://HOST or a file", o->url.scheme);
}

static void prepare_tls(struct options *o)
{
    char why[400];
    if (!o->url.secure) {
        if (tls_options_given(&o->tls))
            fatal(EXIT_USAGE, "--tls-* belongs to a source over TLS: dragonflys://HOST");
        return;
    }
    o->url.tls = tls_client(&o->tls, why, sizeof why);
    if (o->url.tls == NULL)
        fatal(EXIT_CANNOT, "%s", why);
}

static void parse_live(struct options *o, const char *text)
{
    const char *fault = url_parse(&o->url, text);
    if (fault != NULL)
        fatal(EXIT_USAGE, "source: %s", fault);
    check_scheme(o);
    if (o->url.has_db)
        fatal(EXIT_USAGE, "a session carries all databases: leave the /db out of the URL");
    fault = url_password(&o->url, o->password_file, PASSWORD_ENV);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "%s: %s", o->password_file != NULL ? o->password_file : PASSWORD_ENV, fault);
    url_show(&o->url, o->shown, sizeof o->shown);
    prepare_tls(o);
}

static void parse_source(struct options *o, const char *text)
{
    if (strncmp(text, "file:", 5) == 0)
        o->file = strncmp(text, "file://", 7) == 0 ? text + 7 : text + 5;
    else if (strstr(text, "://") == NULL)
        o->file = text;
    if (o->file == NULL) {
        parse_live(o, text);
        return;
    }
    if (o->mode == MODE_FLOW || o->session_only)
        fatal(EXIT_USAGE, "--flow and --session-only need a live source, dragonfly://HOST");
    o->mode = MODE_FILE;
    strlcpy(o->shown, o->file, sizeof o->shown);
}

static void check(const struct options *o)
{
    if (o->mode == MODE_FLOW && o->session == NULL)
        fatal(EXIT_USAGE, "--flow needs --session PATH, the control socket of the session");
    if (o->mode == MODE_OWNER && o->session != NULL)
        fatal(EXIT_USAGE, "--session needs --flow N");
    if (o->session_only && o->mode == MODE_FLOW)
        fatal(EXIT_USAGE, "--session-only and --flow exclude each other");
    if (o->session_only && o->output != NULL)
        fatal(EXIT_USAGE, "--session-only writes no stream: leave out --output");
    if (o->resume && o->mode != MODE_OWNER)
        fatal(EXIT_USAGE, "--resume belongs to the process that owns the session");
    if (o->until_synced && o->mode == MODE_FLOW)
        fatal(EXIT_USAGE, "--until belongs to the process that owns the session");
    if (o->mode == MODE_FILE && tls_options_given(&o->tls))
        fatal(EXIT_USAGE, "--tls-* belongs to a source over TLS: dragonflys://HOST");
}

/* limit ops=N bytes=N, either or both. */
static void parse_limit(struct options *o, int argc, char **argv)
{
    static char line[128] = "limit";
    for (int i = 1; i < argc; i++) {
        const char *eq = strchr(argv[i], '='), *fault = "expected ops=N or bytes=N";
        if (eq != NULL && (strncmp(argv[i], "ops=", 4) == 0 || strncmp(argv[i], "bytes=", 6) == 0))
            (void)strtonum(eq + 1, 0, (long long)1 << 50, &fault);
        if (fault != NULL)
            fatal(EXIT_USAGE, "limit %s: %s", argv[i], fault);
        strlcat(line, " ", sizeof line);
        strlcat(line, argv[i], sizeof line);
    }
    if (argc < 2 || argc > 3)
        fatal(EXIT_USAGE, "limit: expected ops=N, bytes=N or both");
    o->question = line;
}

static void parse_question(struct options *o, int argc, char **argv)
{
    o->question = argc > 0 ? argv[0] : "status";
    if (strcmp(o->question, "limit") == 0) {
        parse_limit(o, argc, argv);
        return;
    }
    if (argc > 1)
        fatal(EXIT_USAGE, "one question at a time");
    if (strcmp(o->question, "status") != 0 && strcmp(o->question, "stop") != 0)
        fatal(EXIT_USAGE, "%s: the questions are status, stop and limit", o->question);
}

static void parse_arguments(struct options *o, int argc, char **argv)
{
    if (o->mode == MODE_ASK) {
        parse_question(o, argc, argv);
        return;
    }
    if (argc != 1)
        fatal(EXIT_USAGE, "exactly one SOURCE is needed, see dfreader --help");
    parse_source(o, argv[0]);
    check(o);
    if (o->output == NULL)
        o->output = "-";
}

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.stall_timeout = 600,
                          .barrier_timeout = 600,
                          .ping_timeout = 60,
                          .parser_timeout = 30,
                          .connect_timeout = 20,
                          .verify_rate = 100000,
                          .buffer = (size_t)256 << 10,
                          .spill_max = (uint64_t)1 << 30,
                          .spool_max = (uint64_t)10 << 30};
    int given = argc;
    static char **args; /* options point into it */
    args = conf_argv("reader", longs, &argc, argv);
    int opt;
    opterr = 0;
    while ((opt = getopt_long(argc, args, ":o:vh", longs, NULL)) != -1)
        set_option(o, opt, optarg, args);
    parse_arguments(o, argc - optind, args + optind);
    /* Only now: the URL that was parsed may lie in argv itself. */
    for (int i = 1; i < given; i++)
        url_hide_argument(argv[i]);
    if (o->check_only)
        exit(EXIT_DONE);
}
