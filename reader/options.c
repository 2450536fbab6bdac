#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "hiredis_kind.h"
#include "option.h"
#include "record.h"

#define PASSWORD_ENV "DF2REDIS_SOURCE_PASSWORD"
#define SENTINEL_ENV "DF2REDIS_SENTINEL_PASSWORD"

static const char usage[] =
    "usage: dfreader [options] SOURCE            write the source as raw records, dfrecord(5)\n"
    "       dfreader --session-only --control PATH SOURCE\n"
    "       dfreader --flow N --session PATH SOURCE\n"
    "       dfreader --ask PATH [status|counters|stop|limit ops=N bytes=N]\n"
    "\n"
    "SOURCE: redis://[user[:password]@]host[:port] a Redis, Valkey or Dragonfly, which it finds out itself,\n"
    "        also valkey://; rediss://, valkeys:// over TLS; unix:///path;\n"
    "        sentinel://host[:port][,host[:port]]/name the server that these sentinels know (sentinels://);\n"
    "        redis-cluster://host[:port][,host[:port]] all masters of a cluster (rediss-cluster://);\n"
    "        dragonfly://host[:port] a Dragonfly (dragonflys:// over TLS), dragonfly+unix:///path;\n"
    "        a snapshot file (.rdb), any file of a .dfs set or its directory, an append-only file\n"
    "        (.aof, a manifest, the directory of one), file:PATH, - (stdin)\n";

static const char *const from_words[] = {"master", "replica", "any", NULL};
static const char *const values_words[] = {"dump", "commands", NULL};
static const char *const acknowledge_words[] = {"behind", "exact", NULL};
static const char *const truncated_words[] = {"fail", "ok", NULL};
static const char *const full_words[] = {"fail", "flush", "overwrite", NULL};

static const char *take_flow(void *to, const char *text)
{
    struct options *o = to;
    const char *fault;
    o->flow = (unsigned)strtonum(text, 0, REC_FLOWS_MAX - 1, &fault);
    o->mode = MODE_FLOW;
    return fault;
}

static const char *take_masters(void *to, const char *text)
{
    struct options *o = to;
    return masters_share_parse(&o->masters, text) ? NULL
                                                  : "expected I/N, share I of N: 1/3, at most 1024 of them";
}

static const char *take_ask(void *to, const char *path)
{
    struct options *o = to;
    o->session = path;
    o->mode = MODE_ASK;
    return NULL;
}

static const char *take_until(void *to, const char *text)
{
    struct options *o = to;
    o->until_synced = true;
    return strcmp(text, "synced") == 0 ? NULL : "only \"synced\" is known";
}

/* Seconds, or a time in UTC as 2026-11-30T10:00:00Z. */
static const char *take_until_time(void *to, const char *text)
{
    struct options *o = to;
    const char *fault;
    struct tm tm = {.tm_sec = 0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end != NULL && *end == '\0') {
        time_t t = timegm(&tm);
        o->until_time = t > 0 ? (uint64_t)t : 0;
    } else {
        o->until_time = (uint64_t)strtonum(text, 1, (long long)1 << 40, &fault);
    }
    return o->until_time > 0 ? NULL : "expected seconds since 1970, or a time as 2026-11-30T10:00:00Z";
}

#define AT(field)   OPTION_AT(struct options, field)
#define SECONDS_MAX 1000000

