#include "psync_stream.h"

#include "args.h"
#include "log.h"
#include "psync.h"
#include "../reread/reread.h"
#include "../reread/slots.h"

#define DATABASES      (1 << 20)           /* that a file or a KeyDB may name */
#define ARGUMENTS_KEPT ((size_t)256 << 10) /* bytes of places that stay allocated for the next command */

void psync_begin(struct psync *s, struct sink *to, uint64_t position)
{
    s->to = to;
    s->db = psync_db(position);
    to->next_lsn = to->before = position;
    to->counting = true;
}

static uint64_t position(const struct psync *s, uint64_t offset)
{
    return psync_position(offset, s->file == NULL ? s->db : 0);
}

void psync_select(struct psync *s, uint64_t db)
{
    if (db > PSYNC_DB_MAX)
        return;
    s->db = (uint32_t)db;
    s->to->next_lsn = position(s, psync_offset(s->to->next_lsn));
}

void psync_free(struct psync *s)
{
    requests_free(&s->in);
    requests_free(&s->look);
    requests_free(&s->inner);
}

/* ---- one command ---- */

/* It is no damage. */
static enum got cannot(struct psync *s, struct cur *c, const char *what)
{
    s->cannot = what;
    return cur_bad(c, what);
}

/* The next one. GOT: it can be used. */
static enum got take(struct psync *s, struct requests *r, struct cur *c, const struct slice **argv,
                     size_t *argc)
{
    const char *why = NULL;
    s->begun = c->p;
    s->verdict = VERDICT_TAKE;
    enum got g = request_take(r, c, argv, argc);
    if (g != GOT || s->file == NULL)
        return g;
    s->verdict = s->file->judge(s->file->ctx, *argv, *argc, &why);
    if (why == NULL)
        return GOT;
    c->p = s->begun;
    return s->verdict == VERDICT_CANNOT ? cannot(s, c, why) : cur_bad(c, why);
}

/* ---- transactions ---- */

/* The transaction whose MULTI lies between c and behind: GOT when its EXEC is there, too, or too much for
 * that, or damage that is found again; of a file NEED or BAD, however large it is. */
static enum got look_for_exec(struct psync *s, struct cur *c, const struct cur *behind)
{
    uint64_t most = s->file != NULL ? UINT64_MAX : TRANSACTION_WHOLE;
    size_t multi = (size_t)(behind->p - c->p);
    struct cur t = {c->p + (s->looked > multi ? s->looked : multi), c->end, 0, NULL};
    enum got g = GOT;
    while (g == GOT && (size_t)(t.p - c->p) <= most) {
        const struct slice *argv;
        size_t argc;
        if (s->file != NULL)
            g = s->file->between(s->file->ctx, &t);
        if (g == GOT && t.p >= t.end)
            g = cur_need(&t, 1);
        else if (g == GOT)
            g = take(s, &s->look, &t, &argv, &argc);
        if (g == GOT && arg_is(&argv[0], "EXEC"))
            break;
    }
    if (g == NEED && (size_t)(t.end - c->p) + t.want <= most) {
        s->looked = (size_t)(t.p - c->p);
        c->want = t.want;
        return NEED;
    }
    if (g == NEED || (size_t)(t.p - c->p) > TRANSACTION_WHOLE)
        log_event(
            LOG_WARN, s->to->o.flow,
            "event=transaction_not_whole bytes=%zu note=\"it is executed as it comes: if the source dies "
            "before its end, a part of it may stay\"",
            (size_t)(t.end - c->p));
    s->looked = 0;
    s->look.base = NULL;
    if (g == BAD && s->file != NULL) {
        c->p = t.p;
        return cur_bad(c, t.why);
    }
    return GOT;
}

static void multi_begins(struct psync *s)
{
    s->multi = s->to->before;
    s->to->in_multi = s->to->o.open = true;
    s->to->multi_at = s->multi;
}

