#include "slots.h"

#include <stdlib.h>
#include <string.h>

#include "../command/command.h"
#include "log.h"
#include "meta.h"
#include "psync.h"
#include "slot.h"

/* Positions as holding.h wants them: without the database, which does not tell more. */
static uint64_t place(uint64_t position)
{
    return position >= 256 ? psync_offset(position) + 1 : 0;
}

void slots_begin(struct sink *to)
{
    static const struct slotset none;
    if (to->slots == NULL) {
        to->slots = xcalloc(1, sizeof *to->slots);
        TAILQ_INIT(&to->slots->waiting);
        to->slots->names.filter = to->filter;
        to->holding = &to->slots->holding;
    }
    holding_begin(to->holding, &none);
}

/* ---- to the writer, to the session ---- */

static void write_holds(struct sink *to, uint32_t number)
{
    struct buf *b = &to->slots->text;
    struct slotset held;
    char text[SLOTSET_TEXT];
    holding_held(to->holding, &held);
    slotset_print(&held, text);
    b->len = 0;
    meta_addu(b, "n", number);
    meta_adds(b, "held", text);
    to->o.live = true;
    to->o.pos =
        to->synced ? sink_reached(to) : 0; /* else a part of the snapshot would be taken for all of it */
    emit_holds(to->e, &to->o, b->p, b->len);
}

static void say(struct ctl *c, const struct origin *o, const char *what, uint32_t number,
                const struct slotset *slots)
{
    char text[SLOTSET_TEXT];
    slotset_print(slots, text);
    if (c->fd >= 0 &&
        ctl_send(c, "%s flow=%u epoch=%u n=%u slots=%s", what, o->flow, o->epoch, number, text) < 0)
        ctl_close(c);
}

/* ---- keys under way ---- */

/* What was to be read again of these slots is not to be written any more. hit: those that had such keys. */
static void drop_keys(struct sink *to, const struct slotset *slots, struct slotset *hit)
{
    struct rekeyq *lists[] = {&to->rereads->list, &to->slots->waiting};
    struct rekey *k, *next;
    for (size_t i = 0; i < 2; i++)
        for (k = TAILQ_FIRST(lists[i]); k != NULL; k = next) {
            next = TAILQ_NEXT(k, link);
            unsigned slot = key_slot(k->key, k->n);
            if (k->flow != to->o.flow || !slotset_has(slots, slot))
                continue;
            if (hit != NULL)
                slotset_add(hit, slot);
            rekey_take_out(to->rereads, k);
            rekey_free(k);
        }
    rekeys_changed(to);
}

void slots_free(struct sink *to)
{
    static struct slotset all;
    if (to->slots == NULL)
        return;
    slotset_add_range(&all, 0, SLOTS - 1);
    if (to->rereads != NULL)
        drop_keys(to, &all, NULL);
    slot_names_free(&to->slots->names);
    buf_free(&to->slots->text);
    free(to->slots);
    to->slots = NULL;
    to->holding = NULL;
}

/* A key of a slot that is being taken. */
static void take_key(struct sink *to, uint32_t db, const struct slice *key)
{
    struct slots *s = to->slots;
    if (s->holding.state[key_slot(key->p, key->n)] != HOLD_TAKING || slot_names_taken(&s->names, db, key))
        return;
    if (!reread_take(to, &s->waiting, db, key) && !rekey_name_fits(key))
        emit_report(to->e, &to->o, true, "slot-take", key->p, key->n,
                    "its name is too long to be read again");
}

static void want_keys(struct sink *to, const struct change *ch, const struct command *c,
                      const struct keys *keys)
{
    int64_t other = ch->db;
    size_t at = c != NULL ? command_other_db(c, ch->argv, ch->argc) : 0;
    if (at != 0 && (!arg_number(&ch->argv[at], &other) || other < 0 || other > UINT32_MAX))
        other = ch->db;
    slot_names_see(&to->slots->names, (uint32_t)other);
    for (size_t i = keys_next(keys, 0); i != 0 && i < ch->argc; i = keys_next(keys, i)) {
        take_key(to, ch->db, &ch->argv[i]);
        if (other != ch->db)
            take_key(to, (uint32_t)other, &ch->argv[i]);
    }
}

