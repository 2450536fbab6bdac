#include "options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "option.h"

#define DAY 86400

static const char usage[] =
    "usage: df2redis-check [options] SOURCE TARGET    are both sides equal?\n"
    "\n"
    "SOURCE, TARGET: redis://[user[:password]@]host[:port] a Redis, Valkey or Dragonfly; rediss:// (TLS),\n"
    "        unix:///path, redis-cluster://host,host, sentinel://host,host/name; or a file (.rdb, .dfs, "
    "AOF)\n"
    "Exit status: 0 equal, 1 could not check, 2 usage, 3 different, 75 keys keep changing\n";

static const char *const repair_words[] = {"no", "copy", "delete", NULL};
static const char *const mode_words[] = {"exists", "type-ttl", "length", "full", NULL};

static const char *take_db_map(void *to, const char *text)
{
    return filter_add_dbs(&((struct options *)to)->filter, text);
}

static const char *take_rename(void *to, const char *text)
{
    return filter_add_rename(&((struct options *)to)->filter, text);
}

static const char *take_include(void *to, const char *text)
{
    return filter_add_rule(&((struct options *)to)->filter, text, false);
}

static const char *take_exclude(void *to, const char *text)
{
    return filter_add_rule(&((struct options *)to)->filter, text, true);
}

static const char *take_sample(void *to, const char *text)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || *end != '\0' || !(percent >= 0.01 && percent <= 100))
        return "expected a percentage from 0.01 to 100";
    ((struct options *)to)->sample = (uint64_t)(percent * 100 + 0.5);
    return NULL;
}

#define AT(field) OPTION_AT(struct options, field)

/* The options of one end. */
#define SIDE_ROWS(i, end)                                                                                    \
    END_ROWS(struct options, at[i], end),                                                                    \
        OPTION_ARG(NUMBER, end "-max-ops", "N", "keys and requests per second (0: no limit)",                \
                   AT(at[i].side.max_ops), .least = 0, .most = INT_MAX)

static const struct option_row rows[] = {
    OPTION_ARG(WORD, "mode", "exists|type-ttl|length|full", "what of each key is compared (full)",
               AT(depth.mode), .words = mode_words),
    OPTION_ARG(CALL, "sample", "PERCENT", "of the keys only so many, the same on both sides",
               .call = take_sample),
    OPTION_ARG(NUMBER, "ttl-tolerance", "MS", "times to live may be so far apart (1500)", AT(depth.tolerance),
               .least = 0, .most = INT_MAX),
    OPTION_FLAG(OFF, "no-ttl", AT(depth.ttl), "do not compare times to live"),
    OPTION_ARG(NUMBER, "rounds", "N",
               "look at keys that differ up to N times more (5); 0: the first\nlook counts", AT(rounds),
               .least = 0, .most = 1000),
    OPTION_ARG(NUMBER, "delay", "MS", "before each of these looks: longer than the target lags (2000)",
               AT(delay), .least = 0, .most = DAY * 1000),
    OPTION_ARG(TEXT, "task", "NAME",
               "a running task of df2redis that writes to the target: by its\npositions each look waits for "
               "what the source had before",
               AT(task)),
    OPTION_ARG(CALL, "include", "RULE",
               "only these: GLOB, prefix:P, regex:R, type:T, db:N (may be\nrepeated)", .call = take_include),
    OPTION_ARG(CALL, "exclude", "RULE", "not these", .call = take_exclude),
    OPTION_ARG(CALL, "db-map", "A=B[,C=D]", "database A of the source is B of the target; *=B: all others",
               .call = take_db_map),
    OPTION_ARG(CALL, "rename-prefix", "A=B", "keys of the source that begin with A begin with B",
               .call = take_rename),
    OPTION_ARG(NUMBER, "connections", "N", "to each node (2)", AT(connections), .least = 1,
               .most = SIDE_LINKS - 1),
    OPTION_ARG(NUMBER, "reply-timeout", "SEC", "for a server to say anything (60)", AT(reply_timeout),
               .least = 1, .most = DAY),
    SIDE_ROWS(0, "source"),
    SIDE_ROWS(1, "target"),
    OPTION_ARG(
        WORD, "repair", "copy|delete",
        "write keys that differ again from the source; delete: and remove\nthose that only the target has",
        AT(repair), .words = repair_words),
    OPTION_ARG(TEXT, "save", "FILE",
               "write keys that differ as they are in the source to a snapshot,\nfor dfreader and dfparse",
               AT(save)),
    OPTION_ARG(TEXT, "known", "FILE",
               "what dfparse --report wrote: differences of these keys are listed\napart, and do not count",
               AT(known)),
    OPTION_SHORT('o', TEXT, "output", "FILE", "differences as lines of JSON; - is standard output",
                 AT(output)),
    OPTION_ARG(NUMBER, "list", "N", "keys that differ and are shown (20)", AT(list), .least = 0,
               .most = INT_MAX),
    OPTION_SHORT('q', ON, "quiet", NULL, "nothing but errors", AT(quiet)),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "log more; twice: everything", AT(verbose)),
    OPTION_LAST_ROWS("check"),
};

static const struct option_library libraries[] = {{"OpenSSL", tls_library_version}, {NULL, NULL}};

static const struct option_program program = {
    .name = "df2redis-check", .section = "check", .usage = usage, .rows = rows, .libraries = libraries};

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.depth = {.mode = MODE_FULL, .ttl = true, .tolerance = 1500},
                          .sample = 10000,
                          .rounds = 5,
                          .delay = 2000,
                          .reply_timeout = 60,
                          .connections = 2,
                          .list = 20,
                          .at = {END_DEFAULTS, END_DEFAULTS}};
    static const char *const labels[] = {"source", "target"};
    char **given = argv;
    int ngiven = argc;
    int first = option_parse(&program, o, &argc, &argv);
    log_init("df2redis-check", o->verbose == 0 ? LOG_WARN : o->verbose == 1 ? LOG_INFO : LOG_DEBUG);
    if (argc - first != 2)
        fatal(EXIT_USAGE, "a source and a target are needed, see df2redis-check --help");
    for (unsigned i = 0; i < 2; i++) {
        end_take_any(&o->at[i], labels[i], argv[first + (int)i]);
        o->at[i].side.connections = o->connections;
        o->at[i].side.loss = "nothing is said about the keys that were not looked at";
    }
    for (int i = 1; given != argv && i < ngiven; i++)
        url_hide_argument(given[i]); /* what was parsed is a copy */
    if (o->depth.mode == MODE_EXISTS)
        o->depth.ttl = false;
    o->depth.field_ttl = o->depth.ttl;
    if ((o->repair != NO_REPAIR || o->save != NULL) && options_offline(o))
        fatal(EXIT_USAGE, "--repair and --save need two servers");
    if (o->filter.types && o->rounds == 0 && !options_offline(o))
        fatal(EXIT_USAGE, "rules for types need a second look: --rounds 1 or more");
    if (o->task != NULL && options_offline(o))
        fatal(EXIT_USAGE, "--task needs two servers");
    if (o->task != NULL && o->rounds == 0)
        fatal(EXIT_USAGE, "--task needs further looks: --rounds 1 or more");
    if (o->repair != NO_REPAIR && o->save != NULL)
        fatal(EXIT_USAGE, "--repair and --save exclude each other");
    if (o->repair != NO_REPAIR && o->sample < 10000)
        log_event(LOG_WARN, NO_FLOW, "event=repairs_sample note=\"only keys of the sample are repaired\"");
}
