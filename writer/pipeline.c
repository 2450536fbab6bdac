#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "log.h"
#include "request.h"
#include "suspect.h"
#include "writer.h"

static const char set_prefix[] = "*3\r\n$3\r\nSET\r\n";
static const char mset_name[] = "$4\r\nMSET\r\n";

void pipeline_init(struct pipeline *a)
{
    a->key = xcalloc(KEYS_MAX, sizeof *a->key);
    hashset_init(&a->set, KEYS_MAX);
    a->mset.max = 2 * MSET_BYTES;
    a->again.max = a->again_unit.max = a->again_key.max = 4 * RING_SIZE;
}

void pipeline_free(struct pipeline *a)
{
    free(a->key);
    hashset_free(&a->set);
    buf_free(&a->mset);
    parts_free(&a->parts);
    buf_free(&a->again);
    buf_free(&a->again_unit);
    buf_free(&a->again_key);
}

bool pipeline_quiet(const struct node *n)
{
    return n->a.outstanding == 0 && n->a.mset_n == 0 && n->a.parts.n == 0 && n->a.again_unit.len == 0;
}

/* ---- sending ---- */

static void flush_mset(struct node *n)
{
    struct pipeline *a = &n->a;
    if (a->mset_n == 0)
        return;
    uint8_t head[32];
    size_t len;
    if (a->mset_n == 1) {
        len = PLAINSET_PREFIX;
        memcpy(head, set_prefix, len);
    } else {
        uint8_t *p = resp_len(head, '*', 2 * a->mset_n + 1);
        memcpy(p, mset_name, sizeof mset_name - 1);
        len = (size_t)(p - head) + sizeof mset_name - 1;
        n->w->stats.msets++;
    }
    ring_add(&n->wire.ring, head, len);
    ring_add(&n->wire.ring, a->mset.p, a->mset.len);
    node_unit(n, a->mset_n == 1 ? U_ONE : U_MSET, len + a->mset.len, a->mset_n, 1);
    a->outstanding++;
    for (unsigned i = 0; i < a->mset_n; i++)
        pipeline_push_key(a, &a->mset_key[i]);
    a->mset_n = 0;
    a->mset.len = 0;
}

void pipeline_flush(struct node *n)
{
    flush_mset(n);
    parts_flush(n);
}

static void gather(struct node *n, const struct rec *r, const uint8_t *payload, struct inkey k)
{
    struct pipeline *a = &n->a;
    if (a->mset.len + r->len > MSET_BYTES)
        flush_mset(n);
    (void)buf_add(&a->mset, payload + PLAINSET_PREFIX, r->len - PLAINSET_PREFIX);
    a->mset_key[a->mset_n++] = k;
    if (a->mset_n == MSET_KEYS)
        flush_mset(n);
}

static void send_one(struct node *n, const struct rec *r, const uint8_t *payload, struct inkey k)
{
    ring_add(&n->wire.ring, payload, r->len);
    node_unit(n, U_ONE, r->len, 1, r->keyarg);
    pipeline_push_key(&n->a, &k);
    n->a.outstanding++;
}

enum put pipeline_put(struct node *n, const struct rec *r, const uint8_t *payload, uint8_t vclass)
{
    struct pipeline *a = &n->a;
    if (pipeline_held(n))
        return PUT_WAIT;
    if (r->db != n->db) {
        enum put got = node_want_db(n, r->db);
        if (got != PUT_DONE)
            return got;
    }
    if (a->kn + a->mset_n + a->parts.n >= KEYS_MAX || !node_room(n, r->len))
        return PUT_WAIT;
    uint32_t key = hashset_key(r->hash, r->db);
    if (groups_hold(n, key))
        return PUT_WAIT;
    if ((a->parts.nbehind > 0 && pipeline_holds(a, key)) || !hashset_add(&a->set, key)) {
        pipeline_flush(n);
        return PUT_WAIT;
    }
    struct inkey k = {.key = key, .flow = r->flow, .vclass = vclass, .keyarg = r->keyarg, .holds = true};
    if ((r->flags & RF_PLAINSET) != 0 && r->len <= MSET_SINGLE && n->w->opt.mset)
        gather(n, r, payload, k);
    else
        send_one(n, r, payload, k);
    positions_snapshot_add(&n->w->positions, r->flow);
    n->since_select++;
    return PUT_DONE;
}

/* ---- replies ---- */

/* An MSET was refused for good: one of its keys may be the reason, so each is sent alone. */
static void keep_parts(struct node *n, const struct unit *u)
{
    struct pipeline *a = &n->a;
    pipeline_compact(n);
    const uint8_t *p = ring_at(&n->wire.ring, n->wire.ring.acked);
    const uint8_t *name = memchr(p, '\n', u->len);
    p = name + 1 + sizeof mset_name - 1;
    for (unsigned i = 0; i < u->keys; i++) {
        size_t len = request_pair_len(p);
        struct unit one = {.len = (uint32_t)(PLAINSET_PREFIX + len), .keys = 1, .kind = U_ONE, .keyarg = 1};
        if (buf_add(&a->again, set_prefix, PLAINSET_PREFIX) < 0 || buf_add(&a->again, p, len) < 0 ||
            buf_add(&a->again_unit, &one, sizeof one) < 0)
            writer_fail(n->w, EXIT_CANNOT, "event=too_much_refused");
        p += len;
    }
    pipeline_keep_keys(a, u->keys);
}

/* A unit that went alone was refused for the moment: those behind it, which may be of the same key, have not
 * been sent, and wait for it. */
