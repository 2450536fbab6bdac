#include "mset.h"

#include <stdlib.h>
#include <string.h>

#include "../target/cluster.h"
#include "errors.h"
#include "request.h"
#include "resp.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../summary.h"
#include "whole.h"

#define KEYS  64u
#define BYTES ((size_t)32 << 10)
#define HEAD  64u

_Static_assert(BYTES + HEAD <= MSET_ROOM && MSET_SINGLE <= BYTES, "room for an MSET");

static const char set_prefix[] = "*3\r\n$3\r\nSET\r\n";
static const char mset_name[] = "$4\r\nMSET\r\n";

struct mkey {
    uint32_t key; /* hashset_key */
    uint16_t flow;
    uint8_t vclass;
};

/* The keys of one, until it is confirmed. */
struct mset {
    struct mset *next; /* of those not used */
    unsigned n;
    struct mkey key[KEYS];
};

struct msets {
    struct cluster *cl;
    struct buf pairs; /* without the header */
    struct mset *now; /* whose they are; NULL: nothing is gathered */
    struct conn *c;   /* where they go */
    uint32_t db;
    struct mset *spare;
};

static const struct unit_calls calls;

struct msets *msets_new(struct cluster *cl)
{
    struct msets *m = xcalloc(1, sizeof *m);
    m->cl = cl;
    m->pairs.max = 2 * BYTES;
    return m;
}

void msets_free(struct msets *m)
{
    if (m == NULL)
        return;
    for (struct mset *s; (s = m->spare) != NULL;) {
        m->spare = s->next;
        free(s);
    }
    free(m->now);
    buf_free(&m->pairs);
    free(m);
}

static struct mset *take(struct msets *m)
{
    struct mset *s = m->spare;
    if (s == NULL)
        s = xmalloc(sizeof *s);
    else
        m->spare = s->next;
    s->n = 0;
    return s;
}

static void give_back(struct msets *m, struct mset *s)
{
    s->next = m->spare;
    m->spare = s;
}

size_t mset_gathered(const struct msets *m)
{
    return m != NULL && m->now != NULL ? m->pairs.len + HEAD : 0;
}

/* ---- gathering ---- */

struct conn *mset_joins(const struct msets *m, uint32_t db, uint32_t len)
{
    struct conn *c = m->c;
    bool joins = m->now != NULL && m->db == db && m->pairs.len + len <= BYTES && c->line.db == db &&
                 c->line.state == CONN_READY && !c->line.lost;
    return joins ? c : NULL;
}

void mset_flush(struct msets *m)
{
    if (m == NULL || m->now == NULL)
        return;
    struct mset *s = m->now;
    struct cunit u = {.kind = CU_ONE,
                      .calls = &calls,
                      .arg = s,
                      .db = m->db,
                      .slot = WHOLE_SCOPE + 1,
                      .flags = CF_IDEMPOTENT,
                      .keyarg = 1};
    uint8_t head[HEAD];
    size_t len = PLAINSET_PREFIX;
    if (s->n == 1) {
        memcpy(head, set_prefix, len);
    } else {
        uint8_t *p = resp_len(head, '*', 2 * s->n + 1);
        memcpy(p, mset_name, sizeof mset_name - 1);
        len = (size_t)(p - head) + sizeof mset_name - 1;
        m->cl->stats->msets++;
    }
    m->now = NULL;
    u.len = (uint32_t)(len + m->pairs.len);
    if (line_takes(&m->c->line, u.len) && m->c->line.db == m->db) {
        line_add(&m->c->line, &u, head, len);
        line_more(&m->c->line, m->pairs.p, m->pairs.len);
    } else { /* it was lost, or refuses: as soon as it can */
        uint8_t *all = xmalloc(u.len);
        memcpy(all, head, len);
        memcpy(all + len, m->pairs.p, m->pairs.len);
        moved_enqueue(m->cl, moved_new(&u, all));
        free(all);
    }
    m->pairs.len = 0;
}

