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

#define SPARE_MAX 1024u /* kept for the next ones */

/* A request that was refused; the text follows. */
struct fault {
    uint32_t element, len;
};

struct bundles *bundles_new(bool exact)
{
    struct bundles *b = xcalloc(1, sizeof *b);
    TAILQ_INIT(&b->used);
    TAILQ_INIT(&b->spare);
    TAILQ_INIT(&b->ready);
    if (exact)
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

bool bundle_awaits(const struct writer *w, unsigned flow)
{
    return w->cluster->bundles->of[flow] != NULL;
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
        t->hset.max = EXACT_HSET_MAX + BUNDLE_MAX * EXACT_FIELD_MAX;
    }
    TAILQ_INSERT_TAIL(&b->used, t, link);
    t->n = t->open = 0;
    t->req.len = t->faults.len = t->hset.len = 0;
    t->slot = (uint16_t)slot;
    t->collecting = t->closed = t->exact = t->doubt = t->listed = false;
    t->token = 0;
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
    *e = (struct element){
        .r = *r, .off = (uint32_t)t->req.len, .vclass = vclass, .out = r->type == REC_POSITION};
    (void)buf_add(&t->req, payload, e->out ? 0 : r->len); /* within its bound: who adds has looked */
    return e;
}

/* ---- under way ---- */

struct cunit bundle_unit(struct bundle *t)
{
    return (struct cunit){.kind = CU_EXEC,
                          .arg = t,
                          .key = t->exact ? 0 : hashset_key(t->e[0].r.hash, 0),
                          .flow = t->flow,
                          .slot = t->slot,
                          .flags = CF_LIVE | CF_ALONE,
                          .tries = t->tries,
                          .plight = t->plight};
}

size_t bundle_size(const struct cunit *u)
{
    const struct bundle *t = u->arg;
    size_t n = t->req.len + sizeof multi + sizeof exec;
    return t->exact ? n + EXACT_HSET_MAX + t->n * EXACT_FIELD_MAX : n;
}

bool bundle_fits(const struct conn *c, const struct cunit *u)
{
    const struct bundle *t = u->arg;
    return c->un + t->n + 16 < c->cap;
}

/* The slot's position, with the last record of each flow that is sent. */
static void put_position(struct writer *w, struct bundle *t)
{
    unsigned last[BUNDLE_MAX], n = 0;
    for (unsigned i = t->step < 0 ? t->n : (unsigned)t->step + 1; i-- > 0;) {
        unsigned k = 0;
        while (k < n && t->e[last[k]].r.flow != t->e[i].r.flow)
            k++;
        if (k == n && t->e[i].id.pos > 0 && !t->e[i].already)
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
    t->plight.lost = SUSPECT_AFTER;
    t->plight.alone = 0;
    if (!one || first >= t->n || !suspect_found(c->w, &c->w->cluster->given_up))
        return false;
    const char *text = suspect_text(t->lost);
    t->e[first].resent = false;
    element_error(c->w, t, &t->e[first], text, strlen(text));
    return sent_as(t, 0) >= t->n;
}

void bundle_transmit(struct conn *c, const struct cunit *u)
{
    struct bundle *t = u->arg;
    struct cunit part = {.kind = CU_QUEUED, .arg = t};
    t->replies = 0;
    t->faults.len = 0;
    t->tries = u->tries;
    if (t->exact && (t->doubt || !exact_known(&c->w->exact, t->slot))) {
        exact_ask(c, t->slot, on_learned, t);
        return;
    }
    if (t->exact && !leave_out(c->w, t)) {
        bundle_finish(c->w, u, true);
        return;
    }
    if (plight_hopeless(&t->plight) && give_up(c, t)) {
        bundle_finish(c->w, u, false);
        return;
    }
    t->step = step_of(t);
    conn_add(c, &part, multi, sizeof multi - 1);
    for (unsigned i = 0; i < t->n; i++)
        t->e[i].odd = false;
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out && (t->step < 0 || i == (unsigned)t->step))
            conn_add(c, &part, t->req.p + t->e[i].off, t->e[i].r.len);
    if (t->exact) {
        put_position(c->w, t);
        conn_add(c, &part, t->hset.p, t->hset.len);
    }
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
    if (element < t->n + t->exact && buf_add(&t->faults, &f, sizeof f) == 0)
        (void)buf_add(&t->faults, text, f.len);
}

void bundle_queued(struct conn *c, const struct cunit *part)
{
    struct bundle *t = part->arg;
    unsigned k = t->replies++;
    if (c->reply_type != REDIS_REPLY_ERROR) {
        bool odd = c->reply_type != REDIS_REPLY_STATUS || strcmp(c->err, k == 0 ? "OK" : "QUEUED") != 0;
        if (odd && k > 0 && sent_as(t, k - 1) < t->n)
            t->e[sent_as(t, k - 1)].odd = true;
        if (odd)
            conn_lose(c, "unexpected reply %s", k == 0 ? "to MULTI" : "within MULTI");
        return;
    }
    if (k == 0) { /* what stands behind it is no transaction */
        writer_fail(c->w, EXIT_CANNOT, "event=multi_refused node=%s reply=%s", cnode_name(c->node),
                    log_quote(c->err, c->errlen));
        c->w->cluster->dead = true;
        return;
    }
    if (t->faults.len == 0) /* EXEC will refuse because of it */
        note_fault(t, sent_as(t, k - 1), c->err, c->errlen);
}

void bundle_element(const struct cunit *u, int element, int type, const char *text, size_t len)
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
}

