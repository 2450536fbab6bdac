/* Which node has which slot: CLUSTER SLOTS, asked of any node that answers; MOVED in between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "slotmap.h"
#include "../writer.h"

#define ANSWER_LIMIT ((uint64_t)2000000) /* us for a reply to CLUSTER SLOTS */
#define REFRESH_MIN  20u                 /* ms */
#define REFRESH_MAX  1000u
#define RING_TOTAL   ((size_t)16 << 20) /* of all connections together, as far as requests fit */
#define RING_MIN     ((size_t)2 << 20)  /* a record's request has up to 1 MiB */
#define RING_MAX     ((size_t)4 << 20)
#define UNITS_TOTAL  32768u
#define UNITS_MIN    1024u
#define UNITS_MOST   8192u

/* ---- nodes ---- */

static uint32_t units_for(unsigned conns)
{
    uint32_t n = UNITS_MOST;
    while (n > UNITS_MIN && n * conns > UNITS_TOTAL)
        n /= 2;
    return n;
}

struct conn *topology_conn(struct cluster *cl, struct cnode *n, const struct conn_calls *calls, size_t ring,
                           uint32_t units)
{
    if (cl->nconn == cl->conn_cap) {
        cl->conn_cap = cl->conn_cap > 0 ? 2 * cl->conn_cap : 8;
        cl->conn = xrealloc(cl->conn, cl->conn_cap * sizeof(struct conn *));
    }
    struct conn *c = conn_new(cl->w, calls, n, cl->nconn, ring, units);
    cl->conn[cl->nconn++] = c;
    return c;
}

static void add_conns(struct cluster *cl, struct cnode *n)
{
    n->nconn = cl->w->opt.connections;
    n->conn = xcalloc(n->nconn, sizeof(struct conn *));
    unsigned all = cl->nconn + n->nconn;
    size_t ring = all * RING_MAX <= RING_TOTAL ? RING_MAX : RING_MIN;
    for (unsigned i = 0; i < n->nconn; i++) {
        n->conn[i] = topology_conn(cl, n, cl->calls, ring, units_for(all));
    }
}