static bool again_alone(struct node *n, const struct unit *u)
{
    struct ring *r = &n->wire.ring;
    if (n->alone == 0 || r->sent != r->acked + u->len ||
        error_class(n->wire.err, n->wire.errlen) != ERR_RETRY)
        return false;
    struct named what = {ring_at(r, r->acked), u->len, u->keyarg, u->len};
    r->sent = r->acked;
    n->losses = n->alone_losses = 0;
    n->w->stats.retries++;
    node_refused(n, &what, n->wire.err, n->wire.errlen);
    return true;
}

/* The first unit in flight, which is one request. */
static void data_error(struct node *n, const struct unit *u, const char *text, size_t len)
{
    pipeline_data_error(n, &n->a.key[n->a.khead], ring_at(&n->wire.ring, n->wire.ring.acked), u->len, text,
                        len);
}

static void unit_error(struct node *n, const struct unit *u)
{
    struct named what;
    switch (error_class(n->wire.err, n->wire.errlen)) {
    case ERR_RETRY:
        what = (struct named){ring_at(&n->wire.ring, n->wire.ring.acked), u->len, u->keyarg, u->len};
        pipeline_keep(n, u);
        node_refused(n, &what, n->wire.err, n->wire.errlen);
        return;
    case ERR_FATAL:
    case ERR_REDIRECT:
        node_fatal(n, "target_refuses", n->wire.err, n->wire.errlen);
        pipeline_release_keys(n, u->keys, false);
        return;
    case ERR_DATA:
    case ERR_CONFLICT: break;
    }
    if (u->kind == U_MSET) {
        keep_parts(n, u);
        return;
    }
    data_error(n, u, n->wire.err, n->wire.errlen);
    pipeline_release_keys(n, u->keys, false);
}

bool pipeline_divides(const struct node *n, const struct unit *u)
{
    return u->kind == U_MSET || (u->kind == U_PARTS && parts_divide(n, u));
}

unsigned pipeline_give_up(struct node *n, const char *text, size_t len)
{
    const struct unit u = n->unit[n->uhead];
    unsigned instead = u.kind == U_MSET ? u.keys : 0;
    n->a.outstanding--;
    if (u.kind == U_PARTS) {
        instead = parts_give_up(n, &u, text, len);
    } else if (u.kind == U_MSET) {
        keep_parts(n, &u);
    } else {
        data_error(n, &u, text, len);
        pipeline_release_keys(n, u.keys, false);
    }
    n->uhead = (n->uhead + 1) & (UNITS_MAX - 1);
    n->un--;
    ring_ack(&n->wire.ring, u.len);
    return instead;
}

bool pipeline_reply(struct node *n, const struct unit *u)
{
    bool error = n->wire.reply_type == REDIS_REPLY_ERROR;
    if (!error && (u->kind == U_MSET ? n->wire.reply_type != REDIS_REPLY_STATUS
                                     : !reply_fits(ring_at(&n->wire.ring, n->wire.ring.acked), u->len,
                                                   n->wire.reply_type))) {
        node_lose(n, "unexpected reply to a request");
        return false;
    }
    if (error && again_alone(n, u))
        return false;
    n->a.outstanding--;
    if (error) {
        unit_error(n, u);
        return true;
    }
    n->confirmed_a++;
    n->progress = true;
    pipeline_release_keys(n, u->keys, true);
    if (n->patience.since != 0)
        node_succeeded(n);
    return true;
}

/* Only when every reply of the refused batch is there, so that they go in their old order. */
void pipeline_again(struct node *n)
{
    struct pipeline *a = &n->a;
    if (a->again_unit.len == 0 || (a->again_unit_at == 0 && a->outstanding > 0))
        return;
    if (n->db != a->again_db) {
        if (node_room(n, 64))
            node_select(n, a->again_db);
        return;
    }
    while (a->again_unit_at < a->again_unit.len) {
        struct unit u;
        memcpy(&u, a->again_unit.p + a->again_unit_at, sizeof u);
        if (!node_room(n, u.len) || a->kn + u.keys > KEYS_MAX)
            return;
        ring_add(&n->wire.ring, a->again.p + a->again_at, u.len);
        node_unit(n, (enum unit_kind)u.kind, u.len, u.keys, u.keyarg);
        for (unsigned i = 0; i < u.keys; i++, a->again_key_at += sizeof *a->key) {
            struct inkey k;
            memcpy(&k, a->again_key.p + a->again_key_at, sizeof k);
            pipeline_push_key(a, &k);
        }
        a->outstanding++;
        a->again_at += u.len;
        a->again_unit_at += sizeof u;
    }
    a->again.len = a->again_unit.len = a->again_key.len = 0;
    a->again_at = a->again_unit_at = a->again_key_at = 0;
    buf_trim(&a->again, SEND_STEP);
    buf_trim(&a->again_unit, SEND_STEP);
    buf_trim(&a->again_key, SEND_STEP);
}

void pipeline_forget(struct node *n)
{
    struct pipeline *a = &n->a;
    for (unsigned i = 0; i < a->mset_n; i++)
        pipeline_release(n, &a->mset_key[i], false);
    a->mset_n = 0;
    a->mset.len = 0;
    parts_forget(n);
    for (size_t at = a->again_key_at; at < a->again_key.len; at += sizeof *a->key) {
        struct inkey k;
        memcpy(&k, a->again_key.p + at, sizeof k);
        pipeline_release(n, &k, false);
    }
    a->again.len = a->again_unit.len = a->again_key.len = 0;
    a->again_at = a->again_unit_at = a->again_key_at = 0;
    n->yield = false;
    n->since_select = SELECT_AFTER;
}