void bundle_integer(struct writer *w, const struct cunit *u, int element, long long value)
{
    struct bundle *t = u->arg;
    /* The elements come in order: what bundle_element has just counted. */
    if (t->look > 0 && t->look <= t->n && t->e[t->look - 1].probe != 0)
        probe_answer(w, t->e[t->look - 1].probe, value);
    if (t->exact && element == (int)t->replies - 2) /* the last one is the position */
        t->added = value;
}

/* A request of it as a unit of its own, for what is said about it. */
static struct cunit unit_of(const struct element *e)
{
    return (struct cunit){.time = e->r.time,
                          .key = hashset_key(e->r.hash, 0),
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
    if (e->resent && request_shows_repeat(bytes, e->r.len) && error_of_repeat(text, len))
        return; /* so it had been carried out */
    e->out = true;
    cluster_unit_error(w, &u, bytes, text, len);
}

/* Without its position nothing may go on. */
static void no_position(struct writer *w, const struct bundle *t, const char *text, size_t len)
{
    writer_fail(w, EXIT_CANNOT, "event=position_refused slot=%u reply=%s", t->slot, log_quote(text, len));
    w->cluster->dead = true;
}

/* What EXEC said about single requests. */
static void carried_out(struct conn *c, struct bundle *t)
{
    c->w->stats.groups += t->exact;
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    for (size_t at = 0; at + sizeof(struct fault) <= t->faults.len;) {
        struct fault f;
        memcpy(&f, t->faults.p + at, sizeof f);
        const char *text = (const char *)t->faults.p + at + sizeof f;
        at += sizeof f + f.len;
        if (f.element == t->n)
            no_position(c->w, t, text, f.len);
        else
            element_error(c->w, t, &t->e[f.element], text, f.len);
    }
    t->faults.len = 0;
    if (t->exact)
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
    if (t->exact)
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

void bundle_reply(struct conn *c, struct cunit *u)
{
    struct writer *w = c->w;
    struct bundle *t = u->arg;
    struct cnode *ask;
    uint64_t due;
    char text[256];
    size_t len = c->errlen;
    bool whole = c->reply_type == REDIS_REPLY_ARRAY && c->reply_elements == (int)t->replies - 1;
    if (whole && !t->strange) {
        carried_out(c, t);
        if (t->step >= 0 && !c->lost && !w->cluster->dead) {
            stepped(c, t);
            again(w, u, 0, NULL);
            u->kind = CU_GONE;
        }
        return;
    }
    if (c->reply_type != REDIS_REPLY_ERROR) {
        conn_lose(c, whole ? "unexpected reply within EXEC's" : "unexpected reply to EXEC");
        return;
    }
    struct fault f = {.element = UINT32_MAX};
    memcpy(text, c->err, len + 1);
    if (error_is_execabort(c->err, len) && error_class(c->err, len) != ERR_RETRY &&
        t->faults.len > sizeof f) {
        memcpy(&f, t->faults.p, sizeof f);
        memcpy(text, t->faults.p + sizeof f, len = f.len);
        text[len] = '\0';
    }
    bool refused = f.element < t->n && t->e[f.element].probe != 0 && probe_fails(text, len);
    if (!refused && cluster_detour(c, u->tries, text, len, &due, &ask) != DETOUR_NONE) {
        still_refused(w, t, text, len);
        again(w, u, due, ask);
    } else if (w->cluster->dead) {
        bundle_finish(w, u, false);
    } else if (t->exact && f.element == t->n) {
        no_position(w, t, text, len);
        bundle_finish(w, u, false);
    } else if (f.element < t->n) {
        t->e[f.element].resent = false;
        element_error(w, t, &t->e[f.element], text, len);
        if (sent_as(t, 0) < t->n)
            again(w, u, 0, NULL);
        else
            bundle_finish(w, u, false);
    } else {
        conn_lose(c, "unexpected reply to EXEC: %s", log_quote(text, len));
        return;
    }
    u->kind = CU_GONE;
}

/* ---- the connection was lost ---- */

static void at_least_once(struct conn *c, struct bundle *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        struct cunit one = unit_of(e);
        const uint8_t *bytes = t->req.p + e->off;
        if (e->out || (one.flags & CF_IDEMPOTENT) != 0)
            continue;
        e->resent = true;
        if (!request_shows_repeat(bytes, e->r.len))
            cluster_doubtful(c->w, &one, bytes);
    }
}

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

void bundle_lost(struct conn *c, const struct cunit *u, bool sent, bool begun)
{
    struct bundle *t = u->arg;
    if (begun && c->state == CONN_READY) {
        plight_lost(&t->plight, c);
        strlcpy(t->lost, c->why, sizeof t->lost);
    }
    if (t->exact)
        t->doubt |= sent && !harmless_step(t);
    else if (sent)
        at_least_once(c, t);
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
    if (t->exact)
        cl->bundles->flying--;
    else
        hashset_remove(&cl->keys, u->key);
    if (t->fn != NULL) {
        step_finish(w, t);
        return;
    }
    if (t->exact)
        cl->bundles->records -= t->n;
    cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    for (unsigned i = 0; i < t->n; i++) {
        const struct element *e = &t->e[i];
        struct cunit one = unit_of(e);
        if (e->r.type == REC_POSITION)
            continue;
        cluster_passed(w, (one.flags & CF_LIVE) != 0, e->r.flow, e->mark);
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
    t->exact = true;
    t->token = exact_token(&w->exact);
    t->fn = fn;
    t->arg = arg;
    t->flow = r->flow;
    bundle_add(t, r, request, 0)->id = *id;
    b->flying++;
    struct cunit u = bundle_unit(t);
    struct conn *c = cluster_conn(w->cluster, slot, bundle_size(&u));
    if (c != NULL && bundle_fits(c, &u))
        bundle_transmit(c, &u);
    else
        again(w, &u, 0, NULL);
}
