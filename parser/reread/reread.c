/* Entries on their way to the target while keys are read again: those of such a key are kept back, dropped,
 * or a reason to ask once more. */
#include "reread.h"

#include <stdio.h>

#include "check.h"
#include "holding.h"
#include "../command/command.h"
#include "ours.h"
#include "slot.h"

/* What is written of it confirms nothing, until its last record: then as much as may be without it. Returns
 * the position for those before. */
uint64_t rekey_leave(struct sink *to, struct rekey *k)
{
    uint64_t held = sink_reached(to);
    to->o.live = true;
    to->o.db = sink_db(to, k->db);
    to->o.pos = held;
    to->o.fresh = true;
    rekey_take_out(to->rereads, k);
    rekeys_changed(to);
    return held;
}

void kept_write(struct sink *to, struct rekey *k, uint64_t from, uint64_t held)
{
    struct kept h;
    struct buf args = {.max = k->kept.max};
    uint64_t time = to->o.time;
    for (size_t at = 0, data = 0; data = at, kept_next(k, &at, &h);) {
        if (h.lsn < from)
            continue;
        args.len = 0;
        struct slice *argv = (struct slice *)(void *)buf_room(&args, h.argc * sizeof *argv);
        if (argv == NULL)
            continue; /* kept.max is above what arguments need */
        (void)args_kept(k->kept.p + data + sizeof h, argv, h.argc);
        struct change ch = {.db = k->db,
                            .argv = argv,
                            .argc = h.argc,
                            .txid = h.txid,
                            .lsn = h.lsn,
                            .after = at < k->kept.len ? held : sink_reached(to),
                            .time = h.time};
        to->o.time = h.time;
        change_write(to, &ch);
    }
    to->o.time = time;
    buf_free(&args);
}

/* A key that cannot be read, of a slot that the flow does not hold, which it may be taking. */
static bool of_no_slot(struct holding *h, const void *key, size_t n)
{
    return h != NULL && holding_key_failed(h, key_slot(key, n));
}

void rekey_give_up(struct sink *to, struct rekey *k, const char *why)
{
    char text[300];
    uint64_t held = rekey_leave(to, k);
    snprintf(text, sizeof text, "%s; it could not be read again: %s", k->detail, why);
    if (k->take) /* the take is repeated */
        holding_key_done(to->holding, false);
    else if (!of_no_slot(to->holding, k->key, k->n) && (!k->refines || !k->missing))
        emit_report(to->e, &to->o, !k->refines, k->kind, k->key, k->n, text);
    kept_write(to, k, 0, held);
    if (k->kept.len == 0 && to->synced && sink_reached(to) > held) { /* nothing says how far it is now */
        to->o.pos = sink_reached(to);
        emit_position(to->e, &to->o, RF_LIVE);
    }
    to->o.fresh = false;
    check_again(to, k);
    rekey_free(k);
}

void rekey_retry(struct sink *to, struct rekey *k)
{
    if (!rekey_request(to->rereads, k))
        rekey_give_up(to, k, k->tries > REREAD_TRIES ? "it changes all the time" : "nobody is there to ask");
    else
        rekeys_changed(to);
}

static void ambiguous(struct sink *to, struct rekey *k, uint64_t lsn)
{
    rekey_at_least(to, k, lsn);
    rekey_retry(to, k);
}

/* ---- an entry that comes ---- */

/* One of a key whose entries are written as they come. */
static void passes(struct sink *to, struct rekey *k, uint64_t lsn)
{
    if (k->state == REKEY_REQUESTED)
        rekey_at_least(to, k, lsn);
    else if (k->state == REKEY_ANSWERED && lsn >= k->from)
        ambiguous(to, k, lsn);
}

/* An entry of one key that is under way. */
static void hold_back(struct sink *to, struct rekey *k, const struct change *ch)
{
    switch (k->state) {
    case REKEY_WANTED: return; /* the value will contain it */
    case REKEY_REQUESTED:
        if (!kept_add(to->rereads, k, ch))
            rekey_at_least(to, k, ch->lsn);
        return;
    case REKEY_ANSWERED:
        if (ch->lsn >= k->from) /* and below to: at to it would have been written */
            ambiguous(to, k, ch->lsn);
        return;
    }
}

