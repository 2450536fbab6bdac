/* Strings, and the expiries of keys. dragonfly-replication(7), Rewritten commands, Dragonfly commands. */
#include "command.h"
#include "scripts.h"

static void write_set(const struct cmd *m, uint64_t ms, bool keepttl)
{
    const struct slice *a = m->argv;
    uint8_t num[20];
    struct key k;
    if (ms != 0)
        ms = emit_expiry(m->send.e, m->send.o, ms);
    if (!keepttl && a[1].n + a[2].n < REC_PAYLOAD_MAX - 512) {
        key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
        m->send.o->pos = m->send.after;
        emit_set(m->send.e, m->send.o, &k, a[2].p, a[2].n, ms, 0);
        return;
    }
    struct slice out[5] = {a[0], a[1], a[2]};
    size_t n = 3;
    out[0] = SLICE("SET");
    if (keepttl)
        out[n++] = SLICE("KEEPTTL");
    if (ms != 0) {
        out[n++] = SLICE("PXAT");
        out[n++] = (struct slice){num, dec_u64(num, ms)};
    }
    send_last(&m->send, 1, out, n, RF_IDEMPOTENT);
}

/* SET k v [PXAT ms | EX s | …] [KEEPTTL] [STICK] [_MCFLAGS n] [NX | XX | IFEQ v | …]; conditions were met
 * when it was logged. */
void do_set(const struct cmd *m)
{
    uint64_t ms = 0;
    bool keepttl = false, valid = m->argc >= 3, at;
    for (size_t i = 3; i < m->argc && valid; i++) {
        const struct slice *a = &m->argv[i];
        if (arg_is(a, "KEEPTTL")) {
            keepttl = true;
        } else if (arg_expiry(a, m->argc - i, m->ch->time / 1000, &ms, &at)) {
            valid = ms != 0;
            i++;
        } else if (arg_is(a, "_MCFLAGS") || arg_is(a, "IFEQ") || arg_is(a, "IFNE") || arg_is(a, "IFDEQ") ||
                   arg_is(a, "IFDNE")) {
            valid = ++i < m->argc;
        } else {
            valid = arg_is(a, "STICK") || arg_is(a, "NX") || arg_is(a, "XX") || arg_is(a, "GET");
        }
    }
    if (valid)
        write_set(m, ms, keepttl);
    else
        cmd_malformed(m);
}

/* SETEX k s v, PSETEX k ms v. */
void do_setex(const struct cmd *m)
{
    uint64_t ms = 0;
    struct slice set[3];
    struct cmd s = *m;
    if (m->argc == 4)
        ms = arg_from_now(&m->argv[2], m->argv[0].p[0] == 'P' ? 1 : 1000, m->ch->time / 1000);
    if (ms == 0) {
        cmd_malformed(m);
        return;
    }
    set[0] = SLICE("SET");
    set[1] = m->argv[1];
    set[2] = m->argv[3];
    s.argv = set;
    s.argc = 3;
    write_set(&s, ms, false);
}

void do_expire(const struct cmd *m)
{
    uint8_t num[20];
    const struct slice *name = &m->argv[0];
    uint64_t ms = 0, now = m->ch->time / 1000;
    int64_t v;
    if (m->to->dialect.zero_persists && m->argc == 3 && arg_is(name, "PEXPIREAT") &&
        arg_number(&m->argv[2], &v) && v == 0) {
        /* memcached's "gat 0 key": the key lost its expiry. An expiry in the past is logged as DEL. */
        struct slice persist[2] = {SLICE("PERSIST"), m->argv[1]};
        send_last(&m->send, 1, persist, 2, RF_IDEMPOTENT);
        return;
    }
    if (m->argc >= 3)
        ms = arg_is(name, "PEXPIREAT")  ? arg_from_epoch(&m->argv[2], 1)
             : arg_is(name, "EXPIREAT") ? arg_from_epoch(&m->argv[2], 1000)
             : arg_is(name, "PEXPIRE")  ? arg_from_now(&m->argv[2], 1, now)
                                        : arg_from_now(&m->argv[2], 1000, now);
    if (ms == 0) {
        cmd_malformed(m);
        return;
    }
    ms = emit_expiry(m->send.e, m->send.o, ms);
    struct slice out[3] = {SLICE("PEXPIREAT"), m->argv[1], {num, dec_u64(num, ms)}};
    send_last(&m->send, 1, out, 3, RF_IDEMPOTENT);
}

/* DELEX k [IFEQ|IFNE value | IFDEQ|IFDNE digest]: logged also where the condition did not hold. */
void do_delex(const struct cmd *m)
{
    const struct target *t = m->target;
    struct slice out[2] = {SLICE("DEL"), m->argv[1]};
    if (m->argc == 2)
        send_last(&m->send, 1, out, 2, RF_IDEMPOTENT);
    else if (t->kind == SERVER_DRAGONFLY || (t->kind == SERVER_REDIS && t->version >= VERSION(8, 4)))
        send_last(&m->send, 1, m->argv, m->argc, RF_IDEMPOTENT);
    else if (m->argc == 4 && arg_is(&m->argv[2], "IFEQ"))
        cmd_script(m, SLICE(LUA_DELEX("==")), 1, 3);
    else if (m->argc == 4 && arg_is(&m->argv[2], "IFNE"))
        cmd_script(m, SLICE(LUA_DELEX("~=")), 1, 3);
    else
        cmd_reread_or_lost(m, 1, "command-needs-source", "a condition on the value's digest");
}

void do_float(const struct cmd *m)
{
    bool of_hash = !arg_is(&m->argv[0], "INCRBYFLOAT");
    if (of_hash ? !m->to->dialect.hash_doubles : !m->to->dialect.doubles)
        cmd_forward(m);
    else if (of_hash)
        cmd_script(m, SLICE(LUA_HINCRBYFLOAT), 1, 3);
    else
        cmd_script(m, SLICE(LUA_INCRBYFLOAT), 1, 2);
}
