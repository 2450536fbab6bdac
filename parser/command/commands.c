/* What journaled commands mean for the target. dragonfly-replication(7), JOURNAL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../reread/check.h"
#include "command.h"
#include "ours.h"
#include "../reread/reread.h"
#include "scripts.h"

static void do_flush(const struct cmd *m)
{
    if (m->filter != NULL && arg_is(&m->argv[0], "FLUSHDB") && filter_db_shared(m->filter, m->ch->db)) {
        cmd_lost_only(m, "database", "other databases of the source are in the same one of the target");
        return;
    }
    if (m->to->own_master && m->to->flows > 1) {
        cmd_lost_only(m, "flush", "keys of other masters are in the same target");
        return;
    }
    struct slice out[1] = {m->argv[0]};
    if (m->target->cluster)
        m->send.o->db = 0; /* FLUSHALL bears the database of the client that sent it */
    m->send.o->pos = m->send.after;
    bool precut = !m->to->cut && !m->to->goes_on;
    emit_barrier(m->send.e, m->send.o, m->ch->txid,
                 (precut ? RF_PRECUT : 0) | (m->to->own_master ? RF_ONEFLOW : 0), out, 1);
}

static void do_json(const struct cmd *m)
{
    bool many = m->argc > 4 && arg_is(&m->argv[0], "JSON.MSET");
    if (m->target->has_json)
        send_last(&m->send, 1, m->argv, m->argc, many ? RF_MULTIKEY : 0);
    else if (m->send.e->unsupported != UNSUPPORTED_APPROXIMATE ||
             !cmd_reread_written(m, "json", "the target has no JSON module")) /* as a string */
        cmd_lost_only(m, "json", "the target has no JSON module");
}

/* Every key that it may have changed is read again, or reported. */
static void do_source(const struct cmd *m)
{
    static const char kind[] = "command-needs-source";
    static const char detail[] = "its effect depends on data that only the source has";
    if (cmd_reread_written(m, kind, detail))
        return;
    struct keys k = command_keys(m->c, m->argv, m->argc);
    size_t i = keys_next(&k, 0);
    if (i == 0) {
        cmd_malformed(m);
        return;
    }
    for (; i != 0; i = keys_next(&k, i))
        cmd_lost_key(m, i, kind, detail);
    send_nothing(&m->send);
}

/* LMPOP and its kin with one key, as the command of Redis 1.0 (LPOP) or 5.0 (ZPOPMIN) that does the same. */
static void pop_one(const struct cmd *m, size_t key)
{
    const struct slice *end = &m->argv[key + 1];
    bool list = arg_is(end, "LEFT") || arg_is(end, "RIGHT"),
         first = arg_is(end, "LEFT") || arg_is(end, "MIN");
    struct slice out[3] = {list    ? (first ? SLICE("LPOP") : SLICE("RPOP"))
                           : first ? SLICE("ZPOPMIN")
                                   : SLICE("ZPOPMAX"),
                           m->argv[key]};
    size_t n = 2;
    if (m->argc == key + 4 && arg_is(end + 1, "COUNT"))
        out[n++] = end[2];
    else if (m->argc != key + 2) {
        cmd_malformed(m);
        return;
    }
    send_last(&m->send, 1, out, n, 0);
}

/* LMPOP, ZMPOP, BLMPOP, BZMPOP. Masters from v1.27 to v1.33 log them as they are, later ones what they did.
 * Of several keys the first that was not empty was changed, wherever it lies: only the source knows which. */
static void do_pop_first(const struct cmd *m)
{
    struct keys k = command_keys(m->c, m->argv, m->argc);
    if (k.first == m->c->first + 1u && k.first == k.last && k.first + 1 < m->argc)
        pop_one(m, k.first);
    else
        do_source(m);
}

static void store_by_script(const struct cmd *m, struct slice script, size_t dest)
{
    struct slice *out = cmd_room(m, 5);
    if (out == NULL)
        return;
    out[0] = SLICE("EVAL");
    out[1] = script;
    out[2] = SLICE("2");
    out[3] = m->argv[1];
    out[4] = m->argv[dest];
    memcpy(out + 5, m->argv, m->argc * sizeof *out);
    send_last(&m->send, 3, out, 5 + m->argc, RF_MULTIKEY);
}

