/* The target: what it is, and which databases it has. */
#ifndef RW_NODE_H
#define RW_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "../engine/put.h"

struct options;

#define RING_SIZE    ((size_t)4 << 20)
#define SEND_STEP    ((size_t)64 << 10)
#define DBS_MAX      1024u /* databases of which is remembered whether the target has them */
#define SELECT_AFTER 4096u /* requests in one database before another lane's database gets its turn */
#define SELECT_PART  10u   /* of the time of a connection, at most, goes into changing its database */

/* Databases that the target was seen to have, or not to have. */
struct dbs {
    uint32_t *known;
    bool *bad;
    unsigned n;
    unsigned next; /* learned so far */
};

struct target_info {
    char kind[16]; /* redis, valkey, dragonfly */
    char version[32];
    char compat[32]; /* redis_version */
    struct identity who;
    char role[16];
    bool cluster;
    unsigned rdb;
    uint64_t maxbulk;
    char modules[512];
};

struct node {
    const struct options *opt;
    struct dbs dbs;
    struct target_info info;
};

void node_free(struct node *n);

/* 0 not yet known, 1 the target has it, -1 it has not. */
int node_db_state(const struct node *n, uint32_t db);
void node_db_learn(struct node *n, uint32_t db, bool has);

/* It has not: text are its words. */
void node_db_refused(struct node *n, uint32_t db, const char *text, size_t len);

#endif