/* One of the two data sets that are compared: the servers that hold it, what they can do, and connections to
 * them. */
#ifndef CHECK_SIDE_H
#define CHECK_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"
#include "loop.h"
#include "server.h"
#include "slot.h"
#include "tls.h"
#include "url.h"

#define SIDE_NODES 1024u
#define SIDE_DBS   256u
#define SIDE_LINKS 17u /* to a node: one that lists keys, the others look them up */

struct node {
    struct endpoint at;
    struct link *links;
};

struct side_db {
    uint32_t db;
    uint64_t keys, expires; /* as INFO said it last */
};

/* How it is reached. */
struct side_options {
    const char *file; /* a snapshot or an append-only file; NULL: a server, url */
    struct url url;
    char bare[1024]; /* its text, without a password */
    const struct tls_options *tls;
    const char *sentinel_user;
    char sentinel_password[512];
    int connect_timeout;  /* seconds */
    unsigned connections; /* to each node that look up keys */
    uint64_t max_ops;     /* requests per second; 0 no limit */
    const char *loss;     /* of its links */
};

struct side {
    const struct side_options *o;
    const char *label; /* "source", "target" */
    char shown[400];
    struct loop *loop;
    bool cluster;
    enum server_kind kind;
    char version[64]; /* as it says itself */
    struct node *node;
    unsigned nodes;
    uint16_t owner[SLOTS]; /* node of each slot; a single server is node 0 */
    unsigned nlinks, turn;

    bool has_pexpiretime, has_field_ttl;
    struct side_db db[SIDE_DBS];
    unsigned dbs;
    uint64_t changes;   /* that its servers counted so far ... */
    bool knows_changes; /* ... if they do */
    uint64_t expired;   /* keys, likewise */
    bool knows_expired;

    uint64_t allowed_at; /* mono_us; from when on the next request may be sent */
};

/* Find and connect to all servers. Ends the process when one does not answer, or a slot has no server. */
void side_open(struct side *s, struct loop *loop, const struct side_options *o, const char *label);
void side_close(struct side *s);

/* Another connection to a node; the caller closes it. */
void side_another(struct side *s, unsigned node, struct link *l);

/* Ask all nodes what databases there are, and how often they were changed. */
void side_list_dbs(struct side *s);

/* A number that changes when a server was replaced, took another role, or a slot moved. */
uint64_t side_identity(struct side *s);

/* NULL: there are no keys in that database. */
const struct side_db *side_find_db(const struct side *s, uint32_t db);

/* There may be such a database: SELECT would not be refused. */
bool side_may_have_db(struct side *s, uint32_t db);

/* The connection for requests that name this key of that database. turn: the same number gives the same one.
 */
struct link *side_link(struct side *s, uint32_t db, const void *key, size_t n, unsigned turn);

/* The connection that lists the keys of a node. */
static inline struct link *side_lister(struct side *s, unsigned node)
{
    return &s->node[node].links[0];
}

/* To be called between runs of the event loop. */
void side_flush(struct side *s);
void side_check(const struct side *s, uint64_t now, uint64_t silence);

/* May n requests be sent now, by --…-max-ops? If so they are counted. */
bool side_allow(const struct side *s, uint64_t now);
void side_count(struct side *s, uint64_t now, uint64_t n);

uint64_t side_bytes(const struct side *s);

#endif