/* SORT … STORE and the like are logged as they are where all keys lie on one shard; else with each shard's
 * keys only. */
static void do_truncated(const struct cmd *m)
{
    const struct dialect *d = &m->to->dialect;
    if (!d->one_shard || m->to->flows == 1 || m->argc > 2) {
        struct keys keys = command_keys(m->c, m->argv, m->argc);
        if (cmd_early(m))
            return;
        if (keys.dest != 0 && d->keeps_store && m->target->kind != SERVER_DRAGONFLY)
            store_by_script(m, SLICE(LUA_STORE_IF), keys.dest);
        else if (keys.dest != 0 && older_target(m->target) && !arg_is(&m->argv[0], "SORT"))
            store_by_script(m, SLICE(LUA_STORE_OR_DELETE), keys.dest);
        else
            cmd_forward(m);
    } else {
        cmd_reread_or_lost(m, 1, "command-needs-source", "logged without the keys of other shards");
    }
}

/* With a selection by type the first of the two keys may not be at the target. */
static void if_there(const struct cmd *m, struct slice script)
{
    struct cmd two = *m;
    if (m->argc < 3) {
        cmd_malformed(m);
        return;
    }
    two.argc = 3;
    cmd_script(&two, script, 2, 2);
}

static void do_two_keys(const struct cmd *m)
{
    bool copy = arg_is(&m->argv[0], "COPY") && m->argc <= 4; /* not into another database */
    if (cmd_early(m))
        return;
    bool by_type = m->filter != NULL && m->filter->types;
    if (by_type && copy)
        if_there(m, SLICE(LUA_COPY_IF));
    else if (by_type && arg_is(&m->argv[0], "RENAMENX"))
        if_there(m, SLICE(LUA_RENAMENX_IF));
    else
        cmd_forward(m);
}

/* XGROUP CREATE and SETID: targets before 7.0 do not know the counters. */
static void do_counters(const struct cmd *m)
{
    struct cmd s = *m;
    struct slice *out;
    const size_t options = 5;
    if (m->target->version >= VERSION(7, 0) || m->target->kind == SERVER_DRAGONFLY || m->argc <= options ||
        (!arg_is(&m->argv[1], "CREATE") && !arg_is(&m->argv[1], "SETID"))) {
        cmd_forward(m);
        return;
    }
    if ((out = cmd_room(m, 0)) == NULL)
        return;
    memcpy(out, m->argv, options * sizeof *out);
    s.argv = out;
    s.argc = options;
    for (size_t i = options; i < m->argc; i++) {
        if (arg_is(&m->argv[i], "ENTRIESREAD"))
            i++;
        else
            out[s.argc++] = m->argv[i];
    }
    cmd_forward(&s);
}

/* The whole command, in a script that takes its failure at the source for no error. Redis before 5.0 gets
 * older.c's. */
static void do_try(const struct cmd *m)
{
    if (!m->to->dialect.logs_failures || m->target->kind == SERVER_DRAGONFLY ||
        m->target->version < VERSION(5, 0))
        cmd_forward(m);
    else
        cmd_script_with(m, SLICE(LUA_TRY), m->argv, 0, 0, m->c->idempotent ? RF_IDEMPOTENT : 0);
}

/* XSETID key id [counters], which targets before 7.0 do not know. */
static void do_setid(const struct cmd *m)
{
    struct cmd s = *m;
    if (m->argc > 3 && m->target->version < VERSION(7, 0))
        s.argc = 3;
    if (m->target->kind == SERVER_DRAGONFLY)
        cmd_forward(m);
    else if (!m->to->dialect.logs_failures)
        cmd_forward(&s);
    else
        cmd_script_with(&s, SLICE(LUA_TRY), m->argv, 0, 0, RF_IDEMPOTENT);
}

