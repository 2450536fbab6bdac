#include "bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "bundle_parts.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "suspect.h"

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

#define WINDOW_MAX 65536u
#define QUEUED_US  ((uint64_t)2000) /* us that transactions may wait at the target */
#define LATELY_US  ((uint64_t)10000000)
#define SPARE_MAX  1024u /* kept for the next ones */

/* A request that was refused; the text follows. */
struct fault {
    uint32_t element, len;
};

static const struct unit_calls requests, end;

struct bundles *bundles_new(bool gathers)
{
    struct bundles *b = xcalloc(1, sizeof *b);
    TAILQ_INIT(&b->used);
    TAILQ_INIT(&b->spare);
    TAILQ_INIT(&b->ready);
    if (gathers)
        b->at = xcalloc(SLOTS, sizeof(struct bundle *));
    return b;
}

static void bundle_free(struct bundle *t)
{
    buf_free(&t->req);
    buf_free(&t->faults);
    buf_free(&t->hset);
    free(t->e);
    free(t);
}

static void free_list(struct bundle_list *l)
{
    for (struct bundle *t; (t = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, t, link);
        bundle_free(t);
    }
}

void bundles_free(struct bundles *b)
{
    if (b == NULL)
        return;
    free_list(&b->used);
    free_list(&b->spare);
    free(b->at);
    free(b);
}

bool bundles_quiet(const struct bundles *b)
{
    return b->collecting == 0 && b->flying == 0;
}

bool bundles_unseen(const struct bundles *b)
{
    return b->unseen > 0;
}

struct bundle *bundle_new(struct bundles *b, unsigned slot)
{
    struct bundle *t = TAILQ_FIRST(&b->spare);
    if (t != NULL) {
        TAILQ_REMOVE(&b->spare, t, link);
        b->nspare--;
    } else {
        t = xcalloc(1, sizeof *t);
        t->req.max = BUNDLE_BYTES + REC_PAYLOAD_MAX;
        t->faults.max = BUNDLE_MAX * (sizeof(struct fault) + 256);
        t->hset.max = EXACT_HSET_MAX + REC_FLOWS_MAX * EXACT_FIELD_MAX;
    }
    TAILQ_INSERT_TAIL(&b->used, t, link);
    t->n = t->open = 0;
    t->req.len = t->faults.len = t->hset.len = 0;
    t->slot = (uint16_t)slot;
    t->collecting = t->saves = t->doubt = t->listed = false;
    t->token = 0;
    t->node = NULL;
    t->plight = (struct plight){0};
    t->single = false;
    t->step = -1;
    t->why_len = t->tries = 0;
    t->fn = NULL;
    t->since = mono_us();
    return t;
}

void bundle_retire(struct bundles *b, struct bundle *t)
{
    TAILQ_REMOVE(&b->used, t, link);
    if (b->nspare >= SPARE_MAX) {
        bundle_free(t);
        return;
    }
    b->nspare++;
    t->req.len = t->faults.len = t->hset.len = 0;
    buf_trim(&t->req, (size_t)16 << 10);
    buf_trim(&t->faults, (size_t)1 << 10);
    buf_trim(&t->hset, (size_t)4 << 10);
    if (t->cap > 64) {
        free(t->e);
        t->e = NULL;
        t->cap = 0;
    }
    TAILQ_INSERT_HEAD(&b->spare, t, link);
}

struct element *bundle_add(struct bundle *t, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    if (t->n == t->cap) {
        t->cap = t->cap > 0 ? 4 * t->cap : 4;
        t->e = xrealloc(t->e, t->cap * sizeof *t->e);
    }
    struct element *e = &t->e[t->n++];
    *e = (struct element){.r = *r, .off = (uint32_t)t->req.len, .vclass = vclass};
    (void)buf_add(&t->req, payload, r->len); /* within its bound: who adds has looked */
    return e;
}

/* ---- under way ---- */

struct cunit bundle_unit(struct bundle *t)
{
    return (struct cunit){.kind = CU_EXEC,
                          .calls = &end,
                          .arg = t,
                          .db = t->e[0].r.db,
                          .flow = t->flow,
                          .slot = t->slot,
                          .flags = CF_LIVE | CF_ALONE,
                          .tries = t->tries,
                          .plight = t->plight};
}

