#include "big.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "../target/cluster.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "../target/suspect.h"
#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../summary.h"
#include "exact.h"
#include "failures.h"
#include "splits.h"
#include "whole.h"

#define CHUNK ((size_t)256 << 10)

/* In its transaction, which SELECTs come: before the position, between that and the request, and behind it.
 */
struct selects {
    uint32_t home; /* database of the connection */
    bool before, between, behind;
};

struct bigjob {
    struct cluster *cl;
    struct big *big;    /* collected; or */
    const uint8_t *mem; /* in memory */
    uint64_t size, sent;
    uint8_t *chunk;
    size_t chunk_at, chunk_n;
    unsigned slot;
    struct conn *c; /* on its way there */
    uint64_t due;
    unsigned tries;
    struct plight plight;
    char lost[96]; /* how its connection was lost */
    struct cnode *ask;
    big_fn *fn;
    void *arg;

    /* exactly once: MULTI, the slot's position, the request, EXEC */
    bool exact;
    bool doubt; /* it may have been carried out: the token says it */
    bool whole; /* EXEC is on its way */
    bool odd;   /* it got a reply that it cannot get: if it was carried out, then not as it should */
    bool began; /* MULTI was answered: what follows is queued */
    uint64_t token;
    struct exact_id id;
    struct selects selects;
    unsigned notes; /* fields that say so, besides that of the process */
    char why[256];  /* what was said before EXEC */

    /* of a record */
    struct rec r;
    uint8_t vclass;
    uint64_t mark; /* live: its place; else its ticket */
    bool again;    /* it was sent before, by this run or one before, and its reply is lost */
};

static struct bigjob *job_new(struct cluster *cl, unsigned slot, uint64_t size, big_fn *fn, void *arg)
{
    struct bigjob *j = xcalloc(1, sizeof *j);
    j->cl = cl;
    j->slot = slot;
    j->size = size;
    j->fn = fn;
    j->arg = arg;
    return j;
}

static void make_exact(struct bigjob *j, const struct exact_id *id)
{
    j->exact = true;
    j->id = *id;
    j->token = j->cl->exact->on ? exact_token(j->cl->exact) : 0;
}

struct bigjob *bigjob_memory(struct cluster *cl, const struct rec *r, unsigned slot,
                             const struct exact_id *id, const uint8_t *p, size_t n, big_fn *fn, void *arg)
{
    struct bigjob *j = job_new(cl, slot, n, fn, arg);
    j->r = *r;
    j->mem = p;
    if (id != NULL)
        make_exact(j, id);
    return j;
}

void bigjob_free(struct bigjob *j)
{
    if (j == NULL)
        return;
    big_free(j->big);
    free(j->chunk);
    free(j);
}

/* ---- exactly once ---- */

static void again(struct bigjob *j, uint64_t due, struct cnode *ask);
static void done(struct line *l, void *arg, bool ok);
static void suspect(const struct line *l, struct bigjob *j);
static void lost(struct bigjob *j);
static const struct unit_calls large;

/* MULTI, or the position: what is wrong with it EXEC will say. */
static void on_queued(struct line *l, void *arg, const redisReply *r)
{
    struct bigjob *j = arg;
    const char *want = j->began ? "QUEUED" : "OK";
    j->began = true;
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STATUS), "MULTI"))
        return;
    if (r->type != REDIS_REPLY_ERROR && strcmp(r->str, want) != 0)
        line_lose(l, "MULTI: unexpected reply");
    else if (r->type == REDIS_REPLY_ERROR && j->why[0] == '\0')
        strlcpy(j->why, r->str, sizeof j->why);
}

static void still_refused(struct bigjob *j, const char *text, size_t len)
{
    struct named what = {j->mem, j->mem != NULL ? (size_t)j->size : 0, j->r.keyarg, j->size};
    if (j->big != NULL) {
        what.request = j->big->mem.p;
        what.n = j->big->mem.len;
    }
    plight_refused(j->cl, &j->plight, &what, text, len);
}

static void refused(struct line *l, struct bigjob *j, const char *text, size_t len)
{
    uint64_t due;
    struct cnode *ask;
    if (cluster_detour(j->cl, l, j->tries, NULL, text, len, &due, &ask) != DETOUR_NONE) {
        still_refused(j, text, len);
        again(j, due, ask);
        return;
    }
    j->c = NULL;
    j->fn(j->arg, text, len);
}

