/* The questions of a look, in their order. Each asks about the items that are still in doubt; when all
 * replies have come, the next one follows. */
#include <string.h>

#include "batch.h"
#include "io.h"

#define DUMP_MOST 128u /* elements: what is larger is compared in parts */

/* A tag holds an item and a side. */
static uint32_t tag_of(unsigned k, unsigned i)
{
    return k << 1 | i;
}

static void go(struct batch *b, void (*next)(struct batch *))
{
    b->next = next;
    if (b->due == 0)
        next(b);
}

static const char *type_name(const struct item *it, unsigned i)
{
    return value_type_name((enum value_type)it->side[i].type);
}

/* ---- what was found ---- */

static bool ttl_differs(const struct depth *d, int64_t a, int64_t b)
{
    if ((a < 0) != (b < 0))
        return true;
    return (a > b ? a - b : b - a) > d->tolerance;
}

static void excerpt_ttl(const struct depth *d, struct excerpt *x, int64_t ttl)
{
    excerpt_num(x, ttl);
    x->there = ttl >= 0;
    if (d->relative) /* it runs: two looks do not show the same number */
        x->hash = x->there;
}

/* The value is the same as far as it was to be looked at. */
static void value_is_same(struct batch *b, struct item *it)
{
    struct finding f;
    if (!b->depth->ttl || !ttl_differs(b->depth, it->side[0].ttl, it->side[1].ttl)) {
        batch_same(b, it);
        return;
    }
    finding_begin(&f, FOUND_TTL, type_name(it, 0));
    for (unsigned i = 0; i < 2; i++)
        excerpt_ttl(b->depth, &f.side[i], it->side[i].ttl);
    batch_differs(b, it, &f);
}

static void lone_key(struct batch *b, struct item *it, unsigned there)
{
    struct finding f;
    finding_begin(&f, there == 0 ? FOUND_MISSING : FOUND_EXTRA, type_name(it, there));
    excerpt_str(&f.side[there], type_name(it, there));
    batch_differs(b, it, &f);
}

static void other_type(struct batch *b, struct item *it)
{
    struct finding f;
    finding_begin(&f, FOUND_TYPE, type_name(it, 0));
    for (unsigned i = 0; i < 2; i++)
        excerpt_str(&f.side[i], type_name(it, i));
    batch_differs(b, it, &f);
}

static void other_length(struct batch *b, struct item *it)
{
    struct finding f;
    finding_begin(&f, FOUND_LENGTH, type_name(it, 0));
    for (unsigned i = 0; i < 2; i++)
        excerpt_num(&f.side[i], (int64_t)it->side[i].n);
    batch_differs(b, it, &f);
}

/* ---- times to live ---- */

static void got_ttl(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag >> 1];
    if (r->e[0].type != REPLY_INT)
        batch_refused(b, it, tag & 1, r);
    it->side[tag & 1].ttl = (int64_t)r->e[0].n;
    batch_came(b);
}

static void ask_ttl(struct batch *b, unsigned k, unsigned i)
{
    const char *command = b->depth->relative ? "PTTL" : "PEXPIRETIME";
    if (!b->depth->ttl)
        return;
    struct link *l = batch_request(b, &b->item[k], i, command, 2);
    batch_await(b);
    link_ask(l, KEEP_BEGIN, got_ttl, b, tag_of(k, i));
}

/* ---- last: values in parts, one key after the other ---- */

static void next_value(struct batch *b);

static void value_done(void *ctx)
{
    struct batch *b = ctx;
    struct item *it = &b->item[b->at++];
    if (b->value.found)
        batch_differs(b, it, &b->value.finding);
    else
        value_is_same(b, it);
    next_value(b);
}

