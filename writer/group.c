#include "node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "writer.h"

/* A group on the wire, from database D (the connection's, which a group leaves as it was, executed or not):
 *
 *     MULTI  [SELECT d] request … [SELECT 0] HSET df2redis:{task} session … f0 … [SELECT D]  EXEC
 */

#define ITEM_EXTRA  48  /* of a SELECT before it */
#define POS_EXTRA   112 /* of a field and its value */
#define GROUP_EXTRA 1024
#define KEEP_REQ    ((size_t)256 << 10)

struct fault {
    int32_t cmd;
    uint32_t len;
};

void groups_init(struct groups *b)
{
    for (int i = 0; i < 2; i++) {
        struct group *g = &b->slot[i];
        g->req.max = 2 * GROUP_BYTES;
        hashset_init(&g->set, GROUP_ITEMS);
        g->id = ++b->next_id;
    }
    b->building = &b->slot[0];
    b->faults.max = GROUP_ITEMS * (sizeof(struct fault) + 256);
}

void groups_free(struct groups *b)
{
    for (int i = 0; i < 2; i++) {
        struct group *g = &b->slot[i];
        buf_free(&g->req);
        hashset_free(&g->set);
        free(g->item);
        free(g->pos);
        free(g->where);
        big_free(g->big);
    }
    free(b->cmd);
    buf_free(&b->faults);
}

void groups_begin(struct node *n, unsigned flows)
{
    for (int i = 0; i < 2; i++) {
        struct group *g = &n->b.slot[i];
        free(g->where);
        g->where = xcalloc(flows, sizeof *g->where);
    }
    n->b.dirty = n->b.save_now = false;
    n->b.saved_at = mono_us();
    n->confirmed_a = 0;
}

bool groups_quiet(const struct node *n)
{
    return n->b.flying == NULL && n->b.building->n == 0 && n->b.building->npos == 0;
}

static bool group_holds(const struct group *g, uint32_t key)
{
    return g->multikey || (g->set.count > 0 && hashset_has(&g->set, key));
}

bool groups_hold(const struct node *n, uint32_t key)
{
    return group_holds(n->b.building, key) || (n->b.flying != NULL && group_holds(n->b.flying, key));
}

size_t group_room(const struct group *g)
{
    return g->req.len + g->n * ITEM_EXTRA + (g->npos + REC_FLOWS_MAX) * POS_EXTRA + GROUP_EXTRA;
}

/* ---- building ---- */

static void clear(struct node *n, struct group *g)
{
    for (unsigned i = 0; i < g->n; i++)
        if (g->item[i].holds)
            hashset_remove(&g->set, g->item[i].key);
    for (unsigned i = 0; i < g->npos; i++)
        g->where[g->pos[i].flow] = 0;
    big_free(g->big);
    g->big = NULL;
    g->n = g->npos = g->own = 0;
    g->req.len = 0;
    buf_trim(&g->req, KEEP_REQ);
    g->multikey = g->exclusive = g->barrier = g->save = false;
    g->id = ++n->b.next_id;
}

static void put_pos(struct group *g, unsigned flow, uint64_t seq, uint64_t pos)
{
    unsigned at = g->where[flow];
    if (at == 0) {
        if (g->npos == g->pos_cap) {
            g->pos_cap = g->pos_cap > 0 ? 2 * g->pos_cap : 8;
            g->pos = xrealloc(g->pos, g->pos_cap * sizeof *g->pos);
        }
        g->pos[g->npos++] = (struct gpos){.flow = flow, .seq = seq, .pos = pos};
        g->where[flow] = (uint16_t)g->npos;
        return;
    }
    g->pos[at - 1].seq = seq;
    if (pos > 0)
        g->pos[at - 1].pos = pos;
}

static void add_pos(struct node *n, struct group *g, unsigned flow, uint64_t seq, uint64_t pos)
{
    put_pos(g, flow, seq, pos);
    g->own = g->npos;
    positions_add(&n->w->positions, flow, g->id, seq, pos);
}

