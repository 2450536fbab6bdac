#include "batch.h"

#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"

void batch_init(struct batch *b, struct side *source, struct side *target, const struct depth *depth)
{
    memset(b, 0, sizeof *b);
    b->side[0] = source;
    b->side[1] = target;
    b->depth = depth;
    b->text.max = BATCH_TEXT + 4 * KEY_MAX;
    for (unsigned i = 0; i < 2; i++) {
        reply_init(&b->value.p.page[i]);
        reply_init(&b->value.kept[i]);
    }
}

void batch_free(struct batch *b)
{
    buf_free(&b->text);
    value_free(&b->value);
}

void batch_begin(struct batch *b, uint32_t source_db, uint32_t target_db)
{
    b->db[0] = source_db;
    b->db[1] = target_db;
    b->has_db[0] = b->has_db[1] = true;
    b->n = 0;
    b->text.len = 0;
    b->bytes = 0;
    buf_trim(&b->text, 2 * BATCH_TEXT);
}

void batch_add(struct batch *b, uint64_t print, size_t source_len, size_t target_len, bool same_name)
{
    size_t target = b->text.len - target_len, source = same_name ? target : target - source_len;
    b->item[b->n++] = (struct item){.at = {source, target},
                                    .len = {(uint32_t)source_len, (uint32_t)target_len},
                                    .print = print,
                                    .side = {{.ttl = -1}, {.ttl = -1}}};
}

void batch_came(struct batch *b)
{
    if (--b->due == 0)
        b->next(b);
}

struct link *batch_request(struct batch *b, const struct item *it, unsigned i, const char *command,
                           size_t argc)
{
    struct link *l = side_link(b->side[i], b->db[i], item_key(b, it, i), it->len[i], b->turn);
    link_begin(l, argc);
    link_str(l, command);
    link_arg(l, item_key(b, it, i), it->len[i]);
    side_count(b->side[i], mono_us(), 1);
    return l;
}

void batch_refused(const struct batch *b, const struct item *it, unsigned i, const struct reply *r)
{
    fatal(EXIT_CANNOT, "%s %s: key %s of database %u cannot be read: %.*s", b->side[i]->label,
          b->side[i]->shown, log_quote(item_key(b, it, i), it->len[i]), b->db[i], (int)r->e[0].kept,
          (const char *)elem_text(r, &r->e[0]));
}

void batch_same(struct batch *b, struct item *it)
{
    it->done = true;
    b->result(b->ctx, b, it, NULL);
}

void batch_differs(struct batch *b, struct item *it, const struct finding *f)
{
    it->done = true;
    b->result(b->ctx, b, it, f);
}

/* ---- keys that only have to be there ---- */

/* Side that is asked, by the tag of the request. */
#define ALL_ITEMS UINT32_MAX

static bool same_name(const struct batch *b, unsigned i, unsigned k, unsigned side)
{
    return b->item[i].at[side] == b->item[k].at[side] && b->item[i].len[side] == b->item[k].len[side];
}

static void existence_known(struct batch *b)
{
    unsigned from = b->at; /* the side whose keys they are */
    for (unsigned k = 0; k < b->n;) {
        bool there = false;
        unsigned first = k;
        for (; k < b->n && same_name(b, first, k, from); k++)
            there = there || b->item[k].side[!from].type != VALUE_NONE;
        struct item *it = &b->item[first];
        struct finding f;
        finding_begin(&f, from == 0 ? FOUND_MISSING : FOUND_EXTRA, NULL);
        excerpt_str(&f.side[from], "there");
        if (there)
            batch_same(b, it);
        else
            batch_differs(b, it, &f);
    }
    b->done(b->done_ctx, b);
}

static void got_exists(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag];
    unsigned asked = !b->at;
    if (r->e[0].type != REPLY_INT)
        batch_refused(b, it, asked, r);
    it->side[asked].type = r->e[0].n > 0 ? VALUE_OTHER : VALUE_NONE;
    batch_came(b);
}

static void ask_each(struct batch *b)
{
    b->next = existence_known;
    for (unsigned k = 0; k < b->n; k++) {
        struct link *l = batch_request(b, &b->item[k], !b->at, "EXISTS", 2);
        batch_await(b);
        link_ask(l, KEEP_BEGIN, got_exists, b, k);
    }
}

static void all_there(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++)
        b->item[k].side[!b->at].type = VALUE_OTHER;
    existence_known(b);
}

static void got_count(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    (void)tag;
    if (r->e[0].type != REPLY_INT)
        batch_refused(b, &b->item[0], !b->at, r);
    b->next = r->e[0].n == b->n ? all_there : ask_each;
    batch_came(b);
}

void batch_exists(struct batch *b, unsigned i)
{
    unsigned asked = !i;
    b->at = i;
    b->due = 0;
    if (!b->has_db[asked]) {
        for (unsigned k = 0; k < b->n; k++)
            b->item[k].side[asked].type = VALUE_NONE;
        existence_known(b);
        return;
    }
    if (b->side[asked]->cluster) {
        ask_each(b);
        return;
    }
    struct link *l = batch_request(b, &b->item[0], asked, "EXISTS", 1 + b->n);
    for (unsigned k = 1; k < b->n; k++)
        link_arg(l, item_key(b, &b->item[k], asked), b->item[k].len[asked]);
    side_count(b->side[asked], mono_us(), b->n - 1);
    batch_await(b);
    link_ask(l, KEEP_BEGIN, got_count, b, 0);
}