/* Those that may be asked for: of slots whose keys are known, as an answer contains these then. */
static void ask_keys(struct sink *to)
{
    struct slots *s = to->slots;
    struct rekey *k, *next;
    unsigned asked = 0, kept = 0;
    if (TAILQ_EMPTY(&s->waiting) || !to->synced)
        return;
    TAILQ_FOREACH(k, &to->rereads->list, link)
    {
        kept += k->flow == to->o.flow && k->take;
        asked += k->flow == to->o.flow && k->take && k->state == REKEY_REQUESTED;
    }
    for (k = TAILQ_FIRST(&s->waiting);
         k != NULL && asked < TAKE_WINDOW && kept < TAKE_ANSWERS && to->rereads->bytes < TAKE_BYTES;
         k = next) {
        next = TAILQ_NEXT(k, link);
        if (s->holding.at[key_slot(k->key, k->n)] == 0)
            continue;
        if (!rekey_request(to->rereads, k)) {
            rekey_give_up(to, k, "nobody is there to ask");
            break;
        }
        asked++;
        kept++;
    }
    rekeys_changed(to);
}

/* ---- commands that concern slots ---- */

static void flush(struct sink *to, const struct slotset *slots)
{
    struct slotset dropped;
    if (!holding_flush(to->holding, slots, &dropped))
        return;
    drop_keys(to, &dropped, NULL);
    write_holds(to, 0);
    say(to->rereads->ctl, &to->o, "dropped", 0, &dropped);
}

/* TRIMSLOTS RANGES n first last …, SFLUSH first last … [SYNC | ASYNC]: from argument i on. */
static void ranges(const struct change *ch, size_t i, struct slotset *slots)
{
    int64_t first, last;
    for (; i + 1 < ch->argc; i += 2)
        if (arg_number(&ch->argv[i], &first) && arg_number(&ch->argv[i + 1], &last) && first >= 0 &&
            last < (int64_t)SLOTS && first <= last)
            slotset_add_range(slots, (unsigned)first, (unsigned)last);
}

/* A command that empties slots: which; none where it is only about slots. False: it is another. */
static bool flushed(const struct change *ch, struct slotset *slots)
{
    const struct slice *a = ch->argv;
    bool all = arg_is(a, "FLUSHALL") || arg_is(a, "FLUSHDB"), some = arg_is(a, "SFLUSH");
    int64_t slot;
    if (!all && !some && !arg_is(a, "TRIMSLOTS") && !arg_is(a, "CLUSTER"))
        return false;
    memset(slots, 0, sizeof *slots);
    if (all)
        slotset_add_range(slots, 0, SLOTS - 1);
    else if (some || arg_is(a, "TRIMSLOTS"))
        ranges(ch, some ? 1 : 3, slots);
    else if (ch->argc > 2 && arg_is(&a[1], "FLUSHSLOT") && arg_number(&a[2], &slot) && slot >= 0 &&
             slot < (int64_t)SLOTS)
        slotset_add(slots, (unsigned)slot);
    return true;
}

/* ---- commands ---- */

static bool removes(const struct slice *name)
{
    return arg_is(name, "DEL") || arg_is(name, "UNLINK");
}

/* All keys of a command are in one slot: else the source would not have executed it, unless in a script that
 * may do more; that is reported. */
static bool slot_of(struct emit *e, struct origin *o, const struct change *ch, const struct keys *keys,
                    unsigned *slot)
{
    size_t first = keys_next(keys, 0);
    *slot = key_slot(ch->argv[first].p, ch->argv[first].n);
    for (size_t i = keys_next(keys, first); i != 0 && i < ch->argc; i = keys_next(keys, i))
        if (key_slot(ch->argv[i].p, ch->argv[i].n) != *slot) {
            emit_report(e, o, true, "several-slots", ch->argv[i].p, ch->argv[i].n,
                        "a command over several slots of the source: its effect is missing");
            return false;
        }
    return true;
}

/* Two names of the source that become one may be in different flows, which have no order: one is left out. */
static bool name_is_taken(struct slot_names *names, struct emit *e, struct origin *o, uint32_t db,
                          const struct slice *key)
{
    if (!slot_names_taken(names, db, key))
        return false;
    emit_report(e, o, true, "renamed-alike", key->p, key->n,
                "by the rules of --rename-prefix another key of the source may get the same name");
    return true;
}

static bool names_are_free(struct slot_names *names, struct emit *e, struct origin *o,
                           const struct change *ch, const struct keys *keys)
{
    for (size_t i = keys_next(keys, 0); i != 0 && i < ch->argc; i = keys_next(keys, i))
        if (name_is_taken(names, e, o, ch->db, &ch->argv[i]))
            return false;
    return true;
}

