/* What every master has to be asked or told: the flush of a barrier, and the state of the target before a
 * session's first request. Nothing else is on its way meanwhile. */
#include <stdio.h>
#include <string.h>

#include "../target/cluster.h"
#include "errors.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "log.h"
#include "../target/policy.h"
#include "resp.h"
#include "../target/taken.h"
#include "../target/target.h"
#include "../writer.h"

/* ---- flushing every master ---- */

/* This master has nothing more to do with it. */
static void told(struct conn *c)
{
    c->w->cluster->asked--;
    c->w->cluster->stir = true;
    c->node->flushed = true;
}

static void flush_safe(struct conn *c, void *arg, bool ok)
{
    (void)arg;
    told(c);
    c->node->flushed = ok;
}

/* A record's request is a data error, whichever of the masters say so; without the flush nothing can go on.
 */
static void refused(struct conn *c, const redisReply *r)
{
    struct cluster *cl = c->w->cluster;
    if (cl->purpose == EVERYBODY_RECORD) {
        if (cl->refusal.len == 0)
            (void)buf_add(&cl->refusal, r->str, r->len);
        told(c);
        return;
    }
    if (!cl->w->outcome.dead)
        outcome_give_up(&c->w->outcome, EXIT_CANNOT, "event=flush_refused node=%s reply=%s",
                        cnode_name(c->node), log_quote(r->str, r->len));
}

static void on_flush(struct conn *c, void *arg, const redisReply *r)
{
    struct cluster *cl = c->w->cluster;
    struct cnode *ask;
    uint64_t due;
    (void)arg;
    if (r != NULL && r->type != REDIS_REPLY_ERROR && reply_fits(cl->flush.p, cl->flush.len, r->type)) {
        c->node->plight = (struct plight){0};
        cluster_safe(c, flush_safe, NULL);
        return;
    }
    if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        conn_lose(c, "unexpected reply to a request for all masters");
        r = NULL;
    }
    enum detour way = r != NULL ? cluster_detour(c, 3, NULL, r->str, r->len, &due, &ask) : DETOUR_AGAIN;
    if (way == DETOUR_NONE && !cl->w->outcome.dead) {
        refused(c, r);
        return;
    }
    if (r != NULL && way != DETOUR_NONE)
        plight_refused(c->w, &c->node->plight, NULL, r->str, r->len);
    cl->asked--;
    cl->stir = true;
}

void flush_everywhere(struct cluster *cl, const void *request, size_t n, uint32_t db, enum purpose purpose)
{
    if (purpose == EVERYBODY_START)
        saved_void(cl->w);
    if (cl->w->outcome.failed)
        return;
    for (unsigned i = 0; i < cl->nnodes; i++)
        cl->node[i]->flushed = false;
    cl->flush.len = cl->refusal.len = 0;
    (void)buf_add(&cl->flush, request, n);
    cl->flush_db = db;
    cl->purpose = purpose;
    cl->scope = LANES_ALL;
    cl->flushing = true;
    cl->stir = true;
}

void cluster_everywhere(struct writer *w, const struct cunit *u, const uint8_t *bytes)
{
    w->cluster->record = *u;
    flush_everywhere(w->cluster, bytes, u->len, 0, EVERYBODY_RECORD);
}

/* Is nothing of the flow on its way? Marks stand in a database that may be flushed. */
static bool flow_quiet(struct writer *w, unsigned flow)
{
    const struct flowpos *f = &w->positions.flow[flow];
    gather_cut(w, flow);
    return f->n == 0 && f->snapshot == 0 && !w->cluster->flushing && w->marks.flying == 0;
}

bool cluster_flush(struct writer *w, int scope)
{
    size_t n;
    const uint8_t *request = lanes_request(&w->lanes, scope, &n);
    if (scope == LANES_ALL ? !cluster_quiet(w) : !flow_quiet(w, (unsigned)scope))
        return false;
    marks_flushed(w);
    saved_write(w, mono_us(), true); /* the slots will not tell any more what was there and done before it */
    if (w->outcome.failed)
        return true;
    flush_everywhere(w->cluster, request, n, lanes_db(&w->lanes, scope), EVERYBODY_BARRIER);
    w->cluster->scope = scope;
    return true;
}

static void record_done(struct cluster *cl)
{
    struct writer *w = cl->w;
    const struct cunit *u = &cl->record;
    bool failed = cl->refusal.len > 0;
    if (failed)
        cluster_unit_error(w, u, cl->flush.p, (const char *)cl->refusal.p, cl->refusal.len);
    else
        cluster_count(w, u);
    cluster_passed(w, (u->flags & CF_LIVE) != 0, u->flow, u->mark);
}

