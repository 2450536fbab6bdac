/* Commands whose keys are read again from the source, since what they did there cannot be said to the target.
 */
#include "command.h"
#include "../reread/reread.h"
#include "source_commands.h"

#define SAID_MAX 64u /* keys of one command that are read again */

/* What is reached with it: no position behind hold. */
static void position_held(struct sending s, uint64_t hold)
{
    s.after = s.after < hold ? s.after : hold;
    send_nothing(&s);
}

bool cmd_reread(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    if (i == 0 || i >= m->argc || m->argc != m->ch->argc ||
        !reread_want(m->to, m->ch->lsn, m->ch->db, &m->ch->argv[i], kind, detail))
        return false;
    position_held(m->send, m->to->hold);
    return true;
}

void cmd_reread_or_lost(const struct cmd *m, size_t i, const char *kind, const char *detail)
{
    if (!cmd_reread(m, i, kind, detail))
        cmd_lost_only(m, kind, detail);
}

/* Which of several keys a command writes. */
enum written { WRITES_FIRST, WRITES_LAST, WRITES_ALL };

static enum written writes(const struct command *c)
{
    static const char *const all[] = {"RENAME", "RENAMENX", "SMOVE", "LMOVE", "LMOVEM", "RPOPLPUSH"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(c->name, all[i]) == 0)
            return WRITES_ALL;
    if (command_cuttable(c) || c->last == LAST_NUMKEYS || c->last == LAST_STREAMS)
        return WRITES_ALL;
    return strcmp(c->name, "COPY") == 0 ? WRITES_LAST : WRITES_FIRST;
}

/* Into another database: MOVE, COPY … DB. */
static bool elsewhere(const struct command *c, size_t argc)
{
    return strcmp(c->name, "MOVE") == 0 || (strcmp(c->name, "COPY") == 0 && argc > 4);
}

bool cmd_reread_moved(const struct cmd *m, const char *kind, const char *detail)
{
    const struct slice *a = m->ch->argv;
    bool move = strcmp(m->c->name, "MOVE") == 0;
    const struct slice *key = &a[move ? 1 : 2];
    int64_t db;
    size_t at = command_other_db(m->c, a, m->ch->argc);
    if (at == 0 || m->filter != NULL || !arg_number(&a[at], &db) || db < 0 || db > 1 << 20 ||
        !reread_room(m->to, 2) || !reread_want(m->to, m->ch->lsn, (uint32_t)db, key, kind, detail) ||
        (move && !reread_want(m->to, m->ch->lsn, m->ch->db, key, kind, detail)))
        return false;
    position_held(m->send, m->to->hold);
    return true;
}

static bool selected(const struct filter *filter, uint32_t db, const struct slice *key)
{
    return filter == NULL || filter_passes(filter, key->p, key->n, 0, db);
}

bool cmd_reread_written(const struct cmd *m, const char *kind, const char *detail)
{
    struct keys k = command_keys(m->c, m->argv, m->argc);
    size_t first = keys_next(&k, 0), n = 0, done = 0;
    enum written which = writes(m->c);
    if (first == 0 || elsewhere(m->c, m->argc) || m->argc != m->ch->argc)
        return false;
    if (which != WRITES_ALL) {
        size_t i = k.dest != 0 ? k.dest : which == WRITES_FIRST ? first : k.last;
        return selected(m->filter, m->ch->db, &m->ch->argv[i]) && cmd_reread(m, i, kind, detail);
    }
    for (size_t i = first; i != 0; i = keys_next(&k, i))
        n++;
    if (!reread_room(m->to, n))
        return false;
    for (size_t i = first; i != 0; i = keys_next(&k, i))
        done += !selected(m->filter, m->ch->db, &m->ch->argv[i]) ||
                reread_want(m->to, m->ch->lsn, m->ch->db, &m->ch->argv[i], kind, detail);
    if (done == n)
        position_held(m->send, m->to->hold);
    return done == n;
}

bool cmd_reread_said(const struct cmd *m, const char *kind, const char *detail)
{
    size_t at[SAID_MAX];
    bool whole = false;
    size_t n = m->to->source != NULL
                   ? source_commands_keys(m->to->source, m->ch->argv, m->ch->argc, at, SAID_MAX, &whole)
                   : 0;
    unsigned passed = 0;
    if (n == 0)
        return false;
    m->send.o->pos = m->send.before;
    if (!whole)
        cmd_lost(m, kind, "the source does not say all keys that it writes: some may be missing");
    for (size_t i = 0; i < n; i++) {
        if (!selected(m->filter, m->ch->db, &m->ch->argv[at[i]]))
            continue;
        passed++;
        if (!reread_want(m->to, m->ch->lsn, m->ch->db, &m->ch->argv[at[i]], kind, detail))
            cmd_lost_key(m, at[i], kind, detail);
    }
    m->send.e->stats.filtered += passed == 0;
    position_held(m->send, m->to->hold);
    return true;
}

void cmd_written_or_lost(const struct cmd *m, const char *kind, const char *detail)
{
    if (!cmd_reread_written(m, kind, detail))
        cmd_lost_only(m, kind, detail);
}

bool cmd_early(const struct cmd *m)
{
    static const char detail[] = "it depends on a key that had perhaps not come yet: check both";
    if (!m->to->dialect.early || m->to->cut || m->to->goes_on)
        return false;
    if (cmd_reread_written(m, "command-in-snapshot", detail))
        return true;
    cmd_lost(m, "command-in-snapshot", detail);
    return false;
}
