#include "whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../target/holds.h"
#include "../target/policy.h"
#include "../target/sweep.h"
#include "bundle_parts.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "lanes.h"
#include "log.h"
#include "probes.h"
#include "resp.h"

void whole_free(struct whole *x)
{
    saved_vector_free(&x->saved);
    free(x->flow);
    x->flow = NULL;
    x->flows = 0;
}

void whole_epoch(struct whole *x, unsigned flows)
{
    free(x->flow);
    x->flow = xcalloc(flows, sizeof *x->flow);
    x->flows = flows;
    x->cl->bundles->flows = flows;
    x->confirmed = 0;
    x->dirty = x->save_now = x->saving = false;
    x->begun = x->swept = x->renamed = WHOLE_NOT_YET; /* what was under way was dropped */
    x->saved_at = mono_us();
}

bool whole_reaches(struct whole *x, unsigned flow, uint32_t db, bool flush)
{
    if (!x->cl->confined || (db == 0 && !flush))
        return true;
    outcome_fail(
        x->outcome, EXIT_CANNOT, "event=%s flow=%u db=%u target=%s note=%s",
        flush ? "flush_out_of_reach" : "database_out_of_reach", flow, db, x->opt->shown,
        flush ? "\"a Dragonfly does not flush in a transaction with the position key: " WHOLE_CONFINED
                ", or --on-source-flush\""
              : "\"a Dragonfly does not change it in a transaction with the position key: " WHOLE_CONFINED
                ", or dfparse --db-map '*=0'\"");
    return false;
}

void whole_take(struct whole *x, const struct rec *r)
{
    if (positions_pass(x->positions, r)) {
        x->dirty = true;
        x->save_now |= r->type == REC_SYNCED || r->type == REC_HOLDS;
    } else if (!gather_position(x->cl->bundles, r)) {
        (void)positions_mark(x->positions, r, true);
    }
}

/* ---- requests of our own for the key, in one transaction ---- */

static void fails(struct whole *x, const char *text, size_t len)
{
    if (!x->outcome->dead)
        outcome_give_up(x->outcome, EXIT_CANNOT, "event=position_not_written target=%s reply=%s",
                        x->opt->shown, log_quote(text, len));
}

static void add_request(struct bundle *t, const struct buf *b)
{
    struct rec r = {.type = REC_REQUEST,
                    .flags = RF_IDEMPOTENT,
                    .slot = REC_NO_SLOT,
                    .keyarg = 1,
                    .len = (uint32_t)b->len};
    bundle_add(t, &r, b->p, 0)->own = true;
}

static void add_words(struct whole *x, struct bundle *t, const char *command, const char *const *word,
                      unsigned n)
{
    struct buf b = {.max = 4096};
    (void)resp_add_array(&b, n + 2);
    (void)resp_add_str(&b, command);
    (void)resp_add_str(&b, x->session->position_key);
    for (unsigned i = 0; i < n; i++)
        (void)resp_add_str(&b, word[i]);
    add_request(t, &b);
    buf_free(&b);
}

static struct bundle *own_begin(struct whole *x, bundle_fn *fn)
{
    struct bundle *t = bundle_new(x->cl->bundles, WHOLE_SCOPE);
    t->fn = fn;
    t->arg = x;
    return t;
}

static void own_send(struct whole *x, struct bundle *t)
{
    struct cluster *cl = x->cl;
    struct cunit u = bundle_unit(t);
    cl->bundles->flying++;
    cluster_take_slot(cl, WHOLE_SCOPE);
    struct conn *c = cluster_conn(&cl->nodes, WHOLE_SCOPE, bundle_size(&u));
    if (c != NULL && (cl->nodes.within || cluster_want_db(c, 0, false) == PUT_DONE))
        bundle_transmit(c, &u);
    else
        cluster_displace(cl, &u, (const uint8_t *)"", 0, NULL);
}

/* step goes on: the transaction is done with. */
static void own_done(struct whole *x, enum whole_step *step, const char *text, size_t len)
{
    cluster_leave_slot(x->cl, WHOLE_SCOPE, true);
    x->cl->nodes.stir = true;
    *step = text == NULL ? WHOLE_KNOWN : WHOLE_NOT_YET;
    if (text != NULL)
        fails(x, text, len);
}

