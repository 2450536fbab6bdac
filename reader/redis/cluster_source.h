/* A Redis or Valkey cluster as the source: a flow per master, and slots that pass from flow to flow.
 * df2redis(7), A cluster as the source.
 *
 *   source_cluster.c  the session: flows and masters, orders to flows
 *   cluster_find.c    the masters, found from any node
 *   cluster_flow.c    the flows: their connections, what is read for them; also where each has a process of
 * its own, which learns by lines what the session decides cluster_orders.c  what flows are told
 *   cluster_look.c    each master is asked again and again what it has
 *   handover.c        decides who writes a slot
 *   slot_keys.c       names of the keys of slots
 *   nodes.c           CLUSTER NODES
 *
 * Flows are not masters: a flow is a lineage (replid), and its master is whoever goes on with that. There are
 * more flows than masters, so that masters can join: see flow_count. */
#ifndef READER_CLUSTER_SOURCE_H
#define READER_CLUSTER_SOURCE_H

#include "handover.h"
#include "nodes.h"
#include "psync.h"
#include "psync_source.h"
#include "../dragonfly/reread.h"
#include "slot_keys.h"

#define MASTERS_MAX 500u
#define IDLE_POS    psync_position(0, 0) /* of a flow without a master */

struct cluster_source;

struct master {
    struct cluster_source *cluster;
    char id[44];
    struct url at;
    char shown[280];
    char version[48];
    char replid[2][REPLID_LEN + 1]; /* its own, and the one before; "": none */
    struct slotset owned;           /* when it was found */
    unsigned flow;                  /* that reads it; HO_NOBODY: none yet */

    /* Looks: cluster_look.c */
    struct conn conn;
    bool auth;                    /* the reply to AUTH is to come */
    unsigned expects;             /* ... those of a look */
    struct slotset counted;       /* the look says which of these are empty */
    unsigned strangers;           /* looks in a row that showed a master which is not ours */
    uint64_t asked_at, looked_at; /* mono_us */
    unsigned nodes;               /* of the cluster, as it says */
    bool silent;                  /* it is late with an answer: said in the log */
    bool away;                    /* the connection was lost, and is being made again */
    struct retry retry;           /* ... since then */
    uint64_t back_at;             /* mono_us: it was made again */
};

enum member_kind { MEMBER_IDLE, MEMBER_NEW, MEMBER_GOES_ON };

/* A flow as this source knows it. */
struct member {
    enum member_kind kind;
    struct master *master;  /* NULL: idle */
    struct lineage lineage; /* of an idle one */
    struct slotset held;    /* at its beginning */
    size_t told;            /* idle: bytes of its empty snapshot that were read */
    bool set;               /* in the process of the flow: the session has said which slots it holds */
    struct reread reread;
    struct slot_keys keys;
    uint32_t taking; /* number of the take whose keys are being named; 0: none */
};

struct cluster_source {
    struct psync_common base;
    struct stream *stream;
    struct session *session; /* NULL in the process of a flow, which has one master at most, and no slots */
    struct slotset share;    /* the slots that are written: all, or those of --masters */
    struct master *master;   /* those that have slots of it */
    unsigned masters;
    unsigned average; /* masters of a share: all that have slots, by the number of shares; 0: no shares */
    struct member *member; /* one per flow */
    unsigned members;
    struct handover *slots;
    uint64_t ticked_at;
    uint64_t open_since; /* mono_us: slots that nobody writes; 0: there are none */
    bool heads_told;
};

static inline struct cluster_source *cluster_of(struct source *src)
{
    return (struct cluster_source *)src;
}

/* cluster_find.c: the masters, with what they say of themselves, into c->master. Waits, by --connect-timeout
 * for each answer. Returns 0, or -1 with f. */
int cluster_find(struct cluster_source *c, struct fault *f);

/* The URL of a node, with the credentials of the options. */
void cluster_node_url(struct url *at, const struct options *o, const char *host, const char *port);

/* cluster_flow.c: functions of source.h for flows, and keys of them. */
void cluster_make_members(struct cluster_source *c);
void cluster_drop_members(struct cluster_source *c);
void cluster_server_of(struct flow *f, struct psync_server *where);
void cluster_flow_open(struct flow *f);
bool cluster_flow_readable(const struct flow *f);
long cluster_flow_read(struct flow *f, uint8_t *to, size_t cap);
const struct lineage *cluster_flow_lineage(const struct flow *f);
int cluster_flow_acknowledge(struct flow *f, uint64_t pos);
void cluster_flow_finish(struct flow *f);
void cluster_flow_close(struct flow *f);
void cluster_flow_line(const struct source *src, unsigned flow, struct buf *b);
void cluster_told(struct source *src, const char *line);
bool cluster_work(struct source *src);

/* cluster_look.c. Connect to a master for its looks, within so many seconds: 0, or -1 with f. Then ten times
 * a second. */
int look_open(struct master *m, int seconds, struct fault *f);
void look_close(struct master *m);
void look_tick(struct master *m, uint64_t now);

/* cluster_orders.c: a SLOTS record of a flow; an order of handover.c becomes one, and what it needs is begun.
 */
void cluster_slots(struct cluster_source *c, unsigned flow, const char *op, const struct ho_order *order);
void cluster_give(struct cluster_source *c, const struct ho_order *order);

#endif
