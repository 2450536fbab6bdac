#include "whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "bundle_parts.h"
#include "../target/cluster.h"
#include "exits.h"
#include "gather.h"
#include "io.h"
#include "log.h"
#include "../target/policy.h"
#include "resp.h"

#define EVERY ((uint64_t)1000000) /* us between two writes of positions that came without requests */

void whole_free(struct whole *x)
{
    saved_vector_free(&x->saved);
    free(x->flow);
    *x = (struct whole){0};
}

void whole_epoch(struct writer *w, unsigned flows)
{
    struct whole *x = &w->whole;
    free(x->flow);
    x->flow = xcalloc(flows, sizeof *x->flow);
    x->flows = flows;
    w->cluster->bundles->flows = flows;
    x->confirmed = 0;
    x->dirty = x->save_now = x->saving = false;
    x->begun = x->swept = WHOLE_NOT_YET; /* what was under way was dropped */
    x->saved_at = mono_us();
}

bool whole_reaches(struct writer *w, const struct rec *r)
{
    bool flush = r->type == REC_BARRIER;
    if (!w->cluster->confined || (r->db == 0 && !flush))
        return true;
    writer_fail(
        w, EXIT_CANNOT, "event=%s flow=%u db=%u target=%s note=%s",
        flush ? "flush_out_of_reach" : "database_out_of_reach", r->flow, r->db, w->opt.shown,
        flush ? "\"a Dragonfly does not flush in a transaction with the position key: " WHOLE_CONFINED
                ", or --on-source-flush\""
              : "\"a Dragonfly does not change it in a transaction with the position key: " WHOLE_CONFINED
                ", or dfparse --db-map '*=0'\"");
    return false;
}

static bool lies_in_key(const struct flowpos *f)
{
    return f->seq <= f->saved_seq;
}

void whole_take(struct writer *w, const struct rec *r)
{
    if (positions_pass(&w->positions, r)) {
        w->whole.dirty = true;
        w->whole.save_now |= r->type == REC_SYNCED || r->type == REC_HOLDS;
    } else if (!gather_position(w, r)) {
        (void)positions_mark(&w->positions, r, true);
    }
}

/* ---- requests of our own for the key, in one transaction ---- */