static const struct option_row rows[] = {
    OPTION_SHORT('o', TEXT, "output", "WHERE", "- (stdout), a file or unix:PATH", AT(output)),
    OPTION_ARG(TEXT, "control", "PATH",
               "control socket (default: dfreader.PID.sock in $XDG_RUNTIME_DIR\nor /tmp/df2redis-UID)",
               AT(control)),
    OPTION_FLAG(ON, "session-only", AT(session_only), "own the session, leave the flows to other processes"),
    OPTION_ARG(CALL, "flow", "N", "read flow N of the session ...", .call = take_flow),
    OPTION_ARG(TEXT, "session", "PATH", "... whose control socket this is", AT(session)),
    OPTION_ARG(CALL, "ask", "PATH",
               "ask the dfreader with that control socket: status (default),\nstop, limit (requests and "
               "bytes per second that the target gets;\n0: no limit)",
               .call = take_ask),
    OPTION_FLAG(ON, "one-file", AT(one_file), "of a .dfs set or an AOF read only the file that was named"),
    OPTION_ARG(
        CALL, "until-time", "TIME",
        "of an AOF with #TS lines (aof-timestamp-enabled) nothing\nlater: seconds, or 2026-11-30T10:00:00Z",
        .call = take_until_time),
    OPTION_ARG(WORD, "truncated", "fail|ok",
               "of an AOF whose last file ends within a command or a\ntransaction: an error (fail), or leave "
               "that out",
               AT(truncated), .words = truncated_words),
    OPTION_ARG(TEXT, "password-file", "FILE", "password of the source (or " PASSWORD_ENV ")",
               AT(password_file)),
    {.kind = OPTION_TABLE, AT(tls), .table = tls_rows},
    OPTION_ARG(WORD, "from", "master|replica|any",
               "of the servers that sentinels know (master); any: a replica,\nor the master", AT(from),
               .words = from_words),
    OPTION_ARG(
        CALL, "masters", "I/N",
        "of a cluster the I-th of N shares: the masters that have slots\nof it, and of these only such "
        "slots",
        .call = take_masters),
    OPTION_ARG(TEXT, "sentinel-user", "NAME", "user and password of the sentinels", AT(sentinel_user)),
    OPTION_ARG(TEXT, "sentinel-password-file", "FILE", "(or " SENTINEL_ENV ")", AT(sentinel_password_file)),
    OPTION_ARG(CALL, "until", "synced", "end when the full sync is complete", .call = take_until),
    OPTION_FLAG(ON, "resume", AT(resume), "resume from the positions that the writer has saved"),
    OPTION_ARG(WORD, "on-full-resync", "fail|flush|overwrite",
               "if that is not possible (fail); flush and overwrite are done by\nthe writer",
               AT(on_full_resync), .words = full_words),
    OPTION_ARG(
        WORD, "acknowledge", "behind|exact",
        "to a Redis: a byte less than what the target has (behind), so\nthat FAILOVER does not choose us, "
        "or all of it",
        AT(acknowledge), .words = acknowledge_words),
    OPTION_FLAG(ON, "no-verify", AT(no_verify), "do not verify the full sync of a master from v1.39 on"),
    OPTION_ARG(NUMBER, "verify-rate", "N", "keys verified per second (100000)", AT(verify_rate), .least = 1,
               .most = 100000000),
    OPTION_FLAG(ON, "scan", AT(scan), "read the keys by SCAN, where replication is not permitted"),
    OPTION_FLAG(ON, "follow", AT(follow), "with --scan: read changed keys again, by keyspace notifications"),
    OPTION_FLAG(ON, "set-notifications", AT(set_notifications),
                "with --follow: set notify-keyspace-events if need be"),
    OPTION_ARG(NUMBER, "scan-count", "N", "with --scan: COUNT of SCAN, at most (500)", AT(scan_count),
               .least = 1, .most = 100000),
    OPTION_ARG(NUMBER, "scan-window", "N",
               "keys that are read and not applied yet, at most, of a\nserver (by their number)",
               AT(scan_window), .least = 10, .most = 100000000),
    OPTION_ARG(TEXT, "scan-keys", "FILE", "with --scan: only the keys that FILE names", AT(scan_keys)),
    OPTION_ARG(NUMBER, "scan-rate", "N", "keys read per second (0: no limit)", AT(scan_rate), .least = 0,
               .most = 100000000),
    OPTION_ARG(SIZE, "scan-bytes", "SIZE", "bytes of values read per second (0: no limit)", AT(scan_bytes),
               .least = 0, .most = (uint64_t)1 << 50),
    OPTION_ARG(SIZE, "scan-large", "SIZE", "larger values are read in parts (1m)", AT(scan_large),
               .least = 4096, .most = (uint64_t)1 << 40),
    OPTION_ARG(WORD, "scan-values", "dump|commands", "read values by DUMP, or by the commands of each type",
               AT(scan_values), .words = values_words),
    OPTION_ARG(NUMBER, "connect-timeout", "SEC", "for connecting and each reply of the handshake (20)",
               AT(connect_timeout), .least = 1, .most = SECONDS_MAX),
    OPTION_ARG(NUMBER, "reconnect-timeout", "SEC",
               "how long to try to connect again to a Redis that was lost (60);\n0: that ends the session",
               AT(reconnect_timeout), .least = 0, .most = SECONDS_MAX),
    OPTION_ARG(NUMBER, "parser-timeout", "SEC", "for a parser to connect after the full sync has begun (30)",
               AT(parser_timeout), .least = 1, .most = SECONDS_MAX),
    OPTION_ARG(NUMBER, "stall-timeout", "SEC", "for a flow that does not move during the full sync (600)",
               AT(stall_timeout), .least = 1, .most = SECONDS_MAX),
    OPTION_ARG(NUMBER, "barrier-timeout", "SEC", "for a FLUSH that waits for all flows (600)",
               AT(barrier_timeout), .least = 1, .most = SECONDS_MAX),
    OPTION_ARG(NUMBER, "ping-timeout", "SEC", "for the master to answer on the control connection (60)",
               AT(ping_timeout), .least = 1, .most = SECONDS_MAX),
    OPTION_ARG(SIZE, "buffer", "SIZE", "what may wait for the output before flows are no longer read\n(64k)",
               AT(buffer), .least = 4096, .most = (uint64_t)1 << 30),
    OPTION_ARG(
        TEXT, "spool", "DIR",
        "never slow the source down: what the output does not take waits\nthere (of a Redis by default "
        "in $TMPDIR or /var/tmp) ...",
        AT(spool)),
    OPTION_ARG(SIZE, "spool-max", "SIZE", "... up to this size (10g)", AT(spool_max),
               .least = (uint64_t)1 << 20, .most = (uint64_t)1 << 50),
    OPTION_FLAG(ON, "no-spool", AT(no_spool), "not of a Redis either, which may cut us off then"),
    OPTION_ARG(SIZE, "spill-max", "SIZE", "bound of the files for what has to be read whatever happens (1g)",
               AT(spill_max), .least = 0, .most = (uint64_t)1 << 50),
    OPTION_ARG(TEXT, "spill-dir", "DIR", "where those are ($TMPDIR or /tmp)", AT(spill_dir)),
    OPTION_ARG(WORD, "log-format", "human|logfmt|json",
               "how messages look (auto: human on a terminal, otherwise logfmt)", AT(log_form),
               .words = log_form_words),
    OPTION_FLAG(ON, "no-progress", AT(no_progress), "show no progress"),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "log more; twice: everything", AT(verbose)),
    OPTION_FLAG(ON, "check-options", AT(check_only), "check the options and end"),
    OPTION_LAST_ROWS("reader"),
};

