#include "options.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "option.h"

#define SENTINEL_ENV "DF2REDIS_SENTINEL_PASSWORD"
#define DAY          86400

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
#define END_ROWS(i, end, variable)                                                                           \
    OPTION_ARG(TEXT, end "-password-file", "FILE", "password of the " end " (or " variable ")",              \
               AT(password_file[i])),                                                                        \
        OPTION_ARG(TEXT, end "-sentinel-user", "NAME", "user and password of its sentinels",                 \
                   AT(side[i].sentinel_user)),                                                               \
        OPTION_ARG(TEXT, end "-sentinel-password-file", "FILE", "(or " SENTINEL_ENV ")",                     \
                   AT(sentinel_file[i])),                                                                    \
        OPTION_ARG(TEXT, end "-tls-ca", "FILE|DIR", "CA certificates to trust (those of the system)",        \
                   AT(tls[i].ca)),                                                                           \
        OPTION_ARG(TEXT, end "-tls-cert", "FILE", "our own certificate", AT(tls[i].cert)),                   \
        OPTION_ARG(TEXT, end "-tls-key", "FILE", "its key (in the same file)", AT(tls[i].key)),              \
        OPTION_ARG(TEXT, end "-tls-key-password-file", "FILE", "password of the key",                        \
                   AT(tls[i].key_password)),                                                                 \
        OPTION_ARG(TEXT, end "-tls-server-name", "NAME", "name in its certificate (the host)",               \
                   AT(tls[i].server_name)),                                                                  \
        OPTION_FLAG(ON, end "-tls-insecure", AT(tls[i].insecure), "do not verify its certificate"),          \
        OPTION_ARG(NUMBER, end "-max-ops", "N", "keys and requests per second (0: no limit)",                \
                   AT(side[i].max_ops), .least = 0, .most = INT_MAX),                                        \
        OPTION_ARG(NUMBER, end "-connect-timeout", "SEC",                                                    \
                   "for connecting and each reply of the handshake (10)", AT(side[i].connect_timeout),       \
                   .least = 1, .most = 3600)

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
    END_ROWS(0, "source", "DF2REDIS_SOURCE_PASSWORD"),
    END_ROWS(1, "target", "DF2REDIS_TARGET_PASSWORD"),
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

static void prepare_tls(struct options *o, unsigned i, const char *label)
{
    char why[400];
    struct url *u = &o->side[i].url;
    if (!u->secure) {
        if (tls_options_given(&o->tls[i]))
            fatal(EXIT_USAGE, "--%s-tls-* belongs to a server over TLS: rediss://HOST", label);
        return;
    }
    u->tls = tls_client(&o->tls[i], why, sizeof why);
    if (u->tls == NULL)
        fatal(EXIT_CANNOT, "%s: %s", label, why);
    if (o->tls[i].insecure)
        log_event(LOG_WARN, NO_FLOW,
                  "event=tls_not_verified side=%s note=\"--%s-tls-insecure: whoever answers is "
                  "believed\"",
                  label, label);
}

static void parse_file(struct options *o, unsigned i, const char *label, const char *path)
{
    struct side_options *s = &o->side[i];
    if (access(path, F_OK) != 0)
        fatal_errno(EXIT_CANNOT, "%s: neither a file nor the URL of a server, redis://HOST: %s", label, path);
    if (s->sentinel_user != NULL || o->sentinel_file[i] != NULL || o->password_file[i] != NULL ||
        tls_options_given(&o->tls[i]))
        fatal(EXIT_USAGE, "%s: it is a file: --%s-* belongs to a server", label, label);
    s->file = path;
}

static void parse_end(struct options *o, unsigned i, char *text)
{
    static const char *const labels[] = {"source", "target"};
    static const char *const variables[] = {"DF2REDIS_SOURCE_PASSWORD", "DF2REDIS_TARGET_PASSWORD"};
    struct side_options *s = &o->side[i];
    if (strstr(text, "://") == NULL) {
        parse_file(o, i, labels[i], strncmp(text, "file:", 5) == 0 ? text + 5 : text);
        return;
    }
    const char *fault = url_parse(&s->url, text);
    if (!url_without_password(text, s->bare, sizeof s->bare))
        fault = "the URL is too long";
    url_hide_argument(text);
    if (fault != NULL)
        fatal(EXIT_USAGE, "%s: %s", labels[i], fault);
    if (s->url.has_db)
        fatal(EXIT_USAGE, "%s: all databases are compared: leave the /db out of the URL", labels[i]);
    fault = url_password(&s->url, o->password_file[i], variables[i]);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "%s: %s", o->password_file[i] != NULL ? o->password_file[i] : variables[i], fault);
    if (s->url.sentinel)
        fault =
            url_secret(s->sentinel_password, sizeof s->sentinel_password, o->sentinel_file[i], SENTINEL_ENV);
    if (fault != NULL)
        fatal(EXIT_CANNOT, "password of the sentinels of the %s: %s", labels[i], fault);
    if (!s->url.sentinel && (s->sentinel_user != NULL || o->sentinel_file[i] != NULL))
        fatal(EXIT_USAGE, "--%s-sentinel-* belongs to sentinel://HOST/NAME", labels[i]);
    s->connections = o->connections;
    s->tls = &o->tls[i];
    prepare_tls(o, i, labels[i]);
}

void options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.depth = {.mode = MODE_FULL, .ttl = true, .tolerance = 1500},
                          .sample = 10000,
                          .rounds = 5,
                          .delay = 2000,
                          .reply_timeout = 60,
                          .connections = 2,
                          .list = 20,
                          .side = {{.connect_timeout = 10}, {.connect_timeout = 10}}};
    char **given = argv;
    int ngiven = argc;
    int first = option_parse(&program, o, &argc, &argv);
    log_init("df2redis-check", o->verbose == 0 ? LOG_WARN : o->verbose == 1 ? LOG_INFO : LOG_DEBUG);
    if (argc - first != 2)
        fatal(EXIT_USAGE, "a source and a target are needed, see df2redis-check --help");
    for (unsigned i = 0; i < 2; i++)
        parse_end(o, i, argv[first + (int)i]);
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
