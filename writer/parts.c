/* Keys of the snapshot that come in several requests (DEL, HSET, HSET ...). The requests are gathered, of
 * several keys where these are small, and go as one unit in MULTI ... EXEC, so that a key does not wait one
 * round trip for each of its requests. A key of more than a unit goes on in the next one, which is gathered
 * while the one before is in flight and sent when that was confirmed.
 *
 * The unit of a key's first request, which removes what was there, may be executed twice as a whole. What
 * must not be repeated and has no such request before it goes with the position, by path B. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "exits.h"
#include "group.h"
#include "log.h"
#include "pipeline.h"
#include "request.h"
#include "suspect.h"
#include "writer.h"

static const char multi[] = "*1\r\n$5\r\nMULTI\r\n", exec[] = "*1\r\n$4\r\nEXEC\r\n";

#define OPEN_MAX 32u /* keys that are not complete: with more nobody looks for those that are */
#define MULTI    (sizeof multi - 1)
#define EXEC     (sizeof exec - 1)

_Static_assert(MULTI + EXEC <= PARTS_MARGIN, "MULTI and EXEC have no room");

void parts_free(struct parts *p)
{
    buf_free(&p->req);
    buf_free(&p->faults);
    free(p->v);
}

/* ---- gathering ---- */

/* The number of the first request of this key in the unit that is gathered; p->n: there is none. */
static unsigned first_of(const struct parts *p, uint32_t key)
{
    for (unsigned i = p->n; i-- > 0;)
        if (p->v[i].k.key == key)
            return p->v[i].first;
    return p->n;
}

/* Is this request, which must not be repeated, one of a key that a DEL in the unit removes? A hash may be
 * that of two keys. */
static bool repeatable(const struct parts *p, const struct rec *r, const uint8_t *payload)
{
    uint32_t key = hashset_key(r->hash, r->db);
    for (unsigned i = p->n; i-- > 0;) {
        const struct part *v = &p->v[i];
        if (v->k.key == key && v->resets)
            return splits_same_key(p->req.p + v->off, v->k.len, r, payload);
    }
    return false;
}

bool parts_want(const struct node *n, const struct rec *r, const uint8_t *payload)
{
    bool again = (r->flags & RF_IDEMPOTENT) != 0;
    if ((r->flags & RF_FIRST) != 0)
        return again;
    return n->w->splits.n > 0 && (again ? splits_open(n->w, r) : repeatable(&n->a.parts, r, payload));
}

static void append(struct parts *p, const struct rec *r, const uint8_t *payload, const struct inkey *k)
{
    if (p->v == NULL) {
        p->v = xcalloc(PARTS_MAX, sizeof *p->v);
        p->req.max = PARTS_BYTES + REC_PAYLOAD_MAX;
    }
    p->v[p->n] = (struct part){.k = *k,
                               .off = (uint32_t)p->req.len,
                               .first = first_of(p, k->key),
                               .resets = k->holds && splits_resets(r, payload)};
    p->n++;
    (void)buf_add(&p->req, payload, r->len); /* within its bound: see full */
}

static bool full(const struct node *n, const struct rec *r)
{
    const struct parts *p = &n->a.parts;
    size_t most = n->w->opt.window < PARTS_BYTES ? n->w->opt.window : PARTS_BYTES;
    return p->n > 0 && (p->n >= PARTS_MAX || p->req.len + r->len > most);
}

/* A cut that leaves requests of no key on both sides of it: what is left of a key that is not held any more
 * would be passed by a live change. */
static unsigned between_keys(const struct parts *p, unsigned cut)
{
    for (unsigned i = cut; i < p->n && cut > 0; i++)
        if (p->v[i].first < cut) {
            cut = p->v[i].first;
            i = cut; /* its own first is not before it */
        }
    return cut;
}

/* How many requests at the front are of keys that are complete? A key is not to be torn apart for nothing. */
static unsigned complete(const struct node *n)
{
    const struct splits *s = &n->w->splits;
    const struct parts *p = &n->a.parts;
    unsigned whole = s->n < OPEN_MAX ? p->n : 0;
    for (unsigned k = 0; k < s->n && whole > 0; k++)
        for (unsigned i = 0; i < whole; i++)
            if (p->v[i].k.key == s->v[k].key)
                whole = i;
    return between_keys(p, whole);
}