/* It got a reply that it cannot get. */
static void strange(struct line *l, struct bigjob *j, const char *why)
{
    line_lose(l, "%s", why);
    l->lost_alone = l->probing;
    suspect(l, j);
}

/* Of --on-existing skip and fail. */
static uint32_t ticket(const struct bigjob *j)
{
    return j->big == NULL || (j->r.flags & RF_LIVE) != 0 ? TICKET_NONE : (uint32_t)j->mark;
}

static void there(struct bigjob *j)
{
    static const char text[] = "BUSYKEY it is there";
    j->c = NULL;
    j->fn(j->arg, text, sizeof text - 1);
}

/* May the request be answered by this type? */
static bool answers(const struct bigjob *j, int type)
{
    return j->big != NULL ? reply_fits(j->big->mem.p, j->big->mem.len, type)
                          : reply_fits(j->mem, (size_t)j->size, type);
}

static bool is_status(const redisReply *r)
{
    return r->type == REDIS_REPLY_STATUS;
}

static void on_exec(struct line *l, void *arg, const redisReply *r)
{
    struct bigjob *j = arg;
    const redisReply *last = NULL;
    if (r == NULL) {
        suspect(l, j);
        j->doubt = true;
        again(j, 0, NULL);
        return;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        bool before = j->why[0] != '\0' && error_class(r->str, r->len) != ERR_RETRY;
        refused(l, j, before ? j->why : r->str, before ? strlen(j->why) : r->len);
        return;
    }
    const struct selects *s = &j->selects;
    size_t at = s->before, own = at + 1 + s->between, n = own + 1 + s->behind;
    if (r->type == REDIS_REPLY_ARRAY && r->elements == n && r->element[at]->type == REDIS_REPLY_INTEGER &&
        (!s->before || is_status(r->element[0])) && (!s->between || is_status(r->element[own - 1])) &&
        (!s->behind || is_status(r->element[n - 1]))) {
        last = r->element[own];
        if (j->cl->nodes.whole)
            whole_written(j->cl->whole, l->node, j->notes, r->element[at]->integer);
        else
            cluster_slot_written(j->cl, l->node, j->slot, j->notes, r->element[at]->integer);
    }
    j->odd |= last != NULL && last->type != REDIS_REPLY_ERROR && !answers(j, last->type);
    if (j->odd)
        last = NULL;
    if (last == NULL) {
        strange(l, j, "unexpected reply to EXEC");
        j->doubt = true;
        again(j, 0, NULL);
    } else if (last->type == REDIS_REPLY_ERROR) {
        j->c = NULL;
        j->fn(j->arg, last->str, last->len);
    } else if (last->type == REDIS_REPLY_NIL && ticket(j) != TICKET_NONE) {
        there(j);
    } else {
        cluster_safe(l, done, j);
    }
}

static void queue_select(struct bigjob *j, uint32_t db)
{
    char num[16];
    snprintf(num, sizeof num, "%u", db);
    line_call(&j->c->line, on_queued, j, "SELECT", num, NULL);
}

static void send_exec(struct bigjob *j)
{
    j->whole = true;
    if (j->selects.behind)
        queue_select(j, j->selects.home);
    line_call(&j->c->line, on_exec, j, "EXEC", NULL);
}

static void begin_exact(struct line *l, struct bigjob *j)
{
    struct buf b = {.max = 3 * EXACT_HSET_MAX + EXACT_FIELD_MAX + WHOLE_HOLDS_MAX};
    j->whole = j->odd = j->began = false;
    j->why[0] = '\0';
    line_call(l, on_queued, j, "MULTI", NULL);
    uint32_t db = j->cl->nodes.whole ? 0 : j->r.db; /* where the position lies */
    j->selects = (struct selects){
        .home = l->db, .before = db != l->db, .between = j->r.db != db, .behind = j->r.db != l->db};
    if (j->selects.before)
        queue_select(j, db);
    if (j->cl->nodes.whole) {
        j->notes = whole_position_of(j->cl->whole, &b, &j->r, &j->id);
    } else {
        j->notes = exact_notes(j->cl->exact, j->slot, j->r.flow, &j->id);
        exact_hset(&b, j->cl->exact, j->slot, j->token, j->notes);
        if (j->notes > 0)
            exact_field(&b, j->cl->exact, j->r.flow, &j->id);
    }
    line_call_raw(l, on_queued, j, b.p, b.len);
    if (j->selects.between)
        queue_select(j, j->r.db);
    buf_free(&b);
}

