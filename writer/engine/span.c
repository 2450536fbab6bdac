/* Programs: requests over several slots, step by step. dfrecord(5), PROGRAM. Each is alone in its slots while
 * it runs; a step is sent when the reply to the one before it is there, and again when it was lost or
 * refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "big.h"
#include "bundle.h"
#include "../target/cluster.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "program.h"
#include "request.h"
#include "../target/suspect.h"
#include "resp.h"
#include "apply.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../summary.h"
#include "exact.h"
#include "failures.h"

#define SPANS_MAX  64u
#define RING_LIMIT ((size_t)1 << 20)  /* longer requests do not go through the ring */
#define VALUE_MAX  ((size_t)64 << 20) /* what a program may carry from one node to another */

struct reg {
    uint8_t *p;
    size_t n;
    bool held;
    bool gone; /* an earlier process had it */
};

struct span {
    TAILQ_ENTRY(span) link;
    struct cluster *cl;
    struct rec r;
    uint8_t *program;
    size_t at; /* of the next step */
    struct step step;
    bool sent;   /* the step is on its way */
    bool broken; /* only clearing up is left */
    uint64_t due;
    unsigned tries;
    struct plight plight;
    struct cnode *ask;
    struct buf req;
    struct bigjob *big; /* carries req when it is long */
    bool large;         /* the step's reply was above what any may have */
    bool reading;       /* such a one is on its way */
    struct reg reg[PROGRAM_REGS + 1];
    uint16_t slot[PROGRAM_STEPS];
    unsigned nslots;
    uint64_t mark;

    /* exactly once */
    bool exact;
    struct exact_id id;
    unsigned number; /* of the step, from 1 */
    unsigned done;   /* steps that an earlier process has run */
    uint32_t held;   /* registers that held something after them */
    unsigned asking; /* which of the slots */
    bool learnt;     /* what stands in all its slots is known */
    bool closing;    /* a step failed, and its slot does not say so yet */
};

static void span_free(struct span *s)
{
    for (unsigned i = 0; i <= PROGRAM_REGS; i++)
        free(s->reg[i].p);
    bigjob_free(s->big);
    buf_free(&s->req);
    free(s->program);
    free(s);
}

void spans_free(struct cluster *cl)
{
    for (struct span *s; (s = TAILQ_FIRST(&cl->spans)) != NULL;) {
        TAILQ_REMOVE(&cl->spans, s, link);
        span_free(s);
    }
}

/* ---- the end of one ---- */

static void finish(struct span *s)
{
    struct cluster *cl = s->cl;
    for (unsigned i = 0; i < s->nslots; i++)
        cluster_leave_slot(cl, s->slot[i], true);
    cluster_passed(cl, (s->r.flags & RF_LIVE) != 0, s->r.flow, s->mark);
    if (!s->broken && !cl->outcome->dead) {
        cl->stats->requests++;
        cl->stats->programs++;
        if ((s->r.flags & RF_LIVE) != 0) {
            cl->stats->live++;
            if (cl->session->live)
                stats_latency(cl->stats, s->r.time, now_us());
        }
    }
    TAILQ_REMOVE(&cl->spans, s, link);
    cl->nspans--;
    cl->nodes.stir = true;
    span_free(s);
}

static void fault(struct span *s, const char *text, size_t len)
{
    struct failure f = {.text = text,
                        .len = len,
                        .r = s->r,
                        .request = s->req.p,
                        .n = s->req.len,
                        .payload = s->program,
                        .payload_n = s->r.len};
    f.r.keyarg = 1; /* of the step */
    if (!s->broken && !s->cl->outcome->dead)
        failures_add(s->cl->failures, &f);
    s->broken = true;
}

/* ---- a step ---- */

/* The step's request, with the registers' contents in place. False: it is too large. */
static bool build(struct span *s)
{
    struct slice v;
    unsigned reg;
    size_t at = 0;
    s->req.len = 0;
    bool ok = resp_add_array(&s->req, s->step.argc) == 0;
    while (ok && program_arg(&s->step, &at, &v, &reg))
        ok = (reg != 0 ? resp_add_bulk(&s->req, s->reg[reg].p, s->reg[reg].n)
                       : resp_add_bulk(&s->req, v.p, v.n)) == 0;
    return ok;
}

/* No program of dfparse changes anything between reading a value and using it for the last time. */
static bool needs_gone(const struct span *s)
{
    struct slice v;
    unsigned reg;
    for (size_t at = 0; s->done > 0 && program_arg(&s->step, &at, &v, &reg);)
        if (reg != 0 && s->reg[reg].gone)
            return true;
    return false;
}