static void fails(struct writer *w, const char *text, size_t len)
{
    if (!w->cluster->dead)
        writer_fail(w, EXIT_CANNOT, "event=position_not_written target=%s reply=%s", w->opt.shown,
                    log_quote(text, len));
    w->cluster->dead = true;
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

static void add_words(struct writer *w, struct bundle *t, const char *command, const char *const *word,
                      unsigned n)
{
    struct buf b = {.max = 4096};
    (void)resp_add_array(&b, n + 2);
    (void)resp_add_str(&b, command);
    (void)resp_add_str(&b, w->session.position_key);
    for (unsigned i = 0; i < n; i++)
        (void)resp_add_str(&b, word[i]);
    add_request(t, &b);
    buf_free(&b);
}

static struct bundle *own_begin(struct writer *w, bundle_fn *fn, void *arg)
{
    struct bundle *t = bundle_new(w->cluster->bundles, WHOLE_SCOPE);
    t->fn = fn;
    t->arg = arg;
    return t;
}

static void own_send(struct writer *w, struct bundle *t)
{
    struct cluster *cl = w->cluster;
    struct cunit u = bundle_unit(t);
    cl->bundles->flying++;
    cluster_take_slot(cl, WHOLE_SCOPE);
    struct conn *c = cluster_conn(cl, WHOLE_SCOPE, bundle_size(&u));
    if (c != NULL && (cl->within || cluster_want_db(c, 0, false) == PUT_DONE))
        bundle_transmit(c, &u);
    else
        cluster_displace(w, &u, (const uint8_t *)"", 0, NULL);
}

/* step goes on: the transaction is done with. */
static void own_done(struct writer *w, enum whole_step *step, const char *text, size_t len)
{
    cluster_leave_slot(w->cluster, WHOLE_SCOPE, true);
    w->cluster->stir = true;
    *step = text == NULL ? WHOLE_KNOWN : WHOLE_NOT_YET;
    if (text != NULL)
        fails(w, text, len);
}

/* arg: the step whose end it is. */
static void on_step(struct writer *w, void *arg, const char *text, size_t len)
{
    own_done(w, arg, text, len);
}

static bool scope_free(const struct cluster *cl)
{
    return cl->busy[WHOLE_SCOPE] == 0 && !cl->flushing;
}

/* ---- a session begins ---- */

/* Returns the length. */
static size_t place_print(unsigned epoch, const struct exact_id *id, char text[POSITION_TEXT])
{
    char history[HISTORY_MAX];
    snprintf(history, sizeof history, "%u", epoch);
    return position_place_print(history, id, text);
}

static void add_flow(struct writer *w, struct bundle *t, unsigned flow)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    struct whole_flow *x = &w->whole.flow[flow];
    struct position_flow f = {.flow = flow,
                              .epoch = w->session.epoch,
                              .pos = w->positions.flow[flow].pos,
                              .quiet = positions_quiet(&w->positions.flow[flow])};
    const char *word[] = {name, text};
    (void)position_flow_name(flow, name);
    (void)position_flow_print(&f, text);
    add_words(w, t, "HSET", word, 2);
    if (w->holds.flow[flow].saved != NULL) {
        const char *held[] = {name, w->holds.flow[flow].saved};
        (void)position_slots_name(flow, name);
        add_words(w, t, "HSET", held, 2);
    }
    x->place = w->whole.saved.place[flow]; /* where it is beyond, it is not passed yet */
    if (x->place.pos <= f.pos)
        return;
    (void)position_place_name(flow, name);
    (void)place_print(f.epoch, &x->place, text);
    add_words(w, t, "HSET", word, 2);
}

static void add_lineage(struct writer *w, struct bundle *t, unsigned flow)
{
    char name[FLOW_NAME], text[POSITION_TEXT];
    const char *word[] = {name, text};
    if (w->session.flow[flow].own.replid[0] == '\0')
        return;
    (void)position_lineage_name(flow, name);
    (void)position_lineage_print(&w->session.flow[flow].own, text);
    add_words(w, t, "HSET", word, 2);
}

/* The position key of this session, and nothing in it yet; of one that goes on, where it begins. In a
 * transaction: a crash in between would forget that a session was here. */
enum put whole_begin(struct writer *w)
{
    struct whole *x = &w->whole;
    struct session *s = &w->session;
    if (x->begun == WHOLE_KNOWN) {
        x->begun = WHOLE_NOT_YET;
        x->read = WHOLE_NOT_YET;
        return PUT_DONE;
    }
    if (x->begun != WHOLE_NOT_YET || !scope_free(w->cluster))
        return PUT_WAIT;
    x->begun = WHOLE_ASKED;
    const char *word[12] = {"session", s->identity, "writer", w->run,
                            "source",  s->address,  "verify", w->probes.owed ? "1" : "0"};
    unsigned n = 8;
    if (w->sweep.state != SWEEP_OFF) {
        word[n++] = "sweep";
        word[n++] = "1";
    }
    if (policy_began_empty(w)) {
        word[n++] = "empty";
        word[n++] = "1";
    }
    struct bundle *t = own_begin(w, on_step, &w->whole.begun);
    add_words(w, t, "DEL", NULL, 0);
    add_words(w, t, "HSET", word, n);
    for (unsigned i = 0; s->going_on > 0 && i < s->flows; i++)
        add_flow(w, t, i);
    for (unsigned i = 0; i < s->flows; i++)
        add_lineage(w, t, i);
    own_send(w, t);
    return PUT_WAIT;
}

