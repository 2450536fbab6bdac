/* What Dragonfly says to Dragonfly: commands that go to such a target as they are, and to others never.
 * dragonfly-replication(7), JOURNAL. */
#include "command.h"

/* As it is, with the key that argument 1 is. */
static void native_send(const struct sending *s, const struct slice *argv, size_t argc)
{
    bool many = arg_is(&argv[0], "STICK") || arg_is(&argv[0], "CMS.MERGE");
    send_last(s, 1, argv, argc, many && argc > 2 ? RF_MULTIKEY : 0);
}

static bool is_flag(const struct slice *s)
{
    return arg_is(s, "NX") || arg_is(s, "FNX") || arg_is(s, "FXX") || arg_is(s, "KEEPTTL") ||
           arg_is(s, "PERSIST");
}

/* HSETEX, SADDEX, HEXPIRE, FIELDEXPIRE, HGETEX …: their time counts from the entry's arrival, and becomes
 * what is left of it now; at least one. */
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
    uint64_t unit = arg_is(name, "HPEXPIRE") ? 1 : 1000, ms = 0, now = m->send.e->now_ms;
    bool timed = i < m->argc && !arg_is(name, "HEXPIREAT") && !arg_is(name, "HPEXPIREAT") &&
                 !arg_is(name, "HGETEX") && !arg_is(name, "HPERSIST");
    if (i + 1 < m->argc && (arg_is(&out[i], "EX") || arg_is(&out[i], "PX"))) {
        unit = arg_is(&out[i++], "EX") ? 1000 : 1;
        timed = true;
    }
    if (timed)
        ms = arg_from_now(&out[i], (int64_t)unit, m->ch->time / 1000);
    if (ms != 0)
        out[i] = (struct slice){num, dec_u64(num, ms > now ? (ms - now + unit - 1) / unit : 1)};
    native_send(&m->send, out, m->argc);
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
    case ACT_FLOAT: native_send(&m->send, m->argv, m->argc); return true;
    case ACT_EVAL:
    case ACT_MSETEX:
    case ACT_SOURCE: /* where the key cannot be read again, this comes nearest */
        if (!cmd_reread(m, 1, "command-needs-source", "its effect depends on when it runs"))
            native_send(&m->send, m->argv, m->argc);
        return true;
    case ACT_HSETEX:
    case ACT_FIELD_EXPIRE:
    case ACT_SADDEX: native_ttl(m); return true;
    case ACT_SET:
        if (!is_marked(m->argv, m->argc))
            return false;
        native_send(&m->send, m->argv, m->argc);
        return true;
    case ACT_IGNORE:
        if (m->argc < 2 || !arg_is(&m->argv[0], "STICK"))
            return false;
        native_send(&m->send, m->argv, m->argc);
        return true;
    case ACT_SEARCH: /* on every flow alike */
        if (m->send.o->flow != 0) {
            send_nothing(&m->send);
            return true;
        }
        m->send.o->pos = m->send.after;
        emit_argv(m->send.e, m->send.o, NULL, 0, 0, RF_MULTIKEY, m->argv, m->argc);
        return true;
    default: return false;
    }
}
