#include "told.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "making.h"
#include "meta.h"
#include "ours.h"

#define OPEN_MOST 8192u /* keys that are not complete: dfparse has at most 4096 */

static int fault(struct told *t, const char *why)
{
    snprintf(t->fault, sizeof t->fault, "%s", why);
    return -1;
}

void told_init(struct told *t, void (*key)(void *, const struct entry *, const struct part *, struct slice),
               void *ctx)
{
    memset(t, 0, sizeof *t);
    t->key = key;
    t->ctx = ctx;
    reply_init(&t->request.q);
}

/* ---- keys that are not complete ---- */

static struct making **place(struct told *t, unsigned flow, uint32_t hash)
{
    struct making **at = &t->bucket[(hash ^ flow) % TOLD_BUCKETS];
    while (*at != NULL && ((*at)->flow != flow || (*at)->hash != hash))
        at = &(*at)->next;
    return at;
}

static void finish(struct told *t, struct making **at)
{
    struct making *m = *at;
    if (m == NULL)
        return;
    *at = m->next;
    t->open--;
    if (t->latest[m->flow] == m)
        t->latest[m->flow] = NULL;
    struct entry head = m->head;
    head.parts = (uint8_t)entry_parts((enum value_type)head.type);
    making_end(m);
    if (head.type != VALUE_NONE)
        t->key(t->ctx, &head, m->part, (struct slice){m->name.p, m->name.len});
    m->next = t->spare;
    t->spare = m;
}

/* What a scanned flow said last of a key is all of it, once something else comes. */
static void settle(struct told *t, unsigned flow)
{
    if (t->latest[flow] != NULL)
        finish(t, place(t, flow, t->latest[flow]->hash));
}

static struct making *begin(struct told *t, const struct rec *r, struct slice name)
{
    struct making **at = place(t, r->flow, r->hash), *m = *at;
    if (m == NULL) {
        if (t->open == OPEN_MOST)
            return NULL;
        t->open++;
        m = t->spare != NULL ? t->spare : xcalloc(1, sizeof *m);
        t->spare = t->spare != NULL ? t->spare->next : NULL;
        m->next = NULL;
        *at = m;
    }
    making_begin(m, r, name);
    return m;
}

/* ---- requests ---- */

/* Whether these records belong to a data set that has come to rest. */
static int check_flags(struct told *t, const struct rec *r)
{
    if ((r->flags & RF_LIVE) != 0 && !t->scanned)
        return fault(t, "an append-only file consists of commands, which would have to be executed: let a "
                        "server load it, and compare that server");
    return 0;
}

static int take(struct told *t, const struct rec *r, const struct reply *q)
{
    if (r->keyarg == 0) /* functions, scripts */
        return 0;
    if (q->e[0].type != REPLY_ARRAY || r->keyarg >= q->n || !elem_whole(&q->e[r->keyarg + 1]) ||
        (size_t)q->e[0].n + 1 != q->n)
        return fault(t, "a request that is none");
    const struct elem *k = &q->e[r->keyarg + 1];
    struct slice name = {elem_text(q, k), k->n};
    if (key_is_ours(name.p, name.n))
        return 0;
    struct making *m = *place(t, r->flow, r->hash);
    bool other = m != NULL && (m->name.len != name.n || memcmp(m->name.p, name.p, name.n) != 0);
    if (other && !t->scanned)
        return fault(t, "two keys of one hash at once");
    if (t->scanned && (other || t->latest[r->flow] != m)) {
        settle(t, r->flow);
        m = *place(t, r->flow, r->hash);
    }
    if ((r->flags & RF_FIRST) != 0 || m == NULL)
        m = begin(t, r, name);
    if (m == NULL)
        return fault(t, "more keys at once than can be kept");
    const char *why = making_request(m, q);
    if (why != NULL) {
        snprintf(t->fault, sizeof t->fault, "%s: %.*s", why, (int)q->e[1].kept,
                 (const char *)elem_text(q, &q->e[1]));
        return -1;
    }
    m->parted = m->parted || (r->flags & (RF_FIRST | RF_LIVE)) != 0;
    if (t->scanned)
        t->latest[r->flow] = m;
    else if (!m->parted || (r->flags & RF_LAST) != 0)
        finish(t, place(t, r->flow, r->hash));
    return 0;
}

