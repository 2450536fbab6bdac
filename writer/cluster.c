#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <bsd/string.h>

#include "big.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "request.h"
#include "writer.h"

#define ROUND      ((uint64_t)20000)   /* us between looks while something is not as it should be */
#define CALM       ((uint64_t)2000000) /* us without anything waiting for a node: it is not needed any more */
#define LARGE      ((size_t)16 << 10)  /* a request for which smaller ones make room */
#define TRY_MS     10u
#define TRY_MAX_MS 500u

bool cluster_open(struct writer *w)
{
    struct cluster *cl = xcalloc(1, sizeof *cl);
    w->cluster = cl;
    cl->w = w;
    cl->slots = w->node.info.cluster;
    cl->reserved_for = -1;
    TAILQ_INIT(&cl->moved);
    TAILQ_INIT(&cl->spans);
    hashset_init(&cl->keys, IN_FLIGHT + PARKED_MAX);
    cl->parked = xcalloc(SLOTS, sizeof *cl->parked);
    for (unsigned i = 0; i < SLOTS; i++)
        TAILQ_INIT(&cl->parked[i]);
    redisReader *r = redisReaderCreate();
    if (r == NULL) {
        writer_fail(w, EXIT_CANNOT, "event=out_of_memory");
        return false;
    }
    cl->building = r->fn;
    redisReaderFree(r);
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
    hashset_free(&cl->keys);
    free(cl->conn);
    free(cl);
    w->cluster = NULL;
}

bool cluster_quiet(const struct writer *w)
{
    const struct cluster *cl = w->cluster;
    return cl->keys.count == 0 && cl->nparked == 0 && cl->nspans == 0 && cl->big == NULL && !cl->flushing;
}

bool cluster_expects(const struct cluster *cl)
{
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        if (c->un > c->replied || c->pause_until != 0 || c->lost ||
            (c->state != CONN_DOWN && c->state != CONN_READY))
            return true;
    }
    return false;
}

/* ---- which connection ---- */

/* Something waits for a node that cannot be used. */
static void needed(struct cluster *cl, struct conn *c, uint64_t now)
{
    if (cl->needed_since == 0)
        cl->needed_since = now;
    cl->needed_last = now;
    conn_want(c, now);
    if (c->wait_ms > 0)
        topology_refresh(cl); /* it was tried: is it still the owner? */
}

struct conn *cnode_conn(struct cluster *cl, struct cnode *n, unsigned slot, size_t len)
{
    struct conn *c = n->conn[n->nconn == 1 ? 0 : slot % n->nconn];
    size_t flying = (size_t)(c->ring.tail - c->ring.acked);
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
        needed(cl, c, mono_us());
    return NULL;
}

struct conn *cluster_conn(struct cluster *cl, unsigned slot, size_t len)
{
    unsigned at = cl->owner[slot];
    if (at == NO_NODE) {
        uint64_t now = mono_us();
        if (cl->needed_since == 0)
            cl->needed_since = now;
        cl->needed_last = now;
        topology_refresh(cl);
        return NULL;
    }
    return cnode_conn(cl, cl->node[at], slot, len);
}

/* ---- slots ---- */

static bool reserved(const struct cluster *cl, unsigned flow, unsigned slot)
{
    if (cl->reserved_for < 0 || cl->reserved_for == (int)flow)
        return false;
    for (unsigned i = 0; i < cl->nreserved; i++)
        if (cl->reserved[i] == slot)
            return true;
    return cl->nreserved == 0; /* all of them */
}

static bool alone_in(struct cluster *cl, unsigned flow, const uint16_t *slot, unsigned n)
{
    unsigned free = 0;
    for (unsigned i = 0; i < n; i++)
        free += cl->busy[slot[i]] == 0;
    if (free == n) {
        if (cl->reserved_for == (int)flow)
            cl->reserved_for = -1;
        return true;
    }
    if (cl->reserved_for < 0) { /* or others would keep one of them busy for ever */
        cl->reserved_for = (int)flow;
        cl->nreserved = n;
        memcpy(cl->reserved, slot, n * sizeof *slot);
    }
    return false;
}