bool slots_admit(struct sink *to, struct change *ch)
{
    const struct slice *a = ch->argv;
    const struct command *c = command_find(a[0].p, a[0].n);
    struct keys keys = {.first = ch->argc > 1, .last = 1, .step = 1}; /* of one that is not known */
    unsigned slot;
    struct slotset slots;
    if (flushed(ch, &slots)) {
        flush(to, &slots);
        return false;
    }
    if (c != NULL)
        keys = command_keys(c, a, ch->argc);
    if (keys_next(&keys, 0) == 0) /* functions: every master has them */
        return to->o.flow == 0 && !to->no_libraries;
    if (!slot_of(to->e, &to->o, ch, &keys, &slot))
        return false;
    slot_names_see(&to->slots->names, ch->db);
    if (arg_is(&a[0], "RESTORE-ASKING") && holding_has(to->holding, slot)) {
        memset(&slots, 0, sizeof slots); /* the master had lost it, and nobody has noticed */
        slotset_add(&slots, slot);
        flush(to, &slots);
    }
    switch (holding_command(to->holding, slot, place(to->next_lsn), removes(&a[0]))) {
    case HOLD_APPLY: return names_are_free(&to->slots->names, to->e, &to->o, ch, &keys);
    case HOLD_WANT: want_keys(to, ch, c, &keys); break;
    case HOLD_DROP: break;
    }
    to->e->stats.moved++;
    return false;
}

bool slots_admit_key(struct slots *s, struct emit *e, struct origin *o, uint32_t db, const struct slice *key)
{
    return holding_has(&s->holding, key_slot(key->p, key->n)) && !name_is_taken(&s->names, e, o, db, key);
}

/* ---- records ---- */

/* A key of a take as the source names it: the only one, or, of a key that the target has, the next of those
 * that it may have been made from. */
static bool next_name(struct slot_names *names, uint32_t db, const struct slice *key, bool held, uint32_t *at,
                      uint32_t *from, struct slice *name)
{
    if (held)
        return slot_names_back(names, db, key, at, from, name);
    slot_names_see(names, db);
    *from = db;
    *name = *key;
    return (*at)++ == 0;
}

/* One line each. */
static const char *take_keys(struct sink *to, const char *text, size_t n, uint64_t db, bool held)
{
    struct buf name = {.max = n + 1};
    struct slice key, source;
    uint32_t from;
    for (const char *p = text, *end = text + n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = nl != NULL ? (size_t)(nl - p) + 1 : (size_t)(end - p);
        if (len > 4 && memcmp(p, "key=", 4) == 0) {
            char *to_name = (char *)buf_room(&name, len);
            long k = to_name != NULL ? meta_get(p, len, "key", to_name, len) : -1;
            key = (struct slice){(const uint8_t *)to_name, k > 0 ? (size_t)k : 0};
            for (uint32_t at = 0;
                 k >= 0 && next_name(&to->slots->names, (uint32_t)db, &key, held, &at, &from, &source);)
                take_key(to, from, &source);
        }
        p += len;
    }
    buf_free(&name);
    return to->holding->take.keys > TAKE_KEYS ? "a SLOTS record with more keys than can be kept" : NULL;
}

static const char *get_slots(struct slotset *s, const char *text, size_t n)
{
    char ranges[SLOTSET_TEXT];
    if (meta_get(text, n, "slots", ranges, sizeof ranges) <= 0 || !slotset_parse(s, ranges))
        return "a SLOTS record without slots";
    return NULL;
}

struct order {
    struct slotset slots;
    uint64_t number, at, sweep;
};

static const char *get_order(struct order *d, const char *text, size_t n)
{
    const char *fault = get_slots(&d->slots, text, n);
    if (fault != NULL)
        return fault;
    if (!meta_getu(text, n, "n", &d->number) || d->number == 0 || d->number > UINT32_MAX)
        return "a SLOTS record without its number";
    d->at = d->sweep = 0;
    (void)meta_getu(text, n, "at", &d->at);
    (void)meta_getu(text, n, "sweep", &d->sweep);
    return NULL;
}

static const char *give_or_take(struct holding *h, const struct order *d, bool take)
{
    bool done = take ? holding_take(h, (uint32_t)d->number, &d->slots, d->sweep != 0)
                     : holding_release(h, (uint32_t)d->number, place(d->at), &d->slots);
    return done ? NULL : "a SLOTS record that fits the slots the flow has";
}