/* A key that is not in the unit yet. k->holds: it is free, else requests of it are in flight. */
static bool begins(struct node *n, const struct rec *r, struct inkey *k)
{
    struct pipeline *a = &n->a;
    struct parts *p = &a->parts;
    k->holds = hashset_add(&a->set, k->key);
    if (k->holds)
        return true;
    if ((r->flags & (RF_FIRST | RF_IDEMPOTENT)) != RF_IDEMPOTENT || p->nbehind == PARTS_BEHIND) {
        parts_flush(n);
        return false;
    }
    p->behind[p->nbehind++] = k->key;
    return true;
}

/* Keys whose earlier parts were in flight are held from now on by their first request in the unit. False:
 * they still are. */
static bool catch_up(struct pipeline *a, unsigned count)
{
    struct parts *p = &a->parts;
    if (p->nbehind == 0)
        return true;
    for (int take = 0; take < 2; take++)
        for (unsigned i = 0; i < count; i++)
            for (unsigned k = 0; k < p->nbehind; k++) {
                if (p->behind[k] != p->v[i].k.key)
                    continue;
                if (take == 0 && hashset_has(&a->set, p->behind[k]))
                    return false;
                if (take == 1) {
                    p->v[i].k.holds = hashset_add(&a->set, p->v[i].k.key);
                    p->behind[k] = p->behind[--p->nbehind];
                }
                break;
            }
    return true;
}

/* Send the first so many requests, if they may go. */
static void send(struct node *n, unsigned count)
{
    struct pipeline *a = &n->a;
    struct parts *p = &a->parts;
    if (count == 0 || !catch_up(a, count))
        return;
    size_t len = count < p->n ? p->v[count].off : p->req.len;
    bool one = count == 1;
    if (!one)
        ring_add(&n->wire.ring, multi, MULTI);
    ring_add(&n->wire.ring, p->req.p, len);
    if (!one)
        ring_add(&n->wire.ring, exec, EXEC);
    node_unit(n, one ? U_ONE : U_PARTS, len + (one ? 0 : MULTI + EXEC), count, p->v[0].k.keyarg);
    a->outstanding++;
    for (unsigned i = 0; i < count; i++)
        pipeline_push_key(a, &p->v[i].k);
    p->n -= count;
    memmove(p->v, p->v + count, p->n * sizeof *p->v);
    for (unsigned i = 0; i < p->n; i++)
        p->v[i].off -= (uint32_t)len, p->v[i].first -= count;
    buf_shift(&p->req, len);
    buf_trim(&p->req, (size_t)256 << 10);
    p->looked_at = 0;
}

void parts_flush(struct node *n)
{
    struct parts *p = &n->a.parts;
    if (p->n == 0)
        return;
    unsigned count = complete(n);
    send(n, count == 0 && n->a.outstanding == 0 ? p->n : count);
}

/* Before a request joins. */
static void make_room(struct node *n, const struct rec *r)
{
    struct parts *p = &n->a.parts;
    if (full(n, r)) {
        unsigned count = complete(n);
        send(n, count > 0 ? count : p->n);
    } else if ((r->flags & RF_FIRST) != 0 && p->req.len >= p->looked_at + PARTS_ENOUGH) {
        p->looked_at =
            (uint32_t)p->req.len; /* where nothing is complete it need not be looked at each time */
        send(n, complete(n));
    }
}

enum put parts_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct pipeline *a = &n->a;
    struct parts *p = &a->parts;
    uint32_t key = hashset_key(r->hash, r->db);
    if (pipeline_held(n))
        return PUT_WAIT;
    if (r->db != n->db) {
        enum put got = node_want_db(n, r->db);
        if (got != PUT_DONE)
            return got;
    }
    make_room(n, r);
    if (full(n, r) || a->kn + a->mset_n + p->n >= KEYS_MAX || !node_room(n, r->len) || groups_hold(n, key))
        return PUT_WAIT;
    struct inkey k = {.key = key,
                      .len = r->len,
                      .flow = r->flow,
                      .vclass = vclass,
                      .keyarg = r->keyarg,
                      .once = (r->flags & RF_IDEMPOTENT) == 0};
    /* The unit where it could be repeated may just have been sent to make room. */
    if (first_of(p, key) == p->n && (k.once || !begins(n, r, &k)))
        return PUT_WAIT;
    append(p, r, payload, &k);
    positions_snapshot_add(&n->w->positions, r->flow);
    n->since_select++;
    return PUT_DONE;
}