static const struct option_library libraries[] = {
    {"hiredis", hiredis_version}, {"OpenSSL", tls_library_version}, {NULL, NULL}};

static const struct option_program program = {
    .name = "dfreader", .section = "reader", .usage = usage, .rows = rows, .libraries = libraries};

static void check_scheme(const struct options *o)
{
    static const char *const known[] = {"dragonfly",  "dragonflys", "dragonfly+unix", "redis",
                                        "rediss",     "valkey",     "valkeys",        "unix",
                                        "redis+unix", "sentinel",   "sentinels"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(o->url.scheme, known[i]) == 0)
            return;
    if (o->url.cluster)
        return;
    fatal(EXIT_USAGE,
          "unknown scheme %s://: a source is redis://HOST, redis-cluster://HOST,HOST, sentinel://HOST/NAME, "
          "dragonfly://HOST or a file",
          o->url.scheme);
}

static void check_sentinel(struct options *o)
{
    const char *file = o->sentinel_password_file;
    const char *fault =
        o->url.sentinel ? url_secret(o->sentinel_password, sizeof o->sentinel_password, file, SENTINEL_ENV)
                        : NULL;
    if (fault != NULL)
        fatal(EXIT_CANNOT, "%s: %s", file != NULL ? file : SENTINEL_ENV, fault);
    if (!o->url.sentinel && (o->from != FROM_MASTER || o->sentinel_user != NULL || file != NULL))
        fatal(EXIT_USAGE,
              "--from and --sentinel-* belong to a source that sentinels know: sentinel://HOST/NAME");
}