/* The next step that is to be run. False: there is none. */
static bool next_step(struct span *s)
{
    while (program_next(s->program, s->r.len, &s->at, &s->step)) {
        if (++s->number <= s->done)
            continue;
        unsigned cond = s->step.cond & ~(unsigned)STEP_NOT;
        if (cond != 0 && s->reg[cond].held == ((s->step.cond & STEP_NOT) != 0))
            continue;
        if (s->broken && (s->step.flags & STEP_ALWAYS) == 0)
            continue;
        if (needs_gone(s)) {
            static const char lack[] =
                "ERR a value that was read before the writer was started anew is needed";
            fault(s, lack, sizeof lack - 1);
            continue;
        }
        if (build(s)) {
            s->sent = false;
            s->tries = 0;
            s->plight = (struct plight){0};
            s->large = false;
            s->due = 0;
            s->ask = NULL;
            return true;
        }
        static const char text[] = "ERR a value is too large to be carried from one node to another";
        fault(s, text, sizeof text - 1);
    }
    return false;
}

static void advance(struct span *s)
{
    s->cl->nodes.stir = true;
    if (!next_step(s))
        finish(s);
}

static void store(struct span *s, const void *p, size_t n, bool held)
{
    struct reg *r = &s->reg[s->step.keep];
    free(r->p);
    *r = (struct reg){.held = held};
    if (held && n > 0) {
        r->p = xmalloc(n);
        memcpy(r->p, p, n);
        r->n = n;
    }
}

static void keep_reply(struct span *s, const redisReply *r)
{
    char num[24];
    long long v = r->integer;
    bool held = r->type != REDIS_REPLY_NIL;
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        if ((s->step.flags & STEP_TTL) != 0 && v < 0)
            v = 0;
        held = v != 0 || (s->step.flags & STEP_TTL) != 0;
        store(s, num, (size_t)snprintf(num, sizeof num, "%lld", v), held);
        break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS: store(s, r->str, r->len, true); break;
    default: held = held && r->elements > 0; store(s, NULL, 0, held);
    }
    if (!held && (s->step.flags & STEP_MUST) != 0) {
        static const char text[] = "ERR no such key";
        fault(s, text, sizeof text - 1);
    }
}

static void again(struct span *s, uint64_t due, struct cnode *ask)
{
    s->sent = false;
    s->due = due;
    s->ask = ask;
    s->tries++;
    s->cl->nodes.stir = true;
}

/* ---- exactly once: steps that change something go with their position ---- */

static bool changes(const struct span *s)
{
    return s->exact && s->step.keep == 0;
}

/* Of one that has failed nothing is to be run by whoever goes on. */
static struct exact_id place(const struct span *s)
{
    struct exact_id id = s->id;
    id.step = s->broken ? UINT32_MAX : s->number;
    id.held = 0;
    for (unsigned i = 1; i <= PROGRAM_REGS; i++)
        id.held |= s->reg[i].held ? 1u << (i - 1) : 0;
    return id;
}

/* A step that changes something. Where it failed its slot says all the same that it was run: before anything
 * else that is put right, or the steps behind it would be run by whoever goes on. */
static void stepped(struct span *s, const char *text, size_t len)
{
    if (text != NULL)
        fault(s, text, len);
    s->closing = text != NULL && s->exact && s->id.pos > 0;
    if (!s->closing) {
        advance(s);
        return;
    }
    s->sent = false;
    s->due = 0;
    s->cl->nodes.stir = true;
}

static void on_step(void *arg, const char *text, size_t len)
{
    stepped(arg, text, len);
}

static void on_closed(void *arg, const char *text, size_t len)
{
    (void)text;
    (void)len;
    advance(arg);
}

/* What was kept in registers by an earlier process is gone, but not whether they held anything. */
static void go_on(struct span *s)
{
    uint32_t held = 0;
    s->learnt = true;
    s->done = exact_steps_done(s->cl->exact, s->slot, s->nslots, s->r.flow, &s->id, &held);
    for (unsigned i = 1; i <= PROGRAM_REGS; i++)
        s->reg[i].held = s->reg[i].gone = (held & 1u << (i - 1)) != 0;
    s->cl->stats->already += s->done > 0;
}

