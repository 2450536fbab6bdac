/* Which node has which slot: CLUSTER SLOTS, asked of any node that answers; MOVED in between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "buf.h"
#include "nodes.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "slotmap.h"
#include "../options.h"
#include "../outcome.h"

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

struct conn *topology_conn(struct nodes *ns, struct cnode *n, const struct conn_calls *calls, size_t ring,
                           uint32_t units)
{
    if (ns->nconn == ns->conn_cap) {
        ns->conn_cap = ns->conn_cap > 0 ? 2 * ns->conn_cap : 8;
        ns->conn = xrealloc(ns->conn, ns->conn_cap * sizeof(struct conn *));
    }
    struct conn *c = conn_new(ns, calls, n, ns->nconn, ring, units);
    ns->conn[ns->nconn++] = c;
    return c;
}

static void add_conns(struct nodes *ns, struct cnode *n)
{
    n->nconn = ns->opt->connections;
    n->conn = xcalloc(n->nconn, sizeof(struct conn *));
    unsigned all = ns->nconn + n->nconn;
    size_t ring = all * RING_MAX <= RING_TOTAL ? RING_MAX : RING_MIN;
    for (unsigned i = 0; i < n->nconn; i++) {
        n->conn[i] = topology_conn(ns, n, ns->calls, ring, units_for(all));
    }
}

void topology_address(struct cnode *n, const char *host, const char *port)
{
    strlcpy(n->host, host, sizeof n->host);
    strlcpy(n->port, port, sizeof n->port);
    snprintf(n->name, sizeof n->name, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

struct cnode *topology_node(struct nodes *ns, const char *host, const char *port)
{
    for (unsigned i = 0; i < ns->n; i++)
        if (strcmp(ns->node[i]->port, port) == 0 && strcmp(ns->node[i]->host, host) == 0)
            return ns->node[i];
    if (ns->n == CNODES_MAX)
        return NULL;
    struct cnode *n = xcalloc(1, sizeof *n);
    topology_address(n, host, port);
    n->index = ns->n;
    add_conns(ns, n);
    ns->node[ns->n++] = n;
    return n;
}

/* ---- reading a topology ---- */

struct reading {
    struct nodes *ns;
    const char *asked;
    bool full; /* more nodes than can be known */
};

static void take_node(void *ctx, unsigned first, unsigned last, const char *host, const char *port,
                      bool replica)
{
    struct reading *k = ctx;
    struct cnode *n = topology_node(k->ns, host[0] != '\0' ? host : k->asked, port);
    if (replica) /* known, in case nobody else answers */
        return;
    k->full |= n == NULL;
    for (unsigned s = first; n != NULL && s <= last; s++)
        k->ns->owner[s] = (uint16_t)n->index;
    if (n != NULL)
        n->listed = true;
}

static unsigned owned(const struct nodes *ns)
{
    unsigned n = 0;
    for (unsigned s = 0; s < SLOTS; s++)
        n += ns->owner[s] != NO_NODE;
    return n;
}

static bool take_topology(struct nodes *ns, const redisReply *r, const char *asked)
{
    struct reading in = {.ns = ns, .asked = asked};
    for (unsigned i = 0; i < ns->n; i++)
        ns->node[i]->listed = false;
    if (!slotmap_read(r, take_node, &in))
        return false;
    if (in.full)
        return false;
    unsigned masters = 0;
    for (unsigned i = 0; i < ns->n; i++) {
        ns->node[i]->master = ns->node[i]->listed;
        for (unsigned k = 0; k < ns->node[i]->nconn && !ns->node[i]->listed; k++)
            ns->node[i]->conn[k]->line.restarted = false; /* another node has its slots */
        masters += ns->node[i]->listed;
    }
    log_event(LOG_DEBUG, NO_FLOW, "event=topology masters=%u slots=%u", masters, owned(ns));
    return true;
}

/* ---- the first time ---- */

