/* The connections of the engine: their beginning, what is due, and their end. */
#include "../target/cluster.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "big.h"
#include "bundle.h"
#include "../events.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "log.h"
#include "../signals.h"
#include "../target/taken.h"
#include "../target/target.h"
#include "../options.h"
#include "../outcome.h"
#include "exact.h"
#include "whole.h"

#define CALM ((uint64_t)2000000) /* us without anything waiting for a node: it is not needed any more */

/* In a handshake, when it is known what the server is. */
static void on_hello(struct hello *h)
{
    struct cluster *cl = h->all->cl;
    watch_conn(cl->watch, h->line);
    taken_look(h);
    if (h->all->whole)
        whole_hello(cl->whole, h);
}

static void on_last(struct hello *h)
{
    if (h->all->whole)
        whole_last(h->all->cl->whole, h);
}

static void on_met(struct hello *h);
static void on_ready(struct conn *c);

static void on_lost(struct conn *c)
{
    reach_lost(c);
    replicas_lost(&c->line);
}

static const struct conn_calls conn_calls = {.known = reach_known,
                                             .missed = reach_missed,
                                             .met = on_met,
                                             .hello = on_hello,
                                             .last = on_last,
                                             .ready = on_ready,
                                             .held = replicas_ask,
                                             .lost = on_lost,
                                             .free = replicas_free};

static void hurry(struct cluster *cl)
{
    mset_flush(cl->msets);
    parts_flush(cl->parts);
}

struct cluster *cluster_new(void)
{
    struct cluster *cl = xcalloc(1, sizeof *cl);
    cl->nodes.cl = cl;
    cl->nodes.calls = &conn_calls;
    cl->reserved_for = -1;
    TAILQ_INIT(&cl->moved);
    TAILQ_INIT(&cl->spans);
    cl->freed = gather_release;
    cl->hurry = hurry;
    hashset_init(&cl->keys, IN_FLIGHT); /* and, when parked ones go, a few more: it is half empty */
    cl->parked = xcalloc(SLOTS, sizeof *cl->parked);
    for (unsigned i = 0; i < SLOTS; i++)
        TAILQ_INIT(&cl->parked[i]);
    return cl;
}

void cluster_open(struct cluster *cl)
{
    struct cnode *n = topology_node(&cl->nodes, cl->opt->url.seed[0].host, cl->opt->url.seed[0].port);
    n->master = true; /* and has everything, until more is known */
}

static bool is_dragonfly(const struct target_info *info)
{
    return strcmp(info->kind, "dragonfly") == 0;
}

/* A Dragonfly changes one database in a transaction, and does not flush in it: a position key in database 0
 * would bind everything to that database, positions in a file do not. The file alone does not show whether
 * the master that sentinels name has what was confirmed. */
static bool by_file(const struct options *o, const struct target_info *info)
{
    return is_dragonfly(info) && o->position_file != NULL && !o->at_least_once && !o->url.sentinel;
}

/* It is known what the target is. */
static void decide(struct cluster *cl)
{
    struct nodes *ns = &cl->nodes;
    const struct target_info *info = &ns->target->info;
    bool several = info->cluster || cl->opt->connections > 1 || cl->opt->wait > 0 || by_file(cl->opt, info);
    if (cl->opt->must_cluster && !info->cluster) {
        outcome_give_up(cl->outcome, EXIT_CANNOT, "event=no_cluster target=%s", cl->opt->shown);
        return;
    }
    ns->slots = info->cluster;
    ns->whole = !several && !cl->opt->at_least_once;
    ns->within = !ns->slots && !cl->opt->at_least_once && !is_dragonfly(info);
    cl->confined = ns->whole && !ns->within;
    if (several && !cl->opt->at_least_once)
        exact_open(cl->exact, true, cl->run);
    else if (cl->opt->exactly_once)
        log_event(LOG_INFO, NO_FLOW, "event=exactly_once note=\"a single server is written to so anyway\"");
    if (cl->exact->on || ns->whole)
        bundles_gather(cl->bundles, ns->whole ? &whole_store : NULL, cl->whole);
    if (ns->whole) {
        exact_open(cl->exact, false, cl->run);
        cl->msets = cl->opt->mset ? msets_new(cl) : NULL;
        cl->parts = parts_new(cl);
    }
    if (ns->slots)
        memset(ns->owner, 0xff, sizeof ns->owner);
    cl->decided = true;
}

