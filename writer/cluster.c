#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <bsd/string.h>

#include "big.h"
#include "bundle.h"
#include "errors.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "log.h"
#include "events.h"
#include "request.h"
#include "taken.h"
#include "writer.h"

#define CALM  ((uint64_t)2000000) /* us without anything waiting for a node: it is not needed any more */
#define LARGE ((size_t)16 << 10)  /* a request for which smaller ones make room */

/* In a handshake, when it is known what the server is. */
static void on_hello(struct conn *c)
{
    watch_conn(c);
    taken_look(c);
}

static const struct conn_calls conn_calls = {on_hello, replicas_ask, replicas_lost, replicas_free};

bool cluster_open(struct writer *w)
{
    struct cluster *cl = xcalloc(1, sizeof *cl);
    w->cluster = cl;
    cl->w = w;
    cl->calls = &conn_calls;
    cl->slots = w->node.info.cluster;
    cl->reserved_for = -1;
    TAILQ_INIT(&cl->moved);
    TAILQ_INIT(&cl->spans);
    cl->bundles = bundles_new(w->exact.on);
    hashset_init(&cl->keys, IN_FLIGHT + PARKED_MAX);
    cl->parked = xcalloc(SLOTS, sizeof *cl->parked);
    for (unsigned i = 0; i < SLOTS; i++)
        TAILQ_INIT(&cl->parked[i]);
    memset(cl->owner, 0xff, sizeof cl->owner);
    if (cl->slots)
        return topology_first(w);
    struct cnode *n = topology_node(cl, w->node.host, w->node.port);
    n->master = true;
    memset(cl->owner, 0, sizeof cl->owner);
    return true;
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
    bigjob_free(cl->big);
    bundles_free(cl->bundles);
    buf_free(&cl->flush);
    buf_free(&cl->refusal);
    hashset_free(&cl->keys);
    free(cl->conn);
    free(cl);
    w->cluster = NULL;
}

bool cluster_quiet(const struct writer *w)
{
    const struct cluster *cl = w->cluster;
    return cl->keys.count == 0 && cl->nparked == 0 && cl->nspans == 0 && cl->big == NULL && !cl->flushing &&
           !w->sweep.deleting && w->marks.flying == 0 && bundles_quiet(cl->bundles);
}

bool writer_quiet(const struct writer *w)
{
    return node_quiet(&w->node) && (w->cluster == NULL || cluster_quiet(w));
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

/* ---- which connection ---- */

/* Something waits for a node that cannot be used; NULL: that is not known. */
static void needed(struct cluster *cl, struct conn *c)
{
    uint64_t now = mono_us();
    if (cl->needed_since == 0)
        cl->needed_since = now;
    cl->needed_last = now;
    if (c != NULL)
        conn_want(c, now);
    if (c == NULL || c->wait_ms > 0)
        topology_refresh(cl); /* it was tried: is it still the owner? */
}

static struct conn *conn_of(const struct cnode *n, unsigned slot)
{
    return n->conn[n->nconn == 1 ? 0 : slot % n->nconn];
}

bool cnode_missing(const struct cnode *n, unsigned slot)
{
    const struct conn *c = conn_of(n, slot);
    return c->state != CONN_READY && c->wait_ms > 0;
}

struct conn *cnode_conn(struct cluster *cl, struct cnode *n, unsigned slot, size_t len)
{
    struct conn *c = conn_of(n, slot);
    size_t flying = (size_t)(c->wire.ring.tail - c->wire.ring.acked);
    bool room = flying == 0 || (flying + len <= cl->w->opt.window && conn_room(c, len));
    if (flying == 0)
        c->large = 0;
    if (!room && len > c->large && len >= LARGE)
        c->large = len;
    if (room && len >= c->large && conn_takes(c, len)) {
        c->large = 0;
        return c;
    }
    if (c->state != CONN_READY)
        needed(cl, c);
    return NULL;
}

struct conn *cluster_conn(struct cluster *cl, unsigned slot, size_t len)
{
    unsigned at = cl->owner[slot];
    if (at == NO_NODE) {
        needed(cl, NULL);
        return NULL;
    }
    return cnode_conn(cl, cl->node[at], slot, len);
}

struct conn *cluster_way(struct cluster *cl, struct cnode *ask, unsigned slot, size_t len, bool alone)
{
    unsigned at = cl->owner[slot];
    struct cnode *n = ask != NULL || at == NO_NODE ? ask : cl->node[at];
    if (!alone || n == NULL)
        return ask != NULL ? cnode_conn(cl, ask, slot, len) : cluster_conn(cl, slot, len);
    struct conn *c = conn_of(n, slot);
    c->awaited = false;
    if (c->un == 0 && (c = cnode_conn(cl, n, slot, len)) != NULL) {
        c->probing = true;
        return c;
    }
    c = conn_of(n, slot);
    c->awaited = c->un > 0;
    return NULL;
}

/* ---- records in ---- */

/* The database of a connection to a single server. PUT_DONE: it is selected. */
static void on_select(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    uint32_t db = c->select_db;
    struct node *n = &c->w->node;
    c->selecting = false;
    if (r == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STATUS), "SELECT"))
        return;
    c->w->cluster->stir = true;
    if (r->type != REDIS_REPLY_ERROR) {
        c->db = db;
        node_db_learn(n, db, true);
        return;
    }
    if (error_class(r->str, r->len) == ERR_RETRY) {
        conn_pause(c, r->str, r->len);
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=no_such_db db=%u reply=%s", db, log_quote(r->str, r->len));
    node_db_learn(n, db, false);
}

