#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>

#include "conf.h"
#include "exits.h"
#include "fatal.h"
#include "size.h"
#include "version.h"

enum {
    OPT_JSON = 256,
    OPT_RESP,
    OPT_NULL,
    OPT_STATS,
    OPT_RESTORE,
    OPT_PART,
    OPT_UNSUPPORTED,
    OPT_WAIT,
    OPT_REPORT,
    OPT_INCLUDE,
    OPT_EXCLUDE,
    OPT_RENAME,
    OPT_DBMAP,
    OPT_HINTS,
    OPT_BULK,
    OPT_EXISTING,
    OPT_NO_REREAD,
    OPT_MODULES,
    OPT_EXPAND,
    OPT_CHECK,
    OPT_VERSION
};

static const struct option longs[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"resp", no_argument, NULL, OPT_RESP},
    {"null", no_argument, NULL, OPT_NULL},
    {"stats", no_argument, NULL, OPT_STATS},
    {"output", required_argument, NULL, 'o'},
    {"target-version", required_argument, NULL, 't'},
    {"target-modules", required_argument, NULL, OPT_MODULES},
    {"target-timeout", required_argument, NULL, OPT_WAIT},
    {"restore-limit", required_argument, NULL, OPT_RESTORE},
    {"part-size", required_argument, NULL, OPT_PART},
    {"unsupported", required_argument, NULL, OPT_UNSUPPORTED},
    {"report", required_argument, NULL, OPT_REPORT},
    {"include", required_argument, NULL, OPT_INCLUDE},
    {"exclude", required_argument, NULL, OPT_EXCLUDE},
    {"rename-prefix", required_argument, NULL, OPT_RENAME},
    {"db-map", required_argument, NULL, OPT_DBMAP},
    {"max-bulk", required_argument, NULL, OPT_BULK},
    {"expand", no_argument, NULL, OPT_EXPAND},
    {"eviction-hints", no_argument, NULL, OPT_HINTS},
    {"no-reread", no_argument, NULL, OPT_NO_REREAD},
    {"on-existing", required_argument, NULL, OPT_EXISTING},
    {"config", required_argument, NULL, 'c'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"check-options", no_argument, NULL, OPT_CHECK},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "usage: dfparse [options] [FILE...]\n"
    "Turns raw records (dfreader) into command records (rediswriter). Reads FILEs, else standard input.\n"
    "\n"
    "      --json               one JSON object a record\n"
    "      --resp               bare RESP requests, for redis-cli --pipe\n"
    "      --null               parse only\n"
    "  -o, --output WHERE       -, a file, or unix:PATH (default: standard output)\n"
    "  -t, --target-version V   write for this target: 7.0.15, redis:7.2, valkey:8.0, dragonfly:1.40, "
    "portable;\n"
    "                           with /cluster behind it for a cluster\n"
    "                           (default: what rediswriter announces; offline: portable)\n"
    "      --target-modules A,B modules that the target of -t has, as its MODULE LIST names them\n"
    "      --target-timeout S   wait that long for the announcement (30)\n"
    "      --restore-limit N    larger values are written as commands (64k; 0: all)\n"
    "      --part-size N        bytes of such a command (64k)\n"
    "      --max-bulk N         the target's proto-max-bulk-len where rediswriter does not say it (512m)\n"
    "      --unsupported WHAT   report (default), approximate or fail\n"
    "      --include RULE       only these: GLOB, prefix:P, regex:R, type:T, db:N (may be repeated)\n"
    "      --exclude RULE       not these\n"
    "      --rename-prefix A=B  keys that begin with A begin with B\n"
    "      --db-map A=B[,C=D]   database A becomes B; *=B: all others\n"
    "      --on-existing WHAT   keys that the target holds: overwrite (default), skip or fail\n"
    "                           (default: what rediswriter says)\n"
    "      --eviction-hints     carry idle times and use counters of files over (by RESTORE, strings too)\n"
    "      --expand             read a command stream, and write its RESTORE requests as commands\n"
    "      --no-reread          report what only the source knows instead of reading the key again\n"
    "      --report FILE        list everything that was not carried over, a JSON object a line\n"
    "      --stats              counters on standard error at the end\n"
    "  -c, --config FILE        options from section [parser] of an INI file\n"
    "  -v, --verbose            more messages; twice: all\n"
    "  -h, --help, --version\n"
    "See dfparse(1), dfrecord(5).\n";

static enum unsupported unsupported_of(const char *s)
{
    if (strcmp(s, "report") == 0)
        return UNSUPPORTED_REPORT;
    if (strcmp(s, "approximate") == 0)
        return UNSUPPORTED_APPROXIMATE;
    if (strcmp(s, "fail") == 0)
        return UNSUPPORTED_FAIL;
    fatal(EXIT_USAGE, "--unsupported takes report, approximate or fail, not %s", s);
}

