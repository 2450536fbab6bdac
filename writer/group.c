/* Groups: what goes into one. See also group_send.c and group_reply.c. */
#include "group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "together.h"
#include "writer.h"

#define KEEP_REQ ((size_t)256 << 10)

void groups_init(struct groups *b)
{
    for (int i = 0; i < 2; i++) {
        struct group *g = &b->slot[i];
        g->req.max = 2 * GROUP_BYTES;
        hashset_init(&g->set, GROUP_ITEMS + GROUP_MORE);
        g->id = ++b->next_id;
    }
    b->building = &b->slot[0];
    b->faults.max = (GROUP_ITEMS + GROUP_MORE) * (sizeof(struct fault) + 256);
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
    free(b->open);
    buf_free(&b->faults);
}

void groups_begin(struct node *n, unsigned flows)
{
    for (int i = 0; i < 2; i++) {
        struct group *g = &n->b.slot[i];
        free(g->where);
        g->where = xcalloc(flows, sizeof *g->where);
        g->open = 0;
        g->loose = false;
        g->held_since = 0;
    }
    free(n->b.open);
    n->b.open = xcalloc(flows, sizeof *n->b.open);
    n->b.dirty = n->b.save_now = false;
    n->b.saved_at = mono_us();
    n->confirmed_a = 0;
}

bool groups_quiet(const struct node *n)
{
    return n->b.flying == NULL && n->b.building->n == 0 && n->b.building->npos == 0;
}

/* ---- building ---- */

void group_clear(struct node *n, struct group *g)
{
    for (unsigned i = 0; i < g->n; i++) {
        if (g->item[i].holds)
            hashset_remove(&g->set, g->item[i].key);
        if (g->item[i].probe != 0)
            probe_done(n->w, g->item[i].probe);
    }
    for (unsigned i = 0; i < g->npos; i++)
        g->where[g->pos[i].flow] = 0;
    big_free(g->big);
    g->big = NULL;
    g->n = g->npos = g->own = 0;
    g->req.len = 0;
    buf_trim(&g->req, KEEP_REQ);
    g->multikey = g->exclusive = g->barrier = g->save = g->loose = g->single = false;
    g->open = 0;
    g->held_since = 0;
    g->id = ++n->b.next_id;
}

void group_put_pos(struct group *g, unsigned flow, uint64_t seq, uint64_t pos)
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
    group_put_pos(g, flow, seq, pos);
    g->own = g->npos;
    positions_add(&n->w->positions, flow, g->id, seq, pos);
}

static struct item *add_item(struct group *g, const struct rec *r, uint8_t vclass, uint32_t ticket)
{
    if (g->n == g->cap) {
        g->cap = g->cap > 0 ? 2 * g->cap : 16;
        g->item = xrealloc(g->item, g->cap * sizeof *g->item);
    }
    struct item *it = &g->item[g->n++];
    *it = (struct item){.off = (uint32_t)g->req.len,
                        .db = r->db,
                        .time = r->time,
                        .seq = r->seq,
                        .pos = r->pos,
                        .ticket = ticket,
                        .flow = r->flow,
                        .keyarg = r->keyarg,
                        .vclass = vclass,
                        .live = (r->flags & RF_LIVE) != 0,
                        .multikey = (r->flags & RF_MULTIKEY) != 0,
                        .key = hashset_key(r->hash, r->db)};
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
    if (pipeline_holds(&n->a, key)) {
        pipeline_flush(n);
        return false;
    }
    return true;
}

static size_t group_most(const struct node *n)
{
    return n->w->opt.window < GROUP_BYTES ? n->w->opt.window : GROUP_BYTES;
}

/* May a record join, and behind more bytes with it? Its database is known then, too. */
static enum put may_join(struct node *n, const struct rec *r, uint32_t behind)
{
    struct group *g = n->b.building;
    struct rec both = *r;
    both.len += behind;
    if (g->exclusive)
        return PUT_WAIT;
    if ((g->n >= GROUP_ITEMS || (g->n > 0 && g->req.len + both.len > group_most(n))) &&
        !together_stretches(n->w, &both))
        return PUT_WAIT;
    if (node_db_state(n, r->db) <= 0) {
        enum put got = node_want_db(n, r->db);
        if (got != PUT_DONE)
            return got;
    }
    return clear_of_pipeline(n, r, hashset_key(r->hash, r->db)) ? PUT_DONE : PUT_WAIT;
}

static struct item *join(struct group *g, const struct rec *r, const uint8_t *payload, uint8_t vclass,
                         uint32_t ticket)
{
    struct item *it = add_item(g, r, vclass, ticket);
    it->len = r->len;
    (void)buf_add(&g->req, payload, r->len); /* within its bound: see may_join */
    if (it->multikey)
        g->multikey = true;
    else
        it->holds = hashset_add(&g->set, it->key);
    return it;
}

enum put group_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct group *g = n->b.building;
    enum put got = may_join(n, r, 0);
    if (got != PUT_DONE)
        return got;
    if (n->a.mset_n > 0 && (r->flags & RF_LIVE) != 0 && n->wire.t.fd >= 0 && !n->lost)
        pipeline_flush(n);
    join(g, r, payload, vclass, n->w->splits.ticket)->probe = n->w->probes.now;
    add_pos(n, g, r->flow, r->seq, r->pos);
    n->since_select++;
    return PUT_DONE;
}

enum put group_put_own(struct node *n, const struct rec *r, const uint8_t *request, uint32_t behind)
{
    enum put got = may_join(n, r, behind);
    if (got == PUT_DONE)
        join(n->b.building, r, request, 0, TICKET_NONE)->own = true;
    return got;
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
    (void)add_item(g, r, vclass, n->w->splits.ticket);
    g->big = big;
    g->exclusive = true;
    add_pos(n, g, r->flow, r->seq, r->pos);
    n->w->stats.big++;
}

void group_put_barrier(struct node *n, int scope)
{
    struct group *g = n->b.building;
    const struct lanes *l = &n->w->lanes;
    size_t len;
    const uint8_t *request = lanes_request(l, scope, &len);
    struct rec at = l->lane[scope == LANES_ALL ? 0 : scope].at;
    struct item *it = add_item(g, &at, 0, TICKET_NONE);
    it->len = (uint32_t)len;
    it->keyarg = 0;
    (void)buf_add(&g->req, request, len);
    g->exclusive = g->barrier = true;
    g->scope = scope;
    for (unsigned i = 0; i < l->n; i++)
        if (lanes_within(scope, i))
            add_pos(n, g, i, l->lane[i].at.seq, l->lane[i].at.pos);
    for (unsigned i = 0; i < l->n; i++) { /* the flush may remove the key, with the positions of all flows */
        const struct flowpos *f = &n->w->positions.flow[i];
        if (!lanes_within(scope, i) && f->seq > 0)
            group_put_pos(g, i, f->seq, f->pos);
    }
}
