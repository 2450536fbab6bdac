/* What Dragonfly says to Dragonfly: commands that go to such a target as they are, and to others never.
 * dragonfly-replication(7), JOURNAL. */
#include "command.h"

/* As it is, with the key that argument 1 is. */
static void native_send(const struct cmd *m, const struct slice *argv)
{
    bool many = arg_is(&argv[0], "STICK") || arg_is(&argv[0], "CMS.MERGE");
    cmd_last(m, 1, argv, m->argc, many && m->argc > 2 ? RF_MULTIKEY : 0);
}

/* The relative time at *s, of so many milliseconds a unit, as what is left of it now; at least one. */
static void what_is_left(const struct cmd *m, struct slice *s, int64_t unit, uint8_t num[20])
{
    uint64_t ms = cmd_from_now(m, s, unit), now = m->e->now_ms, u = (uint64_t)unit;
    if (ms == 0)
        return;
    uint64_t left = ms > now ? (ms - now + u - 1) / u : 0;
    *s = (struct slice){num, dec_u64(num, left > 0 ? left : 1)};
}

static bool is_flag(const struct slice *s)
{
    return arg_is(s, "NX") || arg_is(s, "FNX") || arg_is(s, "FXX") || arg_is(s, "KEEPTTL") ||
           arg_is(s, "PERSIST");
}

/* HSETEX, SADDEX, HEXPIRE, FIELDEXPIRE, HGETEX …: their time counts from the entry's arrival. */
static void native_ttl(const struct cmd *m)
{
    struct slice *out;
    uint8_t num[20];
    const struct slice *name = &m->argv[0];
    if ((out = cmd_room(m, 0)) == NULL)
        return;
    memcpy(out, m->argv, m->argc * sizeof *out);
    size_t i = 2;
    while (i < m->argc && is_flag(&out[i]))
        i++;
    bool at = arg_is(name, "HEXPIREAT") || arg_is(name, "HPEXPIREAT");
    if (i + 1 < m->argc && arg_is(&out[i], "EX"))
        what_is_left(m, &out[i + 1], 1000, num);
    else if (i + 1 < m->argc && arg_is(&out[i], "PX"))
        what_is_left(m, &out[i + 1], 1, num);
    else if (i < m->argc && !at && !arg_is(name, "HGETEX") && !arg_is(name, "HPERSIST"))
        what_is_left(m, &out[i], arg_is(name, "HPEXPIRE") ? 1 : 1000, num);
    native_send(m, out);
}

/* Marks of SET that only Dragonfly has. */
static bool is_marked(const struct slice *argv, size_t argc)
{
    bool marked = false;
    for (size_t i = 3; i < argc; i++) {
        marked |= arg_is(&argv[i], "STICK") || arg_is(&argv[i], "_MCFLAGS");
        if (arg_is(&argv[i], "EX") || arg_is(&argv[i], "PX"))
            return false; /* never journaled with these */
    }
    return marked;
}

bool native(const struct cmd *m)
{
    switch (m->c->action) {
    case ACT_PROBABILISTIC:
    case ACT_PREPEND:
    case ACT_FLOAT: native_send(m, m->argv); return true;
    case ACT_EVAL:
    case ACT_MSETEX:
    case ACT_SOURCE: /* where the key cannot be read again, this comes nearest */
        if (!cmd_reread(m, 1, "command-needs-source", "its effect depends on when it runs"))
            native_send(m, m->argv);
        return true;
    case ACT_HSETEX:
    case ACT_FIELD_EXPIRE:
    case ACT_SADDEX: native_ttl(m); return true;
    case ACT_SET:
        if (!is_marked(m->argv, m->argc))
            return false;
        native_send(m, m->argv);
        return true;
    case ACT_IGNORE:
        if (m->argc < 2 || !arg_is(&m->argv[0], "STICK"))
            return false;
        native_send(m, m->argv);
        return true;
    case ACT_SEARCH: /* on every flow alike */
        if (m->o->flow != 0) {
            cmd_nothing(m);
            return true;
        }
        m->o->pos = m->after;
        emit_argv(m->e, m->o, NULL, 0, 0, RF_MULTIKEY, m->argv, m->argc);
        return true;
    default: return false;
    }
}