static bool scope_free(const struct cluster *cl)
{
    return cl->busy[WHOLE_SCOPE] == 0 && !cl->flushing;
}

/* ---- a session begins ---- */

static void on_begun(void *arg, const char *text, size_t len)
{
    struct whole *x = arg;
    own_done(x, &x->begun, text, len);
}

static void add_flow(struct whole *x, struct bundle *t, unsigned flow)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    struct whole_flow *to = &x->flow[flow];
    struct position_flow f = {.flow = flow,
                              .epoch = x->session->epoch,
                              .pos = x->positions->flow[flow].pos,
                              .quiet = positions_quiet(&x->positions->flow[flow])};
    const char *word[] = {name, text};
    (void)position_flow_name(flow, name);
    (void)position_flow_print(&f, text);
    add_words(x, t, "HSET", word, 2);
    if (x->holds->flow[flow].saved != NULL) {
        const char *held[] = {name, x->holds->flow[flow].saved};
        (void)position_slots_name(flow, name);
        add_words(x, t, "HSET", held, 2);
    }
    to->place = x->saved.place[flow]; /* where it is beyond, it is not passed yet */
    if (to->place.pos <= f.pos)
        return;
    (void)position_place_name(flow, name);
    (void)whole_place_print(f.epoch, &to->place, text);
    add_words(x, t, "HSET", word, 2);
}

static void add_lineage(struct whole *x, struct bundle *t, unsigned flow)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    const char *word[] = {name, text};
    if (x->session->flow[flow].own.replid[0] == '\0')
        return;
    (void)position_lineage_name(flow, name);
    (void)position_lineage_print(&x->session->flow[flow].own, text);
    add_words(x, t, "HSET", word, 2);
}

/* The position key of this session, and nothing in it yet; of one that goes on, where it begins. In a
 * transaction: a crash in between would forget that a session was here. */
enum put whole_begin(struct whole *x)
{
    const struct session *s = x->session;
    if (x->begun == WHOLE_KNOWN) {
        x->begun = WHOLE_NOT_YET;
        x->read = WHOLE_NOT_YET;
        return PUT_DONE;
    }
    if (x->begun != WHOLE_NOT_YET || !scope_free(x->cl))
        return PUT_WAIT;
    x->begun = WHOLE_ASKED;
    const char *word[12] = {"session", s->identity, "writer", x->run,
                            "source",  s->address,  "verify", x->probes->owed ? "1" : "0"};
    unsigned n = 8;
    if (x->sweep->state != SWEEP_OFF) {
        word[n++] = "sweep";
        word[n++] = "1";
    }
    if (policy_began_empty(x->policy)) {
        word[n++] = "empty";
        word[n++] = "1";
    }
    struct bundle *t = own_begin(x, on_begun);
    add_words(x, t, "DEL", NULL, 0);
    add_words(x, t, "HSET", word, n);
    for (unsigned i = 0; s->going_on > 0 && i < s->flows; i++)
        add_flow(x, t, i);
    for (unsigned i = 0; i < s->flows; i++)
        add_lineage(x, t, i);
    own_send(x, t);
    return PUT_WAIT;
}

static void on_renamed(void *arg, const char *text, size_t len)
{
    struct whole *x = arg;
    own_done(x, &x->renamed, text, len);
}

enum put whole_rename(struct whole *x, unsigned flow, const struct lineage *own)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    const char *word[] = {name, text};
    if (x->renamed == WHOLE_KNOWN && x->renaming == flow) {
        x->renamed = WHOLE_NOT_YET;
        return PUT_DONE;
    }
    if (x->renamed != WHOLE_NOT_YET || !scope_free(x->cl))
        return PUT_WAIT;
    struct bundle *t = own_begin(x, on_renamed);
    x->renamed = WHOLE_ASKED;
    x->renaming = flow;
    x->name = *own;
    (void)position_lineage_name(flow, name);
    (void)position_lineage_print(own, text);
    add_words(x, t, "HSET", word, 2);
    own_send(x, t);
    return PUT_WAIT;
}

