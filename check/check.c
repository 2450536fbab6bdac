#include "check.h"

#include <string.h>

#include "engine.h"
#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "repair.h"
#include "suspects.h"
#include "walk.h"

struct check {
    const struct options *o;
    struct report *report;
    struct counts *counts;
    struct depth depth; /* of what is under way */
    struct side side[2];
    uint64_t identity[2]; /* of the sides, at the beginning */
    struct loop loop;
    struct engine engine;

    unsigned own;   /* side that is walked */
    uint32_t db[2]; /* that is walked, and the one it becomes */
    bool has_db[2];
    bool only_ttl; /* of what is found only times to live count */
    struct walk walk;
    uint32_t no_extra[SIDE_DBS]; /* databases of the target that need no walk */
    unsigned no_extras;

    struct suspects now, later; /* looked at, and to be looked at next */
    struct suspects broken;     /* to be repaired; print is what to do */
    struct suspect next;
    const uint8_t *next_names;
    bool last;     /* look */
    bool repaired; /* what is looked at now */
};

/* ---- databases ---- */

/* The database of the source that becomes this one of the target. SUSPECT_NO_DB: none does. */
static uint32_t source_db(const struct check *c, uint32_t target)
{
    const struct side *s = &c->side[0];
    uint32_t found = SUSPECT_NO_DB;
    for (unsigned i = 0; i < s->dbs; i++) {
        if (names_db(&c->o->names, s->db[i].db) != target)
            continue;
        if (found != SUSPECT_NO_DB)
            fatal(EXIT_USAGE, "databases %u and %u of the source both become %u: that cannot be checked",
                  found, s->db[i].db, target);
        found = s->db[i].db;
    }
    if (found == SUSPECT_NO_DB && names_db(&c->o->names, target) == target)
        return target;
    return found;
}

static void set_dbs(struct check *c, uint32_t source, uint32_t target)
{
    c->db[0] = source;
    c->db[1] = target;
    c->has_db[0] = source != SUSPECT_NO_DB && side_may_have_db(&c->side[0], source);
    c->has_db[1] = side_may_have_db(&c->side[1], target);
}

static bool sampled(const struct check *c, const void *target_name, size_t n)
{
    return c->o->sample >= 10000 || XXH3_64bits(target_name, n) % 10000 < c->o->sample;
}

static void begin_batch(const struct check *c, struct batch *b)
{
    batch_begin(b, c->db[0], c->db[1]);
    b->has_db[0] = c->has_db[0];
    b->has_db[1] = c->has_db[1];
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
    bool same = c->o->names.rules == 0;
    if ((!same && buf_add(&b->text, key.p, key.n) < 0) || key.n > KEY_MAX)
        too_long();
    size_t target = b->text.len;
    if (names_to_target(&c->o->names, key.p, key.n, &b->text) < 0)
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
    const struct names *names = &c->o->names;
    if (key.n > KEY_MAX)
        too_long();
    if (!sampled(c, key.p, key.n))
        return;
    c->counts->keys[1]++;
    size_t shared = 0;
    for (unsigned i = 0; i <= names->rules && b->n < BATCH_KEYS; i++) {
        size_t begin = b->text.len;
        if (names_to_source(names, i, key.p, key.n, &b->text) <= 0)
            continue;
        size_t n = b->text.len - begin;
        bool same = names->rules == 0;
        if (!same && buf_add(&b->text, key.p, key.n) < 0)
            too_long();
        batch_add(b, 0, n, key.n, same);
        struct item *it = &b->item[b->n - 1];
        if (shared == 0)
            shared = it->at[1] + 1;
        it->at[1] = shared - 1;
    }
    if (shared == 0) /* no key of the source can become this one */
        fatal(EXIT_CANNOT,
              "target: key %s: --rename-prefix leaves no key of the source that becomes this one",
              log_quote(key.p, key.n));
}

