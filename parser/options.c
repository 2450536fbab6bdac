#include "options.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "exits.h"
#include "fatal.h"
#include "option.h"

static const char usage[] =
    "usage: dfparse [options] [FILE...]\n"
    "Turns raw records (dfreader) into command records (rediswriter). Reads FILEs, else standard input.\n";

static const char *const unsupported_words[] = {"report", "approximate", "fail", NULL};

static const char *set_mode(struct options *o, enum emit_mode mode)
{
    if (o->mode != EMIT_RECORDS && o->mode != mode)
        return "only one of --json, --resp, --null, --rdb and --inspect can be given";
    o->mode = mode;
    return NULL;
}

static const char *take_json(void *to, const char *arg)
{
    (void)arg;
    return set_mode(to, EMIT_JSON);
}

static const char *take_resp(void *to, const char *arg)
{
    (void)arg;
    return set_mode(to, EMIT_RESP);
}

static const char *take_null(void *to, const char *arg)
{
    (void)arg;
    return set_mode(to, EMIT_NULL);
}

static const char *take_rdb(void *to, const char *path)
{
    ((struct options *)to)->rdb = path;
    return set_mode(to, EMIT_OUTLET);
}

static const char *take_inspect(void *to, const char *word)
{
    static const char *const words[] = {"text", "json", "csv"};
    struct options *o = to;
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(words[i], word) == 0) {
            o->inspect = (enum inspect_form)(INSPECT_TEXT + i);
            return set_mode(o, EMIT_OUTLET);
        }
    return "must be text, json or csv";
}

static const char *take_target(void *to, const char *text)
{
    struct options *o = to;
    enum existing existing = o->target.existing;
    bool known = target_parse(&o->target, text);
    o->target.existing = existing;
    o->have_target = true;
    return known ? NULL : "unknown server or version";
}

static const char *take_existing(void *to, const char *text)
{
    struct options *o = to;
    o->have_existing = true;
    return target_existing(&o->target, text) ? NULL : "must be overwrite, skip or fail";
}

static const char *take_include(void *to, const char *rule)
{
    return filter_add_rule(&((struct options *)to)->filter, rule, false);
}

static const char *take_exclude(void *to, const char *rule)
{
    return filter_add_rule(&((struct options *)to)->filter, rule, true);
}

static const char *take_rename(void *to, const char *rule)
{
    return filter_add_rename(&((struct options *)to)->filter, rule);
}

static const char *take_dbs(void *to, const char *rule)
{
    return filter_add_dbs(&((struct options *)to)->filter, rule);
}

#define AT(field) OPTION_AT(struct options, field)
#define TOP_UNSET UINT32_MAX
#define PART_MAX  ((uint64_t)768 << 10)

