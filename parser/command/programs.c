/* The steps of commands whose keys lie in several slots of a cluster. dfparse(1) has them as a table. */
#include <stdio.h>

#include "ours.h"
#include "slot.h"
#include "command.h"

/* Registers. */
enum { R_VALUE = 1, R_TTL, R_TTL_DST, R_THERE, R_EXPIRES };

#define UNLESS(reg) (STEP_NOT | (reg))

/* Keys that one program gathers: two steps each, and three for the rest. */
#define COLOCATE_MAX ((PROGRAM_STEPS - 3) / 2)

/* The time to live, or nil where there is none. */
#define LUA_EXPIRES(pttl) "local t=redis.call('" pttl "',KEYS[1]) if t>0 then return t end return false"

static unsigned slot_of(const struct spreading *s, size_t i)
{
    return key_slot(s->m->argv[i].p, s->m->argv[i].n);
}

static void arg(struct spreading *s, size_t i)
{
    program_bulk(&s->p, s->m->argv[i].p, s->m->argv[i].n);
}

/* A step on the key that argument i is, up to and including the key. */
static void step(struct spreading *s, size_t i, const char *word, unsigned cond, unsigned keep,
                 unsigned flags)
{
    program_step(&s->p, slot_of(s, i), cond, keep, flags);
    program_str(&s->p, word);
    arg(s, i);
}

/* Since 7.0 a time to live is to be had as the time at which it ends, which does not change on the way. */
static bool absolute(const struct spreading *s)
{
    return s->m->target->version >= VERSION(7, 0) || s->m->target->kind == SERVER_DRAGONFLY;
}

static void keep_ttl(struct spreading *s, size_t i, unsigned cond, unsigned keep)
{
    step(s, i, absolute(s) ? "PEXPIRETIME" : "PTTL", cond, keep, STEP_TTL);
}

/* Keep the expiry of the key that argument i is; nothing where it has none. */
static void keep_expiry(struct spreading *s, size_t i, unsigned cond, unsigned keep)
{
    program_step(&s->p, slot_of(s, i), cond, keep, 0);
    program_str(&s->p, "EVAL");
    program_str(&s->p, absolute(s) ? LUA_EXPIRES("PEXPIRETIME") : LUA_EXPIRES("PTTL"));
    program_str(&s->p, "1");
    arg(s, i);
}

/* REPLACE also where nothing is to be there: a step whose reply is lost is run again, and finds its own work.
 */
static void restore(struct spreading *s, size_t i, unsigned cond, unsigned ttl)
{
    step(s, i, "RESTORE", cond, 0, 0);
    program_reg(&s->p, ttl);
    program_reg(&s->p, R_VALUE);
    program_str(&s->p, "REPLACE");
    if (absolute(s))
        program_str(&s->p, "ABSTTL");
}

static bool by_type(const struct spreading *s)
{
    return (s->m->filter != NULL && s->m->filter->types) || s->m->send.guard == GUARD_SOURCE;
}

/* RENAME: with a selection by type, or before all keys are verified, the source may be missing at the target,
 * what it overwrites goes all the same. */
static void rename_over(struct spreading *s)
{
    bool may_miss = by_type(s);
    unsigned there = may_miss ? R_VALUE : 0;
    step(s, 1, "DUMP", 0, R_VALUE, may_miss ? 0 : STEP_MUST);
    keep_ttl(s, 1, there, R_TTL);
    if (s->m->to->dialect.rename_keeps_ttl && !may_miss) { /* LUA_OLD_RENAME */
        keep_expiry(s, 1, 0, R_EXPIRES);
        keep_expiry(s, 2, R_EXPIRES, R_TTL_DST);
        restore(s, 2, R_TTL_DST, R_TTL_DST);
        restore(s, 2, UNLESS(R_TTL_DST), R_TTL);
    } else {
        restore(s, 2, there, R_TTL);
    }
    step(s, 1, "DEL", there, 0, 0);
    if (may_miss)
        step(s, 2, "DEL", UNLESS(R_VALUE), 0, 0);
}

/* It is journaled also where the destination was there, and nothing happened. */
static void rename_unless(struct spreading *s)
{
    step(s, 2, "EXISTS", 0, R_THERE, 0);
    step(s, 1, "DUMP", UNLESS(R_THERE), R_VALUE, by_type(s) ? 0 : STEP_MUST);
    keep_ttl(s, 1, R_VALUE, R_TTL);
    restore(s, 2, R_VALUE, R_TTL);
    step(s, 1, "DEL", R_VALUE, 0, 0);
}

void spread_rename(struct spreading *s)
{
    if (arg_is(&s->m->argv[0], "RENAME"))
        rename_over(s);
    else
        rename_unless(s);
}

void spread_copy(struct spreading *s)
{
    bool replace = by_type(s);
    for (size_t i = 3; i < s->m->argc; i++)
        replace |= arg_is(&s->m->argv[i], "REPLACE");
    if (!replace)
        step(s, 2, "EXISTS", 0, R_THERE, 0);
    step(s, 1, "DUMP", replace ? 0 : UNLESS(R_THERE), R_VALUE, 0);
    keep_ttl(s, 1, R_VALUE, R_TTL);
    restore(s, 2, R_VALUE, R_TTL);
    if (by_type(s))
        step(s, 2, "DEL", UNLESS(R_VALUE), 0, 0);
}

