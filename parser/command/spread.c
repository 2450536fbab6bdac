/* Which command with keys in several slots becomes what. */
#include "command.h"

#include <stdlib.h>

#include "slot.h"

struct in_slot {
    uint16_t slot;
    uint32_t at; /* argument */
};

static int by_slot(const void *a, const void *b)
{
    const struct in_slot *x = a, *y = b;
    if (x->slot != y->slot)
        return x->slot < y->slot ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The same command for the keys of each slot, with what follows each of them. They keep their order within a
 * slot: of equal keys the last counts. */
static void split(const struct cmd *m, const struct keys *k, struct slice word)
{
    size_t n = 0;
    struct slice *out = cmd_room(m, 1 + (m->argc + 1) / 2); /* and for the list, of which two fit a slice */
    if (out == NULL)
        return;
    struct in_slot *list = (struct in_slot *)(void *)(out + m->argc + 1);
    for (size_t i = keys_next(k, 0); i != 0; i = keys_next(k, i))
        list[n++] = (struct in_slot){key_slot(m->argv[i].p, m->argv[i].n), (uint32_t)i};
    if (list[n - 1].at + k->step > m->argc) {
        cmd_malformed(m);
        return;
    }
    qsort(list, n, sizeof *list, by_slot);
    out[0] = word;
    for (size_t i = 0, next; i < n; i = next) {
        size_t argc = 1;
        for (next = i; next < n && list[next].slot == list[i].slot; next++, argc += k->step)
            memcpy(out + argc, m->argv + list[next].at, k->step * sizeof *out);
        unsigned flags = RF_IDEMPOTENT | (next > i + 1 ? RF_MULTIKEY : 0u);
        (next < n ? send_one_of : send_last)(&m->send, 1, out, argc, flags);
    }
}

static bool one_slot(const struct slice *argv, const struct keys *k)
{
    size_t first = keys_next(k, 0);
    unsigned slot = key_slot(argv[first].p, argv[first].n);
    for (size_t i = keys_next(k, first); i != 0; i = keys_next(k, i))
        if (key_slot(argv[i].p, argv[i].n) != slot)
            return false;
    return true;
}

/* ---- what no cluster can do ---- */

/* MOVE and COPY … DB: 0 where it stays in its database. Databases are those of the target. */
static bool other_db(const struct command *c, const struct slice *argv, size_t argc, uint32_t own)
{
    int64_t db;
    size_t at = command_other_db(c, argv, argc);
    return at != 0 && (!arg_number(&argv[at], &db) || db != (int64_t)own);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    void (*run)(struct spreading *s); /* NULL: one request for each slot */
} table[] = {
    {"BITOP", spread_colocate},
    {"COPY", spread_copy},
    {"DEL", NULL},
    {"GEORADIUS", spread_colocate},
    {"GEORADIUSBYMEMBER", spread_colocate},
    {"GEOSEARCHSTORE", spread_colocate},
    {"JSON.MSET", NULL},
    {"LMOVE", spread_lmove},
    {"MSET", NULL},
    {"MSETNX", NULL},
    {"PFMERGE", spread_colocate},
    {"RENAME", spread_rename},
    {"RENAMENX", spread_rename},
    {"RPOPLPUSH", spread_lmove},
    {"SDIFFSTORE", spread_colocate},
    {"SINTERSTORE", spread_colocate},
    {"SMOVE", spread_smove},
    {"SORT", spread_colocate},
    {"SUNIONSTORE", spread_colocate},
    {"UNLINK", NULL},
    {"ZDIFFSTORE", spread_colocate},
    {"ZINTERSTORE", spread_colocate},
    {"ZRANGESTORE", spread_colocate},
    {"ZUNIONSTORE", spread_colocate},
};

static void run_program(const struct cmd *m, const struct keys *k, void (*run)(struct spreading *))
{
    struct spreading s = {.m = m, .keys = *k};
    struct key key;
    m->to->program.max = REC_PAYLOAD_MAX;
    program_begin(&s.p, &m->to->program);
    run(&s);
    if (m->to->program.len == 0)
        return; /* it has said itself why not */
    if (program_end(&s.p) < 0) {
        cmd_written_or_lost(m, "command-too-large",
                            "keys in several slots, and too many or too large arguments");
        return;
    }
    const struct slice *first = &m->argv[keys_next(k, 0)];
    key_set(m->send.e, &key, first->p, first->n);
    m->send.o->pos = m->send.after;
    emit_program(m->send.e, m->send.o, &key, &m->to->program);
}

static void over_slots(const struct cmd *m, const struct keys *k)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, m->c->name) != 0)
            continue;
        if ((m->c->action == ACT_TWO_KEYS || m->c->action == ACT_TRUNCATED) && cmd_early(m))
            return;
        if (table[i].run != NULL)
            run_program(m, k, table[i].run);
        else
            split(m, k, strcmp(m->c->name, "MSETNX") == 0 ? SLICE("MSET") : m->argv[0]);
        return;
    }
    cmd_written_or_lost(m, "slots", "its keys lie in several slots of the cluster");
}

/* What goes to another database leaves this one. */
static void leave_database(const struct cmd *m)
{
    struct slice del[2] = {SLICE("DEL"), m->argv[1]};
    cmd_lost(m, "database", "a cluster has one database only");
    if (arg_is(&m->argv[0], "MOVE"))
        send_last(&m->send, 1, del, 2, RF_IDEMPOTENT);
    else
        send_nothing(&m->send);
}

bool spread(const struct cmd *m)
{
    if (m->c->first == 0 || (m->c->action == ACT_JSON && !m->target->has_json))
        return false;
    if (m->c->action == ACT_SOURCE || m->c->action == ACT_MSETEX || m->c->action == ACT_POP_FIRST)
        return false; /* sends one key at most */
    struct keys k = command_keys(m->c, m->argv, m->argc);
    if (m->c->action == ACT_EVAL && (m->to->dialect.own_scripts || keys_next(&k, 0) == 0))
        return false;
    if (keys_next(&k, 0) == 0)
        cmd_malformed(m);
    else if (other_db(m->c, m->argv, m->argc, m->send.o->db))
        leave_database(m);
    else if (arg_is(&m->argv[0], "MOVE"))
        send_nothing(&m->send); /* both databases are one at the target */
    else if (command_looks_elsewhere(m->argv, m->argc))
        cmd_written_or_lost(m, "slots", "patterns of BY and GET name keys in any slot");
    else if (arg_is(&m->argv[0], "MSETNX") || !one_slot(m->argv, &k))
        over_slots(m, &k);
    else
        return false;
    return true;
}