/* The keys that the target has of them, by the rules that make its names. */
static void ask_target(const struct slot_names *names, struct ctl *c, const struct origin *o,
                       const struct order *d)
{
    slot_names_tell(names, c, o->flow, o->epoch);
    say(c, o, "list", (uint32_t)d->number, &d->slots);
}

static const char *listed(struct holding *h, const char *text, size_t n)
{
    uint64_t slot, at;
    if (!meta_getu(text, n, "slot", &slot) || slot >= SLOTS || !meta_getu(text, n, "at", &at) ||
        place(at) == 0)
        return "a SLOTS record without slot and place";
    holding_listed(h, (unsigned)slot, place(at));
    return NULL;
}

/* Without the session nobody reads keys again: what has moved is missing from here on. */
static void tell_offline(struct slots *s, struct emit *e, struct origin *o)
{
    if (s->told_offline)
        return;
    s->told_offline = true;
    emit_report(
        e, o, true, "slot-moved", (const uint8_t *)"", 0,
        "slots moved while the stream was recorded, and their keys cannot be read again: what they hold then "
        "is missing");
}

const char *slots_record(struct sink *to, const uint8_t *payload, size_t n)
{
    const char *text = (const char *)payload, *fault;
    char op[16];
    uint64_t db = 0;
    struct slotset slots;
    struct order order;
    if (to->slots == NULL)
        slots_begin(to);
    if (meta_get(text, n, "op", op, sizeof op) <= 0)
        return "a SLOTS record without op";
    if (strcmp(op, "set") == 0) {
        if ((fault = get_slots(&slots, text, n)) != NULL)
            return fault;
        holding_begin(to->holding, &slots);
        write_holds(to, 0);
    } else if (strcmp(op, "release") == 0 || strcmp(op, "take") == 0) {
        bool take = op[0] == 't', alive = to->rereads != NULL;
        if ((fault = get_order(&order, text, n)) != NULL ||
            (fault = give_or_take(to->holding, &order, take)) != NULL)
            return fault;
        if (take && order.sweep != 0 && alive)
            ask_target(&to->slots->names, to->rereads->ctl, &to->o, &order);
        if (!alive || to->rereads->ctl->fd < 0)
            tell_offline(to->slots, to->e, &to->o);
    } else if (strcmp(op, "key") == 0 || strcmp(op, "held") == 0) {
        (void)meta_getu(text, n, "db", &db);
        if (db > UINT32_MAX)
            return "a SLOTS record with a database that cannot be";
        if ((fault = take_keys(to, text, n, db, op[0] == 'h')) != NULL)
            return fault;
    } else if (strcmp(op, "listed") == 0) {
        if ((fault = listed(to->holding, text, n)) != NULL)
            return fault;
    } else if (strcmp(op, "swept") == 0) {
        holding_swept(to->holding);
    } else {
        return "a SLOTS record with an unknown op";
    }
    slots_tick(to);
    return NULL;
}

/* ---- what is due ---- */

static void release_due(struct sink *to)
{
    uint32_t number;
    struct slotset clean, busy = {{0}}, gone, held;
    holding_held(to->holding, &gone);
    while (holding_release_due(to->holding, place(to->next_lsn), &number, &clean)) {
        holding_held(to->holding, &held);
        slotset_drop(&gone, &held);
        drop_keys(to, &gone, &busy);
        slotset_drop(&clean, &busy);
        gone = held;
        write_holds(to, number);
        say(to->rereads->ctl, &to->o, "clean", number, &clean);
    }
}

/* A take that succeeds adds slots to what is saved: with a position behind all that was read for it. */
static void take_due(struct sink *to)
{
    uint32_t number;
    struct slotset slots;
    bool ok;
    if (to->holding->take.number == 0 || (!to->holding->take.failed && sink_reached(to) < to->next_lsn) ||
        !holding_take_over(to->holding, place(to->next_lsn), &number, &slots, &ok))
        return;
    if (ok) {
        write_holds(to, number);
        return;
    }
    drop_keys(to, &slots, NULL);
    say(to->rereads->ctl, &to->o, "failed", number, &slots);
}

void slots_tick(struct sink *to)
{
    if (to->slots == NULL || to->rereads == NULL)
        return;
    if (to->in_multi) /* no position is reached */
        return;
    release_due(to);
    ask_keys(to);
    take_due(to);
}
