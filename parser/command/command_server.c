/* Commands that change no key: functions and scripts, messages, databases as a whole, slots of the source's
 * cluster; and those of modules. psync(7), THE COMMAND STREAM. */
#include "command.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- functions ---- */

static void load(const struct sending *s, const struct slice *code, bool last)
{
    send_everywhere(s, (struct slice[]){SLICE("FUNCTION"), SLICE("LOAD"), SLICE("REPLACE"), *code}, 4, last);
}

/* A library that is missing, since this was executed before, would be an error: it is made first. */
static void delete_library(const struct sending *s, const struct slice *name)
{
    char code[256];
    int n = (int)(name->n < 64 ? name->n : 64);
    for (int i = 0; i < n; i++)
        if (!isalnum(name->p[i]) && name->p[i] != '_')
            n = 0;
    if (n > 0 && (size_t)n == name->n) {
        const char *text = (const char *)name->p;
        int len = snprintf(code, sizeof code,
                           "#!lua name=%.*s\nredis.register_function('df2redis_%.*s', function() end)", n,
                           text, n, text);
        load(s, &(struct slice){(const uint8_t *)code, (size_t)len}, false);
    }
    send_everywhere(s, (struct slice[]){SLICE("FUNCTION"), SLICE("DELETE"), *name}, 3, true);
}

/* FUNCTION RESTORE payload [APPEND | FLUSH | REPLACE]: library by library, as targets refuse payloads of
 * newer servers. Libraries that were there at the source would have been an error there. */
static void restore_libraries(const struct cmd *m)
{
    const struct slice *p = &m->argv[2];
    bool flush = m->argc > 3 && arg_is(&m->argv[3], "FLUSH");
    if (p->n < 10 || !restore_footer_fits(m->send.e, p)) {
        cmd_lost_only(m, "function", "a payload with a wrong checksum");
        return;
    }
    if (flush)
        send_everywhere(&m->send, (struct slice[]){SLICE("FUNCTION"), SLICE("FLUSH")}, 2, false);
    struct cur c = {p->p, p->p + p->n - 10, 0, NULL};
    while (c.p < c.end) {
        struct pstr ps;
        struct slice code;
        if (*c.p++ != 245 || value_string(&c, &m->to->s, 0, &ps, &code) != GOT) {
            cmd_lost(m, "function", "a damaged payload: the rest of its libraries is missing");
            break;
        }
        load(&m->send, &code, false);
    }
    send_nothing(&m->send);
}

/* Named by the first line of its code, where it has any. */
static void no_functions(const struct sending *out, struct slice code)
{
    size_t line = 0;
    while (line < code.n && line < 80 && code.p[line] != '\n')
        line++;
    code.n = line;
    send_report(out, true, "function", &code, "the target has no functions");
    send_nothing(out);
}

void do_function(const struct cmd *m)
{
    const struct target *t = m->target;
    const struct slice *sub = &m->argv[1];
    if (t->kind == SERVER_DRAGONFLY || t->version < VERSION(7, 0))
        no_functions(&m->send, m->argv[m->argc - 1]);
    else if (arg_is(sub, "LOAD") && m->argc >= 3)
        load(&m->send, &m->argv[m->argc - 1], true);
    else if (arg_is(sub, "DELETE") && m->argc == 3)
        delete_library(&m->send, &m->argv[2]);
    else if (arg_is(sub, "FLUSH"))
        send_everywhere(&m->send, (struct slice[]){SLICE("FUNCTION"), SLICE("FLUSH")}, 2, true);
    else if (arg_is(sub, "RESTORE") && m->argc >= 3)
        restore_libraries(m);
    else
        cmd_lost_only(m, "unknown-command", "not known to df2redis: its effect is missing");
}

/* ---- scripts ---- */

