/* The command line. */
#include <bsd/stdlib.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

#ifndef DFSTATE_VERSION
#define DFSTATE_VERSION "1.0"
#endif

typedef struct options {
    const char *host, *dbs;
    bool cluster;
    diff_options diff; /* its no_ttl serves all commands */
} options;

static const char help[] =
    "Usage: dfstate COMMAND [OPTION]... ARGUMENT...\n"
    "\n"
    "  dump [--host H] [--dbs 0,1] [--cluster] [--no-ttl] PORT|URL\n"
    "        write one line of canonical JSON a key, sorted by database and key\n"
    "  diff [--ttl-slack MS] [--no-ttl] [--redis-target] [--list N] A B\n"
    "        compare two states, each the file of a dump (.gz allowed) or a URL\n"
    "  count URL\n"
    "        write a line `DB KEYS` for each database\n"
    "  digest [--no-ttl] URL\n"
    "        write one hexadecimal digest of all keys; entries-read of stream groups, which\n"
    "        a server may not know, has no part in it\n"
    "  extra URL\n"
    "        write a line of JSON for each hash whose fields expire, and for each vector set\n"
    "\n"
    "A URL is redis://host:port[?dbs=0,1] or redis-cluster://host:port.\n"
    "Keys with the prefix df2redis:{ are left out everywhere.\n"
    "\n"
    "  --host H        server of PORT (127.0.0.1)\n"
    "  --dbs N,N       databases of PORT (0)\n"
    "  --cluster       PORT is that of a cluster node: read all masters\n"
    "  --no-ttl        leave out expiry times\n"
    "  --ttl-slack MS  expiry times may be this far apart (1500)\n"
    "  --list N        differences that are shown (40)\n"
    "  --redis-target  B is a Redis without modules: JSON and probabilistic types of A are\n"
    "                  expected to be missing there\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 done or equal, 1 different, 2 cannot run.\n";

enum { O_HELP = 256, O_VERSION, O_HOST, O_DBS, O_CLUSTER, O_NO_TTL, O_SLACK, O_REDIS, O_LIST };

static const struct option long_options[] = {{"help", no_argument, NULL, O_HELP},
                                             {"version", no_argument, NULL, O_VERSION},
                                             {"host", required_argument, NULL, O_HOST},
                                             {"dbs", required_argument, NULL, O_DBS},
                                             {"cluster", no_argument, NULL, O_CLUSTER},
                                             {"no-ttl", no_argument, NULL, O_NO_TTL},
                                             {"ttl-slack", required_argument, NULL, O_SLACK},
                                             {"redis-target", no_argument, NULL, O_REDIS},
                                             {"list", required_argument, NULL, O_LIST},
                                             {NULL, 0, NULL, 0}};

static long long number(const char *what, const char *text, long long min, long long max)
{
    const char *bad;
    long long n = strtonum(text, min, max, &bad);

    if (bad)
        die("%s \"%s\" is %s", what, text, bad);
    return n;
}

/* What was written must have arrived, or a full disk would pass for an empty state. */
static void finish(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        die("cannot write to standard output");
    exit(code);
}

static void take_option(options *o, int c)
{
    switch (c) {
    case O_HELP:
        fputs(help, stdout);
        finish(EXIT_EQUAL);
        break;
    case O_VERSION:
        puts("dfstate " DFSTATE_VERSION);
        finish(EXIT_EQUAL);
        break;
    case O_HOST: o->host = optarg; break;
    case O_DBS: o->dbs = optarg; break;
    case O_CLUSTER: o->cluster = true; break;
    case O_NO_TTL: o->diff.no_ttl = true; break;
    case O_SLACK: o->diff.ttl_slack = number("--ttl-slack", optarg, 0, LLONG_MAX); break;
    case O_REDIS: o->diff.redis_target = true; break;
    case O_LIST: o->diff.list = (size_t)number("--list", optarg, 0, INT_MAX); break;
    default: /* getopt_long() has said why */ exit(EXIT_CANNOT);
    }
}

static void dump_target(target *t, const options *o, const char *what)
{
    if (is_url(what)) {
        if (o->host || o->dbs || o->cluster)
            die("--host, --dbs and --cluster go with a port, not with a URL");
        target_from_url(t, what);
        return;
    }
    if (o->cluster && o->dbs)
        die("a cluster has one database only");
    *t = (target){.cluster = o->cluster};
    t->port = (int)number("port", what, 1, 65535);
    t->host = copy_text(o->host ? o->host : "127.0.0.1", strlen(o->host ? o->host : "127.0.0.1"));
    target_set_dbs(t, o->dbs ? o->dbs : "0");
}

static void dump_run(const options *o, const char *what)
{
    target t;
    record r;
    live *l;

    dump_target(&t, o, what);
    l = live_open(&t, (live_options){.no_ttl = o->diff.no_ttl});
    while (live_next(l, &r)) {
        fwrite(r.line.p, 1, r.line.n, stdout);
        putchar('\n');
    }
    live_close(l);
    target_free(&t);
}

static void count_run(const char *url)
{
    size_t at = 0;
    keylist keys;
    server s;
    target t;

    target_from_url(&t, url);
    server_open(&s, &t);
    keylist_scan(&keys, &s, &t);
    keylist_sort(&keys, false);
    for (size_t i = 0; i < t.ndbs; i++) {
        size_t start = at;

        while (at < keys.n && keys.refs[at].db == t.dbs[i])
            at++;
        printf("%d %zu\n", t.dbs[i], at - start);
    }
    keylist_free(&keys);
    server_close(&s);
    target_free(&t);
}

static void extra_url(const char *url)
{
    target t;

    target_from_url(&t, url);
    extra_run(&t);
    target_free(&t);
}

static void digest_url(const options *o, const char *url)
{
    target t;

    target_from_url(&t, url);
    digest_run(&t, o->diff.no_ttl);
    target_free(&t);
}

/* The arguments of one command, after its options. */
static int run(const options *o, const char *command, char **argv, int argc)
{
    bool diff = strcmp(command, "diff") == 0;

    if (!diff && strcmp(command, "dump") != 0 && strcmp(command, "count") != 0 &&
        strcmp(command, "digest") != 0 && strcmp(command, "extra") != 0)
        die("unknown command \"%s\"; see dfstate --help", command);
    if (argc != (diff ? 2 : 1))
        die("%s takes %s; see dfstate --help", command, diff ? "two arguments" : "one argument");
    if (diff)
        return diff_run(argv[0], argv[1], &o->diff);
    if (strcmp(command, "dump") == 0)
        dump_run(o, argv[0]);
    else if (strcmp(command, "count") == 0)
        count_run(argv[0]);
    else if (strcmp(command, "extra") == 0)
        extra_url(argv[0]);
    else
        digest_url(o, argv[0]);
    return EXIT_EQUAL;
}

int main(int argc, char **argv)
{
    options o = {.diff = {.ttl_slack = 1500, .list = 40}};
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        take_option(&o, c);
    if (optind == argc)
        die("no command; see dfstate --help");
    /* `optind` moves no further, so the command is the first word that is no option */
    finish(run(&o, argv[optind], argv + optind + 1, argc - optind - 1));
}
