#include "check.h"

#include <string.h>

#include "confirm.h"
#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "names.h"
#include "repair.h"
#include "rounds.h"
#include "run.h"

/* ---- databases ---- */

/* The database of the source that becomes this one of the target. SUSPECT_NO_DB: none does. */
static uint32_t source_db(const struct check *c, uint32_t target)
{
    const struct side *s = &c->side[0];
    uint32_t found = SUSPECT_NO_DB;
    for (unsigned i = 0; i < s->dbs; i++) {
        if (filter_db(&c->o->filter, s->db[i].db) != target)
            continue;
        if (found != SUSPECT_NO_DB)
            fatal(EXIT_USAGE, "databases %u and %u of the source both become %u: that cannot be checked",
                  found, s->db[i].db, target);
        found = s->db[i].db;
    }
    if (found == SUSPECT_NO_DB && filter_db(&c->o->filter, target) == target)
        return target;
    return found;
}

static bool sampled(const struct check *c, const void *target_name, size_t n)
{
    return c->o->sample >= 10000 || XXH3_64bits(target_name, n) % 10000 < c->o->sample;
}

/* ---- the walks ---- */

static void too_long(void)
{
    fatal(EXIT_CANNOT, "a key of more than %zu bytes cannot be checked", KEY_MAX);
}

/* A key of the source and its name in the target. */
static void add_source_key(struct check *c, struct batch *b, struct slice key)
{
    size_t begin = b->text.len;
    const struct filter *f = &c->o->filter;
    bool same = f->renames.n == 0;
    if (f->keys && !filter_passes(f, key.p, key.n, 0, c->db[0]))
        return;
    if ((!same && buf_add(&b->text, key.p, key.n) < 0) || key.n > KEY_MAX)
        too_long();
    size_t target = b->text.len;
    if (names_to_target(f, key.p, key.n, &b->text) < 0)
        too_long();
    size_t n = b->text.len - target;
    if (!sampled(c, b->text.p + target, n)) {
        b->text.len = begin;
        return;
    }
    c->counts->keys[0]++;
    batch_add(b, 0, key.n, n, same);
}

/* A key of the target and the names that it may have in the source; all of them share the one in the target.
 */
static void add_target_key(struct check *c, struct batch *b, struct slice key)
{
    const struct filter *f = &c->o->filter;
    if (key.n > KEY_MAX)
        too_long();
    if (!sampled(c, key.p, key.n))
        return;
    size_t shared = 0;
    bool left_out = false;
    for (unsigned i = 0; i <= f->renames.n && b->n < BATCH_KEYS; i++) {
        size_t begin = b->text.len;
        if (names_to_source(f, i, key.p, key.n, &b->text) <= 0)
            continue;
        size_t n = b->text.len - begin;
        if (f->keys && !filter_passes(f, b->text.p + begin, n, 0, c->db[0])) {
            b->text.len = begin;
            left_out = true;
            continue;
        }
        bool same = f->renames.n == 0;
        if (!same && buf_add(&b->text, key.p, key.n) < 0)
            too_long();
        batch_add(b, 0, n, key.n, same);
        struct item *it = &b->item[b->n - 1];
        if (shared == 0)
            shared = it->at[1] + 1;
        it->at[1] = shared - 1;
    }
    c->counts->keys[1] += shared != 0;
    if (shared == 0 && !left_out) /* no key of the source can become this one */
        fatal(EXIT_CANNOT,
              "target: key %s: --rename-prefix leaves no key of the source that becomes this one",
              log_quote(key.p, key.n));
}

static int supply_walked(void *ctx, struct batch *b, unsigned limit)
{
    struct check *c = ctx;
    struct slice key;
    int rc = 1;
    run_begin_batch(c, b);
    if (limit + c->o->filter.renames.n >= BATCH_KEYS && c->own == 1)
        limit = BATCH_KEYS - c->o->filter.renames.n;
    while (batch_has_room(b, limit) && (rc = walk_next(&c->walk, &key)) > 0) {
        if (c->own == 0)
            add_source_key(c, b, key);
        else
            add_target_key(c, b, key);
    }
    if (b->n == 0)
        return rc > 0 ? 0 : rc;
    if (c->own == 0 && c->depth.mode != MODE_EXISTS)
        batch_look(b);
    else
        batch_exists(b, c->own);
    return 1;
}

static void walk_side(struct check *c, unsigned own)
{
    c->own = own;
    if (!c->has_db[own])
        return;
    walk_begin(&c->walk, &c->side[own], c->db[own]);
    engine_run(&c->engine, supply_walked, c);
    walk_end(&c->walk);
}

/* ---- the whole ---- */

static bool expires(const struct side *s, uint32_t db)
{
    const struct side_db *d = side_find_db(s, db);
    return d != NULL && d->expires > 0;
}

/* Does any key of these databases have a time to live? INFO counts them. */
static bool any_ttl(const struct check *c)
{
    return expires(&c->side[0], c->db[0]) || expires(&c->side[1], c->db[1]);
}

static void list_dbs(struct check *c)
{
    side_list_dbs(&c->side[0]);
    side_list_dbs(&c->side[1]);
}

/* What the servers say about the databases under way. */
struct evidence {
    uint64_t keys[2], changes[2], expired[2], walked, suspects;
    bool certain;
};