/* XCLAIM key group consumer…, XAUTOCLAIM: Dragonfly makes the consumer also when there is nothing to claim.
 * Before what it logs for XREADGROUP (with LASTID) it logs that by itself. */
static void do_claim(const struct cmd *m)
{
    if (m->to->dialect.claim_makes && m->argc >= 4 && !arg_is(&m->argv[m->argc - 2], "LASTID")) {
        struct slice out[5] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), m->argv[1], m->argv[2], m->argv[3]};
        send_one_of(&m->send, 2, out, 5, RF_IDEMPOTENT);
    }
    cmd_forward(m);
}

static void do_del(const struct cmd *m)
{
    if (m->to->dialect.rounds_scores && m->ch->txid != 0 && m->argc == 2) {
        struct key k;
        key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
        m->to->emptied.txid = m->ch->txid;
        m->to->emptied.lsn = m->ch->lsn;
        m->to->emptied.hash = k.hash;
    }
    cmd_forward(m);
}

/* The text of a score with the 6 digits that it may have been rounded to. */
static bool may_be_rounded(const struct slice *score)
{
    char text[32], *end, again[32];
    if (score->n == 0 || score->n >= sizeof text)
        return false;
    memcpy(text, score->p, score->n);
    text[score->n] = '\0';
    double v = strtod(text, &end);
    snprintf(again, sizeof again, "%g", v);
    return *end == '\0' && strcmp(text, again) == 0;
}

/* Directly behind the DEL of its key, in the same transaction, a ZADD may be what a master made of
 * ZUNIONSTORE and its kin. It is written in any case: what is read again is only more exact. */
static void do_zadd(const struct cmd *m)
{
    struct cmd s = *m;
    bool stored = m->to->dialect.rounds_scores && m->ch->txid != 0 && m->ch->txid == m->to->emptied.txid &&
                  m->ch->lsn == m->to->emptied.lsn + 1 && m->argc == m->ch->argc && m->argc % 2 == 0;
    for (size_t i = 2; stored && i < m->argc; i += 2)
        stored = may_be_rounded(&m->argv[i]);
    if (stored) {
        struct key k;
        key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
        if (k.hash == m->to->emptied.hash &&
            reread_refine(m->to, m->ch, &m->ch->argv[1], "rounded-scores",
                          "the master logs the scores that ZUNIONSTORE and its kin store with 6 digits") &&
            s.send.after > m->to->hold)
            s.send.after = m->to->hold;
    }
    cmd_forward(&s);
}

static void do_rename(const struct cmd *m)
{
    if (m->filter != NULL && m->filter->types)
        if_there(m, SLICE(LUA_RENAME_IF));
    else if (m->to->dialect.rename_keeps_ttl)
        cmd_script(m, SLICE(LUA_OLD_RENAME), 2, 2);
    else
        cmd_forward(m);
}