static struct item *add_item(struct group *g, const struct rec *r, uint8_t vclass)
{
    if (g->n == g->cap) {
        g->cap = g->cap > 0 ? 2 * g->cap : 16;
        g->item = xrealloc(g->item, g->cap * sizeof *g->item);
    }
    struct item *it = &g->item[g->n++];
    *it = (struct item){.off = (uint32_t)g->req.len,
                        .db = r->db,
                        .time = r->time,
                        .flow = r->flow,
                        .keyarg = r->keyarg,
                        .vclass = vclass,
                        .live = (r->flags & RF_LIVE) != 0};
    return it;
}

/* May a record with this key join? Path A must have nothing of the key, and nothing at all where the keys of
 * the request cannot be told. */
static bool clear_of_pipeline(struct node *n, const struct rec *r, uint32_t key)
{
    if ((r->flags & RF_MULTIKEY) != 0) {
        if (!pipeline_quiet(n)) {
            n->yield = true;
            pipeline_flush(n);
            return false;
        }
        n->yield = false;
        return true;
    }
    if (n->a.set.count > 0 && hashset_has(&n->a.set, key)) {
        pipeline_flush(n);
        return false;
    }
    return true;
}

enum put group_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct group *g = n->b.building;
    if (g->exclusive || g->n >= GROUP_ITEMS || (g->n > 0 && g->req.len + r->len > GROUP_BYTES))
        return PUT_WAIT;
    if (node_db_state(n, r->db) <= 0) {
        enum put got = node_want_db(n, r->db);
        if (got != PUT_DONE)
            return got;
    }
    uint32_t key = hashset_key(r->hash, r->db);
    if (!clear_of_pipeline(n, r, key))
        return PUT_WAIT;
    if (n->a.mset_n > 0 && (r->flags & RF_LIVE) != 0 && n->t.fd >= 0 && !n->lost)
        pipeline_flush(n);
    struct item *it = add_item(g, r, vclass);
    it->len = r->len;
    it->key = key;
    (void)buf_add(&g->req, payload, r->len); /* within its bound: see above */
    if ((r->flags & RF_MULTIKEY) != 0)
        g->multikey = true;
    else
        it->holds = hashset_add(&g->set, key);
    add_pos(n, g, r->flow, r->seq, r->pos);
    n->since_select++;
    return PUT_DONE;
}

enum put group_position(struct node *n, const struct rec *r)
{
    struct groups *b = &n->b;
    if (b->building->exclusive)
        return PUT_WAIT;
    if (positions_pass(&n->w->positions, r->flow, r->seq, r->pos)) {
        b->dirty = true;
        if (r->type == REC_SYNCED)
            b->save_now = true;
    } else {
        add_pos(n, b->building, r->flow, r->seq, r->pos);
    }
    return PUT_DONE;
}

void group_put_big(struct node *n, const struct rec *r, struct big *big, uint8_t vclass)
{
    struct group *g = n->b.building;
    (void)add_item(g, r, vclass);
    g->big = big;
    g->exclusive = true;
    add_pos(n, g, r->flow, r->seq, r->pos);
    n->w->stats.big++;
}

void group_put_barrier(struct node *n)
{
    struct group *g = n->b.building;
    const struct lanes *l = &n->w->lanes;
    size_t len;
    const uint8_t *request = lanes_request(l, &len);
    struct rec at = l->lane[0].at;
    struct item *it = add_item(g, &at, 0);
    it->len = (uint32_t)len;
    it->keyarg = 0;
    (void)buf_add(&g->req, request, len);
    g->exclusive = g->barrier = true;
    for (unsigned i = 0; i < l->n; i++)
        add_pos(n, g, i, l->lane[i].at.seq, l->lane[i].at.pos);
}

/* ---- sending ---- */

