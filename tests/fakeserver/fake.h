/* fakeredis: a server that answers like Redis, or wrongly where it is told to. A TEST TOOL of df2redis. */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "resp.h"

#define NODES_MAX 8
#define DBS       16
#define ARGS_MAX  4096
#define RULES_MAX 32

enum action {
    ACT_RAW,     /* these bytes instead of the reply */
    ACT_AFTER,   /* the reply, and these bytes behind it */
    ACT_BEFORE,  /* these bytes, and the reply behind them */
    ACT_CLOSE,   /* the connection is closed without a reply */
    ACT_DO,      /* the command is carried out, and the connection closed without a reply */
    ACT_SILENT,  /* no reply, now or later, on this connection */
    ACT_DRIBBLE, /* one byte of a reply that never ends, four times a second */
    ACT_HUGE,    /* a bulk string of so many bytes */
    ACT_MOVED,   /* to that node */
    ACT_ASK,
    ACT_GONE, /* the node closes all connections and listens no more */
    ACT_PASS, /* as if there were no rule */
};

/* What happens at some commands. */
struct rule {
    char command[32];  /* upper case */
    char key[64];      /* empty: any */
    unsigned from, to; /* which of the matching ones, from 1 */
    int node;          /* -1: any */
    enum action action;
    struct buf bytes;
    uint64_t n;
    unsigned seen;
};

struct options {
    unsigned nodes;
    bool cluster, dragonfly;
    const char *info;  /* instead of INFO's text */
    const char *host;  /* how nodes are named in CLUSTER SLOTS */
    const char *slots; /* CLUSTER SLOTS, raw */
    const char *log;
    const char *unix_path;
    struct rule rule[RULES_MAX];
    unsigned nrules;
};

/* ---- store.c: keys of all nodes together ---- */

/* A command's reply is appended to out. It is of the database that was selected last. */
void store_command(const struct slice *arg, unsigned n, struct buf *out);
void store_select(unsigned db);
void store_keys(struct buf *out);
unsigned store_size(unsigned db);

/* ---- rules.c ---- */

/* "COMMAND[ KEY][@NODE][#N|#N-M|#N-]=ACTION[:TEXT]" */
void rule_add(struct options *o, const char *text);
struct rule *rule_find(struct options *o, unsigned node, const struct slice *arg, unsigned n);

/* \r \n \0 \\ \xHH */
void unescape(struct buf *b, const char *text);

bool slice_is(const struct slice *s, const char *word); /* without regard to case */

#endif
