/* What the source says of the keys that were asked for: KEY records, and what becomes of them at their place
 * in the journal. */
#include "reread.h"

#include <stdlib.h>

#include "../command/args.h"
#include "check.h"
#include "holding.h"
#include "slots.h"
#include "log.h"
#include "meta.h"

/* Does it empty all of that at the target, too? Else it is reported, or comes to nothing (commands.c). */
static bool empties(const struct filter *f, const struct change *ch, bool all, bool cluster)
{
    if (f != NULL && f->keys)
        return false;
    if (all)
        return true;
    if (f != NULL && (filter_db_shared(f, ch->db) || !filter_db_passes(f, ch->db)))
        return false;
    return arg_is(&ch->argv[0], "FLUSHDB") && (!cluster || (f != NULL ? filter_db(f, ch->db) : ch->db) == 0);
}

void reread_before_flush(struct sink *to, const struct change *ch)
{
    struct rekey *k, *next;
    bool all = arg_is(&ch->argv[0], "FLUSHALL");
    bool of_one = to->own_master && to->flows > 1; /* other masters keep what they have */
    if (of_one || !empties(to->filter, ch, all, to->e->target.cluster))
        return;
    for (k = TAILQ_FIRST(&to->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != to->o.flow || (!all && k->db != ch->db))
            continue;
        rekey_take_out(to->rereads, k);
        check_again(to, k);
        rekey_free(k);
    }
    rekeys_changed(to);
}

/* A value and what follows it, which nothing may come between: in one transaction, and all that the source
 * has said of the key until now is done with it. */
static void write_together(struct sink *to, struct rekey *k, const struct change *ch, uint64_t held)
{
    bool alone = !to->o.entry;
    uint64_t after = to->o.after;
    if (alone) {
        to->o.after = 0;
        entry_begin(&to->o, 0);
    }
    to->o.contains = alone && to->counting ? to->next_lsn : 0;
    to->at_once = k->passing;
    change_write(to, ch);
    to->at_once = false;
    to->has_value = true;
    kept_write(to, k, k->to, held);
    to->has_value = false;
    to->o.contains = 0;
    if (alone)
        entry_end(&to->o);
    to->o.after = after;
}

static void write_value(struct sink *to, struct rekey *k)
{
    uint8_t ttl[20];
    uint64_t time = to->o.time, held = rekey_leave(to, k);
    bool more = kept_between(k, k->to, UINT64_MAX);
    struct slice del[2] = {SLICE("DEL"), {k->key, k->n}};
    struct slice restore[5] = {SLICE("RESTORE"),
                               {k->key, k->n},
                               {ttl, dec_u64(ttl, k->ttl < 0    ? 0
                                                  : k->ttl == 0 ? 1
                                                                : (uint64_t)k->ttl)},
                               {k->value.p + k->value_at, k->value.len - k->value_at},
                               SLICE("REPLACE")};
    to->o.time = k->time; /* from which the time to live counts */
    to->e->stats.reread++;
    struct change ch = {.db = k->db,
                        .argv = k->missing ? del : restore,
                        .argc = k->missing ? 2 : 5,
                        .lsn = to->before,
                        .after = more ? held : sink_reached(to),
                        .time = k->time};
    if (k->take && k->missing && slot_names_shared(&to->slots->names, k->db)) {
        emit_report(
            to->e, &to->o, true, "slot-take", k->key, k->n,
            "several databases become one, and it is gone from one of them: what the target has stays");
        kept_write(to, k, k->to, held);
    } else {
        write_together(to, k, &ch, held);
    }
    to->o.fresh = false;
    to->o.time = time;
    if (k->take)
        holding_key_done(to->holding, true);
    check_again(to, k);
    rekey_free(k);
}

void reread_write_due(struct sink *to)
{
    while (to->due <= to->next_lsn) {
        struct rekey *k;
        TAILQ_FOREACH(k, &to->rereads->list, link)
        if (k->flow == to->o.flow && k->state == REKEY_ANSWERED && k->to <= to->next_lsn)
            break;
        if (k != NULL)
            write_value(to, k);
        else
            check_write_due(to);
    }
}

/* Does it fit what the journal has said meanwhile? */
static bool fits(struct rereads *r, struct rekey *k)
{
    if (k->from < k->least || kept_between(k, k->from, k->to))
        return false;
    kept_drop_below(r, k, k->from);
    return true;
}