/* What stands in the slot. */
static void on_learned(struct line *l, void *arg, const redisReply *r)
{
    struct bigjob *j = arg;
    if (r == NULL) {
        again(j, 0, NULL);
    } else if (r->type == REDIS_REPLY_ERROR) {
        refused(l, j, r->str, r->len);
    } else if (!reply_is_hash(r)) {
        line_lose(l, "HGETALL: unexpected reply");
        again(j, 0, NULL);
    } else if (exact_learn(j->cl->exact, j->slot, r, j->doubt ? j->token : 0)) {
        j->cl->stats->uncertain++;
        cluster_safe(l, done, j);
    } else {
        j->doubt = false;
        again(j, 0, NULL);
    }
}

/* Is anything to be known before it is sent? */
static bool first_learn(struct conn *c, struct bigjob *j)
{
    if (j->exact && j->cl->nodes.whole) { /* the handshake has read the key */
        bool has = j->doubt && whole_has_record(j->cl->whole, j->r.flow, j->r.seq);
        j->doubt = false;
        if (!has || ticket(j) >= TICKET_FIRST) /* which only asks whether the key is there */
            return false;
        if (ticket(j) == TICKET_WHOLE && j->cl->opt->on_existing == EXISTING_FAIL)
            guard_unsure(j->cl->splits, j->r.flow, j->big->mem.p, j->big->mem.len, j->r.keyarg);
        j->cl->stats->uncertain++;
        j->c = c;
        log_event(LOG_WARN, NO_FLOW, "event=replies_lost requests=1 applied=yes");
        whole_written(j->cl->whole, c->line.node, j->notes, 0);
        cluster_safe(&c->line, done, j);
        return true;
    }
    if (!j->exact || (!j->doubt && exact_known(j->cl->exact, j->slot)))
        return false;
    j->c = c;
    exact_ask(j->cl->exact, c, j->slot, on_learned, j);
    return true;
}

/* An earlier process did it. */
static bool is_done(struct bigjob *j)
{
    if (!j->exact || !exact_known(j->cl->exact, j->slot) ||
        !exact_done(j->cl->exact, j->slot, j->r.flow, &j->id))
        return false;
    j->cl->stats->already++;
    j->cl->whole->dirty |= j->cl->nodes.whole;
    j->fn(j->arg, NULL, 0);
    return true;
}

/* ---- sending ---- */

static bool next_bytes(void *arg, const uint8_t **p, size_t *n)
{
    struct bigjob *j = arg;
    if (j->sent == j->size) {
        free(j->chunk);
        j->chunk = NULL;
        j->c->line.big = (struct cunit){.kind = 0}; /* others may follow */
        if (j->exact)
            send_exec(j);
        return false;
    }
    if (j->mem != NULL) {
        *p = j->mem + j->sent;
        *n = (size_t)(j->size - j->sent);
        return true;
    }
    if (j->chunk == NULL)
        j->chunk = xmalloc(CHUNK);
    if (j->chunk_at == j->chunk_n) {
        long got = big_read(j->big, j->sent, j->chunk, CHUNK);
        if (got < 0) {
            outcome_fail(j->cl->outcome, EXIT_CANNOT, "event=spill_read_failed error=%s",
                         log_quote(strerror(errno), strlen(strerror(errno))));
            line_lose(&j->c->line, "a large request could not be read back");
            return false;
        }
        j->chunk_at = 0;
        j->chunk_n = (size_t)got;
    }
    *p = j->chunk + j->chunk_at;
    *n = j->chunk_n - j->chunk_at;
    return true;
}

static void bytes_sent(void *arg, size_t n)
{
    struct bigjob *j = arg;
    j->sent += n;
    j->chunk_at += n;
}