/* SCRIPT LOAD, SCRIPT FLUSH: a later EVALSHA of a master up to 4.0 needs what it needed there. */
void do_script(const struct cmd *m)
{
    const struct slice *a = m->argv;
    if (m->to->dialect.own_scripts)
        send_ignored(&m->send);
    else if (m->argc == 3 && arg_is(&a[1], "LOAD"))
        send_everywhere(&m->send, a, 3, true);
    else if (m->argc >= 2 && arg_is(&a[1], "FLUSH"))
        send_everywhere(&m->send, a, 2, true);
    else
        cmd_lost_only(m, "unknown-command", "not known to df2redis: its effect is missing");
}

/* EVAL and EVALSHA of masters up to 4.0, which propagate the script and not what it did. */
void do_eval(const struct cmd *m)
{
    struct keys k = command_keys(m->c, m->argv, m->argc);
    bool none = keys_next(&k, 0) == 0;
    if (none && m->target->cluster)
        cmd_lost_only(m, "slots", "a script without keys has no slot");
    else if (none && m->filter != NULL && (m->filter->keys || m->filter->renames.n > 0))
        cmd_lost_only(m, "selection", "a script without keys: what it changes is not known");
    else
        cmd_forward(m);
}

/* ---- messages ---- */

static bool begins(const struct slice *s, const char *with)
{
    size_t n = strlen(with);
    return s->n >= n && memcmp(s->p, with, n) == 0;
}

/* PUBLISH channel message. What Sentinels tell each other is not for the target's. */
void do_publish(const struct cmd *m)
{
    const struct target *t = m->target;
    const struct slice *channel = &m->argv[1];
    if (!m->send.e->publish || begins(channel, "__sentinel__:")) {
        m->send.e->stats.messages++;
        send_nothing(&m->send);
    } else if (arg_is(&m->argv[0], "SPUBLISH") && t->kind != SERVER_DRAGONFLY && t->version < VERSION(7, 0)) {
        cmd_lost_only(m, "command-too-new", "the target has no channels of slots");
    } else { /* it goes where a key of the channel's name would: in a cluster that is one node, and the right
                one */
        if (t->cluster)
            m->send.o->db = 0;
        send_last(&m->send, 1, m->argv, m->argc, 0);
    }
}

/* ---- databases and slots ---- */

static bool database(const struct slice *s, uint32_t *db)
{
    int64_t v;
    if (!arg_number(s, &v) || v < 0 || v > 1 << 20)
        return false;
    *db = (uint32_t)v;
    return true;
}

/* SWAPDB a b. */
void do_swapdb(const struct cmd *m)
{
    const struct filter *f = m->filter;
    uint32_t a, b;
    uint8_t text[2][20] = {{0}};
    if (m->argc != 3 || !database(&m->argv[1], &a) || !database(&m->argv[2], &b)) {
        cmd_malformed(m);
        return;
    }
    bool here[2] = {f == NULL || filter_db_passes(f, a), f == NULL || filter_db_passes(f, b)};
    if (a == b || (!here[0] && !here[1]))
        send_ignored(&m->send);
    else if (m->target->cluster || m->target->kind == SERVER_DRAGONFLY)
        cmd_lost_only(m, "database", "the target cannot exchange databases");
    else if (!here[0] || !here[1])
        cmd_lost_only(m, "database", "one of the two databases is not selected");
    else if (f != NULL && (filter_db_shared(f, a) || filter_db_shared(f, b)))
        cmd_lost_only(m, "database", "other databases of the source are in the same one of the target");
    else {
        struct slice out[3] = {m->argv[0]};
        for (unsigned i = 0; i < 2; i++)
            out[1 + i] = (struct slice){text[i], dec_u64(text[i], sink_db(m->to, i == 0 ? a : b))};
        m->send.o->pos = m->send.after;
        emit_argv(m->send.e, m->send.o, NULL, 0, 0, RF_MULTIKEY, out, 3);
    }
}