void topology_address(struct cnode *n, const char *host, const char *port)
{
    strlcpy(n->host, host, sizeof n->host);
    strlcpy(n->port, port, sizeof n->port);
    snprintf(n->name, sizeof n->name, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

struct cnode *topology_node(struct cluster *cl, const char *host, const char *port)
{
    for (unsigned i = 0; i < cl->nnodes; i++)
        if (strcmp(cl->node[i]->port, port) == 0 && strcmp(cl->node[i]->host, host) == 0)
            return cl->node[i];
    if (cl->nnodes == CNODES_MAX)
        return NULL;
    struct cnode *n = xcalloc(1, sizeof *n);
    topology_address(n, host, port);
    n->index = cl->nnodes;
    add_conns(cl, n);
    cl->node[cl->nnodes++] = n;
    return n;
}

/* ---- reading a topology ---- */

struct reading {
    struct cluster *cl;
    const char *asked;
    bool full; /* more nodes than can be known */
};

static void take_node(void *ctx, unsigned first, unsigned last, const char *host, const char *port,
                      bool replica)
{
    struct reading *k = ctx;
    struct cnode *n = topology_node(k->cl, host[0] != '\0' ? host : k->asked, port);
    if (replica) /* known, in case nobody else answers */
        return;
    k->full |= n == NULL;
    for (unsigned s = first; n != NULL && s <= last; s++)
        k->cl->owner[s] = (uint16_t)n->index;
    if (n != NULL)
        n->listed = true;
}

static unsigned owned(const struct cluster *cl)
{
    unsigned n = 0;
    for (unsigned s = 0; s < SLOTS; s++)
        n += cl->owner[s] != NO_NODE;
    return n;
}

static bool take_topology(struct cluster *cl, const redisReply *r, const char *asked)
{
    struct reading in = {.cl = cl, .asked = asked};
    for (unsigned i = 0; i < cl->nnodes; i++)
        cl->node[i]->listed = false;
    if (!slotmap_read(r, take_node, &in))
        return false;
    if (in.full)
        return false;
    unsigned masters = 0;
    for (unsigned i = 0; i < cl->nnodes; i++) {
        cl->node[i]->master = cl->node[i]->listed;
        for (unsigned k = 0; k < cl->node[i]->nconn && !cl->node[i]->listed; k++)
            cl->node[i]->conn[k]->restarted = false; /* another node has its slots */
        masters += cl->node[i]->listed;
    }
    log_event(LOG_DEBUG, NO_FLOW, "event=topology masters=%u slots=%u", masters, owned(cl));
    return true;
}

/* ---- the first time ---- */

static void no_topology(struct cluster *cl, int status, const char *reply)
{
    outcome_give_up(&cl->w->outcome, status, "event=no_topology target=%s reply=%s", cl->w->opt.shown, reply);
}

void topology_first(struct cluster *cl)
{
    cl->first_until = mono_us() + (uint64_t)cl->w->opt.reconnect_timeout * 1000000;
    topology_refresh(cl);
}

/* CLUSTER SLOTS was answered: are there masters for all slots? */
static void first_answer(struct cluster *cl, const redisReply *r, bool ok)
{
    struct writer *w = cl->w;
    if (r->type == REDIS_REPLY_ERROR) {
        no_topology(cl, EXIT_CANNOT, log_quote(r->str, r->len));
    } else if (ok && owned(cl) == SLOTS) {
        cl->found_masters(cl);
    } else if (mono_us() >= cl->first_until) {
        outcome_give_up(&w->outcome, EXIT_RETRY, "event=slots_without_master target=%s slots=%u",
                        w->opt.shown, SLOTS - owned(cl));
    } else {
        if (!cl->first_said)
            log_event(LOG_WARN, NO_FLOW, "event=slots_without_master target=%s slots=%u action=waiting",
                      w->opt.shown, SLOTS - owned(cl));
        cl->first_said = true;
        topology_refresh(cl);
    }
}

/* ---- while running ---- */

void topology_refresh(struct cluster *cl)
{
    if (!cl->slots || cl->refresh_at != 0 || cl->refreshing != NULL)
        return;
    uint64_t now = mono_us();
    cl->refresh_ms = cl->refresh_ms == 0 ? REFRESH_MIN : cl->refresh_ms * 2;
    if (us_since(now, cl->refresh_since) > (uint64_t)4 * REFRESH_MAX * 1000) /* it was calm */
        cl->refresh_ms = REFRESH_MIN;
    if (cl->refresh_ms > REFRESH_MAX)
        cl->refresh_ms = REFRESH_MAX;
    cl->refresh_at = now + (uint64_t)cl->refresh_ms * 1000;
}

static void on_slots(struct conn *c, void *arg, const redisReply *r)
{
    struct cluster *cl = arg;
    cl->refreshing = NULL;
    bool ok = r != NULL && take_topology(cl, r, c->node->host);
    if (!cl->opened && r != NULL)
        first_answer(cl, r, ok);
    else if (!ok)
        topology_refresh(cl); /* another node may know more */
    cl->stir = true;
}

void topology_lost(struct conn *c)
{
    struct cluster *cl = c->w->cluster;
    if (cl->refreshing == c)
        cl->refreshing = NULL;
    topology_refresh(cl);
}

void topology_work(struct cluster *cl, uint64_t now)
{
    if (cl->refreshing != NULL && us_since(now, cl->refresh_since) > ANSWER_LIMIT) {
        cl->refreshing = NULL; /* its answer still counts when it comes */
        cl->refresh_at = now;
    }
    if (cl->refresh_at == 0 || now < cl->refresh_at)
        return;
    for (unsigned i = 0; i < cl->nnodes; i++) {
        struct conn *c = cl->node[cl->refresh_turn++ % cl->nnodes]->conn[0];
        if (!conn_takes(c, 64))
            continue;
        cl->refresh_at = 0;
        cl->refreshing = c;
        cl->refresh_since = now;
        conn_call(c, on_slots, cl, "CLUSTER", "SLOTS", NULL);
        return;
    }
    for (unsigned i = 0; i < cl->nnodes; i++) /* nobody to be asked: whoever answers first, replicas too */
        conn_want(cl->node[i]->conn[0], now);
    cl->refresh_at = now + (uint64_t)REFRESH_MIN * 1000;
}

void topology_moved(struct cluster *cl, unsigned slot, struct cnode *n)
{
    n->master = true;
    cl->owner[slot] = (uint16_t)n->index;
    topology_refresh(cl);
}
