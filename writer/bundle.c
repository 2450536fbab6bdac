#include "bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "writer.h"

#define BUNDLE_MAX   256u /* records */
#define BUNDLE_BYTES ((size_t)256 << 10)
#define WAIT_MAX     ((uint64_t)50000) /* us for the rest of one */

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

struct element {
    struct rec r;
    uint64_t mark; /* its place among the live records of its flow, once it was sent */
    uint32_t off;  /* of the request */
    uint8_t vclass;
    bool out;    /* a position, or refused for good: not sent (again) */
    bool resent; /* it may have been carried out already */
};

/* A request that was refused; the text follows. */
struct fault {
    uint32_t element, len;
};

struct bundle {
    TAILQ_ENTRY(bundle) link;
    struct buf req;
    struct element *e;
    unsigned n;
    uint16_t flow, slot;
    bool collecting;
    bool closed;       /* nothing more joins */
    uint64_t since;    /* mono_us */
    unsigned replies;  /* so far */
    struct buf faults; /* the first one of those queued, or those of EXEC */
};

TAILQ_HEAD(bundle_list, bundle);

struct bundles {
    struct bundle_list used, spare;
    struct bundle *of[REC_FLOWS_MAX]; /* being collected, or waiting to be sent for the first time */
    unsigned collecting;
};

struct bundles *bundles_new(void)
{
    struct bundles *b = xcalloc(1, sizeof *b);
    TAILQ_INIT(&b->used);
    TAILQ_INIT(&b->spare);
    return b;
}

static void free_list(struct bundle_list *l)
{
    for (struct bundle *t; (t = TAILQ_FIRST(l)) != NULL;) {
        TAILQ_REMOVE(l, t, link);
        buf_free(&t->req);
        buf_free(&t->faults);
        free(t->e);
        free(t);
    }
}

void bundles_free(struct bundles *b)
{
    if (b == NULL)
        return;
    free_list(&b->used);
    free_list(&b->spare);
    free(b);
}

bool bundles_quiet(const struct bundles *b)
{
    return b->collecting == 0;
}

bool bundle_awaits(const struct writer *w, unsigned flow)
{
    return w->cluster->bundles->of[flow] != NULL;
}

/* ---- collecting ---- */

static struct bundle *bundle_new(struct bundles *b, const struct rec *r)
{
    struct bundle *t = TAILQ_FIRST(&b->spare);
    if (t != NULL) {
        TAILQ_REMOVE(&b->spare, t, link);
    } else {
        t = xcalloc(1, sizeof *t);
        t->e = xcalloc(BUNDLE_MAX, sizeof *t->e);
        t->req.max = BUNDLE_BYTES;
        t->faults.max = BUNDLE_MAX * (sizeof(struct fault) + 256);
    }
    TAILQ_INSERT_TAIL(&b->used, t, link);
    t->n = 0;
    t->req.len = t->faults.len = 0;
    t->flow = r->flow;
    t->slot = r->slot;
    t->collecting = true;
    t->closed = false;
    t->since = mono_us();
    b->of[r->flow] = t;
    b->collecting++;
    return t;
}

static void collected(struct bundles *b, struct bundle *t)
{
    t->collecting = false;
    b->of[t->flow] = NULL;
    b->collecting--;
}

static void retire(struct bundles *b, struct bundle *t)
{
    TAILQ_REMOVE(&b->used, t, link);
    buf_trim(&t->req, (size_t)16 << 10);
    TAILQ_INSERT_HEAD(&b->spare, t, link);
}

static bool joins(const struct bundle *t, const struct rec *r)
{
    if (t->closed || t->n >= BUNDLE_MAX)
        return false;
    if (r->type == REC_POSITION)
        return true;
    return r->type == REC_REQUEST && (r->flags & (RF_LIVE | RF_MORE)) == RF_LIVE && r->slot == t->slot &&
           r->db == 0 && t->req.len + r->len <= BUNDLE_BYTES;
}

/* Mark its records as under way. */
static void mark_all(struct writer *w, struct bundle *t)
{
    for (unsigned i = 0; i < t->n; i++)
        t->e[i].mark = positions_mark(&w->positions, t->flow, t->e[i].r.seq, t->e[i].r.pos,
                                      t->e[i].r.type == REC_POSITION);
}