static void on_learned(struct line *l, void *arg, const redisReply *r)
{
    struct span *s = arg;
    struct cnode *ask;
    uint64_t due;
    if (r == NULL) {
        again(s, 0, NULL);
    } else if (r->type != REDIS_REPLY_ERROR && !reply_is_hash(r)) {
        line_lose(l, "HGETALL: unexpected reply");
        again(s, 0, NULL);
    } else if (r->type != REDIS_REPLY_ERROR) {
        (void)exact_learn(s->cl->exact, s->slot[s->asking], r, 0);
        again(s, 0, NULL);
        s->tries = 0;
    } else if (cluster_detour(s->cl, l, s->tries, NULL, r->str, r->len, &due, &ask) != DETOUR_NONE) {
        plight_refused(s->cl, &s->plight, NULL, r->str, r->len);
        again(s, due, ask);
    } else if (!s->cl->outcome->dead) {
        outcome_give_up(s->cl->outcome, EXIT_CANNOT, "event=position_refused slot=%u reply=%s",
                        s->slot[s->asking], log_quote(r->str, r->len));
    }
}

static void lost(struct span *s)
{
    if (!request_repeatable(s->req.p, s->req.len)) {
        struct cunit u = {.len = (uint32_t)s->req.len, .flow = s->r.flow, .keyarg = 1};
        cluster_doubtful(s->cl, &u, s->req.p);
    }
    again(s, 0, NULL);
}

static void lost_at(struct span *s, const char *why)
{
    if (!plight_hopeless(&s->plight) || !suspect_found(s->cl)) {
        lost(s);
        return;
    }
    const char *text = suspect_text(why);
    fault(s, text, strlen(text));
    advance(s);
}

static void safe(struct line *l, void *arg, bool ok)
{
    struct span *s = arg;
    if (!ok) {
        lost(s);
        return;
    }
    cluster_accepted(s->cl, l);
    advance(s);
}

static void on_reply(struct line *l, void *arg, const redisReply *r)
{
    struct span *s = arg;
    struct cnode *ask;
    uint64_t due;
    s->reading = false;
    if (r == NULL) {
        if (l->state == CONN_READY)
            plight_lost(&s->plight, l);
        lost_at(s, l->why);
        return;
    }
    if (l->wire.in.cut && !s->large) { /* again, with room for it */
        s->large = true;
        again(s, 0, NULL);
        return;
    }
    if (r->type == REDIS_REPLY_ERROR) {
        if (!l->wire.in.cut &&
            cluster_detour(s->cl, l, s->tries, NULL, r->str, r->len, &due, &ask) != DETOUR_NONE) {
            struct named what = {s->req.p, s->req.len, 1, s->req.len};
            plight_refused(s->cl, &s->plight, &what, r->str, r->len);
            again(s, due, ask);
            return;
        }
        static const char large[] = "ERR a value is too large to be carried from one node to another";
        fault(s, l->wire.in.cut ? large : r->str, l->wire.in.cut ? sizeof large - 1 : r->len);
        advance(s);
        return;
    }
    if (!reply_fits(s->req.p, s->req.len, r->type)) {
        line_lose(l, "unexpected reply to a step of a program");
        l->lost_alone = l->probing;
        plight_lost(&s->plight, l);
        lost_at(s, l->why);
        return;
    }
    if (s->step.keep != 0)
        keep_reply(s, r);
    cluster_safe(l, safe, s);
}

static void on_big(void *arg, const char *text, size_t len)
{
    struct span *s = arg;
    bigjob_free(s->big);
    s->big = NULL;
    stepped(s, text, len);
}

/* A connection that takes n bytes for the slot now. */
static struct conn *way(struct span *s, unsigned slot, size_t n)
{
    struct cluster *cl = s->cl;
    struct conn *c = cluster_way(&cl->nodes, s->ask, slot, n, plight_alone(&s->plight));
    if (c == NULL) {
        if (s->ask != NULL && cnode_missing(s->ask, slot))
            s->ask = NULL;
        return NULL;
    }
    if (s->ask != NULL)
        line_asking(&c->line);
    return c;
}

/* A request that is too long for the ring. */
static void send_big(struct span *s, uint64_t now)
{
    if (s->step.keep != 0) {
        static const char text[] = "ERR a request is too large to be carried to another node";
        fault(s, text, sizeof text - 1);
        advance(s);
        return;
    }
    s->sent = true;
    struct rec r = s->r;
    struct exact_id id = place(s);
    r.keyarg = 1;
    r.flags = (uint16_t)((r.flags & ~(unsigned)RF_IDEMPOTENT) |
                         (request_repeatable(s->req.p, s->req.len) ? RF_IDEMPOTENT : 0));
    s->big = bigjob_memory(s->cl, &r, s->step.slot, s->exact ? &id : NULL, s->req.p, s->req.len, on_big, s);
    bigjob_work(s->big, now);
}