enum put whole_rename(struct writer *w, unsigned flow, const struct lineage *own)
{
    struct whole *x = &w->whole;
    char name[FLOW_NAME], text[POSITION_TEXT];
    const char *word[] = {name, text};
    if (x->renamed == WHOLE_KNOWN) {
        x->renamed = WHOLE_NOT_YET;
        return PUT_DONE;
    }
    if (x->renamed != WHOLE_NOT_YET || !scope_free(w->cluster))
        return PUT_WAIT;
    struct bundle *t = own_begin(w, on_step, &w->whole.renamed);
    x->renamed = WHOLE_ASKED;
    (void)position_lineage_name(flow, name);
    (void)position_lineage_print(own, text);
    add_words(w, t, "HSET", word, 2);
    own_send(w, t);
    return PUT_WAIT;
}

/* Until then a restart has to begin anew. */
bool whole_swept(struct writer *w)
{
    static const char *const word[] = {"sweep"};
    struct whole *x = &w->whole;
    if (x->swept == WHOLE_NOT_YET && scope_free(w->cluster)) {
        struct bundle *t = own_begin(w, on_step, &w->whole.swept);
        x->swept = WHOLE_ASKED;
        add_words(w, t, "HDEL", word, 1);
        own_send(w, t);
    }
    if (x->swept != WHOLE_KNOWN)
        return false;
    x->swept = WHOLE_NOT_YET;
    return true;
}

bool whole_drop(struct writer *w)
{
    struct whole *x = &w->whole;
    if (x->dropped == WHOLE_NOT_YET && scope_free(w->cluster)) {
        struct bundle *t = own_begin(w, on_step, &w->whole.dropped);
        x->dropped = WHOLE_ASKED;
        add_words(w, t, "DEL", NULL, 0);
        own_send(w, t);
    }
    return x->dropped == WHOLE_KNOWN;
}

/* ---- what the key says ---- */

static const char *text_of(const redisReply *r)
{
    return r->str != NULL && strlen(r->str) == r->len ? r->str : "";
}

static void on_read(struct conn *c, void *arg, const redisReply *r)
{
    struct writer *w = c->w;
    struct whole *x = &w->whole;
    (void)arg;
    x->read = WHOLE_NOT_YET;
    w->cluster->stir = true;
    if (r == NULL)
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        cluster_question_refused(c, r, "HGETALL");
        return;
    }
    if (!reply_is_hash(r)) {
        conn_lose(c, "HGETALL: unexpected reply");
        return;
    }
    c->node->plight = (struct plight){0};
    x->read = WHOLE_KNOWN;
    x->session[0] = x->source[0] = '\0';
    saved_vector_free(&x->saved);
    position_key_read(&x->saved, r);
    for (size_t i = 0; i < r->elements; i += 2) {
        if (strcmp(text_of(r->element[i]), "session") == 0)
            strlcpy(x->session, text_of(r->element[i + 1]), sizeof x->session);
        else if (strcmp(text_of(r->element[i]), "source") == 0)
            strlcpy(x->source, text_of(r->element[i + 1]), sizeof x->source);
    }
}

bool whole_key(struct writer *w)
{
    struct whole *x = &w->whole;
    struct cluster *cl = w->cluster;
    if (x->read == WHOLE_NOT_YET && !cl->dead) {
        struct conn *c = cluster_conn(cl, WHOLE_SCOPE, 256);
        if (c == NULL || cluster_want_db(c, 0, true) != PUT_DONE)
            return false;
        x->read = WHOLE_ASKED;
        conn_call(c, on_read, NULL, "HGETALL", w->session.position_key, NULL);
    }
    return x->read == WHOLE_KNOWN;
}

/* ---- after a loss ---- */

static bool session_begun(const struct writer *w)
{
    return w->session.stage == ST_RUN || (w->session.stage == ST_VOID && w->session.wrote);
}

static void take_field(struct writer *w, const char *name, const char *value, bool *session, bool *writer)
{
    const struct session *s = &w->session;
    struct position_id id;
    struct position_flow f;
    if (strcmp(name, "session") == 0) {
        w->whole.there = true;
        *session = position_id_parse(&id, value) && id.epoch == s->epoch && strcmp(id.nonce, s->nonce) == 0;
    } else if (strcmp(name, "writer") == 0) {
        *writer = strcmp(value, w->run) == 0;
    } else if (position_flow_parse(&f, w->whole.flows, name, value) && f.epoch == s->epoch) {
        w->whole.flow[f.flow].there = f.seq;
    }
}

