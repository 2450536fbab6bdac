#include "confirm.h"

#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "rounds.h"
#include "side_ask.h"

/* Watching connections to each node. A key that is written spoils what its connection says of all its keys:
 * so they are few, and others in each attempt. */
#define WATCHERS 16u
#define KEYS     64u /* of a connection, about: servers go through all of them for each one that is added */
#define CHUNK    (WATCHERS * KEYS)
#define ATTEMPTS 8u

struct held {
    struct finding finding;
    uint32_t db[2];
    unsigned watcher;
    size_t at; /* of its names */
    uint32_t len[2];
};

struct confirm {
    struct check *check;
    struct link *link; /* WATCHERS of each node, one node behind the other */
    bool *spoiled;     /* what they said: a key was written */
    unsigned links, attempt;
    struct held held[CHUNK]; /* what still differs */
    unsigned n, room;        /* keys that may still be added to the chunk */
    uint32_t db;             /* of the source, of all of the chunk: Dragonfly watches keys of one database */
    struct buf names;
    struct suspect_reader from, chunk;
    struct suspects watched; /* those of the chunk */
};

static void open_links(struct confirm *x)
{
    struct side *s = &x->check->side[0];
    x->links = s->nodes * WATCHERS;
    x->link = xcalloc(x->links, sizeof *x->link);
    x->spoiled = xcalloc(x->links, sizeof *x->spoiled);
    for (unsigned i = 0; i < x->links; i++)
        side_another(s, i / WATCHERS, &x->link[i]);
}

static void close_links(struct confirm *x)
{
    for (unsigned i = 0; i < x->links; i++)
        link_close(&x->link[i]);
    free(x->link);
    free(x->spoiled);
}

/* ---- watching ---- */

static void got_ok(void *ctx, struct reply *r, uint32_t tag)
{
    struct confirm *x = ctx;
    if (r->e[0].type == REPLY_ERROR)
        link_refused(&x->link[tag], "WATCH, MULTI", r, &r->e[0]);
}

static void got_exec(void *ctx, struct reply *r, uint32_t tag)
{
    struct confirm *x = ctx;
    if (r->e[0].type == REPLY_ERROR)
        link_refused(&x->link[tag], "EXEC", r, &r->e[0]);
    x->spoiled[tag] = r->e[0].type != REPLY_ARRAY;
}

static unsigned watcher_of(const struct confirm *x, const struct batch *b, const struct item *it)
{
    const struct side *s = &x->check->side[0];
    const uint8_t *key = item_key(b, it, 0);
    unsigned node = s->cluster ? s->owner[key_slot(key, it->len[0])] : 0;
    return node * WATCHERS + (unsigned)(XXH3_64bits_withSeed(key, it->len[0], x->attempt) % WATCHERS);
}

static void watch(struct confirm *x, const struct batch *b, const struct item *it)
{
    unsigned i = watcher_of(x, b, it);
    struct link *l = &x->link[i];
    link_select(l, b->db[0]);
    link_begin(l, 2);
    link_str(l, "WATCH");
    link_arg(l, item_key(b, it, 0), it->len[0]);
    link_ask(l, KEEP_BEGIN, got_ok, x, i);
    link_flush(l);
}

static bool awaited(const struct confirm *x)
{
    for (unsigned i = 0; i < x->links; i++)
        if (x->link[i].due_n > 0)
            return true;
    return false;
}

static void answers(struct confirm *x)
{
    for (unsigned i = 0; i < x->links; i++)
        link_flush(&x->link[i]);
    while (awaited(x)) {
        engine_sleep(&x->check->engine, 1);
        for (unsigned i = 0; i < x->links; i++)
            link_check(&x->link[i], mono_us(), x->check->engine.silence);
    }
}

/* Was any of their keys written since? */
static void ask_links(struct confirm *x)
{
    for (unsigned i = 0; i < x->links; i++) {
        link_begin(&x->link[i], 1);
        link_str(&x->link[i], "MULTI");
        link_ask(&x->link[i], KEEP_BEGIN, got_ok, x, i);
        link_begin(&x->link[i], 1);
        link_str(&x->link[i], "EXEC");
        link_ask(&x->link[i], KEEP_BEGIN, got_exec, x, i);
    }
    answers(x);
}

/* ---- a chunk of keys: watched, then looked at ---- */