/* A flush may come before or after the value was read. */
static void on_flush(struct sink *to, const struct change *ch)
{
    struct rekey *k, *next;
    bool all = arg_is(&ch->argv[0], "FLUSHALL");
    for (k = TAILQ_FIRST(&to->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != to->o.flow || (!all && k->db != ch->db))
            continue;
        if (k->state == REKEY_ANSWERED && ch->lsn >= k->from)
            ambiguous(to, k, ch->lsn);
        else if (k->state == REKEY_REQUESTED)
            rekey_at_least(to, k, ch->lsn);
    }
}

/* MOVE key db, COPY … DB db: the other database, as the source has it. */
static bool other_db(const struct command *c, const struct change *ch, uint32_t *db)
{
    int64_t v;
    size_t at = command_other_db(c, ch->argv, ch->argc);
    if (at == 0 || !arg_number(&ch->argv[at], &v) || v < 0 || v > 1 << 20)
        return false;
    *db = (uint32_t)v;
    return true;
}

/* A command that joins keys, one of which is under way: what it made of them is read, too. */
static void want(struct sink *to, uint64_t lsn, uint32_t db, const struct slice *key, bool passing)
{
    static const char detail[] = "changed together with a key that was being read again";
    if (to->filter != NULL ? !filter_passes(to->filter, key->p, key->n, 0, db) : key_is_ours(key->p, key->n))
        return;
    if (reread_want(to, lsn, db, key, passing ? REREAD_VERIFY : "command-needs-source", detail) ||
        of_no_slot(to->holding, key->p, key->n))
        return;
    emit_report(to->e, &to->o, true, "command-needs-source", key->p, key->n, detail);
}

static bool join(struct sink *to, const struct command *c, const struct keys *keys, const struct change *ch)
{
    const struct slice *a = ch->argv;
    uint32_t db = ch->db;
    bool elsewhere = other_db(c, ch, &db), found = false;
    size_t last = 0;
    for (size_t i = keys_next(keys, 0); i != 0; i = keys_next(keys, i)) {
        found |= rekey_held(to, ch->db, &a[i]) != NULL;
        last = i;
    }
    if (elsewhere && !found)
        found = rekey_held(to, db, &a[last]) != NULL;
    if (!found)
        return false;
    check_end_later(to);
    for (size_t i = keys_next(keys, 0); i != 0; i = keys_next(keys, i))
        if (!elsewhere || i != last || strcmp(c->name, "MOVE") == 0)
            want(to, ch->lsn, ch->db, &a[i], false);
    if (elsewhere)
        want(to, ch->lsn, db, &a[last], false);
    return true;
}

/* SWAPDB a b: what was to be read is in the other database now, and what is there is not that. Both are read
 * as they are behind it. */
static void on_swap(struct sink *to, const struct change *ch)
{
    struct rekey *k;
    int64_t a, b;
    if (ch->argc != 3 || !arg_number(&ch->argv[1], &a) || !arg_number(&ch->argv[2], &b) || a == b || a < 0 ||
        b < 0 || a > 1 << 20 || b > 1 << 20)
        return;
    struct buf names = {.max = REREAD_BYTES};
    struct slice one;
    check_end_later(to);
    for (int passing = 0; passing < 2; passing++) { /* what is kept back in one of them is so in both */
        names.len = 0;
        TAILQ_FOREACH(k, &to->rereads->list, link)
        if (k->flow == to->o.flow && k->passing == passing && (k->db == (uint32_t)a || k->db == (uint32_t)b))
            (void)args_keep(&names, &(struct slice){k->key, k->n}, 1);
        for (const uint8_t *p = names.p; p != NULL && p < names.p + names.len;) { /* it changes the list */
            p = args_kept(p, &one, 1);
            want(to, ch->lsn, (uint32_t)a, &one, passing);
            want(to, ch->lsn, (uint32_t)b, &one, passing);
        }
    }
    buf_free(&names);
}

/* Commands that do the same for each of their keys: those of keys under way are held back, each as a command
 * of its own; the rest is left in ch. */
