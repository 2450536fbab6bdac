/* A transaction on its way out: what stands in it, and what is to be known or given up before. */
#include "bundle_parts.h"

#include <stdlib.h>
#include <string.h>

#include "../outcome.h"
#include "../summary.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "../target/suspect.h"

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

static const struct unit_calls requests;

size_t bundle_size(const struct cunit *u)
{
    const struct bundle *t = u->arg;
    unsigned flows = t->n < REC_FLOWS_MAX ? t->n : REC_FLOWS_MAX;
    if (flows < t->flows)
        flows = t->flows;
    return (t->barrier ? flows * LINEAGE_MAX : 0) + t->req.len + sizeof multi + sizeof exec + EXACT_HSET_MAX +
           flows * EXACT_FIELD_MAX + (t->selects + 3) * SELECT_BYTES + t->more;
}

/* The slot's position, with the last record of each flow that is sent. */
static void put_position(struct bundle *t)
{
    unsigned last[REC_FLOWS_MAX], n = 0;
    struct bundles *b = t->all;
    struct exact *x = b->use.exact;
    if (b->store != NULL) {
        b->store->position(b->key, t);
        return;
    }
    x->stamp++;
    for (unsigned i = t->step < 0 ? t->n : (unsigned)t->step + 1; i-- > 0;) {
        const struct element *e = &t->e[i];
        if (!exact_notes(x, t->slot, e->r.flow, &e->id) || e->already || x->flow[e->r.flow].stamp == x->stamp)
            continue;
        x->flow[e->r.flow].stamp = x->stamp;
        last[n++] = i;
    }
    t->hset.len = 0;
    t->fields = n;
    t->added = 0;
    exact_hset(&t->hset, x, t->slot, t->token, n);
    for (unsigned i = 0; i < n; i++)
        exact_field(&t->hset, x, t->e[last[i]].r.flow, &t->e[last[i]].id);
}

/* What an earlier process did is not done again. Returns whether anything is left. */
static bool leave_out(struct bundle *t)
{
    struct exact *x = t->all->use.exact;
    bool any = false, past = exact_any(x, t->slot);
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        if (past && !e->out && exact_done(x, t->slot, e->r.flow, &e->id)) {
            e->out = e->already = true;
            t->all->use.stats->already++;
        }
        any |= !e->out;
    }
    return any;
}

/* The request that goes alone; -1: all that are left. */
static int step_of(const struct bundle *t)
{
    int first = -1;
    for (unsigned i = 0; t->single && i < t->n; i++)
        if (!t->e[i].out && first < 0)
            first = (int)i;
        else if (!t->e[i].out)
            return first;
    return -1;
}

/* The requests of one key as a transaction of their own, which goes alone. */
static void divide_key(struct bundle *t, unsigned first)
{
    struct bundle *k = bundle_new(t->all, t->slot);
    k->parts = true;
    k->plight.lost = SUSPECT_AFTER;
    for (unsigned i = first; i < t->n; i++) {
        const struct element *e = &t->e[i];
        if (e->r.hash != t->e[first].r.hash || e->r.db != t->e[first].r.db)
            continue;
        struct element *to = bundle_add(k, &e->r, t->req.p + e->off, e->vclass);
        to->holds = e->holds;
        to->resets = e->resets;
        to->out = e->out;
    }
    t->all->flying++;
    t->all->parts++;
    struct cunit u = bundle_unit(k);
    bundle_again(&u, 0, NULL);
}

/* Keys of the snapshot: each goes alone; the requests of one go one by one, unless one of them must not be
 * repeated: then all of them fail. Returns whether nothing of it is left. */