static void on_met(struct hello *h)
{
    struct cluster *cl = h->all->cl;
    const char *role = h->all->target->info.role;
    if (!cl->decided)
        decide(cl);
    if (h->all->opened || cl->outcome->dead)
        return;
    if (strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0)
        log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s", cl->opt->shown);
    target_limits(h);
}

static void on_ready(struct conn *c)
{
    struct nodes *ns = c->all;
    if (!ns->slots) { /* it is found */
        ns->needed_since = 0;
        ns->reach.why[0] = '\0';
    }
    if (ns->opened)
        return;
    log_event(LOG_INFO, NO_FLOW, "event=connected target=%s kind=%s version=%s", ns->opt->shown,
              ns->target->info.kind, ns->target->info.version);
    if (ns->slots)
        topology_first(ns);
    else
        nodes_open(ns);
}

static void watch(struct conn *c)
{
    bool out = transport_wants_out(&c->line.wire.t, c->line.wire.want_out);
    if (c->line.state < CONN_HELLO || c->line.lost || out == c->watched_out)
        return;
    c->watched_out = out;
    events_watch(c->all->events, c->line.wire.t.fd, TAG_CONN + c->index, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void send_all(struct nodes *ns)
{
    for (unsigned i = 0; i < ns->nconn; i++) {
        line_send(&ns->conn[i]->line);
        watch(ns->conn[i]);
    }
}

/* Until then only connections have work. */
static void opening(struct nodes *ns, uint64_t now)
{
    if (ns->node[0]->conn[0]->line.state == CONN_DOWN)
        conn_want(ns->node[0]->conn[0], now);
    if (signals_seen() >= 2 && !ns->outcome->failed)
        outcome_fail(ns->outcome, EXIT_RETRY, "event=cannot_use_target target=%s error=\"ended by a signal\"",
                     ns->opt->shown);
    topology_work(ns, now);
    send_all(ns);
}

static void drop_list(struct moved_list *l)
{
    for (struct moved *m; (m = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, m, link);
        free(m);
    }
}

static void nodes_free(struct nodes *ns)
{
    for (unsigned i = 0; i < ns->nconn; i++)
        conn_free(ns->conn[i]);
    for (unsigned i = 0; i < ns->n; i++) {
        free(ns->node[i]->conn);
        free(ns->node[i]);
    }
    questions_free(ns);
    reach_free(ns);
    free(ns->conn);
}

void cluster_free(struct cluster *cl)
{
    nodes_free(&cl->nodes);
    drop_list(&cl->moved);
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        drop_list(&cl->parked[i]);
    free(cl->parked);
    spans_free(cl);
    bigjob_free(cl->big);
    bundles_free(cl->bundles);
    msets_free(cl->msets);
    parts_free(cl->parts);
    hashset_free(&cl->keys);
    free(cl);
}

unsigned nodes_in_flight(const struct nodes *ns)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ns->nconn; i++)
        n += ns->conn[i]->line.un - ns->conn[i]->line.replied;
    return n;
}

bool nodes_expect(const struct nodes *ns)
{
    for (unsigned i = 0; i < ns->nconn; i++) {
        const struct conn *c = ns->conn[i];
        if (c->line.un > c->line.replied || c->line.patience.until != 0 || c->line.lost ||
            (c->line.state != CONN_DOWN && c->line.state != CONN_READY))
            return true;
    }
    return false;
}

/* ---- a session that is void ---- */

void cluster_forget(struct cluster *cl)
{
    mset_forget(cl->msets);
    parts_forget(cl->parts);
    slots_forget(cl);
    moved_forget(cl);
    gather_forget(cl->bundles);
    cl->drain = false;
    for (unsigned i = 0; i < cl->nodes.nconn; i++)
        cl->nodes.conn[i]->unused = false;
}

/* ---- what is due ---- */

/* Is there one that was last tried before that time, and waits for its next try, or is being tried? */
static bool tries_again(const struct nodes *ns, uint64_t before, uint64_t now)
{
    for (unsigned i = 0; i < ns->nconn; i++) {
        const struct conn *c = ns->conn[i];
        bool down = c->line.state == CONN_DOWN, ready = c->line.state == CONN_READY;
        if (c->line.node->master && c->lost_at < before && (down ? now < c->next_try : !ready))
            return true;
    }
    return false;
}

