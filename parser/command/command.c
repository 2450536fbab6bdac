/* What the meanings of commands have in common: arguments, times, records at their positions. */
#include "command.h"

#include <stdio.h>

uint64_t cmd_from_now(const struct cmd *m, const struct slice *s, int64_t unit)
{
    int64_t v;
    if (!arg_number(s, &v) || v <= 0 || v > INT64_MAX / 1000 / unit)
        return 0;
    return m->ch->time / 1000 + (uint64_t)(v * unit);
}

uint64_t cmd_from_epoch(const struct slice *s, int64_t unit)
{
    int64_t v;
    if (!arg_number(s, &v) || v > INT64_MAX / 1000 / unit)
        return 0;
    return v > 0 ? (uint64_t)(v * unit) : 1;
}

bool cmd_expiry(const struct cmd *m, size_t i, uint64_t *ms, bool *at)
{
    const struct slice *a = &m->argv[i];
    bool milli = arg_is(a, "PX") || arg_is(a, "PXAT");
    *at = arg_is(a, "EXAT") || arg_is(a, "PXAT");
    if (i + 1 >= m->argc || (!milli && !*at && !arg_is(a, "EX")))
        return false;
    *ms = *at ? cmd_from_epoch(a + 1, milli ? 1 : 1000) : cmd_from_now(m, a + 1, milli ? 1 : 1000);
    return true;
}

#define GUARD_KEY_LUA    "if redis.pcall('EXISTS',KEYS[1])==0 then return 0 end "
#define GUARD_SOURCE_LUA "if redis.pcall('EXISTS',KEYS[1])==0 then return redis.call('DEL',KEYS[2]) end "
#define THE_COMMAND      "return redis.call(unpack(ARGV))"

/* A script that is written already: the condition goes before it. Its arguments stay where they are. */
static struct slice guarded_script(const struct cmd *m, const struct slice *script)
{
    struct buf *b = &m->to->guarded;
    size_t at = b->len;
    (void)buf_addstr(b, m->guard == GUARD_KEY ? GUARD_KEY_LUA : GUARD_SOURCE_LUA);
    (void)buf_add(b, script->p, script->n);
    return (struct slice){b->p + at, b->len - at};
}

/* The request as a script that carries it out if the key is there. There is room: check.c takes no more
 * arguments than a script can hand on. */
static const struct slice *guarded(const struct cmd *m, unsigned *keyarg, const struct slice *argv,
                                   size_t *argc)
{
    struct buf *b = &m->to->guarded;
    size_t nkeys = m->guard == GUARD_KEY ? 1 : 2;
    if (older_target(&m->e->target))
        argv = older_request(m->e, argv, argc, keyarg);
    b->len = 0;
    b->max = (size_t)1 << 20;
    /* In one piece: it moves when it grows. */
    struct slice *out = (struct slice *)(void *)buf_room(b, (*argc + 3 + nkeys) * sizeof *out + 4096);
    if (arg_is(&argv[0], "EVAL")) {
        b->len = *argc * sizeof *out;
        memcpy(out, argv, *argc * sizeof *out);
        out[1] = guarded_script(m, &argv[1]);
        return out;
    }
    out[0] = SLICE("EVAL");
    out[1] = nkeys == 1 ? (struct slice)SLICE(GUARD_KEY_LUA THE_COMMAND)
                        : (struct slice)SLICE(GUARD_SOURCE_LUA THE_COMMAND);
    out[2] = (struct slice){(const uint8_t *)(nkeys == 1 ? "1" : "2"), 1};
    memcpy(out + 3, argv + *keyarg, nkeys * sizeof *out);
    memcpy(out + 3 + nkeys, argv, *argc * sizeof *out);
    *argc += 3 + nkeys;
    *keyarg = 3;
    return out;
}

static void write_argv(const struct cmd *m, const struct key *k, unsigned keyarg, unsigned flags,
                       const struct slice *argv, size_t argc)
{
    if (__builtin_expect(m->guard == GUARD_KEY || m->guard == GUARD_SOURCE, 0))
        argv = guarded(m, &keyarg, argv, &argc);
    emit_argv(m->e, m->o, k, keyarg, 0, flags, argv, argc);
}

void cmd_last(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags)
{
    struct key k;
    key_set(m->e, &k, argv[keyarg].p, argv[keyarg].n);
    m->o->pos = m->after;
    write_argv(m, &k, keyarg, flags, argv, argc);
}

void cmd_one_of(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags)
{
    struct key k;
    key_set(m->e, &k, argv[keyarg].p, argv[keyarg].n);
    m->o->pos = m->before;
    write_argv(m, &k, keyarg, flags, argv, argc);
}

void cmd_nothing(const struct cmd *m)
{
    m->o->pos = m->after;
    emit_position(m->e, m->o, RF_LIVE);
}

void cmd_ignored(const struct cmd *m)
{
    m->e->stats.ignored++;
    cmd_nothing(m);
}