size_t bundle_size(const struct cunit *u)
{
    const struct bundle *t = u->arg;
    unsigned flows = t->n < REC_FLOWS_MAX ? t->n : REC_FLOWS_MAX;
    return t->req.len + sizeof multi + sizeof exec + EXACT_HSET_MAX + flows * EXACT_FIELD_MAX;
}

/* The slot's position, with the last record of each flow that is sent. */
static void put_position(struct writer *w, struct bundle *t)
{
    unsigned last[REC_FLOWS_MAX], n = 0;
    struct exact *x = &w->exact;
    x->stamp++;
    for (unsigned i = t->step < 0 ? t->n : (unsigned)t->step + 1; i-- > 0;) {
        const struct element *e = &t->e[i];
        if (!exact_notes(w, t->slot, e->r.flow, &e->id) || e->already || x->flow[e->r.flow].stamp == x->stamp)
            continue;
        x->flow[e->r.flow].stamp = x->stamp;
        last[n++] = i;
    }
    t->hset.len = 0;
    t->fields = n;
    t->added = 0;
    exact_hset(&t->hset, w, t->slot, t->token, n);
    for (unsigned i = 0; i < n; i++)
        exact_field(&t->hset, w, t->e[last[i]].r.flow, &t->e[last[i]].id);
}

/* What an earlier process did is not done again. Returns whether anything is left. */
static bool leave_out(struct writer *w, struct bundle *t)
{
    bool any = false;
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        if (!e->out && exact_done(w, t->slot, e->r.flow, &e->id)) {
            e->out = e->already = true;
            w->stats.already++;
        }
        any |= !e->out;
    }
    return any;
}

static void on_learned(struct conn *c, void *arg, const redisReply *r);
static void element_error(struct writer *w, struct bundle *t, struct element *e, const char *text,
                          size_t len);
static unsigned sent_as(const struct bundle *t, unsigned k);

void bundle_saves(struct writer *w, struct bundle *t)
{
    t->saves = true;
    if (t->token == 0)
        t->token = exact_token(&w->exact);
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

/* It is what its connections were lost for: so is one of its requests. Returns whether nothing of it is left.
 */
static bool give_up(struct conn *c, struct bundle *t)
{
    t->step = -1;
    unsigned first = sent_as(t, 0);
    bool one = t->single || t->n == 1;
    t->single = true;
    bundle_saves(c->w, t); /* a part of what may be repeated as a whole may not */
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!one || first >= t->n || !suspect_found(c->w, &c->w->cluster->given_up))
        return false;
    const char *text = suspect_text(t->lost);
    element_error(c->w, t, &t->e[first], text, strlen(text));
    return sent_as(t, 0) >= t->n;
}

/* MULTI and what stands behind it, as one unit that has a reply to each. */
static void put_requests(struct conn *c, struct bundle *t)
{
    struct cunit part = {.kind = CU_QUEUED, .calls = &requests, .arg = t, .mark = 1};
    bool all = t->step < 0;
    for (unsigned i = 0; i < t->n; i++) {
        t->e[i].odd = false;
        all &= !t->e[i].out;
        part.mark += !t->e[i].out && (t->step < 0 || i == (unsigned)t->step);
    }
    part.mark += t->saves;
    conn_add(c, &part, multi, sizeof multi - 1);
    if (all)
        conn_more(c, t->req.p, t->req.len);
    for (unsigned i = 0; i < t->n && !all; i++)
        if (!t->e[i].out && (t->step < 0 || i == (unsigned)t->step))
            conn_more(c, t->req.p + t->e[i].off, t->e[i].r.len);
    if (t->saves) {
        put_position(c->w, t);
        conn_more(c, t->hset.p, t->hset.len);
    }
}

void bundle_transmit(struct conn *c, const struct cunit *u)
{
    struct bundle *t = u->arg;
    t->replies = 0;
    t->faults.len = 0;
    t->tries = u->tries;
    if (t->saves && (t->doubt || !exact_known(&c->w->exact, t->slot))) {
        exact_ask(c, t->slot, on_learned, t);
        return;
    }
    if (t->saves && !leave_out(c->w, t)) {
        bundle_finish(c->w, u, true);
        return;
    }
    if (plight_hopeless(&t->plight) && give_up(c, t)) {
        bundle_finish(c->w, u, false);
        return;
    }
    if (t->saves && !exact_known(&c->w->exact, t->slot)) { /* it did not before it was to go in steps */
        exact_ask(c, t->slot, on_learned, t);
        return;
    }
    t->step = step_of(t);
    t->sent_at = mono_us();
    t->node = c->node;
    c->node->under_way += t->n;
    put_requests(c, t);
    conn_add(c, u, exec, sizeof exec - 1);
}

