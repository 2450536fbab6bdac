/* What the meanings of commands have in common: the command as it is, as a script, with other words, or lost.
 */
#include "command.h"

#include <stdio.h>

/* The argument to name in a report: its first key, where it has one. */
static size_t named(const struct command *c, const struct slice *argv, size_t argc)
{
    if (command_two_words(argv, argc))
        return argc; /* none */
    if (c == NULL)
        return 1;
    struct keys k = command_keys(c, argv, argc);
    size_t i = keys_next(&k, 0);
    return i > 0 ? i : c->first > 1 ? c->first : 1;
}

void cmd_lost(const struct cmd *m, const char *kind, const char *detail)
{
    cmd_lost_key(m, named(m->c, m->argv, m->argc), kind, detail);
}

void cmd_lost_key(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    static const struct slice none = {(const uint8_t *)"", 0};
    const struct slice *word = command_two_words(m->argv, m->argc) ? &m->argv[1] : &none;
    char text[160];
    snprintf(text, sizeof text, "%.*s%s%.*s: %s", (int)(m->argv[0].n < 40 ? m->argv[0].n : 40),
             (const char *)m->argv[0].p, word->n > 0 ? " " : "", (int)(word->n < 40 ? word->n : 40),
             (const char *)word->p, detail);
    send_report(&m->send, true, kind, i < m->argc ? &m->argv[i] : &none, text);
}

void cmd_lost_only(const struct cmd *m, const char *kind, const char *detail)
{
    cmd_lost(m, kind, detail);
    send_nothing(&m->send);
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
    send_last(&m->send, 3, out, 3 + n, nkeys > 1 ? RF_MULTIKEY : 0);
}

struct slice *cmd_room(const struct cmd *m, size_t extra)
{
    m->to->s.body.len = 0; /* scratch that no value uses while a journal entry is written */
    struct slice *out = (struct slice *)(void *)buf_room(&m->to->s.body, (m->argc + extra) * sizeof *out);
    if (out == NULL)
        cmd_lost_only(m, "command-too-large", "too many arguments");
    return out;
}

void cmd_with_rest(const struct cmd *m, struct slice word, size_t first, bool last)
{
    struct slice *out;
    size_t n = m->argc - first;
    if ((out = cmd_room(m, 2)) == NULL)
        return;
    memcpy(out + 2, m->argv + first, n * sizeof *out);
    out[0] = word;
    out[1] = m->argv[1];
    (last ? send_last : send_one_of)(&m->send, 1, out, 2 + n, RF_IDEMPOTENT);
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
    send_last(&m->send, 3, out, 4 + nown + n, flags);
}

/* ZADD, unless it adds to a score. */
static bool sets_scores(const struct slice *argv, size_t argc)
{
    static const char *const options[] = {"NX", "XX", "GT", "LT", "CH"};
    if (!arg_is(&argv[0], "ZADD"))
        return false;
    for (size_t i = 2; i < argc; i++) {
        size_t k = 0;
        while (k < sizeof options / sizeof *options && !arg_is(&argv[i], options[k]))
            k++;
        if (k == sizeof options / sizeof *options)
            return !arg_is(&argv[i], "INCR");
    }
    return false;
}

void cmd_forward(const struct cmd *m)
{
    const struct command *c = m->c;
    unsigned flags = c->action == ACT_EVAL ? EMIT_AS_IS : 0; /* a script that is not ours */
    flags |= c->idempotent || sets_scores(m->argv, m->argc) ? RF_IDEMPOTENT : 0;
    struct keys keys = command_keys(c, m->argv, m->argc);
    size_t first = keys_next(&keys, 0);
    if (first == 0) {
        m->send.o->pos = m->send.after;
        emit_argv(m->send.e, m->send.o, NULL, 0, 0, flags | RF_MULTIKEY, m->argv, m->argc);
        return;
    }
    if (keys_next(&keys, first) != 0)
        flags |= RF_MULTIKEY;
    send_last(&m->send, (unsigned)first, m->argv, m->argc, flags);
}
