/* Entries on their way to the target while keys are read again: those of such a key are kept back, dropped,
 * or a reason to ask once more. */
#include "reread.h"

#include <stdio.h>

#include "args.h"
#include "check.h"
#include "commands.h"
#include "ours.h"

/* What is written of it confirms nothing, until its last record: then as much as may be without it. Returns
 * the position for those before. */
uint64_t rekey_leave(struct flow *f, struct rekey *k)
{
    uint64_t held = journal_reached(f);
    f->o.live = true;
    f->src_db = k->db;
    f->o.db = f->sel != NULL ? select_db(f->sel, k->db) : k->db;
    f->o.pos = held;
    f->o.fresh = true;
    rekey_take_out(f->rereads, k);
    rekeys_changed(f);
    return held;
}

/* All of it is written. */
void rekey_left(struct flow *f)
{
    f->o.fresh = false;
}

void kept_write(struct flow *f, struct emit *e, struct rekey *k, uint64_t from, uint64_t held)
{
    struct kept h;
    struct buf args = {.max = k->kept.max};
    uint64_t time = f->o.time;
    for (size_t at = 0, data = 0; data = at, kept_next(k, &at, &h);) {
        if (h.lsn < from)
            continue;
        args.len = 0;
        struct slice *argv = (struct slice *)(void *)buf_room(&args, h.argc * sizeof *argv);
        const uint8_t *p = k->kept.p + data + sizeof h;
        for (uint64_t i = 0; i < h.argc && argv != NULL; i++) {
            uint64_t n;
            memcpy(&n, p, sizeof n);
            argv[i] = (struct slice){p + sizeof n, n};
            p += sizeof n + n;
        }
        if (argv == NULL)
            continue; /* kept.max is above what arguments need */
        f->entry_lsn = h.lsn;
        f->o.time = h.time;
        command_write(f, e, h.txid, argv, h.argc, at < k->kept.len ? held : journal_reached(f));
    }
    f->o.time = time;
    buf_free(&args);
}

void rekey_give_up(struct flow *f, struct emit *e, struct rekey *k, const char *why)
{
    char text[300];
    uint64_t held = rekey_leave(f, k);
    snprintf(text, sizeof text, "%s; it could not be read again: %s", k->detail, why);
    emit_report(e, &f->o, true, k->kind, k->key, k->n, text);
    kept_write(f, e, k, 0, held);
    rekey_left(f);
    check_again(f, e, k->db, k->key, k->n, k->checks);
    rekey_free(k);
}

void rekey_ask_again(struct flow *f, struct emit *e, struct rekey *k)
{
    if (!rekey_ask(f->rereads, k))
        rekey_give_up(f, e, k,
                      k->tries > REREAD_TRIES ? "it changes all the time" : "nobody is there to ask");
    else
        rekeys_changed(f);
}

static void ambiguous(struct flow *f, struct emit *e, struct rekey *k)
{
    rekey_at_least(f, k);
    rekey_ask_again(f, e, k);
}

/* ---- an entry that comes ---- */

/* An entry of one key that is under way. */
static void hold_back(struct flow *f, struct emit *e, struct rekey *k, uint64_t txid,
                      const struct slice *argv, size_t argc)
{
    switch (k->state) {
    case REKEY_WANTED: return; /* the value will contain it */
    case REKEY_ASKED:
        if (!kept_add(f, k, txid, argv, argc))
            rekey_at_least(f, k);
        return;
    case REKEY_ANSWERED:
        if (f->entry_lsn >= k->from) /* and below to: at to it would have been written */
            ambiguous(f, e, k);
        return;
    }
}

/* A flush may come before or after the value was read. */
static void on_flush(struct flow *f, struct emit *e, bool all)
{
    struct rekey *k, *next;
    for (k = TAILQ_FIRST(&f->rereads->list); k != NULL; k = next) {
        next = TAILQ_NEXT(k, link);
        if (k->flow != f->o.flow || (!all && k->db != f->src_db))
            continue;
        if (k->state == REKEY_ANSWERED && f->entry_lsn >= k->from)
            ambiguous(f, e, k);
        else if (k->state == REKEY_ASKED)
            rekey_at_least(f, k);
    }
}

/* MOVE key db, COPY … DB db: the other database, as the source has it. */
static bool other_db(const struct command *c, const struct slice *argv, size_t argc, uint32_t *db)
{
    int64_t v;
    size_t at = command_other_db(c, argv, argc);
    if (at == 0 || !arg_number(&argv[at], &v) || v < 0 || v > 1 << 20)
        return false;
    *db = (uint32_t)v;
    return true;
}