static int supply_watched(void *ctx, struct batch *b, unsigned limit)
{
    struct confirm *x = ctx;
    if (x->room == CHUNK)
        x->db = x->from.next.db[0];
    if (x->from.names != NULL && x->from.next.db[0] != x->db)
        return -1;
    if (x->room == 0 || rounds_suspects(x->check, &x->from, b, limit < x->room ? limit : x->room) < 0)
        return -1;
    x->room -= b->n;
    for (unsigned k = 0; k < b->n; k++) {
        const struct item *it = &b->item[k];
        struct suspect s = {.db = {b->db[0], b->db[1]}, .len = {it->len[0], it->len[1]}, .print = it->print};
        if (b->has_db[0])
            watch(x, b, it);
        suspects_add(&x->watched, &s, item_key(b, it, 0), item_key(b, it, 1));
        batch_same(b, &b->item[k]);
    }
    b->done(b->done_ctx, b);
    return 1;
}

static void ignore(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    (void)ctx, (void)b, (void)it, (void)f;
}

static void hold(void *ctx, const struct batch *b, const struct item *it, const struct finding *f)
{
    struct confirm *x = ctx;
    if (f == NULL || !rounds_wanted(x->check, b, it))
        return;
    struct held *h = &x->held[x->n++];
    *h = (struct held){.finding = *f,
                       .db = {b->db[0], b->db[1]},
                       .watcher = watcher_of(x, b, it),
                       .at = x->names.len,
                       .len = {it->len[0], it->len[1]}};
    if (buf_add(&x->names, item_key(b, it, 0), it->len[0]) < 0 ||
        buf_add(&x->names, item_key(b, it, 1), it->len[1]) < 0)
        fatal(EXIT_CANNOT, "the names of keys that differ take too much memory");
}

static int supply_looks(void *ctx, struct batch *b, unsigned limit)
{
    struct confirm *x = ctx;
    if (rounds_suspects(x->check, &x->chunk, b, limit) < 0)
        return -1;
    batch_look(b);
    return 1;
}

/* What was found of a key, in the form that results have. */
static void judge(struct confirm *x, const struct held *h, struct suspects *later)
{
    static struct batch b;
    const uint8_t *source = x->names.p + h->at, *target = source + h->len[0];
    b.text = (struct buf){.p = x->names.p, .len = x->names.len};
    b.db[0] = h->db[0];
    b.db[1] = h->db[1];
    struct item it = {.at = {h->at, h->at + h->len[0]}, .len = {h->len[0], h->len[1]}};
    struct suspect s = {.db = {h->db[0], h->db[1]}, .len = {h->len[0], h->len[1]}, .print = 1};
    if (!x->spoiled[h->watcher])
        rounds_settled(x->check, &b, &it, &h->finding);
    else if (x->attempt + 1 == ATTEMPTS)
        rounds_changing(x->check, &b, &it, &h->finding);
    else
        suspects_add(later, &s, source, target);
}

/* Everything that the source had when its keys were being watched is applied when they are looked at. */
static void confirm_chunk(struct confirm *x, struct suspects *later)
{
    struct check *c = x->check;
    x->room = CHUNK;
    engine_results(&c->engine, ignore, x);
    engine_run(&c->engine, supply_watched, x);
    answers(x);
    task_wait(&c->task, mono_us(), rounds_pass_time, &c->engine);
    suspects_read(&x->chunk, &x->watched);
    engine_results(&c->engine, hold, x);
    engine_run(&c->engine, supply_looks, x);
    ask_links(x);
    for (unsigned i = 0; i < x->n; i++)
        judge(x, &x->held[i], later);
    x->names.len = x->n = 0;
}

void confirm_all(struct check *c)
{
    static struct confirm x;
    struct suspects later;
    memset(&x, 0, sizeof x);
    x.check = c;
    suspects_init(&later);
    suspects_init(&x.watched);
    suspects_init(&x.from.list);
    suspects_init(&x.chunk.list);
    open_links(&x);
    for (later = c->verge; later.n > 0 && x.attempt < ATTEMPTS; x.attempt++) {
        suspects_read(&x.from, &later);
        while (x.from.names != NULL)
            confirm_chunk(&x, &later);
    }
    suspects_init(&c->verge);
    suspects_free(&x.from.list);
    suspects_free(&x.chunk.list);
    close_links(&x);
    buf_free(&x.names);
}