static int supply_walked(void *ctx, struct batch *b, unsigned limit)
{
    struct check *c = ctx;
    struct slice key;
    int rc = 1;
    begin_batch(c, b);
    if (limit + c->o->names.rules >= BATCH_KEYS && c->own == 1)
        limit = BATCH_KEYS - c->o->names.rules;
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

/* ---- what comes out ---- */

static void keep(struct suspects *s, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct suspect x = {
        .db = {b->db[0], b->db[1]}, .len = {it->len[0], it->len[1]}, .print = finding_print(f)};
    suspects_add(s, &x, item_key(b, it, 0), item_key(b, it, 1));
}

/* What is to be done about a key that differs for certain. */
static enum repair_what remedy(const struct check *c, const struct finding *f)
{
    if (f->kind != FOUND_EXTRA)
        return REPAIR_COPY;
    return c->o->repair == REPAIR_AND_DELETE ? REPAIR_REMOVE : REPAIR_NOT;
}

static void settled(struct check *c, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct suspect x = {.db = {b->db[0], b->db[1]}, .len = {it->len[0], it->len[1]}, .print = remedy(c, f)};
    report_key(c->report, b, it, f, true);
    if (!c->repaired && (c->o->repair != NO_REPAIR || c->o->save != NULL))
        suspects_add(&c->broken, &x, item_key(b, it, 0), item_key(b, it, 1));
}

static void first_result(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct check *c = ctx;
    if (f == NULL || (c->only_ttl && f->kind != FOUND_TTL))
        return;
    c->counts->suspects++;
    if (c->o->rounds == 0)
        settled(c, b, it, f);
    else
        keep(&c->later, b, it, f);
}

/* The same difference twice counts. */
static void later_result(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct check *c = ctx;
    if (f == NULL)
        return;
    if (finding_print(f) == it->print)
        settled(c, b, it, f);
    else if (c->last)
        report_key(c->report, b, it, f, false);
    else
        keep(&c->later, b, it, f);
}

/* ---- further looks ---- */

static int supply_suspects(void *ctx, struct batch *b, unsigned limit)
{
    struct check *c = ctx;
    while (b->n < limit && c->next_names != NULL) {
        const struct suspect *x = &c->next;
        if (b->n == 0) {
            set_dbs(c, x->db[0], x->db[1]);
            begin_batch(c, b);
        } else if (x->db[0] != c->db[0] || x->db[1] != c->db[1] || !batch_has_room(b, limit))
            break;
        if (buf_add(&b->text, c->next_names, (size_t)x->len[0] + x->len[1]) < 0)
            too_long();
        batch_add(b, x->print, x->len[0], x->len[1], false);
        c->next_names = suspects_next(&c->now, &c->next);
    }
    return b->n > 0 ? 1 : -1;
}

static int supply_anew(void *ctx, struct batch *b, unsigned limit)
{
    b->n = 0;
    if (supply_suspects(ctx, b, limit) < 0)
        return -1;
    batch_look(b);
    return 1;
}

static void look_again(struct check *c, unsigned round, bool last)
{
    log_event(LOG_INFO, NO_FLOW, "event=look_again keys=%llu round=%u", (unsigned long long)c->later.n,
              round);
    suspects_free(&c->now);
    c->now = c->later;
    suspects_init(&c->later);
    suspects_rewind(&c->now);
    c->last = last;
    engine_sleep(&c->engine, c->o->delay);
    c->next_names = suspects_next(&c->now, &c->next);
    engine_run(&c->engine, supply_anew, c);
}

/* ---- repair ---- */

/* One batch at a time. What was repaired is looked at again. */
static int supply_broken(void *ctx, struct batch *b, unsigned limit)
{
    struct check *c = ctx;
    b->n = 0;
    if (engine_busy(&c->engine) > 1)
        return 0;
    if (supply_suspects(c, b, limit < REPAIR_KEYS ? limit : REPAIR_KEYS) < 0)
        return -1;
    for (unsigned k = 0; k < b->n; k++) {
        const struct item *it = &b->item[k];
        struct suspect x = {.db = {b->db[0], b->db[1]}, .len = {it->len[0], it->len[1]}};
        suspects_add(&c->later, &x, item_key(b, it, 0), item_key(b, it, 1));
    }
    repair_batch(b, &c->counts->repair);
    return 1;
}

static void go_through_broken(struct check *c)
{
    suspects_free(&c->now);
    suspects_free(&c->later);
    c->now = c->broken;
    suspects_init(&c->broken);
    suspects_rewind(&c->now);
    c->next_names = suspects_next(&c->now, &c->next);
    engine_run(&c->engine, supply_broken, c);
}

static void save_all(struct check *c)
{
    struct snapshot to;
    snapshot_open(&to, c->o->save, c->side[0].kind, c->side[0].version);
    c->counts->repair.to = &to;
    go_through_broken(c);
    c->counts->repair.to = NULL;
    snapshot_close(&to);
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
    uint64_t keys[2], changes[2], walked, suspects;
    bool certain;
};

static struct evidence evidence(const struct check *c)
{
    struct evidence e = {.certain = true, .walked = c->counts->keys[0], .suspects = c->counts->suspects};
    for (unsigned i = 0; i < 2; i++) {
        const struct side *s = &c->side[i];
        const struct side_db *d = side_find_db(s, c->db[i]);
        e.certain = e.certain && s->knows_changes && d != NULL && d->expires == 0;
        e.keys[i] = d != NULL ? d->keys : 0;
        e.changes[i] = s->changes;
    }
    return e;
}

/* Nothing was written meanwhile, all keys of the source are in the target, and it has as many: then it has no
 * others, and need not be walked. */
static void conclude(struct check *c, const struct evidence *before)
{
    struct evidence e = evidence(c);
    uint64_t walked = e.walked - before->walked;
    bool still = memcmp(e.keys, before->keys, sizeof e.keys) == 0 &&
                 memcmp(e.changes, before->changes, sizeof e.changes) == 0;
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
    set_dbs(c, db, names_db(&c->o->names, db));
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
        set_dbs(c, source_db(c, db[i]), db[i]);
        if (needs_walk(c, db[i]))
            walk_side(c, 1);
    }
}