void parts_forget(struct node *n)
{
    struct parts *p = &n->a.parts;
    for (unsigned i = 0; i < p->n; i++)
        pipeline_release(n, &p->v[i].k, false);
    p->n = p->nbehind = 0;
    p->req.len = 0;
}

/* ---- replies ---- */

/* Request number i of the unit whose reply is due. */
static const struct inkey *part_of(const struct node *n, unsigned i)
{
    return &n->a.key[(n->a.khead + i) & (KEYS_MAX - 1)];
}

static void note_fault(struct node *n, unsigned i, const char *text, size_t len)
{
    struct parts *p = &n->a.parts;
    struct fault f = {.cmd = (int32_t)i, .len = (uint32_t)(len < 255 ? len : 255)};
    p->faults.max = PARTS_MAX * (sizeof f + 256);
    if (buf_add(&p->faults, &f, sizeof f) < 0 || buf_add(&p->faults, text, f.len) < 0)
        p->strange = true;
}

/* The next fault, which is of request i. False: there is none of it. */
static bool fault_of(const struct parts *p, size_t *at, unsigned i, const char **text, size_t *len)
{
    struct fault f;
    if (*at + sizeof f > p->faults.len)
        return false;
    memcpy(&f, p->faults.p + *at, sizeof f);
    if ((unsigned)f.cmd != i)
        return false;
    *text = (const char *)p->faults.p + *at + sizeof f;
    *len = f.len;
    *at += sizeof f + f.len;
    return true;
}

void parts_element(struct node *n, int element, int type, const char *text, size_t len)
{
    struct parts *p = &n->a.parts;
    const struct unit *u = &n->unit[n->uhead];
    if (p->replied != u->keys + 1u || element < 0 || (unsigned)element >= u->keys ||
        (unsigned)element != p->looked) {
        p->strange = true;
        return;
    }
    const struct inkey *k = part_of(n, p->looked++);
    const uint8_t *request = ring_at(&n->wire.ring, p->at);
    p->at += k->len;
    if (type == REDIS_REPLY_ERROR) {
        if (error_class(text, len) == ERR_FATAL) /* what was carried out all the same is said below */
            node_fatal(n, "target_refuses", text, len);
        note_fault(n, (unsigned)element, text, len);
    } else if (!reply_fits(request, k->len, type)) {
        p->strange = true;
    }
}

static void queued_error(struct node *n, unsigned i)
{
    struct parts *p = &n->a.parts;
    const struct inkey *k = part_of(n, i);
    uint64_t at = n->wire.ring.acked + MULTI;
    switch (error_class(n->wire.err, n->wire.errlen)) {
    case ERR_RETRY: {
        for (unsigned j = 0; j < i; j++)
            at += part_of(n, j)->len;
        struct named what = {ring_at(&n->wire.ring, at), k->len, k->keyarg, k->len};
        p->retry = true;
        node_refused(n, &what, n->wire.err, n->wire.errlen);
        return;
    }
    case ERR_FATAL:
    case ERR_REDIRECT:
        p->broken = true;
        node_fatal(n, "target_refuses", n->wire.err, n->wire.errlen);
        return;
    case ERR_DATA:
    case ERR_CONFLICT: note_fault(n, i, n->wire.err, n->wire.errlen);
    }
}

/* Requests of the unit, which is to be sent again, as a unit of their own. */
struct rest {
    struct buf req, key;
    unsigned n;
};

static void rest_add(struct rest *r, const struct inkey *k, const uint8_t *request)
{
    r->req.max = 2 * (PARTS_BYTES + REC_PAYLOAD_MAX);
    (void)buf_add(&r->req, request, k->len); /* what is sent is below that */
    (void)buf_add(&r->key, k, sizeof *k);
    r->n++;
}