static bool give_up_parts(struct bundle *t)
{
    unsigned keys = 0;
    bool once = false;
    for (unsigned i = 0; i < t->n; i++) {
        keys += t->e[i].holds;
        once |= (t->e[i].r.flags & RF_IDEMPOTENT) == 0;
    }
    for (unsigned i = 0; i < t->n && keys > 1; i++)
        if (t->e[i].holds)
            divide_key(t, i);
    if (keys > 1) {
        t->n = 0; /* they are in the others now */
        return true;
    }
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!once && !t->single && t->n > 1) {
        t->single = true;
        return false;
    }
    if (!suspect_found(t->all->use.cl))
        return false;
    const char *text = suspect_text(t->lost);
    unsigned first = bundle_first_left(t);
    for (unsigned i = first; i < t->n; i++)
        if (!t->e[i].out && (once || i == first))
            bundle_element_error(t, &t->e[i], text, strlen(text));
    return bundle_first_left(t) >= t->n;
}

/* It is what its connections were lost for: so is one of its requests. Returns whether nothing of it is left.
 */
static bool give_up(struct bundle *t)
{
    t->step = -1;
    if (t->parts)
        return give_up_parts(t);
    unsigned first = bundle_first_left(t);
    bool one = t->single || t->n == 1;
    t->single = true;
    bundle_saves(t); /* a part of what may be repeated as a whole may not */
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!one || first >= t->n || !suspect_found(t->all->use.cl))
        return false;
    const char *text = suspect_text(t->lost);
    bundle_element_error(t, &t->e[first], text, strlen(text));
    return bundle_first_left(t) >= t->n;
}

static void command(struct bundle *t, int32_t what)
{
    if (t->ncmd == t->cmd_cap) {
        t->cmd_cap = t->cmd_cap > 0 ? 4 * t->cmd_cap : 8;
        t->cmd = xrealloc(t->cmd, t->cmd_cap * sizeof *t->cmd);
    }
    t->cmd[t->ncmd++] = what;
}

static void select_db(struct bundle *t, uint32_t *db, uint32_t to)
{
    if (*db != to)
        command(t, CMD_SELECT - (int32_t)to);
    *db = to;
}

/* What stands between MULTI and EXEC, over a connection whose database is home. Of a single server it may be
 * of several databases; the connection's stays as it was, executed or not. Returns whether it is all of its
 * requests as they are. */
static bool list_commands(struct bundle *t, uint32_t home)
{
    const struct nodes *ns = &t->all->use.cl->nodes;
    bool selects = ns->within;
    uint32_t db = home;
    t->ncmd = 0;
    for (unsigned i = 0; i < t->n; i++) {
        t->e[i].odd = false;
        if (t->e[i].out || (t->step >= 0 && i != (unsigned)t->step))
            continue;
        if (selects)
            select_db(t, &db, t->e[i].r.db);
        command(t, (int32_t)i);
    }
    bool all = t->ncmd == t->n;
    if (t->saves && selects) /* of a share it lies in its database */
        select_db(t, &db, ns->whole ? 0 : t->e[0].r.db);
    if (t->saves)
        command(t, CMD_POSITION);
    if (selects)
        select_db(t, &db, home);
    return all;
}

static void put_select(struct line *l, uint32_t db)
{
    uint8_t num[20], req[SELECT_BYTES];
    uint8_t *p = resp_len(req, '*', 2);
    p = resp_bulk(p, "SELECT", 6);
    p = resp_bulk(p, num, dec_u64(num, db));
    line_more(l, req, (size_t)(p - req));
}

/* MULTI and what stands behind it, as one unit that has a reply to each. */
static void put_requests(struct line *l, struct bundle *t)
{
    struct cunit part = {.kind = CU_QUEUED, .calls = &requests, .arg = t};
    bool all = list_commands(t, l->db);
    unsigned k = 0;
    part.mark = 1 + t->ncmd;
    line_add(l, &part, multi, sizeof multi - 1);
    for (; all && k < t->ncmd && t->cmd[k] == (int32_t)k; k++)
        ;
    if (k > 0)
        line_more(l, t->req.p, k < t->n ? t->e[k].off : t->req.len);
    for (; k < t->ncmd; k++)
        if (t->cmd[k] >= 0) {
            line_more(l, t->req.p + t->e[t->cmd[k]].off, t->e[t->cmd[k]].r.len);
        } else if (t->cmd[k] == CMD_POSITION) {
            put_position(t);
            line_more(l, t->hset.p, t->hset.len);
        } else {
            put_select(l, (uint32_t)(CMD_SELECT - t->cmd[k]));
        }
}