static void command(struct groups *b, int32_t what)
{
    if (b->ncmd == b->cmd_cap) {
        b->cmd_cap = b->cmd_cap > 0 ? 2 * b->cmd_cap : 64;
        b->cmd = xrealloc(b->cmd, b->cmd_cap * sizeof *b->cmd);
    }
    b->cmd[b->ncmd++] = what;
}

static void send_select(struct node *n, uint32_t db)
{
    uint8_t num[20], req[64];
    uint8_t *p = resp_len(req, '*', 2);
    p = resp_bulk(p, "SELECT", 6);
    p = resp_bulk(p, num, dec_u64(num, db));
    ring_add(&n->ring, req, (size_t)(p - req));
    command(&n->b, CMD_SELECT);
}

static void send_position(struct node *n, const struct group *g)
{
    const struct session *s = &n->w->session;
    uint8_t small[POS_EXTRA + 512];
    char text[96];
    uint8_t *p = resp_len(small, '*', 6 + 2 * (uint64_t)g->npos);
    p = resp_bulk(p, "HSET", 4);
    p = resp_bulk(p, s->position_key, strlen(s->position_key));
    p = resp_bulk(p, "session", 7);
    p = resp_bulk(p, s->identity, strlen(s->identity));
    p = resp_bulk(p, "writer", 6);
    p = resp_bulk(p, n->w->run, strlen(n->w->run));
    ring_add(&n->ring, small, (size_t)(p - small));
    for (unsigned i = 0; i < g->npos; i++) {
        const struct gpos *f = &g->pos[i];
        uint64_t pos = f->pos > 0 ? f->pos : n->w->positions.flow[f->flow].pos;
        int k = snprintf(text, sizeof text, "f%u", f->flow);
        p = resp_bulk(small, text, (size_t)k);
        k = snprintf(text, sizeof text, "%u %llu %llu", s->epoch, (unsigned long long)f->seq,
                     (unsigned long long)pos);
        p = resp_bulk(p, text, (size_t)k);
        ring_add(&n->ring, small, (size_t)(p - small));
    }
    command(&n->b, CMD_HSET);
}

static void send_text(struct node *n, const char *text)
{
    ring_add(&n->ring, text, strlen(text));
}

/* db: where the requests left the connection. */
static void send_tail(struct node *n, const struct group *g, uint32_t db)
{
    if (db != 0)
        send_select(n, 0);
    send_position(n, g);
    if (n->db != 0)
        send_select(n, n->db);
    send_text(n, "*1\r\n$4\r\nEXEC\r\n");
}

static void send_group(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    uint64_t start = n->ring.tail;
    uint32_t db = n->db;
    b->ncmd = b->replied = 0;
    b->retry = b->broken = b->resend = false;
    b->faults.len = 0;
    send_text(n, "*1\r\n$5\r\nMULTI\r\n");
    for (unsigned i = 0; i < g->n; i++) {
        const struct item *it = &g->item[i];
        if (it->out)
            continue;
        if (it->db != db)
            send_select(n, db = it->db);
        command(b, (int32_t)i);
        if (g->big == NULL)
            ring_add(&n->ring, g->req.p + it->off, it->len);
    }
    bool streams = g->big != NULL && !g->item[0].out;
    if (streams)
        g->big->sent = 0;
    else
        send_tail(n, g, db);
    node_unit(n, U_GROUP, (size_t)(n->ring.tail - start), 0, 0);
    b->flying = g;
}

void group_big_sent(struct node *n)
{
    uint64_t start = n->ring.tail;
    struct group *g = n->b.flying;
    send_tail(n, g, g->item[0].db);
    n->unit[(n->uhead + n->un - 1) & (UNITS_MAX - 1)].len += (uint32_t)(n->ring.tail - start);
}