/* The element that was sent as number k behind MULTI; t->n: the position. */
static unsigned sent_as(const struct bundle *t, unsigned k)
{
    if (t->step >= 0)
        return k == 0 ? (unsigned)t->step : t->n;
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out && k-- == 0)
            return i;
    return t->n;
}

static void note_fault(struct bundle *t, unsigned element, const char *text, size_t len)
{
    struct fault f = {.element = element, .len = (uint32_t)(len < 255 ? len : 255)};
    if (element < t->n + t->saves && buf_add(&t->faults, &f, sizeof f) == 0)
        (void)buf_add(&t->faults, text, f.len);
}

/* Nothing can be done here, or with these rights. */
static void refuses(struct conn *c, const char *text, size_t len)
{
    if (!c->w->cluster->dead)
        writer_fail(c->w, EXIT_CANNOT, "event=target_refuses node=%s reply=%s", cnode_name(c->node),
                    log_quote(text, len));
    c->w->cluster->dead = true;
}

static bool on_queued(struct conn *c, struct cunit *part, const uint8_t *bytes)
{
    struct bundle *t = part->arg;
    (void)bytes;
    unsigned k = t->replies++;
    if (c->wire.reply_type != REDIS_REPLY_ERROR) {
        bool odd =
            c->wire.reply_type != REDIS_REPLY_STATUS || strcmp(c->wire.err, k == 0 ? "OK" : "QUEUED") != 0;
        if (odd && k > 0 && sent_as(t, k - 1) < t->n)
            t->e[sent_as(t, k - 1)].odd = true;
        if (odd)
            conn_lose(c, "unexpected reply %s", k == 0 ? "to MULTI" : "within MULTI");
        return false;
    }
    if (k == 0) { /* what stands behind it is no transaction */
        writer_fail(c->w, EXIT_CANNOT, "event=multi_refused node=%s reply=%s", cnode_name(c->node),
                    log_quote(c->wire.err, c->wire.errlen));
        c->w->cluster->dead = true;
        return false;
    }
    unsigned at = sent_as(t, k - 1);
    bool probe = at < t->n && t->e[at].probe != 0;
    if (!probe &&
        error_class(c->wire.err, c->wire.errlen) == ERR_FATAL) /* it may be closed before EXEC is answered */
        refuses(c, c->wire.err, c->wire.errlen);
    note_fault(t, at, c->wire.err, c->wire.errlen); /* EXEC will refuse because of it */
    return false;
}

static void on_integer(struct conn *c, struct bundle *t, int element, long long value);

static void on_element(struct conn *c, const struct cunit *u, int element, int type, const char *text,
                       size_t len, long long number)
{
    struct bundle *t = u->arg;
    if (element == 0) {
        t->look = 0;
        t->strange = false;
    }
    while (t->look < t->n && (t->e[t->look].out || (t->step >= 0 && (int)t->look != t->step)))
        t->look++;
    if (type == REDIS_REPLY_ERROR)
        note_fault(t, t->look, text, len);
    else if (t->look < t->n)
        t->strange |= t->e[t->look].odd =
            !reply_fits(t->req.p + t->e[t->look].off, t->e[t->look].r.len, type);
    else
        t->strange |= type != REDIS_REPLY_INTEGER; /* the position */
    t->look++;
    if (type == REDIS_REPLY_INTEGER)
        on_integer(c, t, element, number);
}

static void on_integer(struct conn *c, struct bundle *t, int element, long long value)
{
    if (t->look > 0 && t->look <= t->n && t->e[t->look - 1].probe != 0)
        probe_answer(c->w, t->e[t->look - 1].probe, value);
    if (t->saves && element == (int)t->replies - 2) /* the last one is the position */
        t->added = value;
}