/* CLUSTER … of a master whose slots move; one whose keys move key by key says nothing. */
void do_cluster(const struct cmd *m)
{
    const struct slice *sub = &m->argv[1];
    if (arg_is(sub, "SETSLOT")) {
        send_ignored(&m->send);
    } else if (arg_is(sub, "SYNCSLOTS")) {
        change_once(
            m->send.e, m->send.o, &m->to->told_slots, "slot-migration",
            "slots move between masters of the source's cluster: what comes and goes with them is taken "
            "for changes of this master's keys");
        send_ignored(&m->send);
    } else if (arg_is(sub, "FLUSHSLOT")) {
        do_slots(m);
    } else {
        cmd_lost_only(m, "unknown-command", "not known to df2redis: its effect is missing");
    }
}

/* All keys of some slots were removed, as another master of the source's cluster has them now, or nobody. */
void do_slots(const struct cmd *m)
{
    cmd_lost_only(m, "flush-slots", "the removal of slots is not carried over");
}

/* ---- modules ---- */

/* The target has the module whose command it is. */
static bool module_there(const struct target *t, const struct slice *name)
{
    static const struct {
        const char *prefix, *type;
    } of[] = {{"BF.", "MBbloom"},  {"CF.", "MBbloom"},   {"CMS.", "CMSk"},
              {"TOPK.", "TopK"},   {"TDIGEST.", "TDIS"}, {"TS.", "TSDB"},
              {"GRAPH.", "graph"}, {"AI.", "AI_"},       {"JSON.", "ReJSON"}};
    const uint8_t *dot = memchr(name->p, '.', name->n);
    if (dot == NULL)
        return false;
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
        if (begins(name, of[i].prefix))
            return target_names_module(t, of[i].type);
    if (begins(name, "FT."))
        return target_names_module(t, "search");
    char module[32];
    size_t n = (size_t)(dot - name->p);
    if (n == 0 || n >= sizeof module)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum(name->p[i]) && name->p[i] != '_' && name->p[i] != '-')
            return false;
        module[i] = (char)tolower(name->p[i]);
    }
    module[n] = '\0';
    return target_names_module(t, module);
}

bool module_command(const struct cmd *m)
{
    struct key k;
    if (m->to->dialect.native || !module_there(m->target, &m->argv[0]))
        return false;
    if (m->c != NULL) {
        cmd_forward(m);
        return true;
    }
    /* Its key, like that of most, stands first. */
    if (m->argc < 2 || (m->filter != NULL && m->filter->renames.n > 0))
        return false;
    m->send.o->pos = m->send.after;
    key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
    emit_argv(m->send.e, m->send.o, &k, 1, CLASS_OTHER, RF_MULTIKEY, m->argv, m->argc);
    return true;
}

/* ---- of newer servers ---- */

static bool knows(const struct target *t, const char *name)
{
    unsigned redis = name[0] == 'V'                ? VERSION(8, 0)
                     : strcmp(name, "LMOVEM") == 0 ? VERSION(8, 10)
                                                   : VERSION(8, 8);
    if (name[0] == 'V' && target_names_module(t, "vectorset"))
        return true;
    if (t->kind == SERVER_VALKEY)
        return strcmp(name, "INCREX") == 0 && t->version >= VERSION(9, 2);
    return t->kind == SERVER_REDIS && t->version >= redis;
}

/* Vector sets, arrays, LMOVEM, INCREX, XNACK. What the others have no type for cannot be read again either.
 */
void do_newer(const struct cmd *m)
{
    struct slice move[5] = {SLICE("LMOVE")};
    if (knows(m->target, m->c->name)) {
        cmd_forward(m);
    } else if (m->c->name[0] == 'V') {
        cmd_lost_only(m, "module", "the target has no vector sets");
    } else if (strncmp(m->c->name, "AR", 2) == 0) {
        cmd_lost_only(m, "array", "the target has no arrays");
    } else if (strcmp(m->c->name, "LMOVEM") == 0 && m->argc == 5 && m->target->version >= VERSION(6, 2)) {
        memcpy(move + 1, m->argv + 1, 4 * sizeof *move);
        send_last(&m->send, 1, move, 5, RF_MULTIKEY);
    } else {
        cmd_written_or_lost(m, "command-too-new", "the target does not know it");
    }
}