/* "$n\r\n" and n bytes at *p; *p moves behind them. */
static bool bulk(const uint8_t **p, const uint8_t *end, struct slice *out)
{
    const uint8_t *q = *p;
    size_t n = 0;
    if (q == end || *q++ != '$')
        return false;
    while (q < end && *q >= '0' && *q <= '9' && n < REC_PAYLOAD_MAX)
        n = n * 10 + (size_t)(*q++ - '0');
    if ((size_t)(end - q) < n + 4 || q[0] != '\r')
        return false;
    *out = (struct slice){q + 2, n};
    *p = q + n + 4;
    return true;
}

/* Most keys: SET key value, in one record. */
static bool plain(struct told *t, const struct rec *r, const uint8_t *payload)
{
    struct slice name, value;
    const uint8_t *p = payload + PLAINSET_PREFIX, *end = payload + r->len;
    if ((r->flags & (RF_PLAINSET | RF_MORE)) != RF_PLAINSET || r->len < PLAINSET_PREFIX ||
        t->pending[r->flow] != NULL || !bulk(&p, end, &name) || !bulk(&p, end, &value) || p != end)
        return false;
    if (t->latest[r->flow] != NULL)
        settle(t, r->flow);
    if (key_is_ours(name.p, name.n))
        return true;
    XXH128_hash_t h = XXH3_128bits(value.p, value.n);
    struct part part = {h.low64, h.high64};
    struct entry head = {.db = r->db, .type = VALUE_STRING, .parts = 1, .ttl = -1, .n = value.n};
    t->key(t->ctx, &head, &part, name);
    return true;
}

/* More of a request. Returns 1 it is complete, 0 it goes on, -1 it is none. */
static int feed(struct told *t, struct told_request *x, const struct rec *r, const uint8_t *payload)
{
    size_t taken;
    bool carried = x->rest.len > 0;
    if (!x->begun)
        reply_begin(&x->q, r->vclass == CLASS_STRING ? KEEP_ALL : KEEP_FRONT);
    x->begun = true;
    if (carried && buf_add(&x->rest, payload, r->len) < 0)
        return fault(t, "a request that takes too much memory");
    const uint8_t *p = carried ? x->rest.p : payload;
    size_t n = carried ? x->rest.len : r->len;
    int rc = reply_feed(&x->q, p, n, &taken);
    if (rc < 0 || (rc > 0 && taken < n))
        return fault(t, rc < 0 ? x->q.fault : "a request that does not end with its record");
    if (carried)
        buf_shift(&x->rest, taken);
    else if (buf_add(&x->rest, p + taken, n - taken) < 0)
        return fault(t, "a request that takes too much memory");
    return rc;
}

static void free_request(struct told_request *x)
{
    reply_free(&x->q);
    buf_free(&x->rest);
}

static int request(struct told *t, const struct rec *r, const uint8_t *payload)
{
    if (check_flags(t, r) < 0)
        return -1;
    if (plain(t, r, payload))
        return 0;
    struct told_request *x = t->pending[r->flow] != NULL ? t->pending[r->flow] : &t->request;
    bool more = (r->flags & RF_MORE) != 0;
    if (x == &t->request)
        x->begun = false;
    if (x == &t->request && more) {
        x = t->pending[r->flow] = xcalloc(1, sizeof *x);
        reply_init(&x->q);
    }
    int rc = feed(t, x, r, payload);
    if (rc < 0 || more)
        return rc <= 0 ? rc : fault(t, "a request that ends before its last record");
    rc = rc == 0 ? fault(t, "a request that does not end with its record") : take(t, r, &x->q);
    if (x != &t->request) {
        free_request(x);
        free(x);
        t->pending[r->flow] = NULL;
    }
    return rc;
}