static void act(const struct cmd *m)
{
    switch (m->c->action) {
    case ACT_FORWARD: cmd_forward(m); return;
    case ACT_SET: do_set(m); return;
    case ACT_SETEX: do_setex(m); return;
    case ACT_EXPIRE: do_expire(m); return;
    case ACT_RESTORE: do_restore(m); return;
    case ACT_FLUSH: do_flush(m); return;
    case ACT_IGNORE: send_ignored(&m->send); return;
    case ACT_HSETEX: do_hsetex(m); return;
    case ACT_FIELD_EXPIRE: do_field_expire(m); return;
    case ACT_SADDEX: do_saddex(m); return;
    case ACT_PREPEND: cmd_script(m, SLICE(LUA_PREPEND), 1, 2); return;
    case ACT_COUNTERS: do_counters(m); return;
    case ACT_SETID: do_setid(m); return;
    case ACT_CLAIM: do_claim(m); return;
    case ACT_FLOAT: do_float(m); return;
    case ACT_RENAME: do_rename(m); return;
    case ACT_TWO_KEYS: do_two_keys(m); return;
    case ACT_DELEX: do_delex(m); return;
    case ACT_JSON: do_json(m); return;
    case ACT_PROBABILISTIC:
        cmd_lost_only(m, "probabilistic",
                      "the target has no such filter or sketch with the source's contents");
        return;
    case ACT_SEARCH: cmd_lost_only(m, "search-index", "index definitions are not carried over"); return;
    case ACT_DFLYCLUSTER: do_slots(m); return;
    case ACT_MSETEX: /* of a Redis it has become SETs */
    case ACT_SOURCE: do_source(m); return;
    case ACT_TRY: do_try(m); return;
    case ACT_DEL: do_del(m); return;
    case ACT_ZADD: do_zadd(m); return;
    case ACT_POP_FIRST: do_pop_first(m); return;
    case ACT_TRUNCATED: do_truncated(m); return;
    case ACT_EVAL: (m->to->dialect.own_scripts ? do_source : do_eval)(m); return;
    case ACT_SCRIPT: do_script(m); return;
    case ACT_FUNCTION: do_function(m); return;
    case ACT_PUBLISH: do_publish(m); return;
    case ACT_SWAPDB: do_swapdb(m); return;
    case ACT_CLUSTER: do_cluster(m); return;
    case ACT_HGETDEL: do_hgetdel(m); return;
    case ACT_XADD: do_xadd(m); return;
    case ACT_XDELEX: do_xdelex(m); return;
    case ACT_XCFGSET: do_xcfgset(m); return;
    case ACT_NEWER: do_newer(m); return;
    }
}

/* Cut the command down to the keys that go through. False: nothing is left of it. */
static bool apply_filter(struct cmd *m)
{
    const char *detail = NULL;
    enum filtered how =
        filter_command(&m->to->renamed, m->filter, m->ch->db, m->c, &m->argv, &m->argc, &detail);
    if (how == FILTER_PASS) {
        m->c = command_find(m->argv[0].p, m->argv[0].n); /* it may have become another one */
        return true;
    }
    m->send.e->stats.filtered++;
    if (how != FILTER_LOST)
        send_nothing(&m->send);
    else if (m->c->action == ACT_FLUSH)
        cmd_lost_only(m, "selection", detail);
    else
        cmd_written_or_lost(m, "selection", detail);
    return false;
}

/* From argument i on the two words stand one behind the other; second may be NULL. */
static bool has_words(const struct slice *argv, size_t argc, size_t i, const char *first, const char *second)
{
    for (; i < argc; i++)
        if (arg_is(&argv[i], first) && (second == NULL || (i + 1 < argc && arg_is(&argv[i + 1], second))))
            return true;
    return false;
}

/* In a form that came later than the command. */
static bool new_form(const char *name, const struct slice *argv, size_t argc, const struct target *t)
{
    static const char *const ops[] = {"DIFF", "DIFF1", "ANDOR", "ONE"}; /* of Redis 8.2 */
    if (strcmp(name, "BITOP") == 0 && (t->kind != SERVER_REDIS || t->version < VERSION(8, 2)))
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
            if (arg_is(&argv[1], ops[i]))
                return true;
    bool aggregates = strcmp(name, "ZUNIONSTORE") == 0 || strcmp(name, "ZINTERSTORE") == 0;
    if (aggregates && (t->kind != SERVER_REDIS || t->version < VERSION(8, 8)))
        return has_words(argv, argc, 4, "AGGREGATE", "COUNT");
    return strcmp(name, "GEOSEARCHSTORE") == 0 && has_words(argv, argc, 3, "BYPOLYGON", NULL) &&
           (t->kind != SERVER_VALKEY || t->version < VERSION(9, 1));
}

static bool too_new(const struct command *c, const struct slice *argv, size_t argc, const struct target *t)
{
    bool numbered = t->kind != SERVER_DRAGONFLY && t->kind != SERVER_VALKEY;
    return (c->since > t->version && numbered) ||
           (c->action == ACT_TWO_KEYS && new_form(c->name, argv, argc, t));
}

static bool by_module(const struct command *c)
{
    return c->action == ACT_PROBABILISTIC || c->action == ACT_SEARCH;
}