static bool wants(struct spreading *s, size_t argc)
{
    if (s->m->argc == argc)
        return true;
    cmd_malformed(s->m);
    s->m->to->program.len = 0;
    return false;
}

void spread_smove(struct spreading *s)
{
    if (!wants(s, 4))
        return;
    /* A step whose reply is lost is run again: the member must not be gone before it is known to have been
     * there. */
    step(s, 1, "SISMEMBER", 0, R_VALUE, 0);
    arg(s, 3);
    step(s, 2, "SADD", R_VALUE, 0, 0);
    arg(s, 3);
    step(s, 1, "SREM", R_VALUE, 0, 0);
    arg(s, 3);
}

/* LMOVE src dst LEFT|RIGHT LEFT|RIGHT, RPOPLPUSH src dst. */
void spread_lmove(struct spreading *s)
{
    const struct slice *a = s->m->argv;
    bool named = arg_is(&a[0], "LMOVE");
    if (!wants(s, named ? 5 : 3))
        return;
    bool left = named && arg_is(&a[3], "LEFT");
    step(s, 1, "LINDEX", 0, R_VALUE, 0);
    program_str(&s->p, left ? "0" : "-1");
    step(s, 2, named && arg_is(&a[4], "RIGHT") ? "RPUSH" : "LPUSH", R_VALUE, 0, 0);
    program_reg(&s->p, R_VALUE);
    step(s, 1, left ? "LPOP" : "RPOP", R_VALUE, 0, 0);
}

/* ---- keys brought together ---- */

struct colocation {
    size_t n,
        at[COLOCATE_MAX]; /* the arguments that are keys of other slots, or have to be copied all the same */
    char name[COLOCATE_MAX][40]; /* what each is called beside the destination */
    unsigned slot;
    size_t dest;
};

/* Run twice these would count their own result, if the destination is also one of their sources. */
static bool adds_up(const struct spreading *s)
{
    const char *name = s->m->c->name;
    return strcmp(name, "ZUNIONSTORE") == 0 || strcmp(name, "ZINTERSTORE") == 0 || strcmp(name, "BITOP") == 0;
}

static bool is_dest_too(const struct spreading *s, const struct colocation *g, size_t i)
{
    const struct slice *a = &s->m->argv[i], *d = &s->m->argv[g->dest];
    return i != g->dest && a->n == d->n && memcmp(a->p, d->p, a->n) == 0;
}

static bool collect(struct spreading *s, struct colocation *g)
{
    char tag[SLOT_TAG_MAX];
    const struct keys *k = &s->keys;
    g->n = 0;
    g->dest = k->dest != 0 ? k->dest : k->first;
    g->slot = slot_of(s, g->dest);
    slot_tag(g->slot, tag);
    for (size_t i = keys_next(k, 0); i != 0; i = keys_next(k, i)) {
        if (slot_of(s, i) == g->slot && !(adds_up(s) && is_dest_too(s, g, i)))
            continue;
        if (g->n == COLOCATE_MAX)
            return false;
        snprintf(g->name[g->n], sizeof g->name[0], OUR_KEYS "%s}:%u.%zu", tag, s->m->send.o->flow, g->n);
        g->at[g->n++] = i;
    }
    return true;
}

static void clear(struct spreading *s, const struct colocation *g, unsigned flags)
{
    program_step(&s->p, g->slot, 0, 0, flags);
    program_str(&s->p, "DEL");
    for (size_t i = 0; i < g->n; i++)
        program_str(&s->p, g->name[i]);
}

/* What a key lacks that is not there its temporary name lacks, too: what an ended writer left is cleared
 * first. */
static void fetch(struct spreading *s, const struct colocation *g, size_t i)
{
    step(s, g->at[i], "DUMP", 0, R_VALUE, 0);
    program_step(&s->p, g->slot, R_VALUE, 0, 0);
    program_str(&s->p, "RESTORE");
    program_str(&s->p, g->name[i]);
    program_str(&s->p, "0");
    program_reg(&s->p, R_VALUE);
    program_str(&s->p, "REPLACE");
}

void spread_colocate(struct spreading *s)
{
    static const char many[] = "more than 30 of its keys lie in other slots of the cluster";
    struct colocation g;
    const struct cmd *m = s->m;
    if (!collect(s, &g)) {
        m->to->program.len = 0;
        cmd_written_or_lost(m, "slots", many);
        return;
    }
    clear(s, &g, 0);
    for (size_t i = 0; i < g.n; i++)
        fetch(s, &g, i);
    /* SORT and GEORADIUS: their only source has been fetched just now, if it was there (LUA_STORE_IF,
     * LUA_STORE_OR_DELETE). */
    bool looked = m->c->action == ACT_TRUNCATED;
    program_step(&s->p, g.slot, looked ? R_VALUE : 0, 0, 0);
    for (size_t i = 0, next = 0; i < m->argc; i++) {
        if (next < g.n && g.at[next] == i)
            program_str(&s->p, g.name[next++]);
        else
            arg(s, i);
    }
    if (looked && !m->to->dialect.keeps_store) {
        program_step(&s->p, g.slot, UNLESS(R_VALUE), 0, 0);
        program_str(&s->p, "DEL");
        arg(s, g.dest);
    }
    clear(s, &g, STEP_ALWAYS);
}
