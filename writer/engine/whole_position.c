/* The position that goes with a transaction to a single server. */
#include <stdio.h>

#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../summary.h"
#include "../target/holds.h"
#include "../target/sweep.h"
#include "bundle_parts.h"
#include "io.h"
#include "lanes.h"
#include "probes.h"
#include "resp.h"
#include "whole.h"

static bool lies_in_key(const struct flowpos *f)
{
    return f->seq <= f->saved_seq;
}

size_t whole_place_print(unsigned epoch, const struct exact_id *id, char text[POSITION_TEXT])
{
    char history[HISTORY_MAX];
    snprintf(history, sizeof history, "%u", epoch);
    return position_place_print(history, id, text);
}

/* What steps of it have saved tells nothing. */
static int has(const void *key, const struct bundle *t)
{
    const struct whole *x = key;
    unsigned yes = 0, all = 0;
    if (t->step >= 0)
        return !t->e[t->step].own && whole_has_record(x, t->e[t->step].r.flow, t->e[t->step].r.seq);
    for (unsigned i = 0; i < t->n; i++) {
        const struct rec *r = &t->e[i].r;
        if (t->e[i].own || r->seq <= x->positions->flow[r->flow].saved_seq)
            continue;
        all++;
        yes += x->flow[r->flow].there >= r->seq;
    }
    return yes == 0 ? 0 : yes == all ? 1 : -1;
}

/* ---- the position of a transaction ---- */

/* The position that is made names the flow. */
static void name_flow(struct whole *x, unsigned flow, uint64_t seq, uint64_t pos)
{
    struct whole_flow *f = &x->flow[flow];
    f->seq = seq;
    f->pos = pos;
    f->quiet = 0;
    f->id = (struct exact_id){.pos = 0};
    f->stamp = x->stamp;
}

/* The last record of each flow that goes with it, the last position that was reached, and where the last of
 * those records stands that are carried out. */
static void mark_flows(struct whole *x, const struct bundle *t)
{
    x->stamp++;
    for (unsigned i = t->step < 0 ? t->n : (unsigned)t->step + 1; i-- > 0;) {
        const struct element *e = &t->e[i];
        const struct rec *r = &e->r;
        struct whole_flow *f = &x->flow[r->flow];
        if (e->own || (t->step >= 0 && r->flow != t->e[t->step].r.flow))
            continue;
        if (f->stamp != x->stamp)
            name_flow(x, r->flow, r->seq, 0);
        if (f->pos == 0)
            f->pos = r->pos;
        if (f->quiet == 0 && r->type != REC_POSITION) /* without a position: the next one is behind it */
            f->quiet = r->pos > 0 ? r->pos : UINT64_MAX;
        if (f->id.pos == 0 && !e->already && exact_notes(x->exact, WHOLE_SCOPE, r->flow, &e->id))
            f->id = e->id;
    }
}

/* Positions that were reached without anything to send, and are newer than those in the key; all: whatever is
 * known, as a flush may remove the key. */
static void mark_reached(struct whole *x, bool all)
{
    for (unsigned i = 0; i < x->flows; i++) {
        const struct flowpos *p = &x->positions->flow[i];
        if (x->flow[i].stamp == x->stamp || (all ? p->seq == 0 : lies_in_key(p)))
            continue;
        name_flow(x, i, p->seq, p->pos);
        x->flow[i].quiet = positions_quiet(p);
    }
    x->dirty = x->save_now = false;
}

/* What was, or is being, carried out beyond the position of a flow that is named; NULL: nothing. */
static const struct exact_id *beyond(const struct whole_flow *f)
{
    const struct exact_id *id = f->id.pos > 0 ? &f->id : &f->place;
    return id->pos > f->pos ? id : NULL;
}

/* Where nothing newer was reached a flow's position stays as it is. Returns how many fields the flows have
 * that are named. */
static unsigned flow_fields(struct whole *x, const struct positions *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < x->flows; i++) {
        struct whole_flow *f = &x->flow[i];
        if (f->stamp != x->stamp)
            continue;
        if (f->pos == 0)
            f->pos = p->flow[i].pos;
        n += beyond(f) != NULL ? 2 : 1;
    }
    return n;
}

static void put_flow(struct buf *b, const struct whole_flow *x, unsigned flow, unsigned epoch)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    const struct exact_id *id = beyond(x);
    struct position_flow f = {.flow = flow, .epoch = epoch, .seq = x->seq, .pos = x->pos, .quiet = x->quiet};
    (void)resp_add_bulk(b, name, position_flow_name(flow, name));
    (void)resp_add_bulk(b, text, position_flow_print(&f, text));
    if (id == NULL)
        return;
    (void)resp_add_bulk(b, name, position_place_name(flow, name));
    (void)resp_add_bulk(b, text, whole_place_print(epoch, id, text));
}

/* Fields that say which slots flows hold: of flows that are named, as many as there is room for. */
static unsigned holds_fields(struct whole *x)
{
    unsigned n = 0;
    for (unsigned i = 0; i < x->flows; i++) {
        struct whole_flow *f = &x->flow[i];
        bool news = f->stamp == x->stamp && holds_news(x->holds, i, f->seq);
        size_t bytes = news ? holds_bytes(x->holds, i, f->seq) : 0;
        f->held = news && bytes <= x->room;
        x->room -= f->held ? bytes : 0;
        n += f->held;
    }
    return n;
}