/* A request of it as a unit of its own, for what is said about it. */
static struct cunit unit_of(const struct element *e)
{
    return (struct cunit){.time = e->r.time,
                          .key = hashset_key(e->r.hash, e->r.db),
                          .db = e->r.db,
                          .len = e->r.len,
                          .flow = e->r.flow,
                          .slot = e->r.slot,
                          .vclass = e->vclass,
                          .keyarg = e->r.keyarg,
                          .flags = (uint8_t)(((e->r.flags & RF_LIVE) != 0 ? CF_LIVE : 0) |
                                             ((e->r.flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                                             ((e->r.flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0) |
                                             ((e->r.flags & RF_FIRST) != 0 ? CF_FIRST : 0))};
}

static void element_error(struct writer *w, struct bundle *t, struct element *e, const char *text, size_t len)
{
    const uint8_t *bytes = t->req.p + e->off;
    struct cunit u = unit_of(e);
    if (e->probe != 0) {
        e->out = true;
        probe_refused(w, e->probe, text, len);
        return;
    }
    if (t->fn != NULL) {
        t->why_len = (unsigned)strlcpy(t->why, text, len + 1 < sizeof t->why ? len + 1 : sizeof t->why);
        t->why_len = t->why_len < sizeof t->why ? t->why_len : sizeof t->why - 1;
        e->out = true;
        return;
    }
    e->out = true;
    cluster_unit_error(w, &u, bytes, text, len);
}

/* Without its position nothing may go on. */
static void no_position(struct writer *w, const struct bundle *t, const char *text, size_t len)
{
    writer_fail(w, EXIT_CANNOT, "event=position_refused slot=%u reply=%s", t->slot, log_quote(text, len));
    w->cluster->dead = true;
}

/* The next fault. False: there are no more. */
static bool next_fault(const struct bundle *t, size_t *at, struct fault *f, const char **text)
{
    if (*at + sizeof *f > t->faults.len)
        return false;
    memcpy(f, t->faults.p + *at, sizeof *f);
    *text = (const char *)t->faults.p + *at + sizeof *f;
    *at += sizeof *f + f->len;
    return true;
}

/* Requests were refused when they were queued. True: for good, all of them. Else text is what says otherwise.
 */
static bool queued_fault(const struct bundle *t, char text[256], size_t *len)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);) {
        bool probe = f.element < t->n && t->e[f.element].probe != 0;
        enum err_class class = error_class(why, f.len);
        if (class == ERR_DATA || class == ERR_CONFLICT || (probe && probe_fails(why, f.len)))
            continue;
        memcpy(text, why, f.len);
        text[ *len = f.len] = '\0';
        return false;
    }
    return true;
}

/* They are not sent again. All are numbered as they were sent, and so were looked up before. */
static void take_out(struct writer *w, struct bundle *t)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);)
        if (f.element == t->n)
            no_position(w, t, why, f.len);
        else
            element_error(w, t, &t->e[f.element], why, f.len);
    t->faults.len = 0;
}

/* What EXEC said about single requests. */
static void carried_out(struct conn *c, struct bundle *t)
{
    c->w->stats.groups++;
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    struct fault f;
    const char *text;
    for (size_t at = 0; next_fault(t, &at, &f, &text);) {
        bool probe = f.element < t->n && t->e[f.element].probe != 0;
        if (f.element == t->n)
            no_position(c->w, t, text, f.len);
        else /* also rights that a script lacks: the position behind it is saved, so it has to be named */
            element_error(c->w, t, &t->e[f.element], text, f.len);
        if (!probe && error_class(text, f.len) == ERR_FATAL)
            refuses(c, text, f.len);
    }
    t->faults.len = 0;
    if (t->saves)
        cluster_slot_written(c, t->slot, t->fields, t->added);
}

static void again(struct writer *w, const struct cunit *u, uint64_t due, struct cnode *ask)
{
    struct cunit v = *u;
    v.len = 0; /* the requests are in the bundle */
    v.plight = ((const struct bundle *)u->arg)->plight;
    cluster_displace(w, &v, (const uint8_t *)"", due, ask);
}

/* One of its requests was carried out. The others follow. */
static void stepped(struct conn *c, struct bundle *t)
{
    struct element *e = &t->e[t->step];
    struct cunit one = unit_of(e);
    if (!e->out)
        cluster_count(c->w, &one);
    e->out = true;
    cluster_accepted(c);
    t->plight.lost = SUSPECT_AFTER; /* the next one goes alone, too */
    t->plight.alone = 0;
    t->doubt = false;
    t->token = exact_token(&c->w->exact);
}

/* Its first request is named for all of them. */
static void still_refused(struct writer *w, struct bundle *t, const char *text, size_t len)
{
    unsigned first = sent_as(t, 0);
    const struct element *e = first < t->n ? &t->e[first] : NULL;
    struct named what = {e != NULL ? t->req.p + e->off : NULL, e != NULL ? e->r.len : 0,
                         e != NULL ? e->r.keyarg : 0, t->req.len};
    plight_refused(w, &t->plight, e != NULL ? &what : NULL, text, len);
}