static void take_value(struct sink *to, struct rekey *k, const char *text, size_t n, size_t at)
{
    char state[16], error[160];
    if (meta_get(text, n, "state", state, sizeof state) < 0)
        state[0] = '\0';
    if (strcmp(state, "value") != 0 && strcmp(state, "missing") != 0) {
        bool said = meta_get(text, n, "error", error, sizeof error) > 0;
        rekey_give_up(to, k, said ? error : "no value in the answer");
        return;
    }
    char ttl[24] = "-1";
    (void)meta_get(text, n, "ttl", ttl, sizeof ttl);
    k->ttl = strtoll(ttl, NULL, 10);
    k->missing = strcmp(state, "missing") == 0;
    if (k->refines && k->missing) { /* the journal says when it went */
        rekey_give_up(to, k, "it has gone");
        return;
    }
    k->value = to->answer;
    k->value_at = at;
    to->answer = (struct buf){0};
    if (!fits(to->rereads, k)) {
        rekey_retry(to, k);
        return;
    }
    k->state = REKEY_ANSWERED;
    rekeys_changed(to);
    reread_write_due(to);
}

/* The whole answer is there. */
static const char *take_answer(struct sink *to, uint64_t time)
{
    char key[CTL_LINE_MAX];
    uint64_t db, from = 0, end = 0;
    const uint8_t *blank = to->answer.p != NULL ? memmem(to->answer.p, to->answer.len, "\n\n", 2) : NULL;
    if (blank == NULL)
        return "a KEY record without an empty line";
    const char *text = (const char *)to->answer.p;
    size_t n = (size_t)(blank - to->answer.p) + 1;
    long len = meta_get(text, n, "key", key, sizeof key);
    if (len < 0 || !meta_getu(text, n, "db", &db))
        return "a KEY record without key or db";
    bool placed = meta_getu(text, n, "from", &from) && meta_getu(text, n, "to", &end) && from <= end;
    struct rekey *k = rekey_find(to->rereads, to->o.flow, (uint32_t)db, key, (size_t)len);
    if (k == NULL || k->state != REKEY_REQUESTED)
        return NULL; /* another parser's, or given up */
    k->from = from;
    k->to = end;
    k->time = time;
    if (to->answer_lost)
        rekey_give_up(to, k, "more than 64 MiB of values and changes would have to be kept");
    else if (!placed && memmem(text, n, "state=error\n", 12) == NULL)
        return "a KEY record without from and to";
    else
        take_value(to, k, text, n, n + 1);
    return NULL;
}

const char *reread_answer(struct sink *to, const struct rec *rec, const uint8_t *payload)
{
    struct rereads *r = to->rereads;
    to->answer.max = REREAD_BYTES;
    /* Of an answer that is too large the head is enough. */
    bool full = r->bytes + rec->len > REREAD_BYTES || to->answer_lost;
    if (full && to->answer.len > 0)
        to->answer_lost = true;
    else if (buf_add(&to->answer, payload, rec->len) < 0)
        to->answer_lost = true;
    else
        r->bytes += rec->len;
    if (full)
        to->answer_lost = true;
    if ((rec->flags & RF_MORE) != 0)
        return NULL;
    size_t n = to->answer.len;
    const char *fault = take_answer(to, rec->time);
    if (to->answer.p != NULL) /* nobody took it */
        r->bytes -= n;
    buf_free(&to->answer);
    to->answer_lost = false;
    return fault;
}

void reread_tick(struct sink *to, uint64_t now)
{
    struct rekey *k, *next;
    check_end_due(to);
    reread_write_due(to); /* no entry may follow for long */
    for (k = TAILQ_FIRST(&to->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != to->o.flow)
            continue;
        if (k->state == REKEY_WANTED && to->synced)
            rekey_retry(to, k);
        else if (k->state == REKEY_REQUESTED && now > k->requested_at + REREAD_TIMEOUT)
            rekey_give_up(to, k, "no answer came");
    }
}

/* The run that resumes finds it missing; or it gets the entry once more that made it be asked for, as no
 * position behind that is reached any more. */
static void leave(struct sink *to, struct rekey *k)
{
    rekey_take_out(to->rereads, k);
    rekey_free(k);
    rekeys_changed(to);
}

void reread_finish(struct sink *to, const char *why)
{
    struct rekey *k, *next;
    unsigned left = 0;
    if (to->rereads == NULL)
        return;
    for (k = TAILQ_FIRST(&to->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != to->o.flow)
            continue;
        bool goes_on = !k->refines && reread_verifies(to), early = k->to > to->next_lsn;
        /* A value before its place contains entries that the run which resumes gets again: it has to ask for
         * the key once more, and keep them back. */
        bool answered = k->state == REKEY_ANSWERED;
        if ((answered ? early : goes_on) && k->since < to->left_at)
            to->left_at = k->since;
        if (answered && (!goes_on || !early)) {
            write_value(to, k);
        } else if (goes_on) {
            leave(to, k);
            left++;
        } else {
            rekey_give_up(to, k, why);
        }
    }
    if (left > 0)
        log_event(
            LOG_WARN, to->o.flow,
            "event=not_verified keys=%u error=%s note=\"they are missing at the target, or not as the source "
            "has them, until a run that resumes has read them again\"",
            left, log_quote(why, strlen(why)));
}