/* Returns whether it could go. */
static bool send_first(struct writer *w, struct bundle *t)
{
    struct cluster *cl = w->cluster;
    struct bundles *b = cl->bundles;
    const struct rec *first = &t->e[0].r;
    t->closed = true;
    if (t->n == 1) { /* as if nothing were with it */
        if (cluster_put(w, first, t->req.p, t->e[0].vclass) != PUT_DONE)
            return false;
        collected(b, t);
        retire(b, t);
        return true;
    }
    struct cunit u = {.kind = CU_EXEC,
                      .arg = t,
                      .key = hashset_key(first->hash, 0),
                      .flow = t->flow,
                      .slot = t->slot,
                      .flags = CF_LIVE | CF_ALONE};
    if (cl->keys.count >= IN_FLIGHT || !cluster_slots_free(cl, t->flow, &t->slot, 1))
        return false;
    struct conn *c = cluster_conn(cl, t->slot, bundle_size(&u));
    if (c == NULL || !bundle_fits(c, &u) || !hashset_add(&cl->keys, u.key))
        return false;
    cluster_take_slot(cl, t->slot);
    mark_all(w, t);
    collected(b, t);
    bundle_transmit(c, &u);
    return true;
}

bool bundle_ready(struct writer *w, const struct rec *r)
{
    struct bundle *t = w->cluster->bundles->of[r->flow];
    return t == NULL || joins(t, r) || send_first(w, t);
}

bool bundle_put(struct writer *w, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct cluster *cl = w->cluster;
    struct bundle *t = cl->bundles->of[r->flow];
    bool more = (r->flags & RF_TOGETHER) != 0;
    if (t == NULL) {
        bool begins = more && cl->slots && r->type == REC_REQUEST && (r->flags & RF_LIVE) != 0 &&
                      r->slot < SLOTS && r->db == 0 && r->len <= BUNDLE_BYTES;
        if (!begins)
            return false;
        t = bundle_new(cl->bundles, r);
    }
    t->e[t->n++] = (struct element){
        .r = *r, .off = (uint32_t)t->req.len, .vclass = vclass, .out = r->type == REC_POSITION};
    (void)buf_add(&t->req, payload, r->type == REC_POSITION ? 0 : r->len); /* within its bound: see joins */
    if (!more)
        (void)send_first(w, t);
    return true;
}

void bundles_work(struct writer *w, uint64_t now)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t, *next;
    if (b->collecting == 0)
        return;
    if (w->failed) {
        bundles_forget(w);
        return;
    }
    for (t = TAILQ_FIRST(&b->used); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->collecting && (t->closed || now > t->since + WAIT_MAX || w->inputs.unfinished == 0))
            (void)send_first(w, t);
    }
}

void bundles_forget(struct writer *w)
{
    struct bundles *b = w->cluster->bundles;
    struct bundle *t, *next;
    for (t = TAILQ_FIRST(&b->used); t != NULL && b->collecting > 0; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->collecting) {
            collected(b, t);
            retire(b, t);
        }
    }
}

/* ---- under way ---- */

size_t bundle_size(const struct cunit *u)
{
    const struct bundle *t = u->arg;
    return t->req.len + sizeof multi + sizeof exec;
}

bool bundle_fits(const struct conn *c, const struct cunit *u)
{
    const struct bundle *t = u->arg;
    return c->un + t->n + 16 < c->cap;
}

void bundle_transmit(struct conn *c, const struct cunit *u)
{
    struct bundle *t = u->arg;
    struct cunit part = {.kind = CU_QUEUED, .arg = t};
    t->replies = 0;
    t->faults.len = 0;
    conn_add(c, &part, multi, sizeof multi - 1);
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out)
            conn_add(c, &part, t->req.p + t->e[i].off, t->e[i].r.len);
    conn_add(c, u, exec, sizeof exec - 1);
}

/* The element that was sent as number k behind MULTI. */
static unsigned sent_as(const struct bundle *t, unsigned k)
{
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out && k-- == 0)
            return i;
    return t->n;
}

static void note_fault(struct bundle *t, unsigned element, const char *text, size_t len)
{
    struct fault f = {.element = element, .len = (uint32_t)(len < 255 ? len : 255)};
    if (element < t->n && buf_add(&t->faults, &f, sizeof f) == 0)
        (void)buf_add(&t->faults, text, f.len);
}