/* As many are under way at a node as keep it busy, and no more: what comes meanwhile gathers, so that
 * transactions grow where the target, or we, cannot keep up. Whether they queue shows in the time they take
 * beside that of the fastest one; that is looked for anew from time to time, with few under way. */
static void pace(struct cnode *n, uint64_t now, uint64_t took, unsigned records)
{
    if (n->window == 0 || us_since(now, n->lately) > LATELY_US) {
        n->window = WINDOW_MIN;
        n->fastest = took;
        n->lately = now;
    }
    if (took < n->fastest)
        n->fastest = took;
    if (took > 2 * n->fastest + QUEUED_US)
        n->window -= n->window / 16;
    else
        n->window += records;
    if (n->window < WINDOW_MIN)
        n->window = WINDOW_MIN;
    if (n->window > WINDOW_MAX)
        n->window = WINDOW_MAX;
}

/* It is under way no more. */
static void back(struct bundle *t)
{
    if (t->node != NULL)
        t->node->under_way -= t->n;
    t->node = NULL;
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    (void)bytes;
    struct writer *w = c->w;
    struct bundle *t = u->arg;
    struct cnode *ask;
    uint64_t due;
    char text[256];
    size_t len = c->wire.errlen;
    back(t);
    bool whole = c->wire.reply_type == REDIS_REPLY_ARRAY && c->wire.reply_elements == (int)t->replies - 1;
    if (whole && !t->strange) {
        pace(c->node, c->wire.heard, us_since(c->wire.heard, t->sent_at), t->n);
        carried_out(c, t);
        if (t->step >= 0 && !c->lost && !w->cluster->dead) {
            stepped(c, t);
            again(w, u, 0, NULL);
            u->kind = CU_GONE;
        }
        return u->kind == CU_EXEC && !c->lost;
    }
    if (c->wire.reply_type != REDIS_REPLY_ERROR) {
        conn_lose(c, whole ? "unexpected reply within EXEC's" : "unexpected reply to EXEC");
        return false;
    }
    memcpy(text, c->wire.err, len + 1);
    bool queued = error_is_execabort(c->wire.err, len) && error_class(c->wire.err, len) != ERR_RETRY &&
                  t->faults.len > 0;
    bool refused = queued && queued_fault(t, text, &len);
    if (!refused && cluster_detour(c, u->tries, text, len, &due, &ask) != DETOUR_NONE) {
        still_refused(w, t, text, len);
        again(w, u, due, ask);
    } else if (w->cluster->dead) {
        bundle_finish(w, u, false);
    } else if (queued) {
        take_out(w, t);
        if (sent_as(t, 0) < t->n && !w->cluster->dead) {
            bundle_saves(w, t); /* a part of what may be repeated as a whole may not */
            again(w, u, 0, NULL);
        } else {
            bundle_finish(w, u, false);
        }
    } else {
        conn_lose(c, "unexpected reply to EXEC: %s", log_quote(text, len));
        return false;
    }
    u->kind = CU_GONE;
    return false;
}

/* ---- the connection was lost ---- */