/* Nothing is known of it; most commands have their key first. */
static void unknown(const struct cmd *m)
{
    bool keyless = m->argc < 2 || command_two_words(m->argv, m->argc);
    if (!keyless && m->filter != NULL &&
        !filter_passes(m->filter, m->argv[1].p, m->argv[1].n, 0, m->ch->db)) {
        m->send.e->stats.filtered++;
        send_nothing(&m->send);
        return;
    }
    if (module_command(m) || cmd_reread_said(m, "unknown-command", "not known to df2redis"))
        return;
    int64_t number; /* of keys, perhaps: then they stand elsewhere */
    if (keyless || m->to->source != NULL || arg_number(&m->argv[1], &number) ||
        !cmd_reread(m, 1, "unknown-command", "not known to df2redis")) {
        cmd_lost_only(m, "unknown-command", "not known to df2redis: its effect is missing");
        return;
    }
    send_report(
        &m->send, false, "unknown-command", &m->argv[1],
        "the first argument of a command that df2redis does not know was taken for its key, and read again");
}

/* Is an argument, be it a key or not, the name of a key that df2redis keeps for itself in the target? */
static bool has_reserved(const struct filter *filter, const struct change *ch)
{
    bool renames = filter != NULL && filter->renames.n > 0;
    bool found = false;
    for (size_t i = 1; i < ch->argc && !found; i++)
        found = renames ? filter_reserved(filter, ch->argv[i].p, ch->argv[i].n, 0, ch->db)
                        : key_is_ours(ch->argv[i].p, ch->argv[i].n);
    return found;
}

static void report_reserved(const struct cmd *m)
{
    struct keys k = {.first = 1, .last = 1, .step = 1};
    if (m->c != NULL)
        k = command_keys(m->c, m->argv, m->argc);
    m->send.o->pos = m->send.before;
    for (size_t i = keys_next(&k, 0); i != 0 && i < m->argc; i = keys_next(&k, i))
        if (filter_reserved(m->filter, m->argv[i].p, m->argv[i].n, 0, m->ch->db))
            emit_reserved(m->send.e, m->send.o, m->argv[i].p, m->argv[i].n);
}

/* It takes in keys of which is not known yet whether the full sync has brought them. */
static bool reads_again(const struct cmd *m)
{
    static const char kind[] = "command-needs-source";
    static const char detail[] = "it takes in keys that the full sync may not have brought";
    bool done = command_other_db(m->c, m->ch->argv, m->ch->argc) != 0 ? cmd_reread_moved(m, kind, detail)
                                                                      : cmd_reread_written(m, kind, detail);
    if (!done)
        check_unread(m->to, m->ch, m->c, m->argv);
    return done;
}

/* MSETEX n key value … [NX | XX] [KEEPTTL | PXAT ms | …], whose condition was met: the options are those of
 * SET.
 */
static void set_each(const struct cmd *m)
{
    struct keys k = command_keys(m->c, m->argv, m->argc);
    size_t options = m->argc - k.last - 2;
    struct slice set[8] = {SLICE("SET")};
    if (k.first == 0 || k.last + 2 > m->argc || options > 5) {
        cmd_malformed(m);
        return;
    }
    memcpy(set + 3, m->argv + k.last + 2, options * sizeof *set);
    for (size_t i = keys_next(&k, 0), next; i != 0; i = next) {
        struct change one = *m->ch;
        next = keys_next(&k, i);
        set[1] = m->argv[i];
        set[2] = m->argv[i + 1];
        one.argv = set;
        one.argc = 3 + options;
        one.after = next == 0 ? m->send.after : m->send.before;
        m->send.o->pos = m->send.before;
        change_apply(m->to, &one);
    }
}

