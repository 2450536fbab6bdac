/* The keys under way: the table of them, asking for them, the entries that are kept back for them. */
#include "reread.h"

#include <stdlib.h>

#include <bsd/string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../command/args.h"
#include "holding.h"
#include "io.h"
#include "meta.h"

void rereads_init(struct rereads *r, struct ctl *ctl)
{
    memset(r, 0, sizeof *r);
    r->ctl = ctl;
    TAILQ_INIT(&r->list);
}

static unsigned bucket_of(uint16_t flow, uint32_t db, const void *key, size_t n)
{
    return (unsigned)(XXH3_64bits_withSeed(key, n, (uint64_t)flow << 32 | db) % REREAD_BUCKETS);
}

struct rekey *rekey_find(const struct rereads *r, uint16_t flow, uint32_t db, const void *key, size_t n)
{
    struct rekey *k;
    LIST_FOREACH(k, &r->bucket[bucket_of(flow, db, key, n)], chain)
    if (k->flow == flow && k->db == db && k->n == n && memcmp(k->key, key, n) == 0)
        return k;
    return NULL;
}

struct rekey *rekey_held(const struct sink *to, uint32_t db, const struct slice *key)
{
    struct rekey *k = rekey_find(to->rereads, to->o.flow, db, key->p, key->n);
    return k != NULL && !k->passing ? k : NULL;
}

void rekey_take_out(struct rereads *r, struct rekey *k)
{
    LIST_REMOVE(k, chain);
    TAILQ_REMOVE(k->in, k, link);
    r->taken -= k->take;
    r->count--;
    r->bytes -= k->value.len + k->kept.len;
}

void rekey_free(struct rekey *k)
{
    buf_free(&k->value);
    buf_free(&k->kept);
    free(k);
}