/* A command that joins keys, one of which is under way: what it made of them is read, too. */
static void want(struct flow *f, struct emit *e, uint32_t db, const struct slice *key)
{
    static const char detail[] = "changed together with a key that was being read again";
    if (f->sel != NULL ? !select_passes(f->sel, key->p, key->n, 0, db) : key_is_ours(key->p, key->n))
        return;
    if (reread_want(f, db, key, "command-needs-source", detail))
        return;
    emit_report(e, &f->o, true, "command-needs-source", key->p, key->n, detail);
}

static bool join(struct flow *f, struct emit *e, const struct command *c, const struct keys *keys,
                 const struct slice *argv, size_t argc)
{
    uint32_t db = f->src_db;
    bool elsewhere = other_db(c, argv, argc, &db), found = false;
    size_t last = 0;
    for (size_t i = keys_next(keys, 0); i != 0; i = keys_next(keys, i)) {
        found |= rekey_find(f, f->src_db, argv[i].p, argv[i].n) != NULL;
        last = i;
    }
    if (elsewhere && !found)
        found = rekey_find(f, db, argv[last].p, argv[last].n) != NULL;
    if (!found)
        return false;
    for (size_t i = keys_next(keys, 0); i != 0; i = keys_next(keys, i))
        if (!elsewhere || i != last || strcmp(c->name, "MOVE") == 0)
            want(f, e, f->src_db, &argv[i]);
    if (elsewhere)
        want(f, e, db, &argv[last]);
    return true;
}

/* Commands that do the same for each of their keys: those of keys under way are held back, each as a command
 * of its own; the rest is left in argv. */
static bool divide(struct flow *f, struct emit *e, const struct keys *keys, uint64_t txid,
                   const struct slice **argv, size_t *argc)
{
    const struct slice *a = *argv;
    struct buf *b = &f->rereads->names;
    struct slice one[4];
    size_t n = 1, held = 0;
    b->len = 0;
    struct slice *rest = (struct slice *)(void *)buf_room(b, (*argc + 1) * sizeof *rest);
    if (rest == NULL)
        return false;
    rest[0] = one[0] = a[0];
    for (size_t i = keys_next(keys, 0); i != 0 && i + keys->step <= *argc; i = keys_next(keys, i)) {
        struct rekey *k = rekey_find(f, f->src_db, a[i].p, a[i].n);
        memcpy(k != NULL ? one + 1 : rest + n, a + i, keys->step * sizeof *a);
        if (k != NULL) {
            hold_back(f, e, k, txid, one, 1 + keys->step);
            held++;
        } else {
            n += keys->step;
        }
    }
    if (held == 0)
        return false;
    *argv = rest;
    *argc = n;
    return n == 1;
}

static bool takes(struct flow *f, struct emit *e, uint64_t txid, const struct slice **argv, size_t *argc)
{
    const struct slice *a = *argv;
    const struct command *c = command_find(a[0].p, a[0].n);
    struct keys keys = {.first = *argc > 1, .last = 1, .step = 1}; /* of one that is not known */
    if (c != NULL && c->action == ACT_FLUSH) {
        on_flush(f, e, arg_is(&a[0], "FLUSHALL"));
        return false;
    }
    if (c != NULL)
        keys = command_keys(c, a, *argc);
    size_t first = keys_next(&keys, 0);
    if (first == 0 || (c != NULL && c->action == ACT_IGNORE))
        return false;
    if (c != NULL && command_cuttable(c))
        return divide(f, e, &keys, txid, argv, argc);
    if (c != NULL && (keys_next(&keys, first) != 0 || strcmp(c->name, "MOVE") == 0))
        return join(f, e, c, &keys, a, *argc);
    struct rekey *k = rekey_find(f, f->src_db, a[first].p, a[first].n);
    if (k != NULL)
        hold_back(f, e, k, txid, a, *argc);
    return k != NULL;
}

static bool takes_it(struct flow *f, struct emit *e, uint64_t txid, const struct slice **argv, size_t *argc)
{
    struct origin o = f->o;
    uint32_t src_db = f->src_db;
    uint64_t lsn = f->entry_lsn;
    bool taken = takes(f, e, txid, argv, argc);
    f->o.db = o.db; /* something may have been given up and written */
    f->o.time = o.time;
    f->o.fresh = o.fresh;
    f->src_db = src_db;
    f->entry_lsn = lsn;
    return taken;
}

void command_write(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                   uint64_t after)
{
    if (__builtin_expect(f->rereads == NULL || f->rereads->count == 0, 1) ||
        !takes_it(f, e, txid, &argv, &argc)) {
        command_apply(f, e, txid, argv, argc, after);
        return;
    }
    f->o.pos = after < f->rr_hold ? after : f->rr_hold;
    emit_position(e, &f->o, RF_LIVE);
}

void command_emit(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                  uint64_t after)
{
    e->stats.commands++;
    entry_begin(&f->o, txid);
    command_write(f, e, txid, argv, argc, after);
    entry_end(&f->o);
}