void bigjob_work(struct bigjob *j, uint64_t now)
{
    if (j == NULL || j->c != NULL || now < j->due)
        return;
    struct cluster *cl = j->cl;
    if (is_done(j))
        return;
    struct conn *c = cluster_way(&cl->nodes, j->ask, j->slot, 64, plight_alone(&j->plight));
    if (c == NULL) {
        if (j->ask != NULL && cnode_missing(j->ask, j->slot))
            j->ask = NULL;
        return;
    }
    bool within = cl->nodes.slots || (cl->nodes.within && j->exact);
    enum put got = within ? PUT_DONE : cluster_want_db(c, j->r.db, false);
    if (got == PUT_FAIL) {
        static const char text[] = "ERR the target has no such database";
        j->fn(j->arg, text, sizeof text - 1);
        return;
    }
    if (got != PUT_DONE) {
        j->due = now + 1000;
        return;
    }
    if (j->ask != NULL)
        line_asking(&c->line);
    if (first_learn(c, j))
        return;
    if (plight_hopeless(&j->plight) && suspect_found(cl)) {
        const char *text = suspect_text(j->lost);
        j->fn(j->arg, text, strlen(text));
        return;
    }
    j->c = c;
    if (j->exact)
        begin_exact(&c->line, j);
    struct cunit u = {.kind = CU_BIG, .calls = &large, .arg = j, .slot = (uint16_t)j->slot};
    line_add(&c->line, &u, "", 0);
    j->sent = 0;
    j->chunk_at = j->chunk_n = 0;
    c->line.big = u;
    c->line.big_at = c->line.wire.ring.tail;
}

/* ---- what came of it ---- */

static void again(struct bigjob *j, uint64_t due, struct cnode *ask)
{
    j->c = NULL;
    j->due = due;
    j->ask = ask;
    j->tries++;
    j->cl->nodes.stir = true;
}

static void done(struct line *l, void *arg, bool ok)
{
    struct bigjob *j = arg;
    if (!ok && j->exact) {
        j->doubt = true;
        again(j, 0, NULL);
        return;
    }
    if (!ok) {
        lost(j);
        return;
    }
    cluster_accepted(j->cl, l);
    j->c = NULL;
    j->fn(j->arg, j->odd ? ODD_REPLY : NULL, j->odd ? sizeof ODD_REPLY - 1 : 0);
}

static void answered(struct line *l, struct bigjob *j)
{
    uint64_t due;
    struct cnode *ask;
    if (l->big.arg == j) { /* refused before all of it was sent: the rest still has to go */
        if (l->wire.reply_type == REDIS_REPLY_ERROR && error_class(l->wire.err, l->wire.errlen) == ERR_FATAL)
            (void)cluster_detour(j->cl, l, j->tries, NULL, l->wire.err, l->wire.errlen, &due, &ask);
        if (l->wire.reply_type == REDIS_REPLY_ERROR)
            line_lose(l, "a large request was refused half-way: %s", l->wire.err);
        else
            line_lose(l, "a reply to half a request");
        again(j, mono_us() + 100000, NULL);
        return;
    }
    if (j->exact) { /* queued, or refused: EXEC says what becomes of it, unless the connection is closed
                       before */
        if (l->wire.reply_type == REDIS_REPLY_ERROR && error_class(l->wire.err, l->wire.errlen) == ERR_FATAL)
            (void)cluster_detour(j->cl, l, j->tries, NULL, l->wire.err, l->wire.errlen, &due, &ask);
        if (l->wire.reply_type == REDIS_REPLY_ERROR && j->why[0] == '\0')
            strlcpy(j->why, l->wire.err, sizeof j->why);
        else if (l->wire.reply_type != REDIS_REPLY_ERROR)
            j->odd = l->wire.reply_type != REDIS_REPLY_STATUS || strcmp(l->wire.err, "QUEUED") != 0;
        if (j->odd)
            line_lose(l, "unexpected reply within MULTI");
        return;
    }
    if (l->wire.reply_type == REDIS_REPLY_NIL && ticket(j) != TICKET_NONE) {
        there(j);
        return;
    }
    if (l->wire.reply_type != REDIS_REPLY_ERROR && !answers(j, l->wire.reply_type)) {
        strange(l, j, "unexpected reply to a large request");
        lost(j);
        return;
    }
    if (l->wire.reply_type != REDIS_REPLY_ERROR) {
        cluster_safe(l, done, j);
        return;
    }
    if (j->again && j->big != NULL && request_shows_repeat(j->big->mem.p, j->big->mem.len) &&
        error_of_repeat(l->wire.err, l->wire.errlen)) { /* so it had been carried out */
        cluster_safe(l, done, j);
        return;
    }
    if (cluster_detour(j->cl, l, j->tries, NULL, l->wire.err, l->wire.errlen, &due, &ask) != DETOUR_NONE) {
        still_refused(j, l->wire.err, l->wire.errlen);
        again(j, due, ask);
        return;
    }
    j->c = NULL;
    j->fn(j->arg, l->wire.err, l->wire.errlen);
}

static void suspect(const struct line *l, struct bigjob *j)
{
    if (l->state != CONN_READY)
        return;
    plight_lost(&j->plight, l);
    strlcpy(j->lost, l->why, sizeof j->lost);
}

