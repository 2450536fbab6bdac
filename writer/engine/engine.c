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
#include "../writer.h"

#define CALM ((uint64_t)2000000) /* us without anything waiting for a node: it is not needed any more */

/* In a handshake, when it is known what the server is. */
static void on_hello(struct conn *c)
{
    watch_conn(c);
    taken_look(c);
    if (c->w->cluster->whole)
        whole_hello(c);
}

static void on_last(struct conn *c)
{
    if (c->w->cluster->whole)
        whole_last(c);
}

static void on_met(struct conn *c);
static void on_ready(struct conn *c);
static void opened(struct cluster *cl);

static void on_lost(struct conn *c)
{
    reach_lost(c);
    replicas_lost(c);
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
    mset_flush(cl);
    parts_flush(cl);
}

void cluster_open(struct writer *w)
{
    struct cluster *cl = xcalloc(1, sizeof *cl);
    w->cluster = cl;
    cl->w = w;
    cl->calls = &conn_calls;
    cl->reserved_for = -1;
    TAILQ_INIT(&cl->moved);
    TAILQ_INIT(&cl->spans);
    cl->bundles = bundles_new(&bundle_calls);
    cl->freed = gather_release;
    cl->hurry = hurry;
    cl->found_masters = opened;
    hashset_init(&cl->keys, IN_FLIGHT); /* and, when parked ones go, a few more: it is half empty */
    cl->parked = xcalloc(SLOTS, sizeof *cl->parked);
    for (unsigned i = 0; i < SLOTS; i++)
        TAILQ_INIT(&cl->parked[i]);
    struct cnode *n = topology_node(cl, w->opt.url.seed[0].host, w->opt.url.seed[0].port);
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
    struct writer *w = cl->w;
    const struct target_info *info = &w->node.info;
    bool several = info->cluster || w->opt.connections > 1 || w->opt.wait > 0 || by_file(&w->opt, info);
    if (w->opt.must_cluster && !info->cluster) {
        outcome_give_up(&w->outcome, EXIT_CANNOT, "event=no_cluster target=%s", w->opt.shown);
        return;
    }
    cl->slots = info->cluster;
    cl->whole = !several && !w->opt.at_least_once;
    cl->within = !cl->slots && !w->opt.at_least_once && !is_dragonfly(info);
    cl->confined = cl->whole && !cl->within;
    if (several && !w->opt.at_least_once)
        exact_open(w, true);
    else if (w->opt.exactly_once)
        log_event(LOG_INFO, NO_FLOW, "event=exactly_once note=\"a single server is written to so anyway\"");
    if (w->exact.on || cl->whole)
        bundles_gather(cl->bundles, cl->whole ? &whole_store : NULL);
    if (cl->whole) {
        exact_open(w, false);
        cl->msets = w->opt.mset ? msets_new() : NULL;
        cl->parts = parts_new();
    }
    if (cl->slots)
        memset(cl->owner, 0xff, sizeof cl->owner);
    cl->decided = true;
}

static void on_met(struct conn *c)
{
    struct cluster *cl = c->w->cluster;
    const char *role = c->w->node.info.role;
    if (!cl->decided)
        decide(cl);
    if (cl->opened || cl->w->outcome.dead)
        return;
    if (strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0)
        log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s", c->w->opt.shown);
    target_limits(c);
}

static void on_ready(struct conn *c)
{
    struct cluster *cl = c->w->cluster;
    if (!cl->slots) { /* it is found */
        cl->needed_since = 0;
        cl->reach.why[0] = '\0';
    }
    if (cl->opened)
        return;
    log_event(LOG_INFO, NO_FLOW, "event=connected target=%s kind=%s version=%s", c->w->opt.shown,
              c->w->node.info.kind, c->w->node.info.version);
    if (cl->slots)
        topology_first(cl);
    else
        opened(cl);
}

static void opened(struct cluster *cl)
{
    cl->opened = true;
    if (cl->w->inputs.deadline != 0) /* nothing was read until now */
        cl->w->inputs.deadline = mono_us() + (uint64_t)cl->w->opt.input_timeout * 1000000;
    cl->needed_since = 0;
    cl->stir = true;
    if (cl->w->opt.forget) /* what is to be forgotten depends on what the target is */
        (void)inputs_open(cl->w);
}