static int status(const struct report *r)
{
    if (r->kinds[FOUND_UNKNOWN] > 0)
        return EXIT_CANNOT;
    return r->differ > 0 ? EXIT_DATA : r->changing > 0 ? EXIT_RETRY : EXIT_DONE;
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
    suspects_init(&c->now);
    suspects_init(&c->later);
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

static void look_until_settled(struct check *c)
{
    unsigned most = c->o->rounds < 2 && c->repaired ? 2 : c->o->rounds;
    for (unsigned round = 1; round <= most && c->later.n > 0; round++)
        look_again(c, round, round == most);
}

int check_run(const struct options *o, struct report *report, struct report *after, struct counts *counts)
{
    static struct check c; /* its batches are too large for a stack */
    c.o = o;
    c.report = report;
    c.counts = counts;
    begin(&c);
    engine_results(&c.engine, first_result, &c);
    walk_all(&c);
    engine_results(&c.engine, later_result, &c);
    c.depth = o->depth;
    c.depth.relative = !c.side[0].has_pexpiretime || !c.side[1].has_pexpiretime;
    look_until_settled(&c);
    still_the_same(&c);
    if (o->save != NULL)
        save_all(&c);
    else if (c.broken.n > 0) {
        repair_may_begin(&c.side[1]);
        go_through_broken(&c);
        c.repaired = true;
        c.report = after;
        look_until_settled(&c);
    }
    int result = status(c.report);
    suspects_free(&c.now);
    suspects_free(&c.later);
    suspects_free(&c.broken);
    engine_free(&c.engine);
    side_close(&c.side[0]);
    side_close(&c.side[1]);
    loop_free(&c.loop);
    return result;
}