static struct evidence evidence(const struct check *c)
{
    struct evidence e = {.certain = true, .walked = c->counts->keys[0], .suspects = c->counts->suspects};
    for (unsigned i = 0; i < 2; i++) {
        const struct side *s = &c->side[i];
        const struct side_db *d = side_find_db(s, c->db[i]);
        e.certain = e.certain && s->knows_changes && d != NULL && (d->expires == 0 || s->knows_expired);
        e.keys[i] = d != NULL ? d->keys : 0;
        e.changes[i] = s->changes;
        e.expired[i] = s->expired;
    }
    return e;
}

/* Nothing was written or expired meanwhile, all keys of the source are in the target, and it has as many:
 * then it has no others, and need not be walked. */
static void conclude(struct check *c, const struct evidence *before)
{
    struct evidence e = evidence(c);
    uint64_t walked = e.walked - before->walked;
    bool still = memcmp(e.keys, before->keys, sizeof e.keys) == 0 &&
                 memcmp(e.changes, before->changes, sizeof e.changes) == 0 &&
                 memcmp(e.expired, before->expired, sizeof e.expired) == 0;
    if (!e.certain || !before->certain || !still || e.suspects != before->suspects || e.keys[0] != walked ||
        e.keys[1] != walked)
        return;
    c->no_extra[c->no_extras++] = c->db[1];
    c->counts->keys[1] += walked;
}

static bool needs_walk(const struct check *c, uint32_t target)
{
    for (unsigned i = 0; i < c->no_extras; i++)
        if (c->no_extra[i] == target)
            return false;
    return true;
}

/* Times to live are asked for only where there are any; where some came meanwhile, once more. */
static void walk_source_db(struct check *c, uint32_t db)
{
    struct counts counts;
    run_set_dbs(c, db, filter_db(&c->o->filter, db));
    c->depth = c->o->depth;
    c->depth.ttl = c->o->depth.ttl && any_ttl(c);
    c->depth.relative = !c->side[0].has_pexpiretime || !c->side[1].has_pexpiretime;
    struct evidence before = evidence(c);
    walk_side(c, 0);
    list_dbs(c);
    conclude(c, &before);
    if (c->depth.ttl || !c->o->depth.ttl || !any_ttl(c))
        return;
    c->depth.ttl = c->only_ttl = true;
    c->depth.mode = MODE_TYPE_TTL;
    counts = *c->counts;
    walk_side(c, 0);
    c->counts->keys[0] = counts.keys[0];
    c->only_ttl = false;
}

static void walk_all(struct check *c)
{
    uint32_t db[SIDE_DBS];
    unsigned n = c->side[0].dbs;
    for (unsigned i = 0; i < n; i++)
        db[i] = c->side[0].db[i].db;
    for (unsigned i = 0; i < n; i++)
        walk_source_db(c, db[i]);
    n = c->side[1].dbs;
    for (unsigned i = 0; i < n; i++)
        db[i] = c->side[1].db[i].db;
    for (unsigned i = 0; i < n; i++) {
        run_set_dbs(c, source_db(c, db[i]), db[i]);
        if (needs_walk(c, db[i]))
            walk_side(c, 1);
    }
}

static void begin(struct check *c)
{
    static const char *const labels[] = {"source", "target"};
    loop_init(&c->loop);
    for (unsigned i = 0; i < 2; i++) {
        side_open(&c->side[i], &c->loop, &c->o->at[i].side, labels[i]);
        c->identity[i] = side_identity(&c->side[i]);
    }
    engine_init(&c->engine, &c->loop, &c->side[0], &c->side[1], &c->depth, c->o->reply_timeout);
    suspects_init(&c->now.list);
    suspects_init(&c->later);
    suspects_init(&c->verge);
    suspects_init(&c->broken);
    list_dbs(c);
    for (unsigned i = 0; i < c->side[1].dbs; i++)
        (void)source_db(c, c->side[1].db[i].db);
}

/* What was read from servers that changed their roles, or slots that moved, may not be all. */
static void still_the_same(struct check *c)
{
    for (unsigned i = 0; i < 2; i++)
        if (side_identity(&c->side[i]) != c->identity[i])
            fatal(EXIT_CANNOT,
                  "%s %s: a server changed its role, or slots moved while it was read: check again",
                  c->side[i].label, c->side[i].shown);
}

int check_run(const struct options *o, struct report *report, struct report *after, struct counts *counts)
{
    static struct check c; /* its batches are too large for a stack */
    c.o = o;
    c.report = report;
    c.counts = counts;
    begin(&c);
    if (o->task != NULL)
        task_open(&c.task, o->task);
    engine_results(&c.engine, rounds_first, &c);
    walk_all(&c);
    c.depth = o->depth;
    c.depth.relative = !c.side[0].has_pexpiretime || !c.side[1].has_pexpiretime;
    rounds_run(&c);
    if (c.verge.n > 0)
        confirm_all(&c);
    still_the_same(&c);
    if (o->save != NULL || c.broken.n > 0)
        rounds_repair(&c, after);
    int result = report_status(c.report);
    if (o->task != NULL)
        task_close(&c.task);
    suspects_free(&c.now.list);
    suspects_free(&c.later);
    suspects_free(&c.verge);
    suspects_free(&c.broken);
    engine_free(&c.engine);
    side_close(&c.side[0]);
    side_close(&c.side[1]);
    loop_free(&c.loop);
    return result;
}