static void next_value(struct batch *b)
{
    while (b->at < b->n && b->item[b->at].done)
        b->at++;
    if (b->at == b->n) {
        b->done(b->done_ctx, b);
        return;
    }
    const struct item *it = &b->item[b->at];
    struct value *v = &b->value;
    for (unsigned i = 0; i < 2; i++) {
        v->p.side[i] = b->side[i];
        v->p.db[i] = b->db[i];
        v->p.key[i] = (struct slice){item_key(b, it, i), it->len[i]};
        v->count[i] = it->side[i].n;
    }
    v->p.turn = b->turn;
    v->p.due = 0;
    v->p.ctx = v;
    v->type = (enum value_type)it->side[0].type;
    v->tolerance = b->depth->field_ttl ? b->depth->tolerance : -1;
    v->done = value_done;
    v->ctx = b;
    value_compare(v);
}

/* ---- DUMP: payloads that are the same ---- */

static void judge_dumps(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        const struct said *x = &it->side[0], *y = &it->side[1];
        struct finding f;
        if (it->done)
            continue;
        if (x->has_hash && y->has_hash && x->n == y->n && memcmp(x->hash, y->hash, sizeof x->hash) == 0)
            value_is_same(b, it);
        else if (x->type == VALUE_OTHER) {
            finding_begin(&f, FOUND_UNKNOWN, "other");
            excerpt_num(&f.side[0], (int64_t)x->n);
            excerpt_num(&f.side[1], (int64_t)y->n);
            batch_differs(b, it, &f);
        }
    }
    b->at = 0;
    next_value(b);
}

static void got_dump(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct said *s = &b->item[tag >> 1].side[tag & 1];
    s->has_hash = r->e[0].type == REPLY_TEXT;
    if (s->has_hash && s->type == VALUE_OTHER)
        s->n = r->e[0].n;
    memcpy(s->hash, r->e[0].hash, sizeof s->hash);
    b->bytes += r->e[0].type == REPLY_TEXT ? r->e[0].n : 0;
    batch_came(b);
}

static bool dump_says_it(const struct item *it)
{
    const struct said *x = &it->side[0], *y = &it->side[1];
    if (x->type == VALUE_OTHER)
        return true;
    return x->type != VALUE_STRING && x->type != VALUE_JSON && x->n == y->n && x->n <= DUMP_MOST;
}

static void ask_dumps(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        it->side[0].has_hash = it->side[1].has_hash = false;
        for (unsigned i = 0; i < 2 && !it->done && dump_says_it(it); i++) {
            struct link *l = batch_request(b, it, i, "DUMP", 2);
            batch_await(b);
            link_ask(l, KEEP_DUMP, got_dump, b, tag_of(k, i));
        }
    }
    go(b, judge_dumps);
}

/* ---- lengths ---- */

static void judge_lengths(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        if (it->done || b->depth->mode == MODE_FULL)
            continue;
        if (it->side[0].n != it->side[1].n)
            other_length(b, it);
        else
            value_is_same(b, it);
    }
    ask_dumps(b);
}

static void got_length(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag >> 1];
    const struct elem *e = &r->e[0];
    bool changed = e->type == REPLY_ERROR && e->kept >= 9 && memcmp(elem_text(r, e), "WRONGTYPE", 9) == 0;
    if (e->type != REPLY_INT && !changed)
        batch_refused(b, it, tag & 1, r);
    it->side[tag & 1].n = e->type == REPLY_INT ? e->n : 0;
    batch_came(b);
}

static void ask_lengths(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        const char *command = value_length_command((enum value_type)it->side[0].type);
        for (unsigned i = 0; i < 2 && !it->done && command != NULL; i++) {
            struct link *l = batch_request(b, it, i, command, 2);
            batch_await(b);
            link_ask(l, KEEP_BEGIN, got_length, b, tag_of(k, i));
        }
    }
    go(b, judge_lengths);
}

/* ---- types ---- */

static void judge_type(struct batch *b, struct item *it)
{
    const struct said *x = &it->side[0], *y = &it->side[1];
    if (x->type == VALUE_NONE && y->type == VALUE_NONE)
        batch_same(b, it);
    else if (x->type == VALUE_NONE || y->type == VALUE_NONE)
        lone_key(b, it, x->type == VALUE_NONE);
    else if (b->depth->mode == MODE_EXISTS)
        batch_same(b, it);
    else if (x->type != y->type || (x->type == VALUE_OTHER && x->hash[0] != y->hash[0]))
        other_type(b, it);
    else if (b->depth->mode < MODE_LENGTH)
        value_is_same(b, it);
}

