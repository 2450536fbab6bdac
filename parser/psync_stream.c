#include "psync_stream.h"

#include "args.h"
#include "psync.h"
#include "reread.h"
#include "slots.h"

void psync_begin(struct psync *s, struct sink *to, uint64_t position)
{
    s->to = to;
    s->db = psync_db(position);
    to->next_lsn = to->before = position;
    to->counting = true;
}

void psync_select(struct psync *s, uint64_t db)
{
    if (db > PSYNC_DB_MAX)
        return;
    s->db = (uint32_t)db;
    s->to->next_lsn = psync_position(psync_offset(s->to->next_lsn), s->db);
}

void psync_free(struct psync *s)
{
    requests_free(&s->in);
    requests_free(&s->look);
}

/* ---- transactions ---- */

/* The transaction whose MULTI lies between c and behind: GOT when its EXEC is there, too, or too much for
 * that, or damage that is found again. */
static enum got look_for_exec(struct psync *s, struct cur *c, const struct cur *behind)
{
    size_t multi = (size_t)(behind->p - c->p);
    struct cur t = {c->p + (s->looked > multi ? s->looked : multi), c->end, 0, NULL};
    enum got g = GOT;
    while (g == GOT && (size_t)(t.p - c->p) <= TRANSACTION_WHOLE) {
        const struct slice *argv;
        size_t argc;
        if (t.p >= t.end)
            g = cur_need(&t, 1);
        else
            g = request_take(&s->look, &t, &argv, &argc);
        if (g == GOT && arg_is(&argv[0], "EXEC"))
            break;
    }
    if (g == NEED && (size_t)(t.end - c->p) + t.want <= TRANSACTION_WHOLE) {
        s->looked = (size_t)(t.p - c->p);
        c->want = t.want;
        return NEED;
    }
    s->looked = 0;
    s->look.base = NULL;
    return GOT;
}

static void multi_begins(struct psync *s)
{
    s->multi = s->to->before;
    s->to->in_multi = s->to->o.open = true;
}

/* Its position is reached with it. */
static void exec(struct psync *s)
{
    struct sink *to = s->to;
    entry_begin(&to->o, s->multi);
    s->multi = 0;
    to->in_multi = to->o.open = false;
    to->o.pos = sink_below(to, to->next_lsn);
    emit_position(to->e, &to->o, RF_LIVE);
    entry_end(&to->o);
}

/* ---- commands ---- */

/* Nothing for the target. Within a transaction its end says how far the flow is. */
static void passed(struct psync *s)
{
    struct sink *to = s->to;
    if (s->multi != 0)
        return;
    to->o.pos = sink_below(to, to->next_lsn);
    to->o.txid = 0;
    emit_position(to->e, &to->o, RF_LIVE);
}

static enum got select_db(struct cur *c, const struct slice *argv, size_t argc, uint64_t *db)
{
    int64_t v;
    if (argc != 2 || !arg_number(&argv[1], &v) || v < 0 || v > PSYNC_DB_MAX)
        return cur_bad(c, "SELECT of a database from 0 to 255");
    *db = (uint64_t)v;
    return GOT;
}

enum word { W_OTHER, W_SELECT, W_MULTI, W_EXEC, W_PASSED };

/* Those that are not the target's. */
static inline enum word word_of(const struct slice *name)
{
    switch (name->n) {
    case 4: return arg_is(name, "EXEC") ? W_EXEC : arg_is(name, "PING") ? W_PASSED : W_OTHER;
    case 5: return arg_is(name, "MULTI") ? W_MULTI : W_OTHER;
    case 6: return arg_is(name, "SELECT") ? W_SELECT : W_OTHER;
    case 8: return arg_is(name, "REPLCONF") ? W_PASSED : W_OTHER;
    default: return W_OTHER;
    }
}

/* The flow goes on to the position behind a command of n bytes. */
static enum got enter(struct psync *s, struct cur *c, uint64_t n)
{
    struct sink *to = s->to;
    uint64_t offset = psync_offset(to->next_lsn);
    if (n > PSYNC_OFFSET_MAX - offset)
        return cur_bad(c, "an offset below 2^54");
    to->before = to->next_lsn;
    to->next_lsn = psync_position(offset + n, s->db);
    to->o.live = true;
    to->o.db = sink_db(to, s->db);
    to->o.pos = sink_below(to, to->before);
    to->o.after = to->next_lsn;
    return GOT;
}

static void command(struct psync *s, const struct slice *argv, size_t argc)
{
    struct sink *to = s->to;
    struct change ch = {
        .db = s->db, .argv = argv, .argc = argc, .txid = s->multi, .lsn = to->before, .time = to->o.time};
    if (to->slots != NULL && !slots_admit(to, &ch)) {
        passed(s);
        return;
    }
    if (to->rereads != NULL && to->rereads->count > 0)
        reread_before_flush(to, &ch);
    ch.after = sink_below(to, to->next_lsn);
    change_command(to, &ch);
}

enum got psync_command(struct psync *s, struct cur *c)
{
    struct sink *to = s->to;
    struct cur t = *c;
    const struct slice *argv;
    size_t argc;
    uint64_t db = s->db;
    if (to->due <= to->next_lsn)
        reread_write_due(to);
    enum got g = request_take(&s->in, &t, &argv, &argc);
    if (g == BAD)
        c->p = t.p;
    if (g != GOT) {
        c->want = t.want;
        c->why = t.why;
        return g;
    }
    enum word word = word_of(&argv[0]);
    if (word == W_MULTI && s->multi == 0)
        g = look_for_exec(s, c, &t);
    else if (word == W_SELECT)
        g = select_db(c, argv, argc, &db);
    if (g != GOT)
        return g;
    s->db = (uint32_t)db;
    if ((g = enter(s, c, (uint64_t)(t.p - c->p))) != GOT)
        return g;
    c->p = t.p;
    if (word == W_OTHER)
        command(s, argv, argc);
    else if (word == W_MULTI && s->multi == 0)
        multi_begins(s);
    else if (word == W_EXEC && s->multi != 0)
        exec(s);
    else
        passed(s);
    return GOT;
}
