/* The keys under way, and their answers. See also reread_entries.c. */
#include "reread.h"

#include <stdio.h>
#include <stdlib.h>

#include <bsd/string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check.h"
#include "command_parts.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "reread_parts.h"

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

struct rekey *rekey_find(const struct flow *f, uint32_t db, const void *key, size_t n)
{
    struct rekey *k;
    LIST_FOREACH(k, &f->rereads->bucket[bucket_of(f->o.flow, db, key, n)], chain)
    if (k->flow == f->o.flow && k->db == db && k->n == n && memcmp(k->key, key, n) == 0)
        return k;
    return NULL;
}

static void take_out(struct rereads *r, struct rekey *k)
{
    LIST_REMOVE(k, chain);
    TAILQ_REMOVE(&r->list, k, link);
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
    struct rekey *k;
    while ((k = TAILQ_FIRST(&r->list)) != NULL) {
        take_out(r, k);
        rekey_free(k);
    }
    buf_free(&r->names);
    r->bytes = 0; /* also what came of answers that are not whole */
    r->epoch = epoch;
    r->closed = false;
    r->checks = 0;
}

/* What the flow has to know of its keys. */
void rekeys_changed(struct flow *f)
{
    const struct rekey *k;
    f->rr_hold = UINT64_MAX;
    f->rr_due = check_due(f);
    TAILQ_FOREACH(k, &f->rereads->list, link)
    {
        if (k->flow != f->o.flow)
            continue;
        if (k->since < f->rr_hold)
            f->rr_hold = k->since;
        if (k->state == REKEY_ANSWERED && k->to < f->rr_due)
            f->rr_due = k->to;
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

static bool ask(struct rereads *r, struct rekey *k)
{
    drop_value(r, k);
    k->state = REKEY_ASKED;
    k->asked_at = mono_us();
    return k->tries++ < REREAD_TRIES && send_request(r, k);
}

bool reread_room(const struct flow *f, size_t n)
{
    return rereads_possible(f->rereads) && f->multis == NULL && n <= REREAD_KEYS - f->rereads->count;
}

static bool name_fits(const struct slice *key)
{
    return key->n <= (CTL_LINE_MAX - 200) / 3; /* escaped */
}

bool reread_want(struct flow *f, uint32_t db, const struct slice *key, const char *kind, const char *detail)
{
    struct rereads *r = f->rereads;
    if (!reread_room(f, 1) || !name_fits(key))
        return false;
    struct rekey *k = rekey_find(f, db, key->p, key->n);
    if (k == NULL) {
        k = xcalloc(1, sizeof *k + key->n);
        k->flow = f->o.flow;
        k->db = db;
        k->since = f->counting ? f->entry_lsn : 0;
        k->n = key->n;
        memcpy(k->key, key->p, key->n);
        LIST_INSERT_HEAD(&r->bucket[bucket_of(k->flow, db, k->key, k->n)], k, chain);
        TAILQ_INSERT_TAIL(&r->list, k, link);
        r->count++;
    }
    k->kind = kind;
    strlcpy(k->detail, detail, sizeof k->detail);
    rekey_at_least(f, k);
    if (!f->synced) {
        k->since = 0;
    } else if (k->state != REKEY_ASKED && !ask(r, k) && k->checks == 0) {
        /* One that is owed probes stays: reread_tick gives it up, and writes them. */
        take_out(r, k);
        rekey_free(k);
        rekeys_changed(f);
        return false;
    }
    rekeys_changed(f);
    return true;
}

bool reread_check(struct flow *f, uint32_t db, const struct slice *key, const char *detail)
{
    uint64_t entry = f->entry_lsn;
    if (!f->synced || !f->counting)
        return false;
    bool known = rekey_find(f, db, key->p, key->n) != NULL;
    f->entry_lsn = f->next_lsn - 1; /* what the source says from here on counts */
    bool wanted = reread_want(f, db, key, "verify", detail);
    f->entry_lsn = entry;
    struct rekey *k = wanted ? rekey_find(f, db, key->p, key->n) : NULL;
    if (k == NULL)
        return false;
    if (!known)
        k->since = f->next_lsn; /* what is before that is reached */
    k->checks++;
    rekeys_changed(f);
    return true;
}

/* Only what the source says behind the entry at hand counts. */
void rekey_at_least(struct flow *f, struct rekey *k)
{
    if (f->counting && k->least < f->entry_lsn + 1)
        k->least = f->entry_lsn + 1;
    rekey_drop_kept(f->rereads, k);
}

void reread_before_flush(struct flow *f, struct emit *e, const struct slice *name)
{
    struct rekey *k, *next;
    bool all = arg_is(name, "FLUSHALL");
    /* One of a single database may come to nothing, where databases are joined. */
    if (!all && (!arg_is(name, "FLUSHDB") || f->sel != NULL || e->target.cluster))
        return;
    for (k = TAILQ_FIRST(&f->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != f->o.flow || (!all && k->db != f->src_db))
            continue;
        take_out(f->rereads, k);
        check_again(f, e, k->db, k->key, k->n, k->checks);
        rekey_free(k);
    }
    rekeys_changed(f);
}

/* ---- the end of one ---- */

/* What is written of it confirms nothing, until its last record: then as much as may be without it. Returns
 * the position for those before. */
static uint64_t leave(struct flow *f, struct rekey *k)
{
    uint64_t held = journal_reached(f);
    f->o.live = true;
    f->src_db = k->db;
    f->o.db = f->sel != NULL ? select_db(f->sel, k->db) : k->db;
    f->o.pos = held;
    f->o.fresh = true;
    take_out(f->rereads, k);
    rekeys_changed(f);
    return held;
}

/* All of it is written. */
static void left(struct flow *f)
{
    f->o.fresh = false;
}

void rekey_give_up(struct flow *f, struct emit *e, struct rekey *k, const char *why)
{
    char text[300];
    uint64_t held = leave(f, k);
    snprintf(text, sizeof text, "%s; it could not be read again: %s", k->detail, why);
    emit_report(e, &f->o, true, k->kind, k->key, k->n, text);
    kept_write(f, e, k, 0, held);
    left(f);
    check_again(f, e, k->db, k->key, k->n, k->checks);
    rekey_free(k);
}

static void ask_again(struct flow *f, struct emit *e, struct rekey *k)
{
    if (!ask(f->rereads, k))
        rekey_give_up(f, e, k,
                      k->tries > REREAD_TRIES ? "it changes all the time" : "nobody is there to ask");
    else
        rekeys_changed(f);
}

void rekey_ambiguous(struct flow *f, struct emit *e, struct rekey *k)
{
    rekey_at_least(f, k);
    ask_again(f, e, k);
}

static void write_value(struct flow *f, struct emit *e, struct rekey *k)
{
    uint8_t ttl[20];
    uint64_t time = f->o.time, held = leave(f, k);
    bool more = kept_between(k, k->to, UINT64_MAX);
    struct slice del[2] = {SLICE("DEL"), {k->key, k->n}};
    struct slice restore[5] = {SLICE("RESTORE"),
                               {k->key, k->n},
                               {ttl, dec_u64(ttl, k->ttl < 0    ? 0
                                                  : k->ttl == 0 ? 1
                                                                : (uint64_t)k->ttl)},
                               {k->value.p + k->value_at, k->value.len - k->value_at},
                               SLICE("REPLACE")};
    f->o.time = k->time; /* from which the time to live counts */
    f->entry_lsn = f->next_lsn > 0 ? f->next_lsn - 1 : 0;
    e->stats.reread++;
    command_write(f, e, 0, k->missing ? del : restore, k->missing ? 2 : 5, more ? held : journal_reached(f));
    kept_write(f, e, k, k->to, held);
    left(f);
    f->o.time = time;
    check_again(f, e, k->db, k->key, k->n, k->checks);
    rekey_free(k);
}

void reread_write_due(struct flow *f, struct emit *e)
{
    while (f->rr_due <= f->next_lsn) {
        struct rekey *k;
        TAILQ_FOREACH(k, &f->rereads->list, link)
        if (k->flow == f->o.flow && k->state == REKEY_ANSWERED && k->to <= f->next_lsn)
            break;
        if (k != NULL) {
            write_value(f, e, k);
        } else {
            check_write_due(f, e);
            rekeys_changed(f);
        }
    }
}

/* ---- answers ---- */

/* Does it fit what the journal has said meanwhile? */
static bool fits(struct flow *f, struct rekey *k)
{
    if (k->from < k->least || kept_between(k, k->from, k->to))
        return false;
    kept_drop_below(f->rereads, k, k->from);
    return true;
}

static void take_value(struct flow *f, struct emit *e, struct rekey *k, const char *text, size_t n, size_t at)
{
    char state[16], error[160];
    if (meta_get(text, n, "state", state, sizeof state) < 0)
        state[0] = '\0';
    if (strcmp(state, "value") != 0 && strcmp(state, "missing") != 0) {
        bool said = meta_get(text, n, "error", error, sizeof error) > 0;
        rekey_give_up(f, e, k, said ? error : "no value in the answer");
        return;
    }
    char ttl[24] = "-1";
    (void)meta_get(text, n, "ttl", ttl, sizeof ttl);
    k->ttl = strtoll(ttl, NULL, 10);
    k->missing = strcmp(state, "missing") == 0;
    k->value = f->rr_in;
    k->value_at = at;
    f->rr_in = (struct buf){0};
    if (!fits(f, k)) {
        ask_again(f, e, k);
        return;
    }
    k->state = REKEY_ANSWERED;
    rekeys_changed(f);
    reread_write_due(f, e);
}

/* The whole answer is there. */
static const char *take_answer(struct flow *f, struct emit *e, uint64_t time)
{
    char key[CTL_LINE_MAX];
    uint64_t db, from = 0, to = 0;
    const uint8_t *blank = f->rr_in.p != NULL ? memmem(f->rr_in.p, f->rr_in.len, "\n\n", 2) : NULL;
    if (blank == NULL)
        return "a KEY record without an empty line";
    const char *text = (const char *)f->rr_in.p;
    size_t n = (size_t)(blank - f->rr_in.p) + 1;
    long len = meta_get(text, n, "key", key, sizeof key);
    if (len < 0 || !meta_getu(text, n, "db", &db))
        return "a KEY record without key or db";
    bool placed = meta_getu(text, n, "from", &from) && meta_getu(text, n, "to", &to) && from <= to;
    struct rekey *k = rekey_find(f, (uint32_t)db, key, (size_t)len);
    if (k == NULL || k->state != REKEY_ASKED)
        return NULL; /* another parser's, or given up */
    k->from = from;
    k->to = to;
    k->time = time;
    if (f->rr_lost)
        rekey_give_up(f, e, k, "more than 64 MiB of values and changes would have to be kept");
    else if (!placed && memmem(text, n, "state=error\n", 12) == NULL)
        return "a KEY record without from and to";
    else
        take_value(f, e, k, text, n, n + 1);
    return NULL;
}

const char *reread_answer(struct flow *f, struct emit *e, const struct rec *rec, const uint8_t *payload)
{
    struct rereads *r = f->rereads;
    f->rr_in.max = REREAD_BYTES;
    /* Of an answer that is too large the head is enough. */
    bool full = r->bytes + rec->len > REREAD_BYTES || f->rr_lost;
    if (full && f->rr_in.len > 0)
        f->rr_lost = true;
    else if (buf_add(&f->rr_in, payload, rec->len) < 0)
        f->rr_lost = true;
    else
        r->bytes += rec->len;
    if (full)
        f->rr_lost = true;
    if ((rec->flags & RF_MORE) != 0)
        return NULL;
    size_t n = f->rr_in.len;
    const char *fault = take_answer(f, e, rec->time);
    if (f->rr_in.p != NULL) /* nobody took it */
        r->bytes -= n;
    buf_free(&f->rr_in);
    f->rr_lost = false;
    return fault;
}

/* ---- from time to time ---- */

void reread_tick(struct flow *f, struct emit *e, uint64_t now)
{
    struct rekey *k, *next;
    reread_write_due(f, e); /* no entry may follow for long */
    for (k = TAILQ_FIRST(&f->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != f->o.flow)
            continue;
        if (k->state == REKEY_WANTED && f->synced)
            ask_again(f, e, k);
        else if (k->state == REKEY_ASKED && now > k->asked_at + REREAD_PATIENCE)
            rekey_give_up(f, e, k, "no answer came");
    }
}

bool reread_early(const struct flow *f)
{
    const struct rekey *k;
    if (f->rereads == NULL || f->rereads->count == 0)
        return false;
    TAILQ_FOREACH(k, &f->rereads->list, link)
    if (k->flow == f->o.flow && k->since == 0)
        return true;
    return false;
}

void reread_finish(struct flow *f, struct emit *e, const char *why)
{
    struct rekey *k, *next;
    if (f->rereads == NULL)
        return;
    for (k = TAILQ_FIRST(&f->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow == f->o.flow && k->state == REKEY_ANSWERED)
            write_value(f, e, k);
        else if (k->flow == f->o.flow)
            rekey_give_up(f, e, k, why);
    }
}