void nodes_open(struct nodes *ns)
{
    ns->opened = true;
    ns->needed_since = 0;
    ns->stir = true;
}

static void no_topology(struct nodes *ns, int status, const char *reply)
{
    outcome_give_up(ns->outcome, status, "event=no_topology target=%s reply=%s", ns->opt->shown, reply);
}

void topology_first(struct nodes *ns)
{
    ns->first_until = mono_us() + (uint64_t)ns->opt->reconnect_timeout * 1000000;
    topology_refresh(ns);
}

/* CLUSTER SLOTS was answered: are there masters for all slots? */
static void first_answer(struct nodes *ns, const redisReply *r, bool ok)
{
    if (r->type == REDIS_REPLY_ERROR) {
        no_topology(ns, EXIT_CANNOT, log_quote(r->str, r->len));
    } else if (ok && owned(ns) == SLOTS) {
        nodes_open(ns);
    } else if (mono_us() >= ns->first_until) {
        outcome_give_up(ns->outcome, EXIT_RETRY, "event=slots_without_master target=%s slots=%u",
                        ns->opt->shown, SLOTS - owned(ns));
    } else {
        if (!ns->first_said)
            log_event(LOG_WARN, NO_FLOW, "event=slots_without_master target=%s slots=%u action=waiting",
                      ns->opt->shown, SLOTS - owned(ns));
        ns->first_said = true;
        topology_refresh(ns);
    }
}

/* ---- while running ---- */

void topology_refresh(struct nodes *ns)
{
    if (!ns->slots || ns->refresh_at != 0 || ns->refreshing != NULL)
        return;
    uint64_t now = mono_us();
    ns->refresh_ms = ns->refresh_ms == 0 ? REFRESH_MIN : ns->refresh_ms * 2;
    if (us_since(now, ns->refresh_since) > (uint64_t)4 * REFRESH_MAX * 1000) /* it was calm */
        ns->refresh_ms = REFRESH_MIN;
    if (ns->refresh_ms > REFRESH_MAX)
        ns->refresh_ms = REFRESH_MAX;
    ns->refresh_at = now + (uint64_t)ns->refresh_ms * 1000;
}

static void on_slots(struct line *l, void *arg, const redisReply *r)
{
    struct nodes *ns = arg;
    ns->refreshing = NULL;
    bool ok = r != NULL && take_topology(ns, r, l->node->host);
    if (!ns->opened && r != NULL)
        first_answer(ns, r, ok);
    else if (!ok)
        topology_refresh(ns); /* another node may know more */
    ns->stir = true;
}

void topology_lost(struct conn *c)
{
    struct nodes *ns = c->all;
    if (ns->refreshing == c)
        ns->refreshing = NULL;
    topology_refresh(ns);
}

void topology_work(struct nodes *ns, uint64_t now)
{
    if (ns->refreshing != NULL && us_since(now, ns->refresh_since) > ANSWER_LIMIT) {
        ns->refreshing = NULL; /* its answer still counts when it comes */
        ns->refresh_at = now;
    }
    if (ns->refresh_at == 0 || now < ns->refresh_at)
        return;
    for (unsigned i = 0; i < ns->n; i++) {
        struct conn *c = ns->node[ns->refresh_turn++ % ns->n]->conn[0];
        if (!line_takes(&c->line, 64))
            continue;
        ns->refresh_at = 0;
        ns->refreshing = c;
        ns->refresh_since = now;
        line_call(&c->line, on_slots, ns, "CLUSTER", "SLOTS", NULL);
        return;
    }
    for (unsigned i = 0; i < ns->n; i++) /* nobody to be asked: whoever answers first, replicas too */
        conn_want(ns->node[i]->conn[0], now);
    ns->refresh_at = now + (uint64_t)REFRESH_MIN * 1000;
}

void topology_moved(struct nodes *ns, unsigned slot, struct cnode *n)
{
    n->master = true;
    ns->owner[slot] = (uint16_t)n->index;
    topology_refresh(ns);
}