void cluster_take_slot(struct cluster *cl, unsigned slot)
{
    cl->busy[slot]++;
    cl->alone[slot] = 1;
}

/* ---- records in ---- */

/* The database of a connection to a single server. PUT_DONE: it is selected. */
static void on_select(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    uint32_t db = c->select_db;
    struct node *n = &c->w->node;
    c->selecting = false;
    if (r == NULL)
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

/* Without slots only one thing is sure to be alone with its keys: what is alone altogether. */
static bool alone_without_slots(struct cluster *cl, unsigned flow)
{
    if (cl->keys.count == 0 && cl->nparked == 0) {
        if (cl->reserved_for == (int)flow)
            cl->reserved_for = -1;
        return true;
    }
    if (cl->reserved_for < 0) {
        cl->reserved_for = (int)flow;
        cl->nreserved = 0;
    }
    return false;
}

static bool closed(const struct cluster *cl, unsigned flow, unsigned slot)
{
    return cl->flushing || cl->exclusive || reserved(cl, flow, slot);
}

bool cluster_slots_free(struct cluster *cl, unsigned flow, const uint16_t *slot, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (closed(cl, flow, slot[i]) || cl->alone[slot[i]])
            return false;
    return cl->slots ? alone_in(cl, flow, slot, n) : alone_without_slots(cl, flow);
}

static bool may_go(struct cluster *cl, const struct rec *r, unsigned slot)
{
    if (cl->keys.count >= IN_FLIGHT)
        return false;
    uint16_t one = (uint16_t)slot;
    return (r->flags & RF_MULTIKEY) != 0 ? cluster_slots_free(cl, r->flow, &one, 1)
                                         : !closed(cl, r->flow, slot);
}

static void fill_unit(struct cluster *cl, struct cunit *u, const struct rec *r, uint8_t vclass)
{
    unsigned flags = r->flags;
    u->kind = CU_ONE;
    u->time = r->time;
    u->db = r->db;
    u->flow = r->flow;
    u->vclass = vclass;
    u->keyarg = r->keyarg;
    u->flags =
        (uint8_t)(((flags & RF_LIVE) != 0 ? CF_LIVE : 0) |
                  ((flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                  ((flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0) | ((flags & RF_FIRST) != 0 ? CF_FIRST : 0));
    if ((flags & RF_LIVE) != 0)
        u->mark = positions_mark(&cl->w->positions, r->flow, r->seq, r->pos, false);
    else {
        positions_snapshot_add(&cl->w->positions, r->flow);
        u->mark = cl->w->splits.ticket;
        if (u->mark != TICKET_NONE)
            u->flags |= CF_GUARDED;
    }
}

static struct moved *moved_new(const struct cunit *u, const uint8_t *bytes)
{
    struct moved *m = xmalloc(sizeof *m + u->len);
    *m = (struct moved){.u = *u};
    memcpy(m->bytes, bytes, u->len);
    return m;
}

/* A request that has to wait for another of its slot. */
static void put_aside(struct cluster *cl, const struct cunit *u, const uint8_t *bytes)
{
    struct moved *m = moved_new(u, bytes);
    TAILQ_INSERT_TAIL(&cl->parked[u->slot], m, link);
    cl->parked_in[u->slot]++;
    cl->nparked++;
    cl->recheck |= cl->busy[u->slot] == cl->parked_in[u->slot];
    cl->parked_bytes += u->len;
}

static void enqueue(struct cluster *cl, struct moved *m)
{
    TAILQ_INSERT_TAIL(&cl->moved, m, link);
    cl->nmoved++;
    if (m->due < cl->next_moved || cl->nmoved == 1)
        cl->next_moved = m->due;
}

/* Something of the slot is done: what waited for it may go, in its order. */
static void let_go(struct cluster *cl, unsigned slot)
{
    struct moved *m;
    while ((m = TAILQ_FIRST(&cl->parked[slot])) != NULL && !cl->alone[slot] &&
           hashset_add(&cl->keys, m->u.key)) {
        TAILQ_REMOVE(&cl->parked[slot], m, link);
        cl->parked_in[slot]--;
        cl->nparked--;
        cl->parked_bytes -= m->u.len;
        if ((m->u.flags & CF_ALONE) != 0) /* it was parked for its hash: what came behind it waits on */
            cl->alone[slot] = 1;
        enqueue(cl, m);
    }
    /* Nothing of the slot is under way that would call again. */
    cl->recheck |= m != NULL && cl->busy[slot] == cl->parked_in[slot];
}

static void recheck(struct cluster *cl)
{
    cl->recheck = false;
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        if (cl->parked_in[i] > 0 && cl->busy[i] == cl->parked_in[i])
            let_go(cl, i);
}

void cluster_leave_slot(struct cluster *cl, unsigned slot, bool alone)
{
    cl->busy[slot]--;
    if (alone)
        cl->alone[slot] = 0;
    if (cl->nparked > 0)
        let_go(cl, slot);
}

enum put cluster_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = w->cluster;
    if (cl->slots && r->db != 0)
        return PUT_FAIL;
    unsigned slot = r->slot < SLOTS ? r->slot : r->hash & (SLOTS - 1);
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
    fill_unit(cl, &u, r, vclass);
    cl->busy[slot]++;
    if (park) {
        put_aside(cl, &u, payload);
        return PUT_DONE;
    }
    conn_add(c, &u, payload, r->len);
    if ((u.flags & CF_ALONE) != 0) {
        cl->alone[slot] = 1;
        cl->exclusive = !cl->slots;
    }
    return PUT_DONE;
}

enum put cluster_position(struct writer *w, const struct rec *r)
{
    if (!positions_pass(&w->positions, r->flow, r->seq, r->pos))
        (void)positions_mark(&w->positions, r->flow, r->seq, r->pos, true);
    return PUT_DONE;
}

/* ---- confirmations ---- */

void cluster_passed(struct writer *w, bool live, unsigned flow, uint64_t mark)
{
    if (w->cluster->dead)
        return;
    if (live)
        positions_mark_done(&w->positions, flow, mark);
    else
        positions_snapshot_done(&w->positions, flow);
}

static void finish(struct writer *w, const struct cunit *u, bool counted)
{
    struct cluster *cl = w->cluster;
    hashset_remove(&cl->keys, u->key);
    cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    if ((u->flags & CF_ALONE) != 0)
        cl->exclusive = false;
    cluster_passed(w, (u->flags & CF_LIVE) != 0, u->flow, u->mark);
    if (!counted || cl->dead)
        return;
    w->stats.requests++;
    if (u->vclass != 0)
        w->stats.keys[u->vclass]++;
    if ((u->flags & CF_LIVE) != 0) {
        w->stats.live++;
        if (w->session.live)
            stats_latency(&w->stats, u->time, now_us());
    }
}

/* A server that was started anew, and takes writes for the slots that it had: what it had confirmed may be
 * gone, and its replicas have followed it. */
static void restarted(struct conn *c)
{
    struct writer *w = c->w;
    c->restarted = false;
    if (w->cluster->dead)
        return;
    writer_fail(w, EXIT_RETRY, "event=target_has_lost_data node=%s reason=%s", cnode_name(c->node),
                "\"the server was started anew: what it had confirmed may be gone\"");
    w->cluster->dead = true;
}

void cluster_accepted(struct conn *c)
{
    if (c->restarted)
        restarted(c);
    c->done++;
}

void cluster_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c);
    if ((u->flags & CF_GUARDED) != 0)
        guard_reply(c->w, (uint32_t)u->mark, SPLIT_OPEN);
    finish(c->w, u, true);
}

void cluster_doubtful(struct writer *w, const struct cunit *u, const uint8_t *bytes)
{
    struct slice name = {0}, key = {0};
    (void)request_arg(bytes, u->len, 0, &name);
    bool has = u->keyarg > 0 && request_arg(bytes, u->len, u->keyarg, &key);
    const struct kind *k =
        kinds_count(&w->stats.doubtful, (const char *)name.p, name.n, has ? key.p : NULL, key.n);
    log_event(k->count == 1 ? LOG_WARN : LOG_DEBUG, u->flow, "event=may_count_twice command=%s key=%s",
              log_quote(name.p, name.n), log_quote(key.p, key.n));
}

/* ---- refusals ---- */

static uint64_t later(unsigned tries)
{
    unsigned ms = tries < 3 ? 0 : tries > 9 ? TRY_MAX_MS : TRY_MS << (tries - 3);
    return mono_us() + (uint64_t)(ms < TRY_MAX_MS ? ms : TRY_MAX_MS) * 1000;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK ...": an empty host is that of the node that answered. */
static struct cnode *named_node(struct conn *c, const char *text, unsigned *slot)
{
    char host[256], line[320];
    strlcpy(line, text, sizeof line);
    char *at = strchr(line, ' '), *where = at != NULL ? strchr(at + 1, ' ') : NULL;
    char *port = where != NULL ? strrchr(where + 1, ':') : NULL;
    if (port == NULL)
        return NULL;
    *slot = (unsigned)strtoul(at + 1, NULL, 10);
    *port++ = '\0';
    strlcpy(host, where + 1, sizeof host);
    if (*slot >= SLOTS || port[0] == '\0' || strspn(port, "0123456789") != strlen(port))
        return NULL;
    return topology_node(c->w->cluster, host[0] != '\0' && strcmp(host, "?") != 0 ? host : c->node->host,
                         port);
}

enum detour cluster_detour(struct conn *c, unsigned tries, const char *text, size_t len, uint64_t *due,
                           struct cnode **ask)
{
    struct cluster *cl = c->w->cluster;
    struct cnode *n;
    unsigned slot;
    *due = later(tries);
    *ask = NULL;
    switch (error_class(text, len)) {
    case ERR_REDIRECT:
        n = named_node(c, text, &slot);
        if (n == NULL)
            return DETOUR_NONE;
        c->w->stats.redirects++;
        log_event(LOG_DEBUG, NO_FLOW, "event=redirected node=%s reply=%s", cnode_name(c->node),
                  log_quote(text, len));
        error_count(&c->w->stats.refusals, text, len);
        if (text[0] == 'A') {
            *ask = n;
            return DETOUR_ASK;
        }
        c->restarted = false; /* another one has taken over */
        topology_moved(cl, slot, n);
        return DETOUR_AGAIN;
    case ERR_RETRY:
        c->w->stats.retries++;
        if (strncmp(text, "TRYAGAIN", 8) == 0) {
            error_count(&c->w->stats.refusals, text, len);
            *due = later(tries + 3);
            return DETOUR_AGAIN;
        }
        conn_pause(c, text, len);
        *due = c->pause_until;
        topology_refresh(cl);
        return DETOUR_AGAIN;
    case ERR_FATAL:
        writer_fail(c->w, EXIT_CANNOT, "event=target_refuses node=%s reply=%s", cnode_name(c->node),
                    log_quote(text, len));
        cl->dead = true;
        return DETOUR_NONE;
    default: return DETOUR_NONE;
    }
}

static struct rec unit_rec(const struct cluster *cl, const struct cunit *u)
{
    unsigned flags = ((u->flags & CF_IDEMPOTENT) != 0 ? RF_IDEMPOTENT : 0) |
                     ((u->flags & CF_ALONE) != 0 ? RF_MULTIKEY : 0) |
                     ((u->flags & CF_FIRST) != 0 ? RF_FIRST : 0);
    return (struct rec){.flow = u->flow,
                        .db = u->db,
                        .slot = cl->slots ? u->slot : REC_NO_SLOT,
                        .hash = hashset_hash(u->key, u->db),
                        .keyarg = u->keyarg,
                        .vclass = u->vclass,
                        .flags = (uint16_t)flags,
                        .time = u->time};
}

static void unit_error(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                       size_t len)
{
    bool first = (u->flags & CF_GUARDED) != 0 && u->mark >= TICKET_FIRST;
    struct failure f = {.text = text,
                        .len = len,
                        .r = unit_rec(w->cluster, u),
                        .request = bytes,
                        .n = u->len,
                        .split = first};
    if (first)
        guard_reply(w, (uint32_t)u->mark, SPLIT_FAILED);
    writer_data_error(w, &f);
}

/* Did a request of --on-existing skip or fail find its key? */
static bool unit_there(struct writer *w, const struct conn *c, const struct cunit *u, const uint8_t *bytes)
{
    bool error = c->reply_type == REDIS_REPLY_ERROR;
    if ((u->flags & CF_GUARDED) == 0 ||
        (error ? error_class(c->err, c->errlen) != ERR_CONFLICT : c->reply_type != REDIS_REPLY_NIL))
        return false;
    guard_reply(w, (uint32_t)u->mark, SPLIT_THERE);
    if ((u->flags & CF_AGAIN) != 0 && u->mark < TICKET_FIRST) {
        guard_unsure(w, u->flow, bytes, u->len, u->keyarg);
    } else {
        struct rec r = unit_rec(w->cluster, u);
        guard_there(w, &r, bytes, u->len);
    }
    return true;
}

void cluster_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    struct writer *w = c->w;
    struct cnode *ask;
    uint64_t due;
    if (unit_there(w, c, u, bytes)) {
        finish(w, u, false);
        u->kind = CU_GONE;
        return;
    }
    if (c->reply_type != REDIS_REPLY_ERROR)
        return;
    if ((u->flags & CF_RESENT) != 0 && request_shows_repeat(bytes, u->len) &&
        error_of_repeat(c->err, c->errlen))
        return; /* so it had been carried out */
    if (cluster_detour(c, u->tries, c->err, c->errlen, &due, &ask) != DETOUR_NONE) {
        cluster_displace(w, u, bytes, due, ask);
    } else {
        if (!w->cluster->dead)
            unit_error(w, u, bytes, c->err, c->errlen);
        finish(w, u, false);
    }
    u->kind = CU_GONE;
}

/* ---- requests that go another way ---- */

void cluster_displace(struct writer *w, const struct cunit *u, const uint8_t *bytes, uint64_t due,
                      struct cnode *ask)
{
    struct cluster *cl = w->cluster;
    struct moved *m = moved_new(u, bytes);
    m->due = due;
    m->ask = ask;
    if (m->u.tries < UINT8_MAX)
        m->u.tries++;
    enqueue(cl, m);
}

/* Returns whether it could go. */
static bool send_moved(struct cluster *cl, struct moved *m)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    struct conn *c =
        m->ask != NULL ? cnode_conn(cl, m->ask, m->u.slot, m->u.len) : cluster_conn(cl, m->u.slot, m->u.len);
    if (c == NULL) {
        if (m->ask != NULL && m->ask->conn[0]->wait_ms > 0)
            m->ask = NULL; /* it is not there: the owner will say where to go */
        return false;
    }
    enum put got = cl->slots ? PUT_DONE : cluster_want_db(c, m->u.db);
    if (got == PUT_FAIL) {
        static const char text[] = "ERR the target has no such database";
        unit_error(cl->w, &m->u, m->bytes, text, sizeof text - 1);
        finish(cl->w, &m->u, false);
    }
    if (got != PUT_DONE)
        return got == PUT_FAIL;
    if (m->ask != NULL) {
        struct cunit skip = {.kind = CU_SKIP};
        conn_add(c, &skip, asking, sizeof asking - 1);
    }
    conn_add(c, &m->u, m->bytes, m->u.len);
    return true;
}