/* The argument to name in a report: its first key, where it has one. */
static size_t named(const struct cmd *m)
{
    if (command_two_words(m->argv, m->argc))
        return m->argc; /* none */
    if (m->c == NULL)
        return 1;
    struct keys k = command_keys(m->c, m->argv, m->argc);
    size_t i = keys_next(&k, 0);
    return i > 0 ? i : m->c->first > 1 ? m->c->first : 1;
}

void cmd_lost(const struct cmd *m, const char *kind, const char *detail)
{
    cmd_lost_key(m, named(m), kind, detail);
}

void cmd_lost_key(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    static const struct slice none = {(const uint8_t *)"", 0};
    const struct slice *k = i < m->argc ? &m->argv[i] : &none;
    const struct slice *word = command_two_words(m->argv, m->argc) ? &m->argv[1] : &none;
    char text[160];
    snprintf(text, sizeof text, "%.*s%s%.*s: %s", (int)(m->argv[0].n < 40 ? m->argv[0].n : 40),
             (const char *)m->argv[0].p, word->n > 0 ? " " : "", (int)(word->n < 40 ? word->n : 40),
             (const char *)word->p, detail);
    m->o->pos = m->before;
    emit_report(m->e, m->o, true, kind, k->p, k->n, text);
}

void cmd_lost_only(const struct cmd *m, const char *kind, const char *detail)
{
    cmd_lost(m, kind, detail);
    cmd_nothing(m);
}

void cmd_malformed(const struct cmd *m)
{
    cmd_lost_only(m, "malformed-command", "arguments that this command does not have");
}

void cmd_script(const struct cmd *m, struct slice script, unsigned nkeys, size_t n)
{
    struct slice out[7] = {SLICE("EVAL"), script, {(const uint8_t *)(nkeys == 1 ? "1" : "2"), 1}};
    if (m->argc != n + 1) {
        cmd_malformed(m);
        return;
    }
    memcpy(out + 3, m->argv + 1, n * sizeof *out);
    cmd_last(m, 3, out, 3 + n, nkeys > 1 ? RF_MULTIKEY : 0);
}

struct slice *cmd_room(const struct cmd *m, size_t extra)
{
    m->to->s.body.len = 0; /* scratch that no value uses while a journal entry is written */
    struct slice *out = (struct slice *)(void *)buf_room(&m->to->s.body, (m->argc + extra) * sizeof *out);
    if (out == NULL)
        cmd_lost_only(m, "command-too-large", "too many arguments");
    return out;
}

void cmd_with_rest(const struct cmd *m, struct slice word, size_t first)
{
    struct slice *out;
    size_t n = m->argc - first;
    if ((out = cmd_room(m, 2)) == NULL)
        return;
    memcpy(out + 2, m->argv + first, n * sizeof *out);
    out[0] = word;
    out[1] = m->argv[1];
    cmd_last(m, 1, out, 2 + n, RF_IDEMPOTENT);
}

void cmd_script_with(const struct cmd *m, struct slice script, const struct slice *own, size_t nown,
                     size_t first, unsigned flags)
{
    struct slice *out;
    size_t n = m->argc - first;
    if ((out = cmd_room(m, 4 + nown)) == NULL)
        return;
    out[0] = SLICE("EVAL");
    out[1] = script;
    out[2] = SLICE("1");
    out[3] = m->argv[1];
    memcpy(out + 4, own, nown * sizeof *out);
    memcpy(out + 4 + nown, m->argv + first, n * sizeof *out);
    cmd_last(m, 3, out, 4 + nown + n, flags);
}

/* ZADD, unless it adds to a score. */
static bool sets_scores(const struct cmd *m)
{
    static const char *const options[] = {"NX", "XX", "GT", "LT", "CH"};
    if (!arg_is(&m->argv[0], "ZADD"))
        return false;
    for (size_t i = 2; i < m->argc; i++) {
        size_t k = 0;
        while (k < sizeof options / sizeof *options && !arg_is(&m->argv[i], options[k]))
            k++;
        if (k == sizeof options / sizeof *options)
            return !arg_is(&m->argv[i], "INCR");
    }
    return false;
}

static void forward(const struct cmd *m, unsigned flags)
{
    const struct command *c = m->c;
    flags |= c->idempotent || sets_scores(m) ? RF_IDEMPOTENT : 0;
    struct key k;
    struct keys keys = command_keys(c, m->argv, m->argc);
    size_t first = keys_next(&keys, 0);
    m->o->pos = m->after;
    if (first == 0) {
        emit_argv(m->e, m->o, NULL, 0, 0, flags | RF_MULTIKEY, m->argv, m->argc);
        return;
    }
    if (keys_next(&keys, first) != 0)
        flags |= RF_MULTIKEY;
    key_set(m->e, &k, m->argv[first].p, m->argv[first].n);
    write_argv(m, &k, (unsigned)first, flags, m->argv, m->argc);
}

void cmd_forward(const struct cmd *m)
{
    forward(m, 0);
}

void cmd_forward_as_is(const struct cmd *m)
{
    forward(m, EMIT_AS_IS);
}