static void rest_keep(struct node *n, struct rest *r)
{
    struct pipeline *a = &n->a;
    bool one = r->n == 1;
    struct inkey first;
    if (r->n > 0) {
        memcpy(&first, r->key.p, sizeof first);
        struct unit u = {.len = (uint32_t)(r->req.len + (one ? 0 : MULTI + EXEC)),
                         .keys = (uint16_t)r->n,
                         .kind = one ? U_ONE : U_PARTS,
                         .keyarg = first.keyarg};
        pipeline_compact(n);
        if ((!one && buf_add(&a->again, multi, MULTI) < 0) || buf_add(&a->again, r->req.p, r->req.len) < 0 ||
            (!one && buf_add(&a->again, exec, EXEC) < 0) || buf_add(&a->again_unit, &u, sizeof u) < 0 ||
            buf_add(&a->again_key, r->key.p, r->key.len) < 0)
            writer_fail(n->w, EXIT_CANNOT, "event=too_much_refused");
    }
    buf_free(&r->req);
    buf_free(&r->key);
}

/* Take the first requests out of the queue that are kept elsewhere, or done with. */
static void pass(struct pipeline *a, unsigned keys)
{
    a->khead = (a->khead + keys) & (KEYS_MAX - 1);
    a->kn -= keys;
}

/* It is done with: the next request of its key in the unit, which is to be sent again, holds the key now. */
static void hand_over(struct node *n, const struct unit *u, unsigned i, struct inkey *k)
{
    for (unsigned j = i + 1; j < u->keys && k->holds; j++) {
        struct inkey *next = &n->a.key[(n->a.khead + j) & (KEYS_MAX - 1)];
        if (next->key != k->key)
            continue;
        next->holds = true;
        k->holds = false;
    }
}

/* All requests were executed, or (rest) none, and those without fault are to be sent again. */
static void settle(struct node *n, const struct unit *u, struct rest *rest)
{
    struct parts *p = &n->a.parts;
    uint64_t at = n->wire.ring.acked + MULTI;
    size_t next = 0, len;
    const char *text;
    for (unsigned i = 0; i < u->keys; i++) {
        struct inkey k = *part_of(n, i);
        const uint8_t *request = ring_at(&n->wire.ring, at);
        bool failed = fault_of(p, &next, i, &text, &len);
        at += k.len;
        if (failed)
            pipeline_data_error(n, &k, request, k.len, text, len);
        if (failed && rest != NULL)
            hand_over(n, u, i, &k);
        if (!failed && rest != NULL)
            rest_add(rest, &k, request);
        else
            pipeline_release(n, &k, !failed);
    }
    pass(&n->a, u->keys);
}

static void aborted(struct node *n, const struct unit *u)
{
    struct parts *p = &n->a.parts;
    bool named = error_class(n->wire.err, n->wire.errlen) == ERR_RETRY;
    if (named) {
        const struct inkey *k = part_of(n, 0);
        struct named what = {ring_at(&n->wire.ring, n->wire.ring.acked + MULTI), k->len, k->keyarg, u->len};
        node_refused(n, &what, n->wire.err, n->wire.errlen);
    }
    if (named || p->retry) {
        pipeline_keep(n, u);
    } else if (p->faults.len == 0) {
        node_fatal(n, "group_aborted", n->wire.err, n->wire.errlen);
        pipeline_release_keys(n, u->keys, false);
    } else {
        struct rest rest = {.n = 0};
        settle(n, u, &rest);
        rest_keep(n, &rest);
    }
}

static void done(struct node *n, const struct unit *u)
{
    n->a.outstanding--;
    n->uhead = (n->uhead + 1) & (UNITS_MAX - 1);
    n->un--;
    ring_ack(&n->wire.ring, u->len);
    suspect_cleared(n);
}

static bool is_status(const struct node *n, const char *text)
{
    return n->wire.reply_type == REDIS_REPLY_STATUS && strcmp(n->wire.err, text) == 0;
}

/* The reply to MULTI. */
static void opened(struct node *n)
{
    struct parts *p = &n->a.parts;
    p->retry = p->strange = p->broken = false;
    p->looked = 0;
    p->faults.len = 0;
    p->at = n->wire.ring.acked + MULTI;
    if (n->wire.reply_type == REDIS_REPLY_ERROR) {
        p->broken = true;
        node_fatal(n, "multi_refused", n->wire.err, n->wire.errlen);
    } else if (!is_status(n, "OK")) {
        node_lose(n, "unexpected reply to MULTI");
    }
}