/* RENAME, COPY and MOVE carry an expiry over, which may be one that waits; SWAPDB all of them. */
static void note_carried(const struct cmd *m)
{
    struct late *l = &m->send.e->late;
    int64_t a, b;
    size_t other = command_other_db(m->c, m->argv, m->argc);
    bool moves = m->c->action == ACT_RENAME || (m->c->action == ACT_TWO_KEYS && m->c->vclass == CLASS_NONE);
    if (m->c->action == ACT_SWAPDB && m->argc == 3 && arg_number(&m->argv[1], &a) &&
        arg_number(&m->argv[2], &b)) {
        late_swap(l, sink_db(m->to, (uint32_t)a), sink_db(m->to, (uint32_t)b));
    } else if (moves && m->argc >= 3) {
        const struct slice *to = &m->argv[m->c->last];
        bool known = other != 0 && arg_number(&m->argv[other], &a);
        late_keep(l, known ? (uint32_t)a : m->send.o->db, to->p, to->n);
    }
}

static void apply(struct cmd *m, bool reserved)
{
    struct sink *to = m->to;
    if (m->c != NULL && m->c->action == ACT_MSETEX && !to->dialect.native && m->argc >= m->c->min_args) {
        set_each(m);
        return;
    }
    if (__builtin_expect(reserved, 0))
        report_reserved(m);
    if (m->filter != NULL && !apply_filter(m))
        return;
    bool on_keys = m->c == NULL || m->c->first > 0; /* of its database */
    if (on_keys && emit_wrong_db(m->send.e, m->send.o->db, m->ch->db))
        return;
    if (__builtin_expect(to->verifying != NOT_VERIFYING, 0) && !to->has_value && m->c != NULL &&
        m->argc == m->ch->argc)
        m->send.guard = check_before(to, m->ch, m->c, m->argv);
    if (__builtin_expect(m->send.e->late.count > 0, 0) && m->c != NULL)
        note_carried(m);
    if (m->send.guard == GUARD_REREAD && reads_again(m))
        ;
    else if (m->target->cluster && m->send.o->db != 0 && arg_is(&m->argv[0], "FLUSHDB"))
        send_nothing(&m->send); /* a database that a cluster does not have: nothing can be there */
    else if (m->c == NULL)
        unknown(m);
    else if (m->argc == m->c->empty && to->dialect.logs_nothing)
        send_ignored(
            &m->send); /* SPOP k 0 gives SREM k: it did nothing at the source; Redis would refuse it */
    else if (m->argc < m->c->min_args)
        cmd_lost_only(m, "unknown-command", "too few arguments: its effect is missing");
    else if (too_new(m->c, m->argv, m->argc, m->target))
        cmd_written_or_lost(m, "command-too-new", "the target does not know it");
    else if (m->target->kind == SERVER_DRAGONFLY && to->dialect.native && native(m))
        ;
    else if (by_module(m->c) && module_command(m))
        ;
    else if (!m->target->cluster || !spread(m))
        act(m);
    to->program.len = 0;
    buf_trim(&to->s.copy, (size_t)1 << 20);
    buf_trim(&to->program, (size_t)64 << 10);
    buf_trim(&to->s.body, (size_t)1 << 20);
}

static const struct command *find(struct lately *lately, const struct slice *name)
{
    uint64_t text = 0;
    if (name->n > sizeof text)
        return command_find(name->p, name->n);
    for (size_t i = 0; i < name->n; i++)
        text = text << 8 | name->p[i];
    struct lately *l = &lately[(text * 0x9e3779b97f4a7c15u) >> 58];
    if (l->name != text || l->n != name->n)
        *l = (struct lately){text, name->n, command_find(name->p, name->n)};
    return l->c;
}

void change_apply(struct sink *to, const struct change *ch)
{
    static const struct filter all; /* lets everything through but our own names */
    bool reserved = has_reserved(to->filter, ch);
    struct cmd m = {.to = to,
                    .target = &to->e->target,
                    .ch = ch,
                    .filter = reserved && to->filter == NULL ? &all : to->filter,
                    .c = find(to->lately, &ch->argv[0]),
                    .argv = ch->argv,
                    .argc = ch->argc,
                    .send = {to->e, &to->o, &to->guarded, to->o.pos, ch->after, GUARD_NONE}};
    apply(&m, reserved);
}
