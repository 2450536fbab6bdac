/* Looking again at what differs, until it is settled, and repairing it. */
#include "rounds.h"

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"
#include "names.h"
#include "repair.h"

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

static bool tell(struct check *c, const struct batch *b, const struct item *it, const struct finding *f,
                 bool is_settled)
{
    struct subject s = {.db = {b->db[0], b->db[1]},
                        .name = {{item_key(b, it, 0), it->len[0]}, {item_key(b, it, 1), it->len[1]}}};
    return report_key(c->report, &s, f, is_settled);
}

/* Rules for types can only be asked once the type is known: that of the source, else that of the target. */
bool rounds_wanted(const struct check *c, const struct batch *b, const struct item *it)
{
    const struct filter *rules = &c->o->filter;
    enum value_type type = (enum value_type)it->side[it->side[0].type <= VALUE_NONE].type;
    return !rules->types || type <= VALUE_NONE ||
           filter_passes(rules, item_key(b, it, 0), it->len[0], names_class(type), b->db[0]);
}

void rounds_changing(struct check *c, const struct batch *b, const struct item *it, const struct finding *f)
{
    (void)tell(c, b, it, f, false);
}

void rounds_settled(struct check *c, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct suspect x = {.db = {b->db[0], b->db[1]}, .len = {it->len[0], it->len[1]}, .print = remedy(c, f)};
    if (tell(c, b, it, f, true) && !c->repaired && (c->o->repair != NO_REPAIR || c->o->save != NULL))
        suspects_add(&c->broken, &x, item_key(b, it, 0), item_key(b, it, 1));
}

void rounds_first(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct check *c = ctx;
    if (f == NULL || (c->only_ttl && f->kind != FOUND_TTL) || !rounds_wanted(c, b, it))
        return;
    c->counts->suspects++;
    if (c->o->rounds == 0)
        rounds_settled(c, b, it, f);
    else
        keep(&c->later, b, it, f);
}

/* The same difference twice counts; where a task writes, if the key was not written meanwhile. */

/* Its positions count, until what was written by --repair is looked at. */
static bool by_task(const struct check *c)
{
    return c->o->task != NULL && !c->repaired;
}

static void later_result(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct check *c = ctx;
    if (f == NULL || !rounds_wanted(c, b, it))
        return;
    if (finding_print(f) == it->print && by_task(c))
        keep(&c->verge, b, it, f);
    else if (finding_print(f) == it->print)
        rounds_settled(c, b, it, f);
    else if (c->last)
        rounds_changing(c, b, it, f);
    else
        keep(&c->later, b, it, f);
}

/* ---- further looks ---- */

int rounds_suspects(struct check *c, struct suspect_reader *from, struct batch *b, unsigned limit)
{
    b->n = 0;
    while (b->n < limit && from->names != NULL) {
        const struct suspect *x = &from->next;
        if (b->n == 0) {
            run_set_dbs(c, x->db[0], x->db[1]);
            run_begin_batch(c, b);
        } else if (x->db[0] != c->db[0] || x->db[1] != c->db[1] || !batch_has_room(b, limit))
            break;
        if (buf_add(&b->text, from->names, (size_t)x->len[0] + x->len[1]) < 0)
            fatal(EXIT_CANNOT, "a key is too long");
        batch_add(b, x->print, x->len[0], x->len[1], false);
        suspects_pass(from);
    }
    return b->n > 0 ? 1 : -1;
}

static int supply_anew(void *ctx, struct batch *b, unsigned limit)
{
    struct check *c = ctx;
    if (rounds_suspects(c, &c->now, b, limit) < 0)
        return -1;
    batch_look(b);
    return 1;
}

void rounds_pass_time(void *ctx, unsigned ms)
{
    engine_sleep(ctx, ms);
}

/* What the source had written by the last look has to reach the target. */
static void wait_for_target(struct check *c)
{
    uint64_t looked_at = mono_us();
    engine_sleep(&c->engine, c->o->delay);
    if (by_task(c))
        task_wait(&c->task, looked_at, rounds_pass_time, &c->engine);
}

static void look_again(struct check *c, unsigned round, bool last)
{
    log_event(LOG_INFO, NO_FLOW, "event=look_again keys=%llu round=%u", (unsigned long long)c->later.n,
              round);
    suspects_read(&c->now, &c->later);
    c->last = last;
    wait_for_target(c);
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
    if (rounds_suspects(c, &c->now, b, limit < REPAIR_KEYS ? limit : REPAIR_KEYS) < 0)
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
    suspects_free(&c->later);
    suspects_read(&c->now, &c->broken);
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

/* ---- until it is settled ---- */

void rounds_run(struct check *c)
{
    engine_results(&c->engine, later_result, c);
    unsigned most = c->o->rounds < 2 && c->repaired ? 2 : c->o->rounds;
    for (unsigned round = 1; round <= most && c->later.n > 0; round++)
        look_again(c, round, round == most);
}

void rounds_repair(struct check *c, struct report *after)
{
    if (c->o->save != NULL) {
        save_all(c);
        return;
    }
    repair_may_begin(&c->side[1]);
    go_through_broken(c);
    repair_rest(&c->counts->repair, &c->side[0], &c->side[1], &c->o->filter);
    c->repaired = true;
    c->report = after;
    rounds_run(c);
}