static void take_key(struct writer *w, const redisReply *r)
{
    struct whole *x = &w->whole;
    bool session = false, writer = false;
    x->there = false;
    for (unsigned i = 0; i < x->flows; i++)
        x->flow[i].there = 0;
    for (size_t i = 0; i < r->elements; i += 2)
        take_field(w, text_of(r->element[i]), text_of(r->element[i + 1]), &session, &writer);
    x->ours = session && writer;
}

/* Is what was confirmed still there? */
static const char *what_is_lost(struct writer *w, const struct conn *c)
{
    const struct whole *x = &w->whole;
    if (!x->there)
        return "the position key is missing";
    for (unsigned i = 0; i < x->flows; i++)
        if (x->flow[i].there < w->positions.flow[i].saved_seq)
            return "the position key is behind what was confirmed";
    if (c->restarted && x->confirmed > 0 && !positions_all_saved_synced(&w->positions))
        return "the server was started anew during the full sync";
    return NULL;
}

/* Is it a reply to be looked at? */
static bool counts(struct conn *c, const redisReply *r)
{
    if (r == NULL)
        return false;
    if (r->type == REDIS_REPLY_ERROR)
        conn_refused(c, r, "HGETALL");
    else if (!reply_is_hash(r))
        conn_lose(c, "HGETALL: unexpected reply");
    return !c->lost;
}

static void taken_over(struct conn *c)
{
    struct writer *w = c->w;
    writer_fail(w, EXIT_CANNOT, "event=task_taken_over task=%s target=%s note=%s", w->opt.task, w->opt.shown,
                "\"another writer uses the name: give each its own --task\"");
    w->cluster->dead = true;
    conn_lose(c, "another writer has taken over task %s", w->opt.task);
}

static void on_before(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (!counts(c, r))
        return;
    take_key(c->w, r);
    if (!c->w->whole.there || c->w->whole.ours)
        return;
    c->loss = LOSS_FATAL;
    conn_lose(c, "another writer has taken over task %s", c->w->opt.task);
}

static void on_behind(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (!counts(c, r))
        return;
    take_key(c->w, r);
    if (c->w->whole.there && !c->w->whole.ours) {
        taken_over(c);
        return;
    }
    const char *lost = what_is_lost(c->w, c);
    c->restarted = false;
    if (lost != NULL)
        cluster_lost_data(c, lost);
}

void whole_hello(struct conn *c)
{
    if (session_begun(c->w))
        conn_call(c, on_before, NULL, "HGETALL", c->w->session.position_key, NULL);
}

void whole_last(struct conn *c)
{
    if (session_begun(c->w)) /* again: the connections just ended may have written */
        conn_call(c, on_behind, NULL, "HGETALL", c->w->session.position_key, NULL);
    else
        c->restarted = false;
}

bool whole_has_record(const struct writer *w, const struct rec *r)
{
    return w->whole.flow[r->flow].there >= r->seq;
}