/* Is it known whether it was carried out before? If not, that is found out first; if so, it is done. */
static bool already(struct conn *c, const struct cunit *u, struct bundle *t)
{
    const struct bundles *b = t->all;
    if (!t->saves)
        return false;
    if (b->store != NULL) { /* the handshake has read the key */
        int has = t->doubt ? b->store->has(b->key, t) : 0;
        t->doubt = false;
        if (has < 0)
            cluster_lost_data(b->use.cl, c->line.node, "half a transaction is there");
        if (has > 0)
            bundle_safe(&c->line, t, true);
        if (has != 0)
            return true;
    } else if (t->doubt || !exact_known(b->use.exact, t->slot)) {
        exact_ask(b->use.exact, c, t->slot, bundle_learned, t);
        return true;
    }
    if (bundle_is_ours(t) || leave_out(t))
        return false;
    bundle_finish(u, true);
    return true;
}

void bundle_transmit(struct conn *c, const struct cunit *u)
{
    struct bundle *t = u->arg;
    t->replies = 0;
    t->faults.len = 0;
    t->tries = u->tries;
    if (already(c, u, t))
        return;
    if (plight_hopeless(&t->plight) && !bundle_is_ours(t) && give_up(t)) {
        bundle_finish(u, false);
        return;
    }
    if (already(c, u, t)) /* it was not asked before it was to go in steps */
        return;
    t->strange = false;
    t->step = step_of(t);
    t->sent_at = mono_us();
    t->node = c->line.node;
    c->line.node->under_way += t->n;
    put_requests(&c->line, t);
    line_add(&c->line, u, exec, sizeof exec - 1);
}

static bool is_status(const struct wire *x, const char *text, size_t len)
{
    return x->reply_type == REDIS_REPLY_STATUS && x->errlen == len && memcmp(x->err, text, len) == 0;
}

static bool on_queued(struct conn *c, struct cunit *part, const uint8_t *bytes)
{
    struct bundle *t = part->arg;
    (void)bytes;
    unsigned k = t->replies++;
    if (c->line.wire.reply_type != REDIS_REPLY_ERROR) {
        bool odd = !(k == 0 ? is_status(&c->line.wire, "OK", 2) : is_status(&c->line.wire, "QUEUED", 6));
        if (odd && k > 0 && t->cmd[k - 1] >= 0)
            t->e[t->cmd[k - 1]].odd = true;
        if (odd)
            line_lose(&c->line, "unexpected reply %s", k == 0 ? "to MULTI" : "within MULTI");
        return false;
    }
    if (k == 0) { /* what stands behind it is no transaction */
        outcome_give_up(t->all->use.outcome, EXIT_CANNOT, "event=multi_refused node=%s reply=%s",
                        cnode_name(c->line.node), log_quote(c->line.wire.err, c->line.wire.errlen));
        return false;
    }
    int32_t cmd = t->cmd[k - 1];
    bool probe = cmd >= 0 && t->e[cmd].probe != 0;
    if (!probe && error_class(c->line.wire.err, c->line.wire.errlen) ==
                      ERR_FATAL) /* it may be closed before EXEC is answered */
        bundle_refuses(t->all, c->line.node, c->line.wire.err, c->line.wire.errlen);
    bundle_note_fault(t, cmd, c->line.wire.err, c->line.wire.errlen); /* EXEC will refuse because of it */
    return false;
}

static const struct unit_calls requests = {.reply = on_queued};

void bundle_step(struct bundles *b, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg)
{
    struct bundle *t = bundle_new(b, slot);
    bundle_saves(t);
    t->fn = fn;
    t->arg = arg;
    bundle_add(t, r, request, 0)->id = *id;
    b->flying++;
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(&b->use.cl->nodes, slot, bundle_size(&u));
    if (c != NULL)
        bundle_transmit(c, &u);
    else
        bundle_again(&u, 0, NULL);
}