/* Positions that were reached without anything to send, and are newer than those in the key. */
static void add_saved(struct node *n, struct group *g)
{
    const struct positions *p = &n->w->positions;
    for (unsigned i = 0; i < p->n; i++)
        if (p->flow[i].seq > p->flow[i].saved_seq && g->where[i] == 0)
            put_pos(g, i, p->flow[i].seq, p->flow[i].pos);
    g->save = true;
    n->b.dirty = n->b.save_now = false;
}

/* A group without requests needs no trip: what was before it is applied. */
static void pass_positions(struct node *n, struct group *g)
{
    for (unsigned i = 0; i < g->own; i++) {
        const struct flowpos *f = &n->w->positions.flow[g->pos[i].flow];
        bool was_synced = f->synced;
        positions_done(&n->w->positions, g->pos[i].flow, g->id);
        if (f->synced && !was_synced)
            n->b.save_now = true;
    }
    n->b.dirty = true;
    clear(n, g);
}

void group_work(struct node *n, uint64_t now)
{
    struct groups *b = &n->b;
    struct group *g = b->flying;
    if (n->t.fd < 0 || n->un + 2 >= UNITS_MAX)
        return;
    if (g != NULL) {
        if (b->resend && ring_room(&n->ring) >= group_room(g) + n->a.mset.len + 64)
            send_group(n, g);
        return;
    }
    g = b->building;
    if (g->n == 0 && g->npos > 0)
        pass_positions(n, g);
    bool due =
        b->dirty && n->w->session.stage == ST_RUN && (b->save_now || now - b->saved_at >= POSITION_EVERY);
    if ((g->n == 0 && !due) || ring_room(&n->ring) < group_room(g) + n->a.mset.len + 64)
        return;
    if (due)
        add_saved(n, g);
    if (g->n == 0 && g->npos == 0)
        return;
    send_group(n, g);
    b->building = g == &b->slot[0] ? &b->slot[1] : &b->slot[0];
}

/* ---- confirmed, or not ---- */

static void committed(struct node *n, struct group *g)
{
    struct writer *w = n->w;
    uint64_t now = now_us();
    for (unsigned i = 0; i < g->n; i++) {
        const struct item *it = &g->item[i];
        if (it->out)
            continue;
        w->stats.requests++;
        if (it->vclass != 0)
            w->stats.keys[it->vclass]++;
        if (it->live) {
            w->stats.live++;
            stats_latency(&w->stats, it->time, now);
        }
    }
    for (unsigned i = 0; i < g->npos; i++) {
        struct flowpos *f = &w->positions.flow[g->pos[i].flow];
        if (g->pos[i].seq > f->saved_seq)
            f->saved_seq = g->pos[i].seq;
    }
    for (unsigned i = 0; i < g->own; i++)
        positions_done(&w->positions, g->pos[i].flow, g->id);
    n->b.saved_at = mono_us();
    n->progress = true;
    if (g->n > 0)
        w->stats.groups++;
    if (g->barrier) {
        w->stats.barriers++;
        lanes_release(&w->lanes);
    }
    n->b.flying = NULL;
    clear(n, g);
    node_succeeded(n);
}

static void item_error(struct node *n, struct group *g, unsigned i, const char *text, size_t len)
{
    struct item *it = &g->item[i];
    const uint8_t *request = g->big != NULL ? g->big->mem.p : g->req.p + it->off;
    size_t size = g->big != NULL ? g->big->mem.len : it->len;
    it->out = true;
    writer_data_error(n->w, text, len, it->flow, it->db, request, size, it->keyarg);
}

/* A reply inside EXEC's. It was executed, so even a refusal that would pass cannot be mended by sending it
 * again. */
void group_exec_error(struct node *n, int element, const char *text, size_t len)
{
    struct groups *b = &n->b;
    if (b->flying == NULL || b->resend || b->replied != b->ncmd + 1 || element < 0 ||
        (unsigned)element >= b->ncmd || n->un == 0 || n->unit[n->uhead].kind != U_GROUP)
        return;
    int32_t cmd = b->cmd[element];
    if (cmd >= 0)
        item_error(n, b->flying, (unsigned)cmd, text, len);
    else if (cmd == CMD_HSET)
        node_fatal(n, "position_not_written", text, len);
    else
        node_fatal(n, "select_failed_in_group", text, len);
}

