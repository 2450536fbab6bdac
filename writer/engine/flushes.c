#include "flushes.h"

#include <stdio.h>
#include <string.h>

#include "../outcome.h"
#include "../position/marks.h"
#include "../position/positions.h"
#include "../position/saved.h"
#include "../summary.h"
#include "../target/cluster.h"
#include "../target/target.h"
#include "errors.h"
#include "exact.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "lanes.h"
#include "log.h"

void flushes_free(struct flushes *f)
{
    buf_free(&f->request);
    buf_free(&f->refusal);
}

/* ---- telling every master ---- */

/* This master has nothing more to do with it. */
static void told(struct flushes *f, struct cnode *n, bool done)
{
    f->asked--;
    f->cl->nodes.stir = true;
    n->flushed = done;
}

static void flush_safe(struct line *l, void *arg, bool ok)
{
    told(arg, l->node, ok);
}

/* A record's request is a data error, whichever of the masters say so; without the flush nothing can go on.
 */
static void refused(struct flushes *f, struct cnode *n, const redisReply *r)
{
    if (f->purpose == EVERYBODY_RECORD) {
        if (f->refusal.len == 0)
            (void)buf_add(&f->refusal, r->str, r->len);
        told(f, n, true);
        return;
    }
    if (!f->outcome->dead)
        outcome_give_up(f->outcome, EXIT_CANNOT, "event=flush_refused node=%s reply=%s", cnode_name(n),
                        log_quote(r->str, r->len));
}

static void on_flush(struct line *l, void *arg, const redisReply *r)
{
    struct flushes *f = arg;
    struct cnode *ask;
    uint64_t due;
    if (r != NULL && r->type != REDIS_REPLY_ERROR && reply_fits(f->request.p, f->request.len, r->type)) {
        l->node->plight = (struct plight){0};
        cluster_safe(l, flush_safe, f);
        return;
    }
    if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        line_lose(l, "unexpected reply to a request for all masters");
        r = NULL;
    }
    enum detour way =
        r != NULL ? cluster_detour(f->cl, l, 3, NULL, r->str, r->len, &due, &ask) : DETOUR_AGAIN;
    if (way == DETOUR_NONE && !f->outcome->dead) {
        refused(f, l->node, r);
        return;
    }
    if (r != NULL && way != DETOUR_NONE)
        plight_refused(f->cl, &l->node->plight, NULL, r->str, r->len);
    f->asked--;
    f->cl->nodes.stir = true;
}

static void all_anew(struct nodes *ns)
{
    for (unsigned i = 0; i < ns->n; i++)
        ns->node[i]->flushed = false;
    ns->stir = true;
}

void flush_everywhere(struct flushes *f, const void *request, size_t n, uint32_t db, enum purpose purpose)
{
    if (purpose == EVERYBODY_START) {
        f->start = START_FLUSH;
        saved_void(f->saved);
    }
    if (f->outcome->failed)
        return;
    all_anew(&f->cl->nodes);
    f->request.len = f->refusal.len = 0;
    (void)buf_add(&f->request, request, n);
    f->db = db;
    f->purpose = purpose;
    f->cl->scope = LANES_ALL;
    f->cl->flushing = true;
}

void flushes_record(struct flushes *f, const struct cunit *u, const uint8_t *bytes)
{
    f->record = *u;
    flush_everywhere(f, bytes, u->len, 0, EVERYBODY_RECORD);
}

/* Is nothing of the flow on its way? Marks stand in a database that may be flushed. */
static bool flow_quiet(const struct flushes *f, unsigned flow)
{
    const struct flowpos *p = &f->positions->flow[flow];
    gather_cut(f->cl->bundles, flow);
    return p->n == 0 && p->snapshot == 0 && !f->cl->flushing && f->marks->flying == 0;
}

bool flushes_barrier(struct flushes *f, int scope)
{
    size_t n;
    const uint8_t *request = lanes_request(f->lanes, scope, &n);
    if (scope == LANES_ALL ? !cluster_quiet(f->cl) : !flow_quiet(f, (unsigned)scope))
        return false;
    marks_flushed(f->marks);
    saved_write(f->saved, mono_us(),
                true); /* the slots will not tell any more what was there and done before it */
    if (f->outcome->failed)
        return true;
    flush_everywhere(f, request, n, lanes_db(f->lanes, scope), EVERYBODY_BARRIER);
    f->cl->scope = scope;
    return true;
}

static void record_done(struct flushes *f)
{
    const struct cunit *u = &f->record;
    if (f->refusal.len > 0)
        cluster_unit_error(f->cl, u, f->request.p, (const char *)f->refusal.p, f->refusal.len);
    else
        cluster_count(f->cl, u);
    cluster_passed(f->cl, (u->flags & CF_LIVE) != 0, u->flow, u->mark);
}