/* ---- other records ---- */

/* What stands beside keys: it is reported under its own name. */
static bool beside_keys(const struct rec *r, const uint8_t *payload)
{
    static const char *const kinds[] = {"function", "module-aux", "search-index", "keydb-cron"};
    char kind[32];
    if (meta_get(payload, r->len, "kind", kind, sizeof kind) < 0)
        return false;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i]) == 0)
            return true;
    return false;
}

/* What was not carried over of a key cannot be compared. */
static int report(struct told *t, const struct rec *r, const uint8_t *payload)
{
    static char name[4097];
    uint64_t lost, db;
    long n = meta_get(payload, r->len, "key", name, sizeof name);
    struct entry head = {.type = VALUE_OTHER, .flags = ENTRY_UNKNOWN, .ttl = -1, .parts = 1};
    struct part none = {0, 0};
    if (!meta_getu(payload, r->len, "lost", &lost) || lost == 0 || n == 0 || beside_keys(r, payload))
        return 0;
    if (n < 0 || (n >= 3 && memcmp(name + n - 3, "...", 3) == 0) || !meta_getu(payload, r->len, "db", &db))
        return fault(t, "a key with a long name was not carried over, and cannot be compared");
    head.db = (uint32_t)db;
    if (key_is_ours(name, (size_t)n))
        return 0;
    t->key(t->ctx, &head, &none, (struct slice){(const uint8_t *)name, (size_t)n});
    return 0;
}

/* A value in parts ends with an expiry, or with this. */
static int position(struct told *t, const struct rec *r)
{
    struct making **at = place(t, r->flow, r->hash);
    if ((r->flags & RF_LAST) != 0 && !t->scanned && *at != NULL)
        finish(t, at);
    return 0;
}

static int end(struct told *t, const struct rec *r, const uint8_t *payload)
{
    char text[200] = "";
    uint64_t status = 0;
    for (unsigned i = 0; i < REC_FLOWS_MAX; i++)
        settle(t, i);
    (void)meta_getu(payload, r->len, "status", &status);
    if (meta_get(payload, r->len, "message", text, sizeof text) > 0)
        snprintf(t->fault, sizeof t->fault, "%s", text);
    t->ended = true;
    t->status = (int)status;
    return t->open == 0 || status != 0 ? 0 : fault(t, "a value that is not complete");
}

static int session(struct told *t, const struct rec *r, const uint8_t *payload)
{
    char source[32];
    if (r->epoch > 1)
        return fault(t, "it was begun anew while it was read");
    t->scanned =
        meta_get(payload, r->len, "source", source, sizeof source) > 0 && strcmp(source, "scan") == 0;
    return 0;
}

int told_record(struct told *t, const struct rec *r, const uint8_t *payload)
{
    if (r->flow >= REC_FLOWS_MAX)
        return fault(t, "a flow with too high a number");
    switch (r->type) {
    case REC_REQUEST: return request(t, r, payload);
    case REC_POSITION: return position(t, r);
    case REC_REPORT: return report(t, r, payload);
    case REC_SESSION: return session(t, r, payload);
    case REC_END: return end(t, r, payload);
    case REC_BARRIER:
    case REC_PROGRAM: return fault(t, "it was changed while it was read");
    default: return 0;
    }
}

void told_free(struct told *t)
{
    for (unsigned i = 0; i < TOLD_BUCKETS; i++)
        making_free_all(t->bucket[i]);
    making_free_all(t->spare);
    for (unsigned i = 0; i < REC_FLOWS_MAX; i++) {
        if (t->pending[i] != NULL)
            free_request(t->pending[i]);
        free(t->pending[i]);
    }
    free_request(&t->request);
}