/* What follows a step depends on its reply: one that comes to the same twice is repeated to hear it. */
static bool harmless_step(const struct bundle *t)
{
    static const char *const names[] = {"DEL", "RESTORE", "SADD", "SREM"};
    struct slice name;
    if (t->fn == NULL || !request_arg(t->req.p, t->e[0].r.len, 0, &name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name.n && memcmp(names[i], name.p, name.n) == 0)
            return true;
    return false;
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    struct bundle *t = u->arg;
    (void)bytes;
    if (how->begun && !how->answered && c->state == CONN_READY) {
        plight_lost(&t->plight, c);
        strlcpy(t->lost, c->why, sizeof t->lost);
    }
    back(t);
    t->doubt |= t->saves && how->sent && !harmless_step(t);
    again(c->w, u, 0, NULL);
}

/* It had been carried out, and (with --wait) has reached the replicas. What its requests answered is lost. */
static void on_safe(struct conn *c, void *arg, bool ok)
{
    struct bundle *t = arg;
    struct cunit u = bundle_unit(t);
    if (!ok) {
        again(c->w, &u, 0, NULL);
        return;
    }
    for (unsigned i = 0; i < t->n; i++)
        if (t->e[i].odd && !t->e[i].out)
            element_error(c->w, t, &t->e[i], ODD_REPLY, sizeof ODD_REPLY - 1);
    if (t->step >= 0) {
        c->w->stats.uncertain += !t->e[t->step].out;
        stepped(c, t);
        u = bundle_unit(t);
        again(c->w, &u, 0, NULL);
        return;
    }
    cluster_accepted(c);
    for (unsigned i = 0; i < t->n; i++)
        c->w->stats.uncertain += !t->e[i].out && t->e[i].probe == 0;
    bundle_finish(c->w, &u, true);
}

/* What stands in the slot: of earlier processes, and whether the bundle itself was carried out. */
static void on_learned(struct conn *c, void *arg, const redisReply *r)
{
    struct writer *w = c->w;
    struct bundle *t = arg;
    struct cunit u = bundle_unit(t);
    struct cnode *ask = NULL;
    uint64_t due = 0;
    if (r != NULL && r->type == REDIS_REPLY_ERROR &&
        cluster_detour(c, t->tries, r->str, r->len, &due, &ask) == DETOUR_NONE) {
        if (!w->cluster->dead)
            no_position(w, t, r->str, r->len);
        bundle_finish(w, &u, false);
        return;
    }
    if (r != NULL && r->type == REDIS_REPLY_ERROR)
        still_refused(w, t, r->str, r->len);
    if (r != NULL && r->type != REDIS_REPLY_ERROR && !reply_is_hash(r)) {
        conn_lose(c, "HGETALL: unexpected reply");
    } else if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        if (exact_learn(w, t->slot, r, t->doubt ? t->token : 0)) {
            cluster_safe(c, on_safe, t);
            return;
        }
        t->doubt = false;
    }
    again(w, &u, due, ask);
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c);
    bundle_finish(c->w, u, true);
}

static void on_fail(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    struct bundle *t = u->arg;
    (void)bytes;
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out)
            element_error(w, t, &t->e[i], text, len);
    bundle_finish(w, u, false);
}

static void on_drop(struct writer *w, const struct cunit *u)
{
    bundle_finish(w, u, false);
}

static const struct unit_calls requests = {.reply = on_queued}, end = {.reply = on_reply,
                                                                       .element = on_element,
                                                                       .confirmed = on_confirmed,
                                                                       .lost = on_lost,
                                                                       .size = bundle_size,
                                                                       .transmit = bundle_transmit,
                                                                       .drop = on_drop,
                                                                       .fail = on_fail};

/* ---- the end of one ---- */

static void step_finish(struct writer *w, struct bundle *t)
{
    bundle_fn *fn = t->fn;
    void *arg = t->arg;
    char why[sizeof t->why];
    size_t len = t->why_len;
    memcpy(why, t->why, sizeof why);
    bundle_retire(w->cluster->bundles, t);
    fn(w, arg, len > 0 ? why : NULL, len);
}

void bundle_finish(struct writer *w, const struct cunit *u, bool counted)
{
    struct cluster *cl = w->cluster;
    struct bundle *t = u->arg;
    cl->bundles->flying--;
    if (t->fn != NULL) {
        step_finish(w, t);
        return;
    }
    cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    for (unsigned i = 0; i < t->n; i++) {
        const struct element *e = &t->e[i];
        struct cunit one = unit_of(e);
        cluster_passed(w, (one.flags & CF_LIVE) != 0, e->r.flow, e->mark);
        cl->exclusive &= cl->slots || (e->r.flags & RF_MULTIKEY) == 0;
        if (e->probe != 0)
            probe_done(w, e->probe);
        else if (counted && !e->out && !cl->dead)
            cluster_count(w, &one);
    }
    bundle_retire(cl->bundles, t);
}

void bundle_step(struct writer *w, const struct rec *r, unsigned slot, const struct exact_id *id,
                 const uint8_t *request, bundle_fn *fn, void *arg)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t = bundle_new(b, slot);
    bundle_saves(w, t);
    t->fn = fn;
    t->arg = arg;
    t->flow = r->flow;
    bundle_add(t, r, request, 0)->id = *id;
    b->flying++;
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(w->cluster, slot, bundle_size(&u));
    if (c != NULL)
        bundle_transmit(c, &u);
    else
        again(w, &u, 0, NULL);
}