static void watch(struct writer *w, struct conn *c)
{
    bool out = transport_wants_out(&c->wire.t, c->wire.want_out);
    if (c->state < CONN_HELLO || c->lost || out == c->watched_out)
        return;
    c->watched_out = out;
    events_watch(w, c->wire.t.fd, TAG_CONN + c->index, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Until then only connections have work. */
static void opening(struct cluster *cl, uint64_t now)
{
    if (cl->node[0]->conn[0]->state == CONN_DOWN)
        conn_want(cl->node[0]->conn[0], now);
    if (signals_seen() >= 2 && !cl->w->outcome.failed)
        outcome_fail(&cl->w->outcome, EXIT_RETRY,
                     "event=cannot_use_target target=%s error=\"ended by a signal\"", cl->w->opt.shown);
    topology_work(cl, now);
    for (unsigned i = 0; i < cl->nconn; i++) {
        conn_send(cl->conn[i]);
        watch(cl->w, cl->conn[i]);
    }
}

static void drop_list(struct moved_list *l)
{
    for (struct moved *m; (m = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, m, link);
        free(m);
    }
}

void cluster_free(struct writer *w)
{
    struct cluster *cl = w->cluster;
    if (cl == NULL)
        return;
    for (unsigned i = 0; i < cl->nconn; i++)
        conn_free(cl->conn[i]);
    for (unsigned i = 0; i < cl->nnodes; i++) {
        free(cl->node[i]->conn);
        free(cl->node[i]);
    }
    drop_list(&cl->moved);
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        drop_list(&cl->parked[i]);
    free(cl->parked);
    spans_free(cl);
    reach_free(cl);
    bigjob_free(cl->big);
    bundles_free(cl->bundles);
    msets_free(cl->msets);
    parts_free(cl->parts);
    buf_free(&cl->flush);
    buf_free(&cl->refusal);
    hashset_free(&cl->keys);
    free(cl->conn);
    free(cl);
    w->cluster = NULL;
}

bool writer_quiet(const struct writer *w)
{
    return w->cluster == NULL || cluster_quiet(w);
}

unsigned cluster_in_flight(const struct cluster *cl)
{
    unsigned n = 0;
    for (unsigned i = 0; cl != NULL && i < cl->nconn; i++)
        n += cl->conn[i]->un - cl->conn[i]->replied;
    return n;
}

bool cluster_expects(const struct cluster *cl)
{
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        if (c->un > c->replied || c->patience.until != 0 || c->lost ||
            (c->state != CONN_DOWN && c->state != CONN_READY))
            return true;
    }
    return false;
}

/* ---- a session that is void ---- */

void cluster_forget(struct writer *w)
{
    struct cluster *cl = w->cluster;
    mset_forget(cl);
    parts_forget(cl);
    slots_forget(cl);
    moved_forget(cl);
    gather_forget(w);
    cl->start = START_NONE;
    cl->drain = false;
    w->marks.doing = MARKS_IDLE;
    for (unsigned i = 0; i < cl->nconn; i++)
        cl->conn[i]->unused = false;
}

/* ---- what is due ---- */

/* Is there one that was last tried before that time, and waits for its next try, or is being tried? */
static bool tries_again(const struct cluster *cl, uint64_t before, uint64_t now)
{
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        bool down = c->state == CONN_DOWN, ready = c->state == CONN_READY;
        if (c->node->master && c->lost_at < before && (down ? now < c->next_try : !ready))
            return true;
    }
    return false;
}

static void give_up_on_nodes(struct cluster *cl, uint64_t now)
{
    struct writer *w = cl->w;
    if (cl->needed_since == 0)
        return;
    uint64_t limit = (uint64_t)w->opt.reconnect_timeout * 1000000;
    /* Well before the limit, or one that was there at once would count as lost. */
    if (us_since(now, cl->needed_last) > (limit > 0 && limit / 2 < CALM ? limit / 2 : CALM)) {
        cl->needed_since = 0;
        return;
    }
    if (w->outcome.failed || us_since(now, cl->needed_since) < limit ||
        tries_again(cl, cl->needed_since + limit, now))
        return;
    const char *why = cl->slots || cl->reach.why[0] == '\0' ? "no master for some slots" : cl->reach.why;
    for (unsigned i = 0; i < cl->nconn; i++)
        if (cl->slots && cl->conn[i]->wait_ms > 0 && cl->conn[i]->why[0] != '\0' && cl->conn[i]->node->master)
            why = cl->conn[i]->why;
    outcome_give_up(&w->outcome, EXIT_RETRY, "event=target_lost target=%s error=%s", w->opt.shown,
                    log_quote(why, strlen(why)));
}

