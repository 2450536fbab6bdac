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

static void flush_safe(struct conn *c, void *arg, bool ok)
{
    told(arg, c->node, ok);
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

static void on_flush(struct conn *c, void *arg, const redisReply *r)
{
    struct flushes *f = arg;
    struct cnode *ask;
    uint64_t due;
    if (r != NULL && r->type != REDIS_REPLY_ERROR && reply_fits(f->request.p, f->request.len, r->type)) {
        c->node->plight = (struct plight){0};
        cluster_safe(c, flush_safe, f);
        return;
    }
    if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        conn_lose(c, "unexpected reply to a request for all masters");
        r = NULL;
    }
    enum detour way = r != NULL ? cluster_detour(c, 3, NULL, r->str, r->len, &due, &ask) : DETOUR_AGAIN;
    if (way == DETOUR_NONE && !f->outcome->dead) {
        refused(f, c->node, r);
        return;
    }
    if (r != NULL && way != DETOUR_NONE)
        plight_refused(f->cl, &c->node->plight, NULL, r->str, r->len);
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
    f->found = false;
    f->start = START_SURVEY;
}

/* The survey of one master goes on. */
static void on_scan(struct conn *c, void *arg, const redisReply *r);

static void scan(struct flushes *f, struct conn *c, const char *cursor)
{
    const struct nodes *ns = &f->cl->nodes;
    if (strcmp(cursor, "0") == 0) /* also where a scan that was broken off begins again */
        c->node->guard = (struct scan_guard){.n = 0};
    uint32_t db = ns->slots ? 0 : ns->dbs[ns->at_db];
    f->asked++;
    cluster_scan(c, db, on_scan, f, cursor, "1000");
}

static void on_scan(struct conn *c, void *arg, const redisReply *r)
{
    struct flushes *f = arg;
    struct nodes *ns = &f->cl->nodes;
    f->asked--;
    ns->stir = true;
    if (r == NULL || f->start != START_SURVEY) /* or of a survey that is void */
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        cluster_question_refused(c, r, "SCAN");
        return;
    }
    if (!reply_is_scan(r) || scan_circles(&c->node->guard, r->element[0]->str)) {
        conn_lose(c, "SCAN: unexpected reply");
        return;
    }
    c->node->plight = (struct plight){0};
    for (size_t i = 0; i < r->element[1]->elements; i++)
        f->found |= !key_is_ours(r->element[1]->element[i]->str, r->element[1]->element[i]->len);
    bool over = strcmp(r->element[0]->str, "0") == 0;
    bool next = over && !ns->slots && ++ns->at_db < ns->ndbs;
    if (f->found || (over && !next))
        c->node->flushed = true; /* surveyed */
    else
        scan(f, c, r->element[0]->str);
}

/* A single server: which databases there are. */
static void on_keyspace(struct conn *c, void *arg, const redisReply *r)
{
    struct flushes *f = arg;
    struct nodes *ns = &f->cl->nodes;
    f->asked--;
    ns->stir = true;
    if (r == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STRING), "INFO"))
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        cluster_question_refused(c, r, "INFO");
        return;
    }
    cluster_take_dbs(ns, r->str);
    if (ns->ndbs > 0)
        scan(f, c, "0");
    else
        c->node->flushed = true;
}

/* ---- what is due ---- */

static void ask_node(struct flushes *f, struct cnode *n)
{
    struct nodes *ns = &f->cl->nodes;
    struct conn *c = cnode_conn(ns, n, 0, f->request.len + 64);
    if (c == NULL)
        return;
    if (f->start == START_SURVEY && ns->slots) {
        scan(f, c, "0");
        return;
    }
    if (f->start == START_SURVEY) {
        if (cluster_want_db(c, 0, true) != PUT_DONE)
            return;
        f->asked++;
        conn_call(c, on_keyspace, f, "INFO", "keyspace", NULL);
        return;
    }
    enum put got = ns->slots ? PUT_DONE : cluster_want_db(c, f->db, false);
    n->flushed = got == PUT_FAIL; /* no such database: nothing in it */
    if (got != PUT_DONE)
        return;
    f->asked++;
    conn_call_raw(c, on_flush, f, f->request.p, f->request.len);
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