void parts_reply(struct node *n)
{
    struct parts *p = &n->a.parts;
    const struct unit u = n->unit[n->uhead];
    bool error = n->wire.reply_type == REDIS_REPLY_ERROR;
    unsigned i = p->replied++;
    if (i == 0) {
        opened(n);
    } else if (i <= u.keys && error) {
        queued_error(n, i - 1);
    } else if (i <= u.keys) {
        if (!is_status(n, "QUEUED"))
            node_lose(n, "unexpected reply within MULTI");
    } else if (p->broken || n->dead) {
        pipeline_release_keys(n, u.keys, false);
        p->replied = 0;
        done(n, &u);
    } else if (n->wire.ring.sent >= n->wire.ring.acked + u.len && n->wire.reply_type == REDIS_REPLY_ARRAY &&
               n->wire.reply_elements == (int)u.keys && p->looked == u.keys && !p->strange) {
        n->confirmed_a++;
        n->progress = true;
        settle(n, &u, NULL);
        p->replied = 0;
        done(n, &u);
        node_succeeded(n);
    } else if (error && error_is_execabort(n->wire.err, n->wire.errlen)) {
        aborted(n, &u);
        p->replied = 0;
        done(n, &u);
    } else {
        /* Older servers leave a refused EXEC's transaction open: a new connection knows where it stands. */
        node_lose(n, "unexpected reply to EXEC: %s",
                  error ? log_quote(n->wire.err, n->wire.errlen)
                  : n->wire.reply_type != REDIS_REPLY_ARRAY || n->wire.reply_elements != (int)u.keys
                      ? "another number of replies"
                      : "a reply that its request cannot get");
    }
}

/* ---- what the connection is lost for ---- */

/* Keys of the unit in flight; once: it holds a request that must not be repeated. */
static unsigned keys_in(const struct node *n, const struct unit *u, bool *once)
{
    unsigned keys = 0;
    *once = false;
    for (unsigned i = 0; i < u->keys; i++) {
        keys += part_of(n, i)->holds;
        *once |= part_of(n, i)->once;
    }
    return keys;
}

bool parts_divide(const struct node *n, const struct unit *u)
{
    bool once;
    return keys_in(n, u, &once) > 1 || !once;
}

/* Each key as a unit of its own. */
static unsigned keep_keys(struct node *n, const struct unit *u)
{
    unsigned units = 0;
    for (unsigned first = 0; first < u->keys; first++) {
        struct rest rest = {.n = 0};
        uint64_t at = n->wire.ring.acked + MULTI;
        if (!part_of(n, first)->holds)
            continue;
        for (unsigned i = 0; i < u->keys; at += part_of(n, i++)->len)
            if (part_of(n, i)->key == part_of(n, first)->key)
                rest_add(&rest, part_of(n, i), ring_at(&n->wire.ring, at));
        rest_keep(n, &rest);
        units++;
    }
    return units;
}

/* Each request for itself, of one key: the last holds it. */
static unsigned keep_requests(struct node *n, const struct unit *u)
{
    uint64_t at = n->wire.ring.acked + MULTI;
    for (unsigned i = 0; i < u->keys; i++) {
        struct rest rest = {.n = 0};
        struct inkey k = *part_of(n, i);
        k.holds = i + 1u == u->keys;
        rest_add(&rest, &k, ring_at(&n->wire.ring, at));
        rest_keep(n, &rest);
        at += k.len;
    }
    return u->keys;
}

unsigned parts_give_up(struct node *n, const struct unit *u, const char *text, size_t len)
{
    bool once;
    unsigned instead = 0, keys = keys_in(n, u, &once);
    uint64_t at = n->wire.ring.acked + MULTI;
    if (keys > 1)
        instead = keep_keys(n, u);
    else if (!once)
        instead = keep_requests(n, u);
    for (unsigned i = 0; i < u->keys && instead == 0; i++) {
        struct inkey k = *part_of(n, i);
        pipeline_data_error(n, &k, ring_at(&n->wire.ring, at), k.len, text, len);
        pipeline_release(n, &k, false);
        at += k.len;
    }
    pass(&n->a, u->keys);
    return instead;
}