static void queued_error(struct node *n, int32_t cmd)
{
    struct groups *b = &n->b;
    struct fault f = {.cmd = cmd, .len = (uint32_t)n->errlen};
    if (error_class(n->err, n->errlen) == ERR_RETRY) {
        b->retry = true;
        node_refused(n, n->err, n->errlen);
        return;
    }
    if (buf_add(&b->faults, &f, sizeof f) < 0 || buf_add(&b->faults, n->err, n->errlen) < 0)
        b->broken = true;
}

/* Take the requests out that were refused for good when they were queued. */
static void take_out(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    for (size_t at = 0; at + sizeof(struct fault) <= b->faults.len;) {
        struct fault f;
        memcpy(&f, b->faults.p + at, sizeof f);
        const char *text = (const char *)b->faults.p + at + sizeof f;
        at += sizeof f + f.len;
        enum err_class class = error_class(text, f.len);
        if (f.cmd < 0 || class == ERR_FATAL || class == ERR_REDIRECT)
            node_fatal(n, "target_refuses", text, f.len);
        else
            item_error(n, g, (unsigned)f.cmd, text, f.len);
    }
}

static void aborted(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    bool named = error_class(n->err, n->errlen) == ERR_RETRY;
    if (named)
        node_refused(n, n->err, n->errlen);
    b->resend = true;
    if (named || b->retry) {
        n->w->stats.retries++;
        return;
    }
    if (b->faults.len == 0) {
        node_fatal(n, "group_aborted", n->err, n->errlen);
        return;
    }
    take_out(n, g);
}

static void pop_unit(struct node *n)
{
    uint32_t len = n->unit[n->uhead].len;
    n->uhead = (n->uhead + 1) & (UNITS_MAX - 1);
    n->un--;
    ring_ack(&n->ring, len);
}

void group_reply(struct node *n)
{
    struct groups *b = &n->b;
    struct group *g = b->flying;
    bool error = n->reply_type == REDIS_REPLY_ERROR;
    unsigned i = b->replied++;
    if (i == 0) {
        if (error) {
            b->broken = true;
            node_fatal(n, "multi_refused", n->err, n->errlen);
        }
        return;
    }
    if (i <= b->ncmd) {
        if (error)
            queued_error(n, b->cmd[i - 1]);
        return;
    }
    pop_unit(n);
    if (b->broken || n->dead) {
        b->resend = true; /* the writer has failed: it stays unconfirmed */
    } else if (n->reply_type == REDIS_REPLY_ARRAY && n->reply_elements == (int)b->ncmd) {
        committed(n, g);
    } else if (error && error_is_execabort(n->err, n->errlen)) {
        aborted(n, g);
    } else {
        /* Older servers leave a refused EXEC's transaction open: a new connection knows where it stands. */
        b->resend = true;
        node_lose(n, "unexpected reply to EXEC: %s", error ? log_quote(n->err, n->errlen) : "no array");
    }
}

void group_settle(struct node *n, bool applied)
{
    struct group *g = n->b.flying;
    if (g == NULL)
        return;
    if (g->n == 0) { /* positions only: they are written again when due */
        n->b.dirty = true;
        n->b.flying = NULL;
        clear(n, g);
        return;
    }
    if (!applied) {
        n->b.resend = true;
        n->w->stats.retries++;
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=replies_lost requests=%u applied=yes", g->n);
    n->w->stats.uncertain += g->n;
    committed(n, g);
}

void groups_forget(struct node *n)
{
    struct groups *b = &n->b;
    clear(n, b->building);
    if (b->flying != NULL && b->resend) {
        clear(n, b->flying);
        b->flying = NULL;
        b->resend = false;
    }
    b->dirty = b->save_now = false;
}