static void prepare_tls(struct options *o)
{
    char why[400];
    if (!o->url.secure) {
        if (tls_options_given(&o->tls))
            fatal(EXIT_USAGE, "--tls-* belongs to a source over TLS: rediss://HOST, dragonflys://HOST");
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
    o->scan = o->scan || o->url.scan;
    if (o->url.has_db)
        fatal(EXIT_USAGE, "a session carries all databases: leave the /db out of the URL");
    fault = url_password(&o->url, o->password_file, PASSWORD_ENV);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "%s: %s", o->password_file != NULL ? o->password_file : PASSWORD_ENV, fault);
    check_sentinel(o);
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
        fatal(EXIT_USAGE, "--flow and --session-only need a live source, redis://HOST");
    strlcpy(o->shown, o->file, sizeof o->shown);
}

static void check(const struct options *o)
{
    if (o->mode == MODE_FLOW && o->session == NULL)
        fatal(EXIT_USAGE, "--flow needs --session PATH, the control socket of the session");
    if (o->mode == MODE_SESSION && o->session != NULL)
        fatal(EXIT_USAGE, "--session needs --flow N");
    if (o->session_only && o->mode == MODE_FLOW)
        fatal(EXIT_USAGE, "--session-only and --flow exclude each other");
    if (o->session_only && o->output != NULL)
        fatal(EXIT_USAGE, "--session-only writes no stream: leave out --output");
    if (o->no_spool && o->spool != NULL)
        fatal(EXIT_USAGE, "--spool and --no-spool exclude each other");
    if (o->resume && (o->mode != MODE_SESSION || o->file != NULL))
        fatal(EXIT_USAGE, "--resume belongs to the process that owns the session");
    if (o->until_synced && o->mode == MODE_FLOW)
        fatal(EXIT_USAGE, "--until belongs to the process that owns the session");
    if (o->file == NULL && (o->until_time > 0 || o->truncated != TRUNCATED_FAIL))
        fatal(EXIT_USAGE, "--until-time and --truncated belong to an append-only file");
    if (o->scan && (o->mode != MODE_SESSION || o->session_only))
        fatal(EXIT_USAGE, "with --scan one process reads all: not with --flow or --session-only");
    if (o->scan && o->file != NULL)
        fatal(EXIT_USAGE, "--scan needs a server, redis://HOST");
    if (o->masters.of > 0 && (o->file != NULL || !o->url.cluster))
        fatal(EXIT_USAGE, "--masters belongs to a cluster as the source: redis-cluster://HOST,HOST");
    if (o->masters.of > 0 && o->scan)
        fatal(EXIT_USAGE, "--masters and --scan exclude each other: a scan has no slots that it hands over");
    if ((o->follow || o->set_notifications) && !o->scan)
        fatal(EXIT_USAGE, "--follow and --set-notifications belong to --scan");
    if (o->scan_keys != NULL && (!o->scan || o->follow || o->resume))
        fatal(EXIT_USAGE, "--scan-keys belongs to --scan, and not to --follow or --resume");
    if (o->file != NULL && tls_options_given(&o->tls))
        fatal(EXIT_USAGE, "--tls-* belongs to a source over TLS: rediss://HOST, dragonflys://HOST");
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
    if (strcmp(o->question, "status") != 0 && strcmp(o->question, "counters") != 0 &&
        strcmp(o->question, "stop") != 0)
        fatal(EXIT_USAGE, "%s: the questions are status, counters, stop and limit", o->question);
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
                          .reconnect_timeout = 60,
                          .verify_rate = 100000,
                          .buffer = (size_t)64 << 10,
                          .scan_count = 500,
                          .scan_large = (uint64_t)1 << 20,
                          .spill_max = (uint64_t)1 << 30,
                          .spool_max = (uint64_t)10 << 30};
    int given = argc;
    char **args = argv;
    int first = option_parse(&program, o, &argc, &args);
    parse_arguments(o, argc - first, args + first);
    /* Only now: the URL that was parsed may lie in argv itself. */
    for (int i = 1; i < given; i++)
        url_hide_argument(argv[i]);
    if (o->check_only)
        exit(EXIT_DONE);
}