void bundle_queued(struct conn *c, const struct cunit *part)
{
    struct bundle *t = part->arg;
    unsigned k = t->replies++;
    if (c->reply_type != REDIS_REPLY_ERROR)
        return;
    if (k == 0) { /* what stands behind it is no transaction */
        writer_fail(c->w, EXIT_CANNOT, "event=multi_refused node=%s reply=%s", cnode_name(c->node),
                    log_quote(c->err, c->errlen));
        c->w->cluster->dead = true;
        return;
    }
    if (t->faults.len == 0) /* EXEC will refuse because of it */
        note_fault(t, sent_as(t, k - 1), c->err, c->errlen);
}

void bundle_fault(const struct cunit *u, int element, const char *text, size_t len)
{
    struct bundle *t = u->arg;
    if (element >= 0)
        note_fault(t, sent_as(t, (unsigned)element), text, len);
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
                          .flags =
                              (uint8_t)(CF_LIVE | ((e->r.flags & RF_IDEMPOTENT) != 0 ? CF_IDEMPOTENT : 0) |
                                        ((e->r.flags & RF_MULTIKEY) != 0 ? CF_ALONE : 0))};
}

static void element_error(struct writer *w, struct bundle *t, struct element *e, const char *text, size_t len)
{
    const uint8_t *bytes = t->req.p + e->off;
    struct cunit u = unit_of(e);
    if (e->resent && request_shows_repeat(bytes, e->r.len) && error_of_repeat(text, len))
        return; /* so it had been carried out */
    e->out = true;
    cluster_unit_error(w, &u, bytes, text, len);
}

/* What EXEC said about single requests. */
static void carried_out(struct conn *c, struct bundle *t)
{
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    for (size_t at = 0; at + sizeof(struct fault) <= t->faults.len;) {
        struct fault f;
        memcpy(&f, t->faults.p + at, sizeof f);
        const char *text = (const char *)t->faults.p + at + sizeof f;
        at += sizeof f + f.len;
        element_error(c->w, t, &t->e[f.element], text, f.len);
    }
    t->faults.len = 0;
}

static void again(struct writer *w, const struct cunit *u, uint64_t due, struct cnode *ask)
{
    struct cunit v = *u;
    v.len = 0; /* the requests are in the bundle */
    cluster_displace(w, &v, (const uint8_t *)"", due, ask);
}

void bundle_reply(struct conn *c, struct cunit *u)
{
    struct writer *w = c->w;
    struct bundle *t = u->arg;
    struct cnode *ask;
    uint64_t due;
    char text[256];
    size_t len = c->errlen;
    if (c->reply_type == REDIS_REPLY_ARRAY) {
        carried_out(c, t);
        return;
    }
    if (c->reply_type != REDIS_REPLY_ERROR) {
        conn_lose(c, "unexpected reply to EXEC");
        return;
    }
    struct fault f = {.element = BUNDLE_MAX};
    memcpy(text, c->err, len + 1);
    if (error_is_execabort(c->err, len) && error_class(c->err, len) != ERR_RETRY &&
        t->faults.len > sizeof f) {
        memcpy(&f, t->faults.p, sizeof f);
        memcpy(text, t->faults.p + sizeof f, len = f.len);
        text[len] = '\0';
    }
    if (cluster_detour(c, u->tries, text, len, &due, &ask) != DETOUR_NONE) {
        again(w, u, due, ask);
    } else if (w->cluster->dead) {
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

void bundle_lost(struct conn *c, const struct cunit *u, bool sent)
{
    struct bundle *t = u->arg;
    for (unsigned i = 0; sent && i < t->n; i++) {
        struct element *e = &t->e[i];
        struct cunit one = unit_of(e);
        const uint8_t *bytes = t->req.p + e->off;
        if (e->out || (one.flags & CF_IDEMPOTENT) != 0)
            continue;
        e->resent = true;
        if (!request_shows_repeat(bytes, e->r.len))
            cluster_doubtful(c->w, &one, bytes);
    }
    again(c->w, u, 0, NULL);
}

void bundle_finish(struct writer *w, const struct cunit *u, bool counted)
{
    struct cluster *cl = w->cluster;
    struct bundle *t = u->arg;
    hashset_remove(&cl->keys, u->key);
    cluster_leave_slot(cl, u->slot, true);
    for (unsigned i = 0; i < t->n; i++) {
        const struct element *e = &t->e[i];
        struct cunit one = unit_of(e);
        if (e->r.type == REC_POSITION)
            continue;
        cluster_passed(w, true, t->flow, e->mark);
        if (counted && !e->out && !cl->dead)
            cluster_count(w, &one);
    }
    retire(cl->bundles, t);
}