static void give_up(struct nodes *ns, uint64_t now)
{
    if (ns->needed_since == 0)
        return;
    uint64_t limit = (uint64_t)ns->opt->reconnect_timeout * 1000000;
    /* Well before the limit, or one that was there at once would count as lost. */
    if (us_since(now, ns->needed_last) > (limit > 0 && limit / 2 < CALM ? limit / 2 : CALM)) {
        ns->needed_since = 0;
        return;
    }
    if (ns->outcome->failed || us_since(now, ns->needed_since) < limit ||
        tries_again(ns, ns->needed_since + limit, now))
        return;
    const char *why = ns->slots || ns->reach.why[0] == '\0' ? "no master for some slots" : ns->reach.why;
    for (unsigned i = 0; i < ns->nconn; i++)
        if (ns->slots && ns->conn[i]->wait_ms > 0 && ns->conn[i]->line.why[0] != '\0' &&
            ns->conn[i]->line.node->master)
            why = ns->conn[i]->line.why;
    outcome_give_up(ns->outcome, EXIT_RETRY, "event=target_lost target=%s error=%s", ns->opt->shown,
                    log_quote(why, strlen(why)));
}

/* A turn that nobody takes in a whole round: whoever wanted it waits for something else now, perhaps for what
 * this connection may not send before that turn. */
static void drop_turns(struct nodes *ns)
{
    for (unsigned i = 0; i < ns->nconn; i++) {
        struct conn *c = ns->conn[i];
        bool unused = c->line.since_select == 0 && c->line.state == CONN_READY && !c->line.selecting;
        c->line.since_select += unused && c->unused;
        ns->stir |= unused;
        c->unused = unused;
    }
}

static void tick(struct nodes *ns, uint64_t now)
{
    for (unsigned i = 0; i < ns->nconn; i++) {
        conn_tick(ns->conn[i], now);
        if (ns->conn[i]->line.lost) {
            conn_settle(ns->conn[i], now);
            topology_lost(ns->conn[i]);
            ns->stir = true;
        }
    }
}

bool cluster_work(struct cluster *cl, uint64_t now)
{
    struct nodes *ns = &cl->nodes;
    tick(ns, now);
    if (cl->outcome->dead)
        return false;
    if (!ns->opened) {
        opening(ns, now);
        return false;
    }
    if (cl->recheck)
        slots_recheck(cl);
    topology_work(ns, now);
    for (unsigned i = 0; i < ns->nconn && (ns->stir || now >= cl->next_moved || cl->nmoved == 0); i++)
        ns->conn[i]->line.awaited = false; /* whoever waits says so again */
    moved_work(cl, now);
    gather_work(cl->bundles, now);
    ns->stir = false;
    span_work(cl, now);
    bigjob_work(cl->big, now);
    return true;
}

void cluster_send(struct cluster *cl, uint64_t now)
{
    drop_turns(&cl->nodes);
    send_all(&cl->nodes);
    give_up(&cl->nodes, now);
}

void cluster_push(struct cluster *cl)
{
    const struct nodes *ns = &cl->nodes;
    gather_work(cl->bundles, mono_us());
    for (unsigned i = 0; i < ns->nconn; i++)
        if (ring_unsent(&ns->conn[i]->line.wire.ring) >= SEND_STEP)
            line_send(&ns->conn[i]->line);
}

int cluster_timeout(const struct cluster *cl)
{
    const struct nodes *ns = &cl->nodes;
    if (!ns->opened)
        return (int)(ROUND / 1000);
    if (bundles_unseen(cl->bundles))
        return 0;
    if (cl->nmoved > 0 || ns->needed_since != 0 || ns->refresh_at != 0 || ns->refreshing != NULL ||
        ns->stir || cl->flushing || cl->big != NULL || cl->recheck || cl->nspans > 0 ||
        !bundles_quiet(cl->bundles))
        return (int)(ROUND / 1000);
    int ms = -1;
    for (unsigned i = 0; i < ns->nconn; i++) {
        const struct conn *c = ns->conn[i];
        if (c->line.patience.until != 0 || c->line.lost || c->line.state == CONN_CONNECTING ||
            c->line.state == CONN_HELLO)
            return (int)(ROUND / 1000);
        if (c->line.un > 0)
            ms = 1000;
    }
    return ms;
}

void nodes_event(struct nodes *ns, unsigned index, uint32_t events)
{
    struct conn *c = ns->conn[index];
    if (c->line.lost || c->line.state == CONN_DOWN)
        return;
    if (c->line.state == CONN_CONNECTING) {
        conn_opening(c);
        return;
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0 || c->line.wire.t.read_wants_out)
        line_receive(&c->line);
    if ((events & EPOLLOUT) != 0 || c->line.wire.t.write_wants_in)
        line_send(&c->line);
}