/* A turn that nobody takes in a whole round: whoever wanted it waits for something else now, perhaps for what
 * this connection may not send before that turn. */
static void drop_turns(struct cluster *cl)
{
    for (unsigned i = 0; i < cl->nconn; i++) {
        struct conn *c = cl->conn[i];
        bool unused = c->since_select == 0 && c->state == CONN_READY && !c->selecting;
        c->since_select += unused && c->unused;
        cl->stir |= unused;
        c->unused = unused;
    }
}

void cluster_work(struct writer *w, uint64_t now)
{
    struct cluster *cl = w->cluster;
    for (unsigned i = 0; i < cl->nconn; i++) {
        conn_tick(cl->conn[i], now);
        if (cl->conn[i]->lost) {
            conn_settle(cl->conn[i], now);
            topology_lost(cl->conn[i]);
            cl->stir = true;
        }
    }
    if (cl->w->outcome.dead)
        return;
    if (!cl->opened) {
        opening(cl, now);
        return;
    }
    if (cl->recheck)
        slots_recheck(cl);
    topology_work(cl, now);
    for (unsigned i = 0; i < cl->nconn && (cl->stir || now >= cl->next_moved || cl->nmoved == 0); i++)
        cl->conn[i]->awaited = false; /* whoever waits says so again */
    moved_work(cl, now);
    gather_work(w, now);
    cl->stir = false;
    span_work(cl, now);
    bigjob_work(cl->big, now);
    flushes_work(cl);
    marks_work(cl, now);
    if (cl->whole)
        whole_work(cl, now);
    if (w->sweep.state != SWEEP_OFF)
        sweep_cluster(cl, now);
    listing_work(cl, now);
    drop_turns(cl);
    for (unsigned i = 0; i < cl->nconn; i++) {
        conn_send(cl->conn[i]);
        watch(w, cl->conn[i]);
    }
    give_up_on_nodes(cl, now);
}

void cluster_push(struct writer *w)
{
    struct cluster *cl = w->cluster;
    gather_work(w, mono_us());
    for (unsigned i = 0; i < cl->nconn; i++)
        if (ring_unsent(&cl->conn[i]->wire.ring) >= SEND_STEP)
            conn_send(cl->conn[i]);
}

int cluster_timeout(const struct writer *w)
{
    const struct cluster *cl = w->cluster;
    if (!cl->opened)
        return (int)(ROUND / 1000);
    if (bundles_unseen(cl->bundles))
        return 0;
    if (cl->nmoved > 0 || cl->needed_since != 0 || cl->refresh_at != 0 || cl->refreshing != NULL ||
        cl->stir || cl->flushing || cl->big != NULL || cl->recheck || cl->w->marks.doing != MARKS_IDLE ||
        !bundles_quiet(cl->bundles))
        return (int)(ROUND / 1000);
    int ms = cl->nspans > 0 ? (int)(ROUND / 1000) : cl->whole ? whole_timeout(cl, mono_us()) : -1;
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        if (c->patience.until != 0 || c->lost || c->state == CONN_CONNECTING || c->state == CONN_HELLO)
            return (int)(ROUND / 1000);
        if (c->un > 0)
            ms = ms < 0 ? 1000 : ms;
    }
    return ms;
}

void cluster_event(struct writer *w, unsigned index, uint32_t events)
{
    struct conn *c = w->cluster->conn[index];
    if (c->lost || c->state == CONN_DOWN)
        return;
    if (c->state == CONN_CONNECTING) {
        conn_opening(c);
        return;
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0 || c->wire.t.read_wants_out)
        conn_receive(c);
    if ((events & EPOLLOUT) != 0 || c->wire.t.write_wants_in)
        conn_send(c);
}