void mset_add(struct msets *m, struct conn *c, const struct rec *r, const uint8_t *payload, uint32_t key,
              uint8_t vclass)
{
    if (m->now != NULL && (m->db != r->db || m->pairs.len + r->len > BYTES))
        mset_flush(m);
    if (m->now == NULL) {
        m->now = take(m);
        m->c = c;
        m->db = r->db;
    }
    (void)buf_add(&m->pairs, payload + PLAINSET_PREFIX, r->len - PLAINSET_PREFIX);
    m->now->key[m->now->n++] = (struct mkey){.key = key, .flow = r->flow, .vclass = vclass};
    if (m->now->n == KEYS)
        mset_flush(m);
}

/* ---- replies ---- */

static void release(struct msets *m, struct mset *s, bool counted)
{
    struct cluster *cl = m->cl;
    for (unsigned i = 0; i < s->n; i++) {
        const struct mkey *k = &s->key[i];
        hashset_remove(&cl->keys, k->key);
        if (!cl->outcome->dead)
            positions_snapshot_done(cl->positions, k->flow);
        if (counted && k->vclass != 0)
            cl->stats->keys[k->vclass]++;
    }
    if (counted) {
        cl->stats->requests += s->n;
        cl->whole->confirmed++;
    }
    cl->recheck |= cl->nparked > 0;
    give_back(m, s);
}

void mset_forget(struct msets *m)
{
    if (m == NULL || m->now == NULL)
        return;
    release(m, m->now, false);
    m->now = NULL;
    m->pairs.len = 0;
}

/* Each key as a request of its own, which takes over what is held. */
static void divide(struct msets *m, const struct cunit *u, const uint8_t *bytes)
{
    struct cluster *cl = m->cl;
    struct mset *s = u->arg;
    bool one = s->n == 1;
    const uint8_t *p = one ? bytes + PLAINSET_PREFIX
                           : (const uint8_t *)memchr(bytes, '\n', u->len) + 1 + sizeof mset_name - 1;
    for (unsigned i = 0; i < s->n; i++) {
        const struct mkey *k = &s->key[i];
        size_t len = request_pair_len(p);
        uint8_t *set = xmalloc(PLAINSET_PREFIX + len);
        memcpy(set, set_prefix, PLAINSET_PREFIX);
        memcpy(set + PLAINSET_PREFIX, p, len);
        struct cunit v = *u;
        v.calls = &cluster_request;
        v.arg = NULL;
        v.len = (uint32_t)(PLAINSET_PREFIX + len);
        v.key = k->key;
        v.flow = k->flow;
        v.vclass = k->vclass;
        v.plight = (struct plight){.lost = u->plight.lost >= SUSPECT_AFTER ? SUSPECT_AFTER : 0};
        cl->busy[v.slot]++;
        moved_enqueue(cl, moved_new(&v, set));
        free(set);
        p += len;
    }
    give_back(m, s);
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    struct cluster *cl = c->cl;
    struct cnode *ask;
    uint64_t due;
    if (c->line.wire.reply_type != REDIS_REPLY_ERROR) {
        if (c->line.wire.reply_type != REDIS_REPLY_STATUS)
            line_lose(&c->line, "unexpected reply to a request");
        return true;
    }
    struct named what = {bytes, u->len, u->keyarg, u->len};
    if (cluster_detour(cl, &c->line, u->tries, &what, c->line.wire.err, c->line.wire.errlen, &due, &ask) !=
        DETOUR_NONE) {
        plight_refused(c->cl, &u->plight, &what, c->line.wire.err, c->line.wire.errlen);
        cluster_displace(c->cl, u, bytes, due, ask);
    } else if (cl->outcome->dead) {
        release(cl->msets, u->arg, false);
    } else {
        divide(cl->msets, u, bytes); /* one of its keys may be the reason */
    }
    u->kind = CU_GONE;
    return false;
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c->cl, &c->line);
    release(c->cl->msets, u->arg, true);
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    if (how->sent && !how->answered && c->line.state == CONN_READY)
        plight_lost(&u->plight, &c->line);
    if (plight_hopeless(&u->plight))
        divide(c->cl->msets, u, bytes);
    else
        cluster_displace(c->cl, u, bytes, 0, NULL);
}

static void on_drop(struct cluster *cl, const struct cunit *u)
{
    release(cl->msets, u->arg, false);
}

static void on_fail(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    (void)text;
    (void)len;
    divide(cl->msets, u, bytes);
}

static const struct unit_calls calls = {
    .reply = on_reply, .confirmed = on_confirmed, .lost = on_lost, .drop = on_drop, .fail = on_fail};