static void barrier_done(struct flushes *f)
{
    const struct cluster *cl = f->cl;
    for (unsigned i = 0; i < f->lanes->n; i++)
        if (lanes_within(cl->scope, i))
            cluster_position(f->cl, &f->lanes->lane[i].at);
    bool one =
        !cl->nodes.slots && f->request.len > 0 && memmem(f->request.p, f->request.len, "FLUSHDB", 7) != NULL;
    if (one && f->db < SHARED_DBS)
        exact_forget(f->exact, f->db * SHARES, SHARES);
    else if (!one)
        exact_forget(f->exact, 0, SLOTS);
    if (f->exact->on)
        saved_write(f->saved, mono_us(), true); /* or a replay would flush again what comes now */
    f->stats->barriers++;
    lanes_release(f->lanes, cl->scope);
}

static void flushed(struct flushes *f)
{
    f->cl->flushing = false;
    f->cl->nodes.stir = true;
    switch (f->purpose) {
    case EVERYBODY_START: f->start = START_READY; break;
    case EVERYBODY_BARRIER: barrier_done(f); break;
    case EVERYBODY_RECORD: record_done(f); break;
    }
}

/* ---- what the masters hold ---- */

void flushes_survey(struct flushes *f)
{
    all_anew(&f->cl->nodes);
    for (unsigned i = 0; i < f->cl->nodes.n; i++)
        node_scan_anew(f->cl->nodes.node[i]);
    f->found = false;
    f->databases = f->cl->nodes.slots; /* a cluster has one */
    f->start = START_SURVEY;
}

/* Keys of one master. A scan that was broken off begins again. */
static void on_keys(void *arg, struct cnode *n, const redisReply *keys)
{
    struct flushes *f = arg;
    struct nodes *ns = &f->cl->nodes;
    f->asked--;
    ns->stir = true;
    if (keys == NULL || f->start != START_SURVEY) { /* or of a survey that is void */
        node_scan_anew(n);
        return;
    }
    for (size_t i = 0; i < keys->elements; i++)
        f->found |= !key_is_ours(keys->element[i]->str, keys->element[i]->len);
    bool over = strcmp(n->cursor, "0") == 0;
    bool next = over && !ns->slots && ++ns->at_db < ns->ndbs;
    n->flushed = f->found || (over && !next); /* surveyed */
}

static void scan(struct flushes *f, struct conn *c)
{
    const struct nodes *ns = &f->cl->nodes;
    f->asked++;
    node_scan(c, ns->slots ? 0 : ns->dbs[ns->at_db], on_keys, f, "1000");
}

/* A single server: which databases there are. */
static void on_keyspace(void *arg, struct cnode *n, const redisReply *info)
{
    struct flushes *f = arg;
    struct nodes *ns = &f->cl->nodes;
    f->asked--;
    ns->stir = true;
    if (info == NULL)
        return;
    cluster_take_dbs(ns, info->str);
    f->databases = ns->ndbs > 0;
    n->flushed = ns->ndbs == 0;
}

/* ---- what is due ---- */

static void ask_node(struct flushes *f, struct cnode *n)
{
    struct nodes *ns = &f->cl->nodes;
    struct conn *c = cnode_conn(ns, n, 0, f->request.len + 64);
    if (c == NULL)
        return;
    if (f->start == START_SURVEY && f->databases) {
        scan(f, c);
        return;
    }
    if (f->start == START_SURVEY) {
        if (cluster_want_db(c, 0, true) != PUT_DONE)
            return;
        f->asked++;
        node_ask(c, on_keyspace, f, "INFO", "keyspace");
        return;
    }
    enum put got = ns->slots ? PUT_DONE : cluster_want_db(c, f->db, false);
    n->flushed = got == PUT_FAIL; /* no such database: nothing in it */
    if (got != PUT_DONE)
        return;
    f->asked++;
    line_call_raw(&c->line, on_flush, f, f->request.p, f->request.len);
}

void flushes_work(struct flushes *f)
{
    const struct nodes *ns = &f->cl->nodes;
    if ((!f->cl->flushing && f->start != START_SURVEY) || f->asked > 0 || f->outcome->dead)
        return;
    bool all = true, enough = f->start == START_SURVEY && f->found;
    for (unsigned i = 0; i < ns->n && !enough; i++) {
        struct cnode *n = ns->node[i];
        if (!n->master || n->flushed)
            continue;
        all = false;
        ask_node(f, n);
    }
    if (!all)
        return;
    if (f->cl->flushing)
        flushed(f);
    else
        f->start = START_READY;
}