static void send_changing(struct span *s, bundle_fn *fn)
{
    struct rec r = s->r;
    struct exact_id id = place(s);
    r.type = REC_REQUEST;
    r.len = (uint32_t)s->req.len;
    s->sent = true;
    bundle_step(s->cl->bundles, &r, s->step.slot, &id, s->req.p, fn, s);
}

/* That it has failed goes with a request which changes nothing. */
static void send_closing(struct span *s)
{
    char key[EXACT_KEY_MAX];
    s->closing = false;
    s->req.len = 0;
    (void)resp_add_array(&s->req, 2);
    (void)resp_add_str(&s->req, "HGETALL");
    (void)resp_add_bulk(&s->req, key, exact_key(s->cl->exact, s->step.slot, key));
    send_changing(s, on_closed);
}

/* Of values above what any reply may have, one program at a time has one in memory. */
static bool may_read(const struct span *s)
{
    const struct span *o;
    TAILQ_FOREACH(o, &s->cl->spans, link)
    {
        bool holds = o->reading || o->req.len > REPLY_STRING;
        for (unsigned i = 1; i <= PROGRAM_REGS; i++)
            holds |= o->reg[i].n > REPLY_STRING;
        if (s->large && o != s && holds)
            return false;
    }
    return true;
}

/* Send the step, if a connection takes it now. */
static void send_step(struct span *s, uint64_t now)
{
    struct conn *c;
    if (s->big != NULL) {
        bigjob_work(s->big, now);
        return;
    }
    if (s->sent || now < s->due)
        return;
    if (s->exact && !s->learnt && exact_unknown(s->cl->exact, s->slot, s->nslots, &s->asking)) {
        if ((c = way(s, s->slot[s->asking], 256)) != NULL) {
            s->sent = true;
            exact_ask(s->cl->exact, c, s->slot[s->asking], on_learned, s);
        }
        return;
    }
    if (s->exact && !s->learnt) {
        go_on(s);
        if (!next_step(s)) {
            finish(s);
            return;
        }
    }
    if (s->closing) {
        send_closing(s);
    } else if (s->req.len > RING_LIMIT) {
        send_big(s, now);
    } else if (changes(s)) {
        send_changing(s, on_step);
    } else if (may_read(s) && (c = way(s, s->step.slot, s->req.len)) != NULL) {
        s->sent = true;
        s->reading = s->large;
        line_call_most(&c->line, on_reply, s, s->req.p, s->req.len, s->large ? VALUE_MAX : REPLY_STRING);
    }
}

void span_work(struct cluster *cl, uint64_t now)
{
    struct span *s, *next;
    for (s = TAILQ_FIRST(&cl->spans); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        send_step(s, now);
    }
}

/* ---- a record ---- */

enum put span_put(struct cluster *cl, const struct rec *r, const uint8_t *payload)
{
    if (r->db != 0)
        return PUT_FAIL;
    if (cl->nspans >= SPANS_MAX)
        return PUT_WAIT;
    struct span *s = xcalloc(1, sizeof *s);
    s->cl = cl;
    s->r = *r;
    s->program = xmalloc(r->len);
    s->req.max = VALUE_MAX + REC_PAYLOAD_MAX;
    memcpy(s->program, payload, r->len);
    s->nslots = program_slots(s->program, r->len, s->slot);
    if (!cluster_slots_free(cl, r->flow, s->slot, s->nslots)) {
        span_free(s);
        return PUT_WAIT;
    }
    for (unsigned i = 0; i < s->nslots; i++)
        cluster_take_slot(cl, s->slot[i]);
    if ((r->flags & RF_LIVE) != 0)
        s->mark = positions_mark(cl->positions, r, false);
    else
        positions_snapshot_add(cl->positions, r->flow);
    TAILQ_INSERT_TAIL(&cl->spans, s, link);
    cl->nspans++;
    s->exact = cl->exact->on;
    s->id = cl->exact->now;
    cl->nodes.stir = true;
    if (s->exact && !exact_unknown(cl->exact, s->slot, s->nslots, &s->asking))
        go_on(s);
    if (!s->exact || s->learnt)
        advance(s);
    return PUT_DONE;
}