static void dispatch(struct cluster *cl, uint64_t now)
{
    if (cl->nmoved == 0 || (!cl->stir && now < cl->next_moved))
        return;
    cl->next_moved = UINT64_MAX;
    struct moved *m, *next;
    for (m = TAILQ_FIRST(&cl->moved); m != NULL; m = next) {
        next = TAILQ_NEXT(m, link);
        if (m->due > now) {
            if (m->due < cl->next_moved)
                cl->next_moved = m->due;
            continue;
        }
        if (!send_moved(cl, m)) {
            cl->next_moved = now + ROUND;
            continue;
        }
        TAILQ_REMOVE(&cl->moved, m, link);
        cl->nmoved--;
        free(m);
    }
}

static void forget(struct cluster *cl, struct moved *m, unsigned slot)
{
    TAILQ_REMOVE(&cl->parked[slot], m, link);
    cl->parked_in[slot]--;
    cl->nparked--;
    cl->parked_bytes -= m->u.len;
    cl->busy[slot]--;
    cluster_passed(cl->w, (m->u.flags & CF_LIVE) != 0, m->u.flow, m->u.mark);
    free(m);
}

void cluster_forget(struct writer *w)
{
    struct cluster *cl = w->cluster;
    for (unsigned i = 0; i < SLOTS && cl->nparked > 0; i++)
        for (struct moved *m = TAILQ_FIRST(&cl->parked[i]), *next; m != NULL; m = next) {
            next = TAILQ_NEXT(m, link);
            forget(cl, m, i);
        }
    for (struct moved *m; (m = TAILQ_FIRST(&cl->moved)) != NULL;) {
        TAILQ_REMOVE(&cl->moved, m, link);
        cl->nmoved--;
        finish(w, &m->u, false);
        free(m);
    }
    cl->reserved_for = -1;
    cl->start = START_NONE;
    for (unsigned i = 0; i < cl->nconn; i++)
        cl->conn[i]->yield = false;
}