static void lost(struct bigjob *j)
{
    if (j->exact) {
        if (!j->whole) /* else EXEC will be lost, too */
            again(j, 0, NULL);
        return;
    }
    bool whole = j->sent == j->size; /* else it cannot have been carried out */
    j->again |= whole;
    if (whole && (j->r.flags & RF_IDEMPOTENT) == 0) {
        size_t n = j->big != NULL ? j->big->mem.len : (size_t)j->size;
        const uint8_t *p = j->big != NULL ? j->big->mem.p : j->mem;
        struct cunit u = {.len = (uint32_t)n, .flow = j->r.flow, .keyarg = j->r.keyarg};
        if (j->big == NULL || !request_shows_repeat(p, n))
            cluster_doubtful(j->cl, &u, p);
    }
    again(j, 0, NULL);
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    (void)bytes;
    answered(&c->line, u->arg);
    return false;
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    (void)bytes;
    if (how->answered)
        return;
    suspect(&c->line, u->arg);
    lost(u->arg);
}

static const struct unit_calls large = {
    .reply = on_reply, .lost = on_lost, .bytes = next_bytes, .sent = bytes_sent};

/* ---- of a record ---- */

static void record_done(void *arg, const char *text, size_t len)
{
    struct cluster *cl = arg;
    struct bigjob *j = cl->big;
    cluster_leave_slot(cl, j->slot, true);
    cl->exclusive = false;
    cluster_passed(cl, (j->r.flags & RF_LIVE) != 0, j->r.flow, j->mark);
    if (text == NULL) {
        cl->stats->requests++;
        cl->stats->keys[j->vclass]++;
        cl->stats->live += (j->r.flags & RF_LIVE) != 0;
        guard_reply(cl->splits, ticket(j), SPLIT_OPEN);
    } else if (ticket(j) != TICKET_NONE && error_class(text, len) == ERR_CONFLICT) {
        guard_reply(cl->splits, ticket(j), SPLIT_THERE);
        if (j->again && ticket(j) < TICKET_FIRST)
            guard_unsure(cl->splits, j->r.flow, j->big->mem.p, j->big->mem.len, j->r.keyarg);
        else
            guard_there(cl->splits, &j->r, j->big->mem.p, j->big->mem.len);
    } else if (!cl->outcome->dead) {
        guard_reply(cl->splits, ticket(j), SPLIT_FAILED);
        struct failure f = {.split = ticket(j) >= TICKET_FIRST,
                            .text = text,
                            .len = len,
                            .r = j->r,
                            .request = j->big->mem.p,
                            .n = j->big->mem.len,
                            .big = j->big};
        failures_add(cl->failures, &f);
    }
    cl->big = NULL;
    bigjob_free(j);
}

enum put bigjob_put(struct cluster *cl, const struct rec *r, struct big *big, uint8_t vclass)
{
    if (cl->nodes.slots && r->db != 0)
        return PUT_FAIL;
    bool live = (r->flags & RF_LIVE) != 0, guarded = !live && cl->splits->ticket != TICKET_NONE;
    bool once = live || (guarded ? cl->nodes.whole : (r->flags & RF_IDEMPOTENT) == 0);
    if ((once || cl->session->journal) && !whole_reaches(cl->whole, r))
        return PUT_WAIT;
    enum put got = cl->nodes.slots ? PUT_DONE : cluster_db_known(&cl->nodes, r->db, WHOLE_SCOPE);
    if (got != PUT_DONE)
        return got;
    uint16_t slot = (uint16_t)cluster_scope(cl, r, big->mem.p, big->mem.len);
    if (cl->big != NULL || !cluster_slots_free(cl, r->flow, &slot, 1))
        return PUT_WAIT;
    struct bigjob *j = job_new(cl, slot, big->size, record_done, cl);
    j->big = big;
    j->r = *r;
    j->vclass = vclass;
    if ((r->flags & RF_LIVE) != 0)
        j->mark = positions_mark(cl->positions, r, false);
    else {
        positions_snapshot_add(cl->positions, r->flow);
        j->mark = cl->splits->ticket;
    }
    if (once && (cl->nodes.whole || (cl->exact->on && (cl->nodes.slots || r->db < SHARED_DBS))))
        make_exact(j, &cl->exact->now);
    cluster_take_slot(cl, slot);
    cl->exclusive = !cl->nodes.slots;
    cl->big = j;
    cl->stats->big++;
    return PUT_DONE;
}