static void on_swept(void *arg, const char *text, size_t len)
{
    struct whole *x = arg;
    own_done(x, &x->swept, text, len);
}

/* Until then a restart has to begin anew. */
bool whole_swept(struct whole *x)
{
    static const char *const word[] = {"sweep"};
    if (x->swept == WHOLE_NOT_YET && scope_free(x->cl)) {
        struct bundle *t = own_begin(x, on_swept);
        x->swept = WHOLE_ASKED;
        add_words(x, t, "HDEL", word, 1);
        own_send(x, t);
    }
    if (x->swept != WHOLE_KNOWN)
        return false;
    x->swept = WHOLE_NOT_YET;
    return true;
}

static void on_dropped(void *arg, const char *text, size_t len)
{
    struct whole *x = arg;
    own_done(x, &x->dropped, text, len);
}

bool whole_drop(struct whole *x)
{
    if (x->dropped == WHOLE_NOT_YET && scope_free(x->cl)) {
        struct bundle *t = own_begin(x, on_dropped);
        x->dropped = WHOLE_ASKED;
        add_words(x, t, "DEL", NULL, 0);
        own_send(x, t);
    }
    return x->dropped == WHOLE_KNOWN;
}

/* ---- what is due ---- */

static void on_saved(void *arg, const char *text, size_t len)
{
    struct whole *x = arg;
    enum whole_step done;
    x->saving = false;
    own_done(x, &done, text, len);
}

static bool save_due(const struct whole *x, uint64_t now)
{
    return x->dirty && !x->saving && x->session->stage == ST_RUN && !x->outcome->dead && scope_free(x->cl) &&
           (x->save_now || us_since(now, x->saved_at) >= WHOLE_EVERY);
}

void whole_work(struct whole *x, uint64_t now)
{
    if (x->session->stage == ST_RUN || x->session->stage == ST_NONE)
        (void)cluster_conn(&x->cl->nodes, WHOLE_SCOPE,
                           64); /* it is wanted, whether anything is to be sent or not */
    if (!save_due(x, now))
        return;
    struct bundle *t = own_begin(x, on_saved);
    x->saving = t->saves = true;
    own_send(x, t);
}

int whole_timeout(const struct whole *x, uint64_t now)
{
    if (!x->dirty || x->session->stage != ST_RUN)
        return -1;
    uint64_t at = x->saved_at + WHOLE_EVERY;
    return x->save_now || at <= now ? 20 : (int)((at - now) / 1000) + 1;
}

/* ---- a flush at which flows stand ---- */

void whole_barrier(struct whole *x, int scope)
{
    struct cluster *cl = x->cl;
    const struct lanes *l = x->lanes;
    size_t len;
    const uint8_t *request = lanes_request(l, scope, &len);
    uint32_t db = lanes_db(l, scope);
    if (cluster_db_known(&cl->nodes, db, WHOLE_SCOPE) == PUT_FAIL) { /* there is nothing to be flushed */
        for (unsigned i = 0; i < l->n; i++)
            if (lanes_within(scope, i))
                whole_take(x, &l->lane[i].at);
        lanes_release(x->lanes, scope);
        return;
    }
    struct bundle *t = bundle_new(cl->bundles, WHOLE_SCOPE);
    t->saves = t->barrier = true;
    x->scope = scope;
    cl->exclusive = true; /* other flows wait until it is done */
    for (unsigned i = 0; i < l->n; i++) {
        struct rec r = l->lane[i].at;
        if (!lanes_within(scope, i))
            continue;
        r.len = t->n == 0 ? (uint32_t)len : 0;
        r.db = db;
        r.keyarg = 0;
        r.flags |= RF_LIVE;
        struct element *e = bundle_add(t, &r, request, 0);
        e->out = t->n > 1;
        e->id = x->exact->flow[r.flow].barrier;
        e->mark = positions_mark(x->positions, &r, false);
    }
    own_send(x, t);
}