static void judge_types(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++)
        if (!b->item[k].done)
            judge_type(b, &b->item[k]);
    ask_lengths(b);
}

static void got_type(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    struct item *it = &b->item[tag >> 1];
    struct said *s = &it->side[tag & 1];
    if (r->e[0].type != REPLY_TEXT)
        batch_refused(b, it, tag & 1, r);
    s->type = (uint8_t)value_type_of(r, &r->e[0]);
    s->has_hash = false;
    memcpy(s->hash, r->e[0].hash, sizeof s->hash);
    batch_came(b);
}

static void ask_types(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        for (unsigned i = 0; i < 2 && !it->done; i++) {
            if (it->side[i].type != VALUE_UNKNOWN)
                continue;
            struct link *l = batch_request(b, it, i, "TYPE", 2);
            batch_await(b);
            link_ask(l, KEEP_BEGIN, got_type, b, tag_of(k, i));
            if (b->depth->mode != MODE_FULL)
                ask_ttl(b, k, i);
        }
    }
    go(b, judge_types);
}

/* ---- first: strings ---- */

static void judge_strings(struct batch *b)
{
    for (unsigned k = 0; k < b->n; k++) {
        struct item *it = &b->item[k];
        const struct said *x = &it->side[0], *y = &it->side[1];
        if (x->has_hash && y->has_hash && x->n == y->n && memcmp(x->hash, y->hash, sizeof x->hash) == 0)
            value_is_same(b, it);
    }
    ask_types(b);
}

/* Nothing there, or no string: its type will be asked. */
static void take_string(struct batch *b, unsigned k, unsigned i, const struct elem *e)
{
    struct said *s = &b->item[k].side[i];
    if (e->type != REPLY_TEXT)
        return;
    s->type = VALUE_STRING;
    s->has_hash = true;
    s->n = e->n;
    memcpy(s->hash, e->hash, sizeof s->hash);
    b->bytes += e->n;
}

static void got_strings(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    if (r->e[0].type != REPLY_ARRAY || r->e[0].n != b->n || r->n != (size_t)b->n + 1)
        batch_refused(b, &b->item[0], tag, r);
    for (unsigned k = 0; k < b->n; k++)
        take_string(b, k, tag, &r->e[1 + k]);
    batch_came(b);
}

static void got_string(void *ctx, struct reply *r, uint32_t tag)
{
    struct batch *b = ctx;
    const struct elem *e = &r->e[0];
    if (e->type == REPLY_ERROR && (e->kept < 9 || memcmp(elem_text(r, e), "WRONGTYPE", 9) != 0))
        batch_refused(b, &b->item[tag >> 1], tag & 1, r);
    take_string(b, tag >> 1, tag & 1, e);
    batch_came(b);
}

static void ask_strings_of(struct batch *b, unsigned i)
{
    if (b->side[i]->cluster) {
        for (unsigned k = 0; k < b->n; k++) {
            struct link *l = batch_request(b, &b->item[k], i, "GET", 2);
            batch_await(b);
            link_ask(l, KEEP_BEGIN, got_string, b, tag_of(k, i));
        }
        return;
    }
    struct link *l = batch_request(b, &b->item[0], i, "MGET", 1 + b->n);
    for (unsigned k = 1; k < b->n; k++)
        link_arg(l, item_key(b, &b->item[k], i), b->item[k].len[i]);
    side_count(b->side[i], mono_us(), b->n - 1);
    batch_await(b);
    link_ask(l, KEEP_BEGIN, got_strings, b, i);
}

void batch_look(struct batch *b)
{
    b->due = 0;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < b->n && !b->has_db[i]; k++)
            b->item[k].side[i].type = VALUE_NONE;
        if (!b->has_db[i] || b->depth->mode != MODE_FULL)
            continue;
        ask_strings_of(b, i);
        for (unsigned k = 0; k < b->n; k++)
            ask_ttl(b, k, i);
    }
    go(b, b->depth->mode == MODE_FULL ? judge_strings : ask_types);
}
