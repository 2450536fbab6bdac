/*
 * Writes of many clients, made from a seed: the load of the crash tests.  Most of them do not bear being
 * applied twice (INCR, APPEND, RPUSH, LMOVE ...), so that one lost or doubled shows in the data.
 *
 * Keys are named KIND:FLOW:N.  The stand-in takes FLOW for the flow that has the key; for a real master it is
 * only part of the name.  For a cluster they are KIND:{TAG}:N, and a command has the keys of one tag.
 */
#ifndef TRAFFIC_H
#define TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRAFFIC_ARGS  32u
#define TRAFFIC_ARENA ((size_t)4 << 20)

struct traffic_options {
    uint64_t seed;
    unsigned flows, dbs, keys; /* keys: of a kind, flow and database */
    unsigned flush_every;      /* one FLUSHALL in so many commands on average, 0 = none */
    bool safe;                 /* only what may be applied twice */
    const unsigned *tag;       /* of each flow; NULL: none */
};

struct traffic_command {
    unsigned db, argc;
    const char *argv[TRAFFIC_ARGS]; /* valid until the next command */
    size_t len[TRAFFIC_ARGS];
    /* argv[1], argv[1 + step] ... are keys, `keys` of them; 0 with keys 0: the command concerns everything.
     * Only with `spread` they are of several flows, and may be given to each in part. */
    unsigned keys, step;
    bool spread;
};

/* A key to which more happens than to others. */
struct traffic_hot {
    unsigned db, flow, number;
    char kind[8];
};
#define TRAFFIC_HOT 16u

struct traffic {
    struct traffic_options o;
    uint64_t state, made;
    unsigned flow, db; /* of the command that is being made */
    bool pinned;       /* to the flow of the command before: a transaction has keys of one tag */
    struct traffic_hot hot[TRAFFIC_HOT];
    unsigned hots; /* the last TRAFFIC_HOT of so many */
    size_t used;
    char *arena;
};

void traffic_init(struct traffic *t, const struct traffic_options *o);
void traffic_free(struct traffic *t);
/* The next command.  At a server some may fail, and then have changed nothing. */
void traffic_next(struct traffic *t, struct traffic_command *c);
/* Much is to happen from now on to the first key of the command. */
void traffic_heat(struct traffic *t, const struct traffic_command *c);
/* FLOW in a key's name. */
unsigned traffic_flow(const char *key, size_t len);
/* The next number from a generator (splitmix64); below: in 0 .. n - 1. */
uint64_t traffic_random(uint64_t *state);
uint64_t traffic_below(uint64_t *state, uint64_t n);

#endif