static void set_mode(struct options *o, enum emit_mode mode)
{
    if (o->mode != EMIT_RECORDS && o->mode != mode)
        fatal(EXIT_USAGE, "only one of --json, --resp and --null can be given");
    o->mode = mode;
}

static void set_target(struct options *o, const char *text)
{
    enum existing existing = o->target.existing;
    if (!target_parse(&o->target, text))
        fatal(EXIT_USAGE, "unknown target version %s", text);
    o->target.existing = existing;
    o->have_target = true;
}

static unsigned seconds(const char *s, const char *name)
{
    const char *fault;
    long long v = strtonum(s, 0, 86400, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "%s %s: %s", name, s, fault);
    return (unsigned)v;
}

static size_t size_of(const char *s, const char *name, size_t least, size_t most)
{
    uint64_t v;
    if (!size_parse(s, &v) || v < least || v > most)
        fatal(EXIT_USAGE, "%s takes a size of %zu to %zu bytes, not %s", name, least, most, s);
    return (size_t)v;
}

static void check(const char *fault, const char *name)
{
    if (fault != NULL)
        fatal(EXIT_USAGE, "%s %s: %s", name, optarg, fault);
}

static void take(struct options *o, int opt, char **argv)
{
    switch (opt) {
    case OPT_JSON: set_mode(o, EMIT_JSON); break;
    case OPT_RESP: set_mode(o, EMIT_RESP); break;
    case OPT_NULL: set_mode(o, EMIT_NULL); break;
    case OPT_STATS: o->stats = true; break;
    case 'o': o->output = optarg; break;
    case 't': set_target(o, optarg); break;
    case OPT_NO_REREAD: o->no_reread = true; break;
    case OPT_EXISTING:
        if (!target_existing(&o->target, optarg))
            fatal(EXIT_USAGE, "--on-existing takes overwrite, skip or fail, not %s", optarg);
        o->have_existing = true;
        break;
    case OPT_MODULES: o->modules = optarg; break;
    case OPT_WAIT: o->target_timeout = seconds(optarg, "--target-timeout"); break;
    case OPT_RESTORE: o->restore_limit = size_of(optarg, "--restore-limit", 0, (size_t)768 << 10); break;
    case OPT_PART: o->part_size = size_of(optarg, "--part-size", 16, (size_t)768 << 10); break;
    case OPT_UNSUPPORTED: o->unsupported = unsupported_of(optarg); break;
    case OPT_INCLUDE: check(select_add_rule(&o->select, optarg, false), "--include"); break;
    case OPT_EXCLUDE: check(select_add_rule(&o->select, optarg, true), "--exclude"); break;
    case OPT_RENAME: check(select_add_rename(&o->select, optarg), "--rename-prefix"); break;
    case OPT_DBMAP: check(select_add_dbs(&o->select, optarg), "--db-map"); break;
    case OPT_BULK: o->max_bulk = size_of(optarg, "--max-bulk", (size_t)1 << 20, (size_t)1 << 40); break;
    case OPT_EXPAND: o->expand = true; break;
    case OPT_HINTS: o->hints = true; break;
    case OPT_REPORT: o->report = optarg; break;
    case 'v': o->verbose++; break;
    case OPT_CHECK: o->check_only = true; break;
    case 'h': fputs(help, stdout); exit(0);
    case OPT_VERSION: puts("dfparse (df2redis) " DF2REDIS_VERSION); exit(0);
    default: fatal_option(opt, argv);
    }
}

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.output = "-",
                          .restore_limit = (size_t)64 << 10,
                          .part_size = (size_t)64 << 10,
                          .target_timeout = 30};
    target_portable(&o->target);
    argv = conf_argv("parser", longs, &argc, argv);
    opterr = 0;
    for (int opt; (opt = getopt_long(argc, argv, ":o:t:c:vh", longs, NULL)) != -1;)
        take(o, opt, argv);
    if (o->modules != NULL && !o->have_target)
        fatal(EXIT_USAGE,
              "--target-modules goes with --target-version: otherwise rediswriter says what the target has");
    if (o->modules != NULL)
        target_modules(&o->target, o->modules);
    if (o->mode == EMIT_RESP && o->target.cluster)
        fatal(EXIT_USAGE, "--resp writes for one connection: it has no form for a cluster");
    if (o->mode == EMIT_RESP && o->target.existing != EXISTING_OVERWRITE)
        fatal(EXIT_USAGE,
              "--resp has no form for --on-existing: nobody would hold back the parts of a key that exists");
    o->inputs = argv + optind;
    if (o->check_only)
        exit(EXIT_DONE);
}
