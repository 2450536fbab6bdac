/* What the source says of the keys that were asked for: KEY records, and what becomes of them at their place
 * in the journal. */
#include "reread.h"

#include <stdlib.h>

#include "args.h"
#include "check.h"
#include "meta.h"

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
        rekey_take_out(f->rereads, k);
        check_again(f, e, k->db, k->key, k->n, k->checks);
        rekey_free(k);
    }
    rekeys_changed(f);
}

static void write_value(struct flow *f, struct emit *e, struct rekey *k)
{
    uint8_t ttl[20];
    uint64_t time = f->o.time, held = rekey_leave(f, k);
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
    rekey_left(f);
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
        if (k != NULL)
            write_value(f, e, k);
        else
            check_write_due(f, e);
    }
}

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
        rekey_ask_again(f, e, k);
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

void reread_tick(struct flow *f, struct emit *e, uint64_t now)
{
    struct rekey *k, *next;
    reread_write_due(f, e); /* no entry may follow for long */
    for (k = TAILQ_FIRST(&f->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != f->o.flow)
            continue;
        if (k->state == REKEY_WANTED && f->synced)
            rekey_ask_again(f, e, k);
        else if (k->state == REKEY_ASKED && now > k->asked_at + REREAD_PATIENCE)
            rekey_give_up(f, e, k, "no answer came");
    }
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