void rereads_reset(struct rereads *r, uint16_t epoch)
{
    struct rekey *k, *next;
    for (k = TAILQ_FIRST(&r->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        rekey_take_out(r, k);
        rekey_free(k);
    }
    buf_free(&r->names);
    free(r->probed);
    r->probed = NULL;
    r->bytes = 0; /* also what came of answers that are not whole */
    r->epoch = epoch;
    r->closed = false;
    r->checks = 0;
}

void rekeys_changed(struct sink *to)
{
    const struct rekey *k;
    to->hold = to->left_at;
    to->due = to->checks.due;
    TAILQ_FOREACH(k, &to->rereads->list, link)
    {
        if (k->flow != to->o.flow)
            continue;
        if (k->since < to->hold)
            to->hold = k->since;
        if (k->state == REKEY_ANSWERED && k->to < to->due)
            to->due = k->to;
    }
}

void rekey_drop_kept(struct rereads *r, struct rekey *k)
{
    r->bytes -= k->kept.len;
    k->kept.len = 0;
}

static void drop_value(struct rereads *r, struct rekey *k)
{
    r->bytes -= k->value.len;
    buf_free(&k->value);
}

/* ---- asking ---- */

static bool send_request(struct rereads *r, const struct rekey *k)
{
    struct buf text = {0};
    meta_escape(&text, k->key, k->n, 0);
    int rc = -1;
    if (r->ctl->fd >= 0 && text.len < CTL_LINE_MAX - 200)
        rc = ctl_send(r->ctl, "reread flow=%u epoch=%u db=%u key=%.*s", k->flow, r->epoch, k->db,
                      (int)text.len, (const char *)text.p);
    buf_free(&text);
    return rc == 0;
}

bool rekey_request(struct rereads *r, struct rekey *k)
{
    drop_value(r, k);
    if (k->in != &r->list) {
        TAILQ_REMOVE(k->in, k, link);
        TAILQ_INSERT_TAIL(&r->list, k, link);
        k->in = &r->list;
    }
    k->state = REKEY_REQUESTED;
    k->requested_at = mono_us();
    return k->tries++ < (k->passing ? PASSING_TRIES : REREAD_TRIES) && send_request(r, k);
}

bool reread_room(const struct sink *to, size_t n)
{
    const struct rereads *r = to->rereads;
    return r != NULL && !r->closed && r->ctl->fd >= 0 && (!to->in_multi || to->multi_at > 0) &&
           n + r->count - r->taken <= REREAD_KEYS;
}

bool rekey_name_fits(const struct slice *key)
{
    return key->n <= (CTL_LINE_MAX - 200) / 3; /* escaped */
}

static struct rekey *add(struct rereads *r, uint16_t flow, struct rekeyq *in, uint32_t db,
                         const struct slice *key)
{
    struct rekey *k = xcalloc(1, sizeof *k + key->n);
    k->flow = flow;
    k->db = db;
    k->n = key->n;
    memcpy(k->key, key->p, key->n);
    LIST_INSERT_HEAD(&r->bucket[bucket_of(k->flow, db, k->key, k->n)], k, chain);
    TAILQ_INSERT_TAIL(in, k, link);
    k->in = in;
    r->count++;
    return k;
}

bool reread_take(struct sink *to, struct rekeyq *waiting, uint32_t db, const struct slice *key)
{
    if (!rekey_name_fits(key) || (to->filter != NULL ? !filter_passes(to->filter, key->p, key->n, 0, db)
                                                     : key_is_ours(key->p, key->n)))
        return false;
    struct rekey *k = rekey_find(to->rereads, to->o.flow, db, key->p, key->n);
    if (k == NULL) {
        k = add(to->rereads, to->o.flow, waiting, db, key);
        k->since = UINT64_MAX;
        k->kind = "slot-take";
        strlcpy(k->detail, "its slot moved to another master of the source", sizeof k->detail);
    }
    if (!k->take) {
        holding_key_wanted(to->holding);
        to->rereads->taken++;
    }
    k->take = true;
    return true;
}

bool reread_want(struct sink *to, uint64_t lsn, uint32_t db, const struct slice *key, const char *kind,
                 const char *detail)
{
    struct rereads *r = to->rereads;
    bool passing = strcmp(kind, REREAD_VERIFY) == 0;
    if (!reread_room(to, 1) || !rekey_name_fits(key))
        return false;
    struct rekey *k = rekey_find(to->rereads, to->o.flow, db, key->p, key->n);
    bool known = k != NULL;
    if (!known) {
        k = add(r, to->o.flow, &r->list, db, key);
        k->since = UINT64_MAX;
        k->passing = passing;
    }
    if (!passing && (!known || k->passing)) {
        k->passing = false;
        k->since = !to->counting  ? 0
                   : to->in_multi ? to->multi_at
                                  : lsn; /* to go on within one is not possible */
    }
    k->kind = kind;
    strlcpy(k->detail, detail, sizeof k->detail);
    rekey_at_least(to, k, lsn);
    if (!to->synced) {
        k->since = 0;
    } else if (k->state != REKEY_REQUESTED && !rekey_request(r, k) && k->checks + k->own == 0) {
        /* One that is owed probes stays: reread_tick gives it up, and writes them. */
        rekey_take_out(r, k);
        rekey_free(k);
        rekeys_changed(to);
        return false;
    }
    rekeys_changed(to);
    return true;
}

bool reread_refine(struct sink *to, const struct change *ch, const struct slice *key, const char *kind,
                   const char *detail)
{
    if (!to->synced || !to->counting || !reread_want(to, ch->lsn, ch->db, key, kind, detail))
        return false;
    rekey_find(to->rereads, to->o.flow, ch->db, key->p, key->n)->refines = true;
    return true;
}

bool reread_check(struct sink *to, uint32_t db, const struct slice *key, const char *detail, bool own)
{
    if (!to->synced || !to->counting)
        return false;
    bool known = rekey_find(to->rereads, to->o.flow, db, key->p, key->n) != NULL;
    /* What the source says from here on counts. */
    bool wanted = reread_want(to, to->next_lsn - 1, db, key, REREAD_VERIFY, detail);
    struct rekey *k = wanted ? rekey_find(to->rereads, to->o.flow, db, key->p, key->n) : NULL;
    if (k == NULL)
        return false;
    if (!known && !reread_verifies(to)) { /* what is before that is reached */
        k->passing = false;
        k->since = to->next_lsn;
    }
    k->checks += !own;
    k->own += own;
    rekeys_changed(to);
    return true;
}

void rekey_at_least(struct sink *to, struct rekey *k, uint64_t lsn)
{
    if (to->counting && k->least < lsn + 1)
        k->least = lsn + 1;
    k->refines = false;
    rekey_drop_kept(to->rereads, k);
}

bool reread_early(const struct rereads *r, uint16_t flow)
{
    const struct rekey *k;
    if (r == NULL || r->count == 0)
        return false;
    TAILQ_FOREACH(k, &r->list, link)
    if (k->flow == flow && k->since == 0)
        return true;
    return false;
}

bool reread_before(const struct rereads *r, uint16_t flow, uint64_t lsn)
{
    const struct rekey *k;
    TAILQ_FOREACH(k, &r->list, link)
    if (k->flow == flow && (k->passing || k->since < lsn))
        return true;
    return false;
}

/* ---- entries that are kept back: head, then (length in 8 bytes, bytes) for each argument ---- */

bool kept_next(const struct rekey *k, size_t *at, struct kept *h)
{
    if (*at >= k->kept.len)
        return false;
    memcpy(h, k->kept.p + *at, sizeof *h);
    *at += sizeof *h + h->bytes;
    return true;
}

bool kept_add(struct rereads *r, struct rekey *k, const struct change *ch)
{
    struct kept h = {ch->lsn, ch->txid, ch->time, ch->argc, ch->argc * sizeof(uint64_t)};
    for (size_t i = 0; i < ch->argc; i++)
        h.bytes += ch->argv[i].n;
    k->kept.max = REREAD_BYTES;
    if (r->bytes + sizeof h + h.bytes > REREAD_BYTES || buf_room(&k->kept, sizeof h + h.bytes) == NULL)
        return false;
    r->bytes += sizeof h + h.bytes;
    (void)buf_add(&k->kept, &h, sizeof h);
    (void)args_keep(&k->kept, ch->argv, ch->argc);
    return true;
}

bool kept_between(const struct rekey *k, uint64_t from, uint64_t to)
{
    struct kept h;
    for (size_t at = 0; kept_next(k, &at, &h);)
        if (h.lsn >= from && h.lsn < to)
            return true;
    return false;
}

void kept_drop_below(struct rereads *r, struct rekey *k, uint64_t lsn)
{
    struct kept h;
    size_t gone = 0;
    for (size_t at = 0; kept_next(k, &at, &h) && h.lsn < lsn;)
        gone = at; /* they are in order */
    buf_shift(&k->kept, gone);
    r->bytes -= gone;
}
