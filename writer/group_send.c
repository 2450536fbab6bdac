/* Groups on the wire, from database D (the connection's, which a group leaves as it was, executed or not):
 *
 *     MULTI  [SELECT d] request … [SELECT 0] HSET df2redis:{task} writer … f0 … [SELECT D]  EXEC
 */
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
    ring_add(&n->wire.ring, req, (size_t)(p - req));
    command(&n->b, CMD_SELECT);
}

/* The position behind one request of a group. */
static uint64_t pos_behind(const struct node *n, const struct group *g, unsigned item)
{
    unsigned flow = g->item[item].flow;
    for (unsigned i = item + 1; i-- > 0;)
        if (g->item[i].flow == flow && !g->item[i].own && g->item[i].pos > 0)
            return g->item[i].pos;
    return n->w->positions.flow[flow].pos;
}

unsigned group_flows(const struct node *n, const struct group *g)
{
    int step = n->b.step;
    return step < 0 ? g->npos : !g->item[step].own;
}

static void send_flow(struct node *n, unsigned flow, uint64_t seq, uint64_t pos)
{
    uint8_t small[POS_EXTRA + 512];
    char name[FLOW_NAME], text[POSITION_TEXT];
    struct position_flow f = {.flow = flow, .epoch = n->w->session.epoch, .seq = seq, .pos = pos};
    uint8_t *p = resp_bulk(small, name, position_flow_name(flow, name));
    p = resp_bulk(p, text, position_flow_print(&f, text));
    ring_add(&n->wire.ring, small, (size_t)(p - small));
}

/* Whose positions they are, of the flows that have a lineage of their own. */
static void send_lineages(struct ring *ring, const struct session *s)
{
    for (unsigned i = 0; i < s->flows; i++) {
        uint8_t small[POS_EXTRA + 512];
        char name[FLOW_NAME], text[POSITION_TEXT];
        if (s->flow[i].own.replid[0] == '\0')
            continue;
        uint8_t *p = resp_bulk(small, name, position_lineage_name(i, name));
        p = resp_bulk(p, text, position_lineage_print(&s->flow[i].own, text));
        ring_add(ring, small, (size_t)(p - small));
    }
}

/* The field session, without which the key says nothing, is written when the session begins, and again with
 * our own flushes only: where somebody else removes the key, it stays away, however the writer ends. */
static void send_position(struct node *n, const struct group *g)
{
    int step = n->b.step;
    unsigned flows = group_flows(n, g);
    const struct session *s = &n->w->session;
    uint8_t small[POS_EXTRA + 512];
    bool sweep = g->barrier && n->w->sweep.state != SWEEP_OFF;
    bool verify = g->barrier || probes_kept(&n->w->probes);
    unsigned own = 0;
    for (unsigned i = 0; i < s->flows && g->barrier; i++)
        own += s->flow[i].own.replid[0] != '\0';
    uint8_t *p = resp_len(small, '*', 4 + 2 * (uint64_t)(flows + own + g->barrier + sweep + verify));
    p = resp_bulk(p, "HSET", 4);
    p = resp_bulk(p, s->position_key, strlen(s->position_key));
    p = resp_bulk(p, "writer", 6);
    p = resp_bulk(p, n->w->run, strlen(n->w->run));
    if (g->barrier) {
        p = resp_bulk(p, "session", 7);
        p = resp_bulk(p, s->identity, strlen(s->identity));
    }
    if (sweep) {
        p = resp_bulk(p, "sweep", 5);
        p = resp_bulk(p, "1", 1);
    }
    if (verify) {
        p = resp_bulk(p, "verify", 6);
        p = resp_bulk(p, n->w->probes.owed ? "1" : "0", 1);
    }
    ring_add(&n->wire.ring, small, (size_t)(p - small));
    if (own > 0)
        send_lineages(&n->wire.ring, s);
    if (step >= 0 && flows > 0)
        send_flow(n, g->item[step].flow, g->item[step].seq, pos_behind(n, g, (unsigned)step));
    for (unsigned i = 0; step < 0 && i < g->npos; i++) {
        const struct gpos *f = &g->pos[i];
        send_flow(n, f->flow, f->seq, f->pos > 0 ? f->pos : n->w->positions.flow[f->flow].pos);
    }
    command(&n->b, CMD_HSET);
}

static void send_text(struct node *n, const char *text)
{
    ring_add(&n->wire.ring, text, strlen(text));
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

/* The request that goes alone; -1: all that are left. */
static int step_of(const struct group *g)
{
    int first = -1;
    for (unsigned i = 0; g->single && i < g->n; i++)
        if (!g->item[i].out && first < 0)
            first = (int)i;
        else if (!g->item[i].out)
            return first;
    return -1;
}

static void send_group(struct node *n, struct group *g)
{
    struct groups *b = &n->b;
    uint64_t start = n->wire.ring.tail;
    uint32_t db = n->db;
    b->ncmd = b->replied = 0;
    b->retry = b->broken = b->resend = b->strange = false;
    b->faults.len = 0;
    b->step = step_of(g);
    send_text(n, "*1\r\n$5\r\nMULTI\r\n");
    for (unsigned i = 0; i < g->n; i++) {
        struct item *it = &g->item[i];
        it->odd = false;
        if (it->out || (b->step >= 0 && i != (unsigned)b->step))
            continue;
        if (it->db != db)
            send_select(n, db = it->db);
        command(b, (int32_t)i);
        if (g->big == NULL)
            ring_add(&n->wire.ring, g->req.p + it->off, it->len);
    }
    bool streams = g->big != NULL && !g->item[0].out;
    if (streams)
        g->big->sent = 0;
    else
        send_tail(n, g, db);
    node_unit(n, U_GROUP, (size_t)(n->wire.ring.tail - start), 0, 0);
    b->flying = g;
}

void group_big_sent(struct node *n)
{
    uint64_t start = n->wire.ring.tail;
    struct group *g = n->b.flying;
    send_tail(n, g, g->item[0].db);
    n->unit[(n->uhead + n->un - 1) & (UNITS_MAX - 1)].len += (uint32_t)(n->wire.ring.tail - start);
}

/* Positions that were reached without anything to send, and are newer than those in the key. */
static void add_saved(struct node *n, struct group *g)
{
    const struct positions *p = &n->w->positions;
    for (unsigned i = 0; i < p->n; i++)
        if (p->flow[i].seq > p->flow[i].saved_seq && g->where[i] == 0)
            group_put_pos(g, i, p->flow[i].seq, p->flow[i].pos);
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
    group_clear(n, g);
}

void group_work(struct node *n, uint64_t now)
{
    struct groups *b = &n->b;
    struct group *g = b->flying;
    if (n->wire.t.fd < 0 || n->un + 2 >= UNITS_MAX)
        return;
    if (g != NULL) {
        if (b->resend && ring_room(&n->wire.ring) >= group_room(g) + pipeline_gathered(&n->a) + 64)
            send_group(n, g);
        return;
    }
    g = b->building;
    if (g->n == 0 && g->npos > 0)
        pass_positions(n, g);
    bool due = b->dirty && n->w->session.stage == ST_RUN &&
               (b->save_now || us_since(now, b->saved_at) >= POSITION_EVERY);
    if ((g->n == 0 && !due) || ring_room(&n->wire.ring) < group_room(g) + pipeline_gathered(&n->a) + 64)
        return;
    if (g->n > 0 && together_holds(n, now))
        return;
    if (due)
        add_saved(n, g);
    if (g->n == 0 && g->npos == 0)
        return;
    send_group(n, g);
    b->building = g == &b->slot[0] ? &b->slot[1] : &b->slot[0];
}
