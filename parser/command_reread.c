/* Commands whose keys are read again from the source, since what they did there cannot be said to the target.
 */
#include "command_parts.h"
#include "reread.h"

static void position_held(const struct cmd *m)
{
    m->o->pos = m->after < m->f->rr_hold ? m->after : m->f->rr_hold;
    emit_position(m->e, m->o, RF_LIVE);
}

bool cmd_reread(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    if (i == 0 || i >= m->argc || m->argc != m->src_argc ||
        !reread_want(m->f, m->f->src_db, &m->src_argv[i], kind, detail))
        return false;
    position_held(m);
    return true;
}

void cmd_reread_or_lost(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    if (!cmd_reread(m, i, kind, detail))
        cmd_lost_only(m, kind, detail);
}

/* Which of several keys a command writes. */
enum written { WRITES_FIRST, WRITES_LAST, WRITES_ALL };

static enum written writes(const struct cmd *m)
{
    static const char *const all[] = {"RENAME", "RENAMENX", "SMOVE", "LMOVE", "RPOPLPUSH"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (arg_is(&m->argv[0], all[i]))
            return WRITES_ALL;
    if (command_cuttable(m->c) || m->c->last == LAST_NUMKEYS || m->c->last == LAST_STREAMS)
        return WRITES_ALL;
    return arg_is(&m->argv[0], "COPY") ? WRITES_LAST : WRITES_FIRST;
}

/* Into another database: MOVE, COPY … DB. */
static bool elsewhere(const struct cmd *m)
{
    return arg_is(&m->argv[0], "MOVE") || (arg_is(&m->argv[0], "COPY") && m->argc > 4);
}

static bool selected(const struct cmd *m, size_t i)
{
    const struct slice *key = &m->src_argv[i];
    return m->f->sel == NULL || select_passes(m->f->sel, key->p, key->n, 0, m->f->src_db);
}

bool cmd_reread_written(const struct cmd *m, const char *kind, const char *detail)
{
    struct keys k = command_keys(m->c, m->argv, m->argc);
    size_t first = keys_next(&k, 0), n = 0, done = 0;
    enum written which = writes(m);
    if (first == 0 || elsewhere(m) || m->argc != m->src_argc)
        return false;
    if (which != WRITES_ALL) {
        size_t i = k.dest != 0 ? k.dest : which == WRITES_FIRST ? first : k.last;
        return selected(m, i) && cmd_reread(m, i, kind, detail);
    }
    for (size_t i = first; i != 0; i = keys_next(&k, i))
        n++;
    if (!reread_room(m->f, n))
        return false;
    for (size_t i = first; i != 0; i = keys_next(&k, i))
        done += !selected(m, i) || reread_want(m->f, m->f->src_db, &m->src_argv[i], kind, detail);
    if (done == n)
        position_held(m);
    return done == n;
}

bool cmd_early(const struct cmd *m)
{
    static const char detail[] = "it depends on a key that had perhaps not come yet: check both";
    if (m->f->cut || m->f->goes_on)
        return false;
    if (cmd_reread_written(m, "command-in-snapshot", detail))
        return true;
    cmd_lost(m, "command-in-snapshot", detail);
    return false;
}