/* Its position is reached with it. */
static void exec(struct psync *s)
{
    struct sink *to = s->to;
    entry_begin(&to->o, s->multi);
    s->multi = to->multi_at = 0;
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

static enum got select_db(struct psync *s, struct cur *c, const struct slice *argv, size_t argc, uint64_t *db)
{
    int64_t v;
    if (argc != 2 || !arg_number(&argv[1], &v) || v < 0)
        return cur_bad(c, "SELECT of a database");
    if (s->file != NULL && v > DATABASES)
        return cur_bad(c, "SELECT of a database up to 1048576");
    if (s->file == NULL && v > PSYNC_DB_MAX)
        return cannot(s, c, "a database above 255 was selected, which no position can hold");
    *db = (uint64_t)v;
    return GOT;
}

enum word { W_OTHER, W_SELECT, W_MULTI, W_EXEC, W_PASSED, W_RREPLAY };

/* Those that are not the target's. */
static inline enum word word_of(const struct slice *name)
{
    switch (name->n) {
    case 4: return arg_is(name, "EXEC") ? W_EXEC : arg_is(name, "PING") ? W_PASSED : W_OTHER;
    case 5: return arg_is(name, "MULTI") ? W_MULTI : W_OTHER;
    case 6: return arg_is(name, "SELECT") ? W_SELECT : W_OTHER;
    case 7: return arg_is(name, "RREPLAY") ? W_RREPLAY : W_OTHER;
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
        return cannot(s, c, "an offset of 2^54 and more, which no position can hold");
    to->before = to->next_lsn;
    to->next_lsn = position(s, offset + n);
    to->o.live = true;
    to->o.db = sink_db(to, s->db);
    to->o.pos = sink_below(to, to->before);
    to->o.after = to->next_lsn;
    return GOT;
}

/* Names are upper case from here on; servers write some in lower case. */
static void name_upper(struct psync *s, struct requests *r)
{
    struct slice *name = (struct slice *)(void *)r->argv.p;
    bool lower = false;
    for (size_t i = 0; i < name->n && name->n <= sizeof s->name; i++)
        lower |= name->p[i] >= 'a';
    if (!lower)
        return;
    for (size_t i = 0; i < name->n; i++)
        s->name[i] = (uint8_t)(name->p[i] >= 'a' && name->p[i] <= 'z' ? name->p[i] - 32 : name->p[i]);
    name->p = s->name;
}

/* txid 0: of no transaction. after: what is reached with it. */
static void write_command(struct psync *s, struct requests *r, uint32_t db, uint64_t txid, uint64_t after)
{
    struct sink *to = s->to;
    name_upper(s, r);
    struct change ch = {.db = db,
                        .argv = (const struct slice *)(const void *)r->argv.p,
                        .argc = (size_t)r->argc,
                        .txid = txid,
                        .lsn = to->before,
                        .after = after,
                        .time = to->o.time};
    to->o.db = sink_db(to, db);
    if (to->slots != NULL && !slots_admit(to, &ch)) {
        passed(s);
        return;
    }
    if (to->rereads != NULL && to->rereads->count > 0)
        reread_before_flush(to, &ch);
    change_command(to, &ch);
}

static void command(struct psync *s)
{
    write_command(s, &s->in, s->db, s->multi, sink_below(s->to, s->to->next_lsn));
}

/* RREPLAY uuid commands [database [mvcc]], of a KeyDB that follows others: the commands are requests of their
 * own. In a transaction of theirs all records but the last are held, and an end of its own says so. */
static enum got replay(struct psync *s, struct cur *c, const struct slice *argv, size_t argc)
{
    struct sink *to = s->to;
    int64_t db = s->db;
    if (argc < 3 || (argc > 3 && (!arg_number(&argv[3], &db) || db < 0 || db > DATABASES)))
        return cur_bad(c, "RREPLAY with commands and a database");
    struct cur t = {argv[2].p, argv[2].p + argv[2].n, 0, NULL};
    bool open = to->o.open;
    uint64_t pos = to->o.pos;
    to->o.open = true;
    while (t.p < t.end) {
        const struct slice *inner;
        size_t n;
        int64_t v;
        if (request_take(&s->inner, &t, &inner, &n) != GOT) {
            requests_free(&s->inner);
            return cur_bad(c, "RREPLAY of whole commands");
        }
        enum word word = word_of(&inner[0]);
        if (word == W_RREPLAY)
            return cur_bad(c, "RREPLAY of commands that are none themselves");
        if (word == W_SELECT && n == 2 && arg_number(&inner[1], &v) && v >= 0 && v <= DATABASES)
            db = v;
        to->o.pos = pos;
        if (word == W_OTHER)
            write_command(s, &s->inner, (uint32_t)db, s->multi != 0 ? s->multi : to->before,
                          sink_below(to, to->before));
    }
    to->o.open = open;
    to->o.db = sink_db(to, s->db);
    return GOT;
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
    enum got g = take(s, &s->in, &t, &argv, &argc);
    if (g == BAD)
        c->p = t.p;
    if (g != GOT) {
        c->want = t.want;
        c->why = t.why;
        return g;
    }
    enum word word = s->verdict == VERDICT_PASS ? W_PASSED : word_of(&argv[0]);
    if (word == W_MULTI && s->multi == 0)
        g = look_for_exec(s, c, &t);
    else if (word == W_SELECT)
        g = select_db(s, c, argv, argc, &db);
    if (g != GOT)
        return g;
    s->db = (uint32_t)db;
    if ((g = enter(s, c, (uint64_t)(t.p - c->p))) != GOT)
        return g;
    if (word == W_RREPLAY && (g = replay(s, c, argv, argc)) != GOT)
        return g;
    c->p = t.p;
    if (word == W_OTHER)
        command(s);
    else if (word == W_MULTI && s->multi == 0)
        multi_begins(s);
    else if (word == W_EXEC && s->multi != 0)
        exec(s);
    else
        passed(s);
    buf_trim(&s->in.argv, ARGUMENTS_KEPT);
    return GOT;
}