static void barrier_done(struct writer *w)
{
    const struct cluster *cl = w->cluster;
    for (unsigned i = 0; i < w->lanes.n; i++)
        if (lanes_within(cl->scope, i))
            cluster_position(w, &w->lanes.lane[i].at);
    bool one = !cl->slots && cl->flush.len > 0 && memmem(cl->flush.p, cl->flush.len, "FLUSHDB", 7) != NULL;
    if (one && cl->flush_db < SHARED_DBS)
        exact_forget(w, cl->flush_db * SHARES, SHARES);
    else if (!one)
        exact_forget(w, 0, SLOTS);
    if (w->exact.on)
        saved_write(w, mono_us(), true); /* or a replay would flush again what comes now */
    w->stats.barriers++;
    lanes_release(&w->lanes, cl->scope);
}

static void flushed(struct cluster *cl)
{
    cl->flushing = false;
    cl->stir = true;
    switch (cl->purpose) {
    case EVERYBODY_START: cl->start = START_READY; break;
    case EVERYBODY_BARRIER: barrier_done(cl->w); break;
    case EVERYBODY_RECORD: record_done(cl); break;
    }
}

/* The survey of one master goes on. */
static void on_scan(struct conn *c, void *arg, const redisReply *r);

static void scan(struct conn *c, const char *cursor)
{
    if (strcmp(cursor, "0") == 0) /* also where a scan that was broken off begins again */
        c->node->guard = (struct scan_guard){.n = 0};
    struct cluster *cl = c->w->cluster;
    uint32_t db = cl->slots ? 0 : cl->dbs[cl->at_db];
    cl->asked++;
    cluster_scan(c, db, on_scan, NULL, cursor, "1000");
}

static void on_scan(struct conn *c, void *arg, const redisReply *r)
{
    struct cluster *cl = c->w->cluster;
    (void)arg;
    cl->asked--;
    cl->stir = true;
    if (r == NULL || cl->start != START_SURVEY) /* or of a survey that is void */
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
        cl->found |= !key_is_ours(r->element[1]->element[i]->str, r->element[1]->element[i]->len);
    bool over = strcmp(r->element[0]->str, "0") == 0;
    bool next = over && !cl->slots && ++cl->at_db < cl->ndbs;
    if (cl->found || (over && !next))
        c->node->flushed = true; /* surveyed */
    else
        scan(c, r->element[0]->str);
}

/* A single server: which databases there are. */
static void on_keyspace(struct conn *c, void *arg, const redisReply *r)
{
    struct cluster *cl = c->w->cluster;
    (void)arg;
    cl->asked--;
    cl->stir = true;
    if (r == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STRING), "INFO"))
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        cluster_question_refused(c, r, "INFO");
        return;
    }
    cluster_take_dbs(cl, r->str);
    if (cl->ndbs > 0)
        scan(c, "0");
    else
        c->node->flushed = true;
}

static void ask_node(struct cluster *cl, struct cnode *n)
{
    struct conn *c = cnode_conn(cl, n, 0, cl->flush.len + 64);
    if (c == NULL)
        return;
    if (cl->start == START_SURVEY && cl->slots) {
        scan(c, "0");
        return;
    }
    if (cl->start == START_SURVEY) {
        if (cluster_want_db(c, 0, true) != PUT_DONE)
            return;
        cl->asked++;
        conn_call(c, on_keyspace, NULL, "INFO", "keyspace", NULL);
        return;
    }
    enum put got = cl->slots ? PUT_DONE : cluster_want_db(c, cl->flush_db, false);
    n->flushed = got == PUT_FAIL; /* no such database: nothing in it */
    if (got != PUT_DONE)
        return;
    cl->asked++;
    conn_call_raw(c, on_flush, NULL, cl->flush.p, cl->flush.len);
}

void flushes_work(struct cluster *cl)
{
    if ((!cl->flushing && cl->start != START_SURVEY) || cl->asked > 0 || cl->w->outcome.dead)
        return;
    bool all = true, enough = cl->start == START_SURVEY && cl->found;
    for (unsigned i = 0; i < cl->nnodes && !enough; i++) {
        struct cnode *n = cl->node[i];
        if (!n->master || n->flushed)
            continue;
        all = false;
        ask_node(cl, n);
    }
    if (!all)
        return;
    if (cl->flushing)
        flushed(cl);
    else
        cl->start = START_READY;
}