static bool divide(struct sink *to, const struct keys *keys, struct change *ch)
{
    const struct slice *a = ch->argv;
    struct buf *b = &to->rereads->names;
    struct slice one[4];
    struct change held = *ch;
    size_t n = 1;
    b->len = 0;
    struct slice *rest = (struct slice *)(void *)buf_room(b, (ch->argc + 1) * sizeof *rest);
    if (rest == NULL)
        return false;
    rest[0] = one[0] = a[0];
    held.argv = one;
    held.argc = 1 + keys->step;
    bool any = false;
    for (size_t i = keys_next(keys, 0); i != 0 && i + keys->step <= ch->argc; i = keys_next(keys, i)) {
        struct rekey *k = rekey_held(to, ch->db, &a[i]);
        memcpy(k != NULL ? one + 1 : rest + n, a + i, keys->step * sizeof *a);
        if (k != NULL) {
            hold_back(to, k, &held);
            any = true;
        } else {
            n += keys->step;
        }
    }
    if (!any)
        return false;
    ch->argv = rest;
    ch->argc = n;
    return n == 1;
}

/* Those of its keys that are passing: what was read of them may be too old now. */
static void all_pass(struct sink *to, const struct command *c, const struct keys *keys,
                     const struct change *ch)
{
    uint32_t db = ch->db;
    size_t last = 0;
    for (size_t i = keys_next(keys, 0); i != 0 && i < ch->argc; i = keys_next(keys, i)) {
        struct rekey *k = rekey_find(to->rereads, to->o.flow, ch->db, ch->argv[i].p, ch->argv[i].n);
        if (k != NULL && k->passing)
            passes(to, k, ch->lsn);
        last = i;
    }
    if (last == 0 || c == NULL || !other_db(c, ch, &db))
        return;
    struct rekey *k = rekey_find(to->rereads, to->o.flow, db, ch->argv[last].p, ch->argv[last].n);
    if (k != NULL && k->passing)
        passes(to, k, ch->lsn);
}

/* The entry at hand while keys are under way. True: nothing is to be written for it now. False: go on with
 * what ch is then. */
static bool takes(struct sink *to, struct change *ch)
{
    const struct slice *a = ch->argv;
    const struct command *c = command_find(a[0].p, a[0].n);
    struct keys keys = {.first = ch->argc > 1, .last = 1, .step = 1}; /* of one that is not known */
    if (c != NULL && c->action == ACT_FLUSH) {
        on_flush(to, ch);
        return false;
    }
    if (c != NULL && c->action == ACT_SWAPDB) {
        on_swap(to, ch);
        return false;
    }
    if (c == NULL && to->source != NULL) /* its keys are wanted when it is written */
        return false;
    if (c != NULL)
        keys = command_keys(c, a, ch->argc);
    size_t first = keys_next(&keys, 0);
    if (first == 0 || (c != NULL && c->action == ACT_IGNORE))
        return false;
    all_pass(to, c, &keys, ch);
    if (c != NULL && command_cuttable(c))
        return divide(to, &keys, ch);
    if (c != NULL && (keys_next(&keys, first) != 0 || strcmp(c->name, "MOVE") == 0))
        return join(to, c, &keys, ch);
    struct rekey *k = rekey_held(to, ch->db, &a[first]);
    if (k != NULL)
        hold_back(to, k, ch);
    return k != NULL;
}

static void write_rest(struct sink *to, struct change ch)
{
    struct origin o = to->o;
    bool taken = takes(to, &ch);
    to->o.db = o.db; /* something may have been given up and written */
    to->o.time = o.time;
    to->o.fresh = o.fresh;
    if (!taken) {
        change_apply(to, &ch);
        return;
    }
    to->o.pos = ch.after < to->hold ? ch.after : to->hold;
    emit_position(to->e, &to->o, RF_LIVE);
}

void change_write(struct sink *to, const struct change *ch)
{
    if (__builtin_expect(to->rereads == NULL || to->rereads->count == 0, 1))
        change_apply(to, ch);
    else
        write_rest(to, *ch);
}

void change_command(struct sink *to, const struct change *ch)
{
    const struct site at = SITE_OF(to);
    to->e->stats.commands++;
    if (__builtin_expect(to->outlet != NULL, 0)) {
        outlet_command(&at, ch, !to->cut);
        return;
    }
    entry_begin(&to->o, ch->txid);
    change_write(to, ch);
    entry_end(&to->o);
}