/* What steps of it have saved tells nothing. */
static int has(const struct writer *w, const struct bundle *t)
{
    const struct whole *x = &w->whole;
    unsigned yes = 0, all = 0;
    if (t->step >= 0)
        return !t->e[t->step].own && whole_has_record(w, &t->e[t->step].r);
    for (unsigned i = 0; i < t->n; i++) {
        const struct rec *r = &t->e[i].r;
        if (t->e[i].own || r->seq <= w->positions.flow[r->flow].saved_seq)
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
static void mark_flows(struct writer *w, const struct bundle *t)
{
    struct whole *x = &w->whole;
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
        if (f->id.pos == 0 && !e->already && exact_notes(w, WHOLE_SCOPE, r->flow, &e->id))
            f->id = e->id;
    }
}

/* Positions that were reached without anything to send, and are newer than those in the key; all: whatever is
 * known, as a flush may remove the key. */
static void mark_reached(struct writer *w, bool all)
{
    struct whole *x = &w->whole;
    for (unsigned i = 0; i < x->flows; i++) {
        const struct flowpos *p = &w->positions.flow[i];
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
    (void)resp_add_bulk(b, text, place_print(epoch, id, text));
}

/* Fields that say which slots flows hold: of flows that are named, as many as there is room for. */
static unsigned holds_fields(struct writer *w)
{
    struct whole *x = &w->whole;
    unsigned n = 0;
    for (unsigned i = 0; i < x->flows; i++) {
        struct whole_flow *f = &x->flow[i];
        bool news = f->stamp == x->stamp && holds_news(&w->holds, i, f->seq);
        size_t bytes = news ? holds_bytes(&w->holds, i, f->seq) : 0;
        f->held = news && bytes <= x->room;
        x->room -= f->held ? bytes : 0;
        n += f->held;
    }
    return n;
}

/* The field session, without which the key says nothing, is written when the session begins, and again with
 * our own flushes only: where somebody else removes the key, it stays away, however the writer ends. Returns
 * how many fields the flows have in it. */
static unsigned put_hset(struct writer *w, struct buf *b, bool barrier)
{
    struct whole *x = &w->whole;
    char name[FLOW_NAME], text[POSITION_TEXT];
    unsigned flows = flow_fields(x, &w->positions) + holds_fields(w);
    bool sweep = barrier && w->sweep.state != SWEEP_OFF;
    bool verify = barrier || probes_kept(&w->probes);
    unsigned own = 0;
    for (unsigned i = 0; i < x->flows && barrier; i++)
        own += w->session.flow[i].own.replid[0] != '\0';
    (void)resp_add_array(b, 4 + 2 * (flows + own + barrier + sweep + verify));
    (void)resp_add_str(b, "HSET");
    (void)resp_add_str(b, w->session.position_key);
    (void)resp_add_str(b, "writer");
    (void)resp_add_str(b, w->run);
    if (barrier) {
        (void)resp_add_str(b, "session");
        (void)resp_add_str(b, w->session.identity);
    }
    if (sweep) {
        (void)resp_add_str(b, "sweep");
        (void)resp_add_str(b, "1");
    }
    if (verify) {
        (void)resp_add_str(b, "verify");
        (void)resp_add_str(b, w->probes.owed ? "1" : "0");
    }
    for (unsigned i = 0; i < x->flows && own > 0; i++) {
        const struct lineage *l = &w->session.flow[i].own;
        if (l->replid[0] == '\0')
            continue;
        (void)resp_add_bulk(b, name, position_lineage_name(i, name));
        (void)resp_add_bulk(b, text, position_lineage_print(l, text));
    }
    for (unsigned i = 0; i < x->flows; i++) {
        if (x->flow[i].stamp != x->stamp)
            continue;
        put_flow(b, &x->flow[i], i, w->session.epoch);
        if (x->flow[i].held) {
            (void)resp_add_bulk(b, name, position_slots_name(i, name));
            (void)resp_add_str(b, holds_at(&w->holds, i, x->flow[i].seq));
        }
    }
    return flows;
}

static void position(struct writer *w, struct bundle *t)
{
    struct whole *x = &w->whole;
    mark_flows(w, t);
    t->added = 0;
    if (t->step < 0 && x->dirty && (t->n == 0 || x->save_now || us_since(mono_us(), x->saved_at) >= EVERY))
        mark_reached(w, false);
    if (t->barrier)
        mark_reached(w, true);
    t->hset.len = 0;
    x->room = t->more;
    t->fields = put_hset(w, &t->hset, t->barrier);
}

unsigned whole_position_of(struct writer *w, struct buf *b, const struct rec *r, const struct exact_id *id)
{
    struct whole *x = &w->whole;
    x->stamp++;
    name_flow(x, r->flow, r->seq, r->pos);
    if (exact_notes(w, WHOLE_SCOPE, r->flow, id))
        x->flow[r->flow].id = *id;
    x->room = WHOLE_HOLDS_MAX;
    return put_hset(w, b, false);
}

void whole_written(struct conn *c, unsigned fields, long long added)
{
    struct writer *w = c->w;
    struct whole *x = &w->whole;
    for (unsigned i = 0; i < x->flows; i++) {
        struct whole_flow *f = &x->flow[i];
        if (f->stamp == x->stamp && f->seq > w->positions.flow[i].saved_seq)
            w->positions.flow[i].saved_seq = f->seq;
        if (f->stamp == x->stamp && f->id.pos > 0)
            f->place = f->id;
        if (f->stamp == x->stamp && f->held)
            holds_saved(w, i, f->seq);
    }
    x->saved_at = mono_us();
    if (fields > 0 && added > (long long)fields && !w->cluster->dead)
        watch_vanished(w, c->node,
                       "the position key had vanished: somebody flushed the target or removed the key");
}

static void finished(struct writer *w, const struct bundle *t)
{
    struct whole *x = &w->whole;
    if (t->parts)
        x->confirmed++;
    for (unsigned i = 0; i < x->flows && !t->parts; i++) {
        const struct flowpos *f = &w->positions.flow[i];
        x->dirty |= !lies_in_key(f);
        x->save_now |= (f->synced && f->saved_seq < f->synced_seq) || holds_news(&w->holds, i, f->seq);
    }
    if (t->barrier && !w->cluster->dead) {
        w->stats.barriers++;
        lanes_release(&w->lanes, x->scope);
    }
    w->cluster->exclusive &= !t->barrier;
}

const struct store whole_store = {
    .position = position, .written = whole_written, .has = has, .finished = finished};

/* ---- what is due ---- */

static void on_saved(struct writer *w, void *arg, const char *text, size_t len)
{
    enum whole_step done;
    (void)arg;
    w->whole.saving = false;
    own_done(w, &done, text, len);
}

static bool save_due(const struct cluster *cl, uint64_t now)
{
    const struct whole *x = &cl->w->whole;
    return x->dirty && !x->saving && cl->w->session.stage == ST_RUN && !cl->dead && scope_free(cl) &&
           (x->save_now || us_since(now, x->saved_at) >= EVERY);
}

void whole_work(struct cluster *cl, uint64_t now)
{
    struct writer *w = cl->w;
    if (w->session.stage == ST_RUN || w->session.stage == ST_NONE)
        (void)cluster_conn(cl, WHOLE_SCOPE, 64); /* it is wanted, whether anything is to be sent or not */
    if (!save_due(cl, now))
        return;
    struct bundle *t = own_begin(w, on_saved, NULL);
    w->whole.saving = t->saves = true;
    own_send(w, t);
}

int whole_timeout(const struct cluster *cl, uint64_t now)
{
    const struct whole *x = &cl->w->whole;
    if (!x->dirty || cl->w->session.stage != ST_RUN)
        return -1;
    uint64_t at = x->saved_at + EVERY;
    return x->save_now || at <= now ? 20 : (int)((at - now) / 1000) + 1;
}

/* ---- a flush at which flows stand ---- */

void whole_barrier(struct writer *w, int scope)
{
    struct cluster *cl = w->cluster;
    const struct lanes *l = &w->lanes;
    size_t len;
    const uint8_t *request = lanes_request(l, scope, &len);
    uint32_t db = lanes_db(l, scope);
    if (cluster_db_known(cl, db, WHOLE_SCOPE) == PUT_FAIL) { /* there is nothing to be flushed */
        for (unsigned i = 0; i < l->n; i++)
            if (lanes_within(scope, i))
                whole_take(w, &l->lane[i].at);
        lanes_release(&w->lanes, scope);
        return;
    }
    struct bundle *t = bundle_new(cl->bundles, WHOLE_SCOPE);
    t->saves = t->barrier = true;
    w->whole.scope = scope;
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
        e->id = w->exact.flow[r.flow].barrier;
        e->mark = positions_mark(&w->positions, &r, false);
    }
    own_send(w, t);
}