/* A flow that is being renamed still has its former one in the session. */
static const struct lineage *lineage_of(const struct whole *x, unsigned flow)
{
    return x->renamed != WHOLE_NOT_YET && x->renaming == flow ? &x->name : &x->session->flow[flow].own;
}

/* Is the full sync to be verified by a run that resumes from the position that is made? */
static bool owed(const struct whole *x)
{
    bool any = x->probes->owed;
    for (unsigned i = 0; i < x->flows && !any; i++) {
        uint64_t saved = x->positions->flow[i].saved_seq;
        bool named = x->flow[i].stamp == x->stamp && x->flow[i].seq > saved;
        any = probes_owed(x->probes, i, named ? x->flow[i].seq : saved);
    }
    return any;
}

/* The field session, without which the key says nothing, is written when the session begins, and again with
 * our own flushes only: where somebody else removes the key, it stays away, however the writer ends. Returns
 * how many fields the flows have in it. */
static unsigned put_hset(struct whole *x, struct buf *b, bool barrier)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    unsigned flows = flow_fields(x, x->positions) + holds_fields(x);
    bool sweep = barrier && x->sweep->state != SWEEP_OFF;
    bool verify = barrier || probes_kept(x->probes);
    unsigned own = 0;
    for (unsigned i = 0; i < x->flows && barrier; i++)
        own += x->session->flow[i].own.replid[0] != '\0';
    (void)resp_add_array(b, 4 + 2 * (flows + own + barrier + sweep + verify));
    (void)resp_add_str(b, "HSET");
    (void)resp_add_str(b, x->session->position_key);
    (void)resp_add_str(b, "writer");
    (void)resp_add_str(b, x->run);
    if (barrier) {
        (void)resp_add_str(b, "session");
        (void)resp_add_str(b, x->session->identity);
    }
    if (sweep) {
        (void)resp_add_str(b, "sweep");
        (void)resp_add_str(b, "1");
    }
    if (verify) {
        (void)resp_add_str(b, "verify");
        (void)resp_add_str(b, owed(x) ? "1" : "0");
    }
    for (unsigned i = 0; i < x->flows && own > 0; i++) {
        const struct lineage *l = lineage_of(x, i);
        if (l->replid[0] == '\0')
            continue;
        (void)resp_add_bulk(b, name, position_lineage_name(i, name));
        (void)resp_add_bulk(b, text, position_lineage_print(l, text));
    }
    for (unsigned i = 0; i < x->flows; i++) {
        if (x->flow[i].stamp != x->stamp)
            continue;
        put_flow(b, &x->flow[i], i, x->session->epoch);
        if (x->flow[i].held) {
            (void)resp_add_bulk(b, name, position_slots_name(i, name));
            (void)resp_add_str(b, holds_at(x->holds, i, x->flow[i].seq));
        }
    }
    return flows;
}

static void position(void *key, struct bundle *t)
{
    struct whole *x = key;
    mark_flows(x, t);
    t->added = 0;
    if (t->step < 0 && x->dirty &&
        (t->n == 0 || x->save_now || us_since(mono_us(), x->saved_at) >= WHOLE_EVERY))
        mark_reached(x, false);
    if (t->barrier)
        mark_reached(x, true);
    t->hset.len = 0;
    x->room = t->more;
    t->fields = put_hset(x, &t->hset, t->barrier);
}

unsigned whole_position_of(struct whole *x, struct buf *b, const struct rec *r, const struct exact_id *id)
{
    x->stamp++;
    name_flow(x, r->flow, r->seq, r->pos);
    if (exact_notes(x->exact, WHOLE_SCOPE, r->flow, id))
        x->flow[r->flow].id = *id;
    x->room = WHOLE_HOLDS_MAX;
    return put_hset(x, b, false);
}

void whole_written(void *key, const struct cnode *node, unsigned fields, long long added)
{
    struct whole *x = key;
    for (unsigned i = 0; i < x->flows; i++) {
        struct whole_flow *f = &x->flow[i];
        if (f->stamp == x->stamp && f->seq > x->positions->flow[i].saved_seq)
            x->positions->flow[i].saved_seq = f->seq;
        if (f->stamp == x->stamp && f->id.pos > 0)
            f->place = f->id;
        if (f->stamp == x->stamp && f->held)
            holds_saved(x->holds, i, f->seq);
    }
    x->saved_at = mono_us();
    if (fields > 0 && added > (long long)fields && !x->outcome->dead)
        watch_vanished(x->watch, node,
                       "the position key had vanished: somebody flushed the target or removed the key");
}

static void finished(void *key, const struct bundle *t)
{
    struct whole *x = key;
    if (t->parts)
        x->confirmed++;
    for (unsigned i = 0; i < x->flows && !t->parts; i++) {
        const struct flowpos *f = &x->positions->flow[i];
        x->dirty |= !lies_in_key(f);
        x->save_now |= (f->synced && f->saved_seq < f->synced_seq) || holds_news(x->holds, i, f->seq);
    }
    if (t->barrier && !x->outcome->dead) {
        x->stats->barriers++;
        lanes_release(x->lanes, x->scope);
    }
    x->cl->exclusive &= !t->barrier;
}

const struct store whole_store = {
    .position = position, .written = whole_written, .has = has, .finished = finished};