/* ---- what is due ---- */

static void give_up_on_nodes(struct cluster *cl, uint64_t now)
{
    struct writer *w = cl->w;
    if (cl->needed_since == 0)
        return;
    if (now - cl->needed_last > CALM) {
        cl->needed_since = 0;
        return;
    }
    if (w->failed || now - cl->needed_since < (uint64_t)w->opt.reconnect_timeout * 1000000)
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
    bool out = transport_wants_out(&c->t, c->want_out);
    if (c->state < CONN_HELLO || c->lost || out == c->watched_out)
        return;
    c->watched_out = out;
    loop_watch(w, c->t.fd, TAG_CONN + c->index, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
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
        recheck(cl);
    topology_work(cl, now);
    dispatch(cl, now);
    cl->stir = false;
    span_work(cl, now);
    bigjob_work(cl->big, now);
    flushes_work(cl, now);
    for (unsigned i = 0; i < cl->nconn; i++) {
        conn_send(cl->conn[i]);
        watch(w, cl->conn[i]);
    }
    give_up_on_nodes(cl, now);
}

void cluster_push(struct writer *w)
{
    struct cluster *cl = w->cluster;
    for (unsigned i = 0; i < cl->nconn; i++)
        if (ring_unsent(&cl->conn[i]->ring) >= SEND_STEP)
            conn_send(cl->conn[i]);
}

int cluster_timeout(const struct writer *w, uint64_t now)
{
    const struct cluster *cl = w->cluster;
    (void)now;
    if (cl->nmoved > 0 || cl->needed_since != 0 || cl->refresh_at != 0 || cl->refreshing != NULL ||
        cl->stir || cl->flushing || cl->big != NULL || cl->recheck)
        return (int)(ROUND / 1000);
    int ms = cl->nspans > 0 ? (int)(ROUND / 1000) : -1;
    for (unsigned i = 0; i < cl->nconn; i++) {
        const struct conn *c = cl->conn[i];
        if (c->pause_until != 0 || c->lost || c->state == CONN_CONNECTING || c->state == CONN_HELLO)
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
    if ((events & ~(uint32_t)EPOLLOUT) != 0 || c->t.read_wants_out)
        conn_receive(c);
    if ((events & EPOLLOUT) != 0 || c->t.write_wants_in)
        conn_send(c);
}