enum put cluster_want_db(struct conn *c, uint32_t db)
{
    char num[16];
    if (c->db == db)
        return PUT_DONE;
    if (node_db_state(&c->w->node, db) < 0)
        return PUT_FAIL;
    if (c->un > c->replied) { /* a SELECT that is refused must not have requests behind it */
        c->yield |= c->since_select >= SELECT_AFTER || c->w->node.allow_select;
        return PUT_WAIT;
    }
    c->yield = false;
    c->since_select = 0;
    snprintf(num, sizeof num, "%u", db);
    c->selecting = true;
    c->select_db = db;
    conn_call(c, on_select, NULL, "SELECT", num, NULL);
    return PUT_WAIT;
}

static bool may_go(struct cluster *cl, const struct rec *r, unsigned slot)
{
    if (cl->keys.count >= IN_FLIGHT)
        return false;
    uint16_t one = (uint16_t)slot;
    return (r->flags & RF_MULTIKEY) != 0 ? cluster_slots_free(cl, r->flow, &one, 1)
                                         : !slot_closed(cl, r->flow, slot);
}

static void fill_unit(struct cluster *cl, struct cunit *u, const struct rec *r, const uint8_t *payload,
                      uint8_t vclass, bool own)
{
    unsigned flags = r->flags;
    u->kind = CU_ONE;
    u->calls = &cluster_request;
    u->time = r->time;
    u->db = r->db;
    u->flow = r->flow < cl->w->positions.n ? r->flow : 0;
    u->vclass = vclass;
    u->keyarg = r->keyarg;
    u->probe = own ? 0 : cl->w->probes.now;
    u->flags =
        (uint8_t)(((flags & RF_LIVE) != 0 ? CF_LIVE : 0) |
                  ((flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                  ((flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0) | ((flags & RF_FIRST) != 0 ? CF_FIRST : 0));
    if (!own && sent_repeats(&cl->w->sent, r))
        u->flags |= CF_RESENT;
    if (!own)
        sent_take(cl->w, &cl->w->sent, r, payload, r->len);
    if (own) {
        u->flags |= CF_OWN;
        u->mark = r->flow == SWEEP_FLOW;
        cl->own++;
        cl->w->sweep.on_way += r->flow == SWEEP_FLOW;
    } else if ((flags & RF_LIVE) != 0)
        u->mark = positions_mark(&cl->w->positions, r->flow, r->seq, r->pos, false);
    else {
        positions_snapshot_add(&cl->w->positions, r->flow);
        u->mark = cl->w->splits.ticket;
        if (u->mark != TICKET_NONE)
            u->flags |= CF_GUARDED;
    }
}

static enum put put_everywhere(struct cluster *cl, const struct rec *r, const uint8_t *payload,
                               uint8_t vclass)
{
    struct cunit u = {.slot = REC_NO_SLOT, .len = r->len};
    if (!cluster_alone(cl, r->flow))
        return PUT_WAIT;
    fill_unit(cl, &u, r, payload, vclass, false);
    cluster_everywhere(cl->w, &u, payload);
    return PUT_DONE;
}

static enum put put_request(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                            bool own)
{
    struct cluster *cl = w->cluster;
    if (cl->slots && r->db != 0)
        return PUT_FAIL;
    unsigned slot = r->slot < SLOTS ? r->slot : r->hash & (SLOTS - 1);
    struct slice key;
    if (w->exact.on && r->slot >= SLOTS && request_arg(payload, r->len, r->keyarg, &key))
        slot = key_slot(key.p, key.n); /* its position has to lie there, too */
    if (!own && gather_wants(w, r, slot))
        return gather_put(w, r, slot, payload, vclass);
    uint16_t one = (uint16_t)slot; /* it cannot join what gathers: the slot is kept for it */
    if (w->exact.on && (gather_waits(cl, slot) || cl->reserved_for == (int)r->flow) &&
        !cluster_slots_free(cl, r->flow, &one, 1)) {
        gather_cut(w, r->flow);
        return PUT_WAIT;
    }
    if (!may_go(cl, r, slot))
        return PUT_WAIT;
    struct conn *c = cluster_conn(cl, slot, r->len);
    if (c == NULL)
        return PUT_WAIT;
    if (!cl->slots) {
        enum put got = cluster_want_db(c, r->db);
        if (got != PUT_DONE || c->yield)
            return got == PUT_DONE ? PUT_WAIT : got;
        c->since_select++;
    }
    struct cunit u = {.key = hashset_key(r->hash, r->db), .slot = (uint16_t)slot, .len = r->len};
    bool park = cl->alone[slot] || !TAILQ_EMPTY(&cl->parked[slot]) || !hashset_add(&cl->keys, u.key);
    if (park && (cl->nparked >= PARKED_MAX || cl->parked_bytes > PARKED_SIZE))
        return PUT_WAIT;
    fill_unit(cl, &u, r, payload, vclass, own);
    cl->busy[slot]++;
    if (park) {
        slot_park(cl, &u, payload);
        return PUT_DONE;
    }
    conn_add(c, &u, payload, r->len);
    if ((u.flags & CF_ALONE) != 0) {
        cl->alone[slot] = 1;
        cl->exclusive = !cl->slots;
    }
    return PUT_DONE;
}

enum put cluster_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = w->cluster;
    if (cl->slots && r->db == 0 && r->slot >= SLOTS && r->keyarg == 0)
        return put_everywhere(cl, r, payload, vclass);
    return put_request(w, r, payload, vclass, false);
}

enum put cluster_put_own(struct writer *w, const struct rec *r, const uint8_t *request)
{
    return put_request(w, r, request, 0, true);
}

enum put cluster_position(struct writer *w, const struct rec *r)
{
    if (!positions_pass(&w->positions, r->flow, r->seq, r->pos))
        (void)positions_mark(&w->positions, r->flow, r->seq, r->pos, true);
    return PUT_DONE;
}

/* ---- a session that is void ---- */

void cluster_forget(struct writer *w)
{
    struct cluster *cl = w->cluster;
    slots_forget(cl);
    moved_forget(cl);
    gather_forget(w);
    cl->start = START_NONE;
    w->marks.doing = MARKS_IDLE;
    for (unsigned i = 0; i < cl->nconn; i++)
        cl->conn[i]->yield = false;
}

/* ---- what is due ---- */

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
    if (w->failed || us_since(now, cl->needed_since) < limit)
        return;
    const char *why = "no master for some slots";
    for (unsigned i = 0; i < cl->nconn; i++)
        if (cl->conn[i]->wait_ms > 0 && cl->conn[i]->why[0] != '\0' && cl->conn[i]->node->master)
            why = cl->conn[i]->why;
    writer_fail(w, EXIT_RETRY, "event=target_lost target=%s error=%s", w->opt.shown,
                log_quote(why, strlen(why)));
    cl->dead = true;
}

static void watch(struct writer *w, struct conn *c)
{
    bool out = transport_wants_out(&c->wire.t, c->wire.want_out);
    if (c->state < CONN_HELLO || c->lost || out == c->watched_out)
        return;
    c->watched_out = out;
    events_watch(w, c->wire.t.fd, TAG_CONN + c->index, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
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
    if (cl->dead)
        return;
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
    if (w->sweep.state != SWEEP_OFF)
        sweep_cluster(cl, now);
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
    if (cl->nmoved > 0 || cl->needed_since != 0 || cl->refresh_at != 0 || cl->refreshing != NULL ||
        cl->stir || cl->flushing || cl->big != NULL || cl->recheck || cl->w->marks.doing != MARKS_IDLE ||
        !bundles_quiet(cl->bundles))
        return (int)(ROUND / 1000);
    int ms = cl->nspans > 0 ? (int)(ROUND / 1000) : -1;
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