static const struct option_row rows[] = {
    OPTION_FLAG(CALL, "json", .call = take_json, "one JSON object per record"),
    OPTION_FLAG(CALL, "resp", .call = take_resp, "bare RESP requests, for redis-cli --pipe"),
    OPTION_FLAG(CALL, "null", .call = take_null, "parse only"),
    OPTION_ARG(CALL, "rdb", "FILE", "write an RDB file for the server of -t (-: to standard output)",
               .call = take_rdb),
    OPTION_ARG(CALL, "inspect", "text|json|csv", "count and measure the keys, and show that",
               .call = take_inspect),
    OPTION_ARG(NUMBER, "top", "N", "the largest keys that this shows (10; csv: all keys)", AT(top),
               .least = 0, .most = 100000),
    OPTION_SHORT('o', TEXT, "output", "WHERE", "-, a file, or unix:PATH (default: standard output)",
                 AT(output)),
    OPTION_SHORT('t', CALL, "target-version", "V",
                 "write for this target: 7.0.15, redis:7.2, valkey:8.0,\ndragonfly:1.40, portable; with "
                 "/cluster behind it for a cluster\n(default: what rediswriter announces; offline: portable)",
                 .call = take_target),
    OPTION_ARG(TEXT, "target-modules", "A,B",
               "modules that the target of -t has, as its MODULE LIST names them", AT(modules)),
    OPTION_ARG(NUMBER, "target-timeout", "SEC", "wait that long for the announcement (30)",
               AT(target_timeout), .least = 0, .most = 86400),
    OPTION_ARG(SIZE, "restore-limit", "SIZE", "larger values are written as commands (64k; 0: all)",
               AT(restore_limit), .least = 0, .most = PART_MAX),
    OPTION_ARG(SIZE, "part-size", "SIZE", "bytes of such a command (64k)", AT(part_size), .least = 16,
               .most = PART_MAX),
    OPTION_ARG(SIZE, "max-bulk", "SIZE",
               "the target's proto-max-bulk-len if rediswriter does not report it\n(512m)", AT(max_bulk),
               .least = (uint64_t)1 << 20, .most = (uint64_t)1 << 40),
    OPTION_ARG(WORD, "unsupported", "report|approximate|fail", "what the target does not have (report)",
               AT(unsupported), .words = unsupported_words),
    OPTION_ARG(CALL, "include", "RULE",
               "only these: GLOB, prefix:P, regex:R, type:T, db:N (may be\nrepeated)", .call = take_include),
    OPTION_ARG(CALL, "exclude", "RULE", "not these", .call = take_exclude),
    OPTION_ARG(CALL, "rename-prefix", "A=B", "keys that begin with A begin with B", .call = take_rename),
    OPTION_ARG(CALL, "db-map", "A=B[,C=D]", "database A becomes B; *=B: all others", .call = take_dbs),
    OPTION_ARG(CALL, "on-existing", "overwrite|skip|fail",
               "keys that the target holds (default: what rediswriter announces,\nor overwrite)",
               .call = take_existing),
    OPTION_FLAG(ON, "publish", AT(publish), "pass messages (PUBLISH, SPUBLISH) of a Redis or Valkey on"),
    OPTION_FLAG(ON, "eviction-hints", AT(hints),
                "carry idle times and use counters of files over (by RESTORE,\nstrings too)"),
    OPTION_FLAG(ON, "expand", AT(expand),
                "read a command stream, and write its RESTORE requests as commands"),
    OPTION_FLAG(ON, "no-reread", AT(no_reread),
                "report what only the source knows instead of reading the key again"),
    OPTION_ARG(TEXT, "report", "FILE", "list everything that was not carried over, a JSON object per line",
               AT(report)),
    OPTION_FLAG(ON, "stats", AT(stats), "counters on standard error at the end"),
    OPTION_ARG(WORD, "log-format", "human|logfmt|json",
               "how messages look (auto: human on a terminal, otherwise logfmt)", AT(log_form),
               .words = log_form_words),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "more messages; twice: all", AT(verbose)),
    OPTION_FLAG(ON, "check-options", AT(check_only), "check the options and end"),
    OPTION_LAST_ROWS("parser"),
};

static const struct option_library libraries[] = {
    {"lz4", LZ4_versionString}, {"zstd", ZSTD_versionString}, {NULL, NULL}};

static const struct option_program program = {.name = "dfparse",
                                              .section = "parser",
                                              .usage = usage,
                                              .closing = "See dfparse(1), dfrecord(5).\n",
                                              .rows = rows,
                                              .libraries = libraries};

/* A file has no server behind it that could be asked. */
static void check_rdb(struct options *o)
{
    if (o->rdb != NULL && o->inspect != INSPECT_NONE)
        fatal(EXIT_USAGE, "--rdb and --inspect exclude each other");
    if (o->rdb == NULL)
        return;
    if (!o->have_target || o->target.kind == SERVER_PORTABLE)
        fatal(EXIT_USAGE, "--rdb needs --target-version: which server the file is for");
    if (o->target.kind == SERVER_DRAGONFLY)
        fatal(EXIT_USAGE, "--rdb writes files for Redis and Valkey, which Dragonfly loads, too (-t 7.2)");
    if (o->target.existing != EXISTING_OVERWRITE)
        fatal(EXIT_USAGE, "--on-existing belongs to a target that has keys");
    if (o->modules == NULL && o->target.kind == SERVER_REDIS && o->target.version >= VERSION(8, 0))
        target_modules(&o->target,
                       "vectorset"); /* which every such server has, and so says its MODULE LIST */
}

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.output = "-",
                          .restore_limit = (size_t)64 << 10,
                          .part_size = (size_t)64 << 10,
                          .target_timeout = 30,
                          .top = TOP_UNSET};
    target_portable(&o->target);
    int first = option_parse(&program, o, &argc, &argv);
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
    check_rdb(o);
    if (o->top == TOP_UNSET)
        o->top = o->inspect == INSPECT_CSV ? 0 : 10;
    if (o->check_only)
        exit(EXIT_DONE);
    o->inputs = argv + first;
}
