/* Hashes, sets and sorted sets: the elements of one side are walked and each is looked up on the other. Where
 * the counts leave a doubt, the other side's are walked, too. */
#include <stdlib.h>
#include <string.h>

#include "value.h"

static void walk(struct value *v);

/* The names in the page that came: every element, or every second one. */
static size_t step(const struct value *v)
{
    return v->type == VALUE_SET ? 1 : 2;
}

static const struct reply *page(const struct value *v)
{
    return &v->p.page[v->dir];
}

#define FIRST ((size_t)3) /* in HSCAN's reply: behind the array, the cursor, the array of elements */

static size_t names(const struct value *v)
{
    const struct reply *r = page(v);
    return r->n > FIRST ? (r->n - FIRST) / step(v) : 0;
}

static const struct elem *name(const struct value *v, size_t i)
{
    return &page(v)->e[FIRST + i * step(v)];
}

/* ---- comparing one element with its reply, element at of r ---- */

/* The bits of a number: -0 and 0 differ. False: it is none. */
static bool score_bits(const struct reply *r, const struct elem *e, uint64_t *bits)
{
    char text[REPLY_PREFIX + 1], *end;
    if (!elem_whole(e) || e->n == 0 || e->n > REPLY_PREFIX)
        return false;
    memcpy(text, elem_text(r, e), e->n);
    text[e->n] = '\0';
    double d = strtod(text, &end);
    memcpy(bits, &d, sizeof d);
    return *end == '\0';
}

/* What the page says of element i: its own name where it has no more. */
static size_t said(const struct value *v, size_t i)
{
    return FIRST + i * step(v) + (step(v) - 1);
}

static bool same_element(const struct value *v, size_t i, const struct reply *r, size_t at)
{
    const struct elem *a = &page(v)->e[said(v, i)], *b = &r->e[at];
    uint64_t x, y;
    if (v->type == VALUE_SET)
        return b->type == REPLY_INT && b->n == 1;
    if (b->type != REPLY_TEXT)
        return false;
    if (v->type == VALUE_ZSET)
        return score_bits(page(v), a, &x) && score_bits(r, b, &y) && x == y;
    return elem_same_text(a, b);
}

static void note(struct value *v, size_t i, const struct reply *r, size_t at)
{
    const struct elem *b = &r->e[at];
    bool there = v->type != VALUE_SET && b->type == REPLY_TEXT;
    enum finding_kind kind = v->type == VALUE_HASH ? FOUND_FIELD : there ? FOUND_SCORE : FOUND_MEMBER;
    struct finding *f = value_finding(v, kind);
    excerpt_text(&f->where, elem_text(page(v), name(v, i)), name(v, i)->kept);
    excerpt_elem(&f->side[v->dir], page(v), said(v, i));
    if (there)
        excerpt_elem(&f->side[!v->dir], r, at);
    v->found = true;
}

static void look(struct value *v, size_t i, const struct reply *r, size_t at)
{
    if (!v->found && !same_element(v, i, r, at))
        note(v, i, r, at);
}

/* Replies to HMGET, with an element for each name; a type that changed is a difference, too. */
static void got_fields(void *ctx, struct reply *r, uint32_t tag)
{
    struct value *v = ctx;
    (void)tag;
    pair_no_error(&v->p, !v->dir, r, "HMGET");
    for (size_t i = 0; i < names(v); i++)
        look(v, i, r, r->e[0].type == REPLY_ARRAY && i + 1 < r->n ? i + 1 : 0);
    pair_came(&v->p);
}

/* A reply for each name: SISMEMBER, ZSCORE. */
static void got_one(void *ctx, struct reply *r, uint32_t tag)
{
    struct value *v = ctx;
    pair_no_error(&v->p, !v->dir, r, "SISMEMBER, ZSCORE");
    look(v, tag, r, 0);
    pair_came(&v->p);
}

static void ask_fields(struct value *v, unsigned i, const char *command, link_got *got)
{
    struct link *l = pair_link(&v->p, i);
    size_t n = names(v);
    bool expiry = command[1] == 'P'; /* HPEXPIRETIME key FIELDS n field … */
    link_begin(l, n + (expiry ? 4 : 2));
    link_str(l, command);
    link_arg(l, v->p.key[i].p, v->p.key[i].n);
    if (expiry) {
        link_str(l, "FIELDS");
        link_num(l, (int64_t)n);
    }
    for (size_t k = 0; k < n; k++)
        link_arg(l, elem_text(page(v), name(v, k)), name(v, k)->kept);
    v->p.due++;
    link_ask(l, KEEP_BEGIN, got, v, i);
    pair_count(&v->p, i, 1 + n / 8);
}

static void ask_each(struct value *v, unsigned i, const char *command)
{
    for (size_t k = 0; k < names(v); k++) {
        struct link *l = pair_link(&v->p, i);
        link_begin(l, 3);
        link_str(l, command);
        link_arg(l, v->p.key[i].p, v->p.key[i].n);
        link_arg(l, elem_text(page(v), name(v, k)), name(v, k)->kept);
        v->p.due++;
        link_ask(l, KEEP_BEGIN, got_one, v, (uint32_t)k);
    }
    pair_count(&v->p, i, names(v));
}

/* ---- times to live of fields ---- */

static void got_expiry(void *ctx, struct reply *r, uint32_t tag)
{
    struct value *v = ctx;
    pair_no_error(&v->p, tag, r, "HPEXPIRETIME");
    reply_swap(&v->kept[tag], r);
    pair_came(&v->p);
}

/* -1: the field has none. */
static int64_t expiry_of(const struct value *v, unsigned i, size_t k)
{
    const struct reply *r = &v->kept[i];
    bool there = v->p.side[i]->has_field_ttl && k + 1 < r->n && r->e[k + 1].type == REPLY_INT;
    return there ? (int64_t)r->e[k + 1].n : -1;
}

static bool apart(const struct value *v, int64_t a, int64_t b)
{
    if ((a < 0) != (b < 0))
        return true;
    return a >= 0 && (a > b ? a - b : b - a) > v->tolerance;
}

static void next_page(struct value *v)
{
    if (v->found)
        value_differs(v);
    else
        walk(v);
}

static void expiry_came(void *ctx)
{
    struct value *v = ctx;
    for (size_t k = 0; k < names(v) && !v->found; k++) {
        int64_t a = expiry_of(v, 0, k), b = expiry_of(v, 1, k);
        if (!apart(v, a, b))
            continue;
        struct finding *f = value_finding(v, FOUND_FIELD_TTL);
        excerpt_text(&f->where, elem_text(page(v), name(v, k)), name(v, k)->kept);
        if (a >= 0)
            excerpt_num(&f->side[0], a);
        if (b >= 0)
            excerpt_num(&f->side[1], b);
        v->found = true;
    }
    next_page(v);
}

static void looked_up(void *ctx)
{
    struct value *v = ctx;
    bool expiry = v->type == VALUE_HASH && v->tolerance >= 0 &&
                  (v->p.side[0]->has_field_ttl || v->p.side[1]->has_field_ttl);
    if (v->found || !expiry) {
        next_page(v);
        return;
    }
    v->p.next = expiry_came;
    for (unsigned i = 0; i < 2; i++)
        if (v->p.side[i]->has_field_ttl)
            ask_fields(v, i, "HPEXPIRETIME", got_expiry);
}

/* ---- the walk ---- */

/* HSCAN's reply: a cursor and an array of names that are there as a whole. */
static bool sound_page(const struct value *v)
{
    const struct reply *r = page(v);
    if (r->n < FIRST || r->e[0].type != REPLY_ARRAY || r->e[0].n != 2 || r->e[2].type != REPLY_ARRAY ||
        !elem_whole(&r->e[1]) || r->e[1].n >= sizeof v->cursor || (r->n - FIRST) % step(v) != 0)
        return false;
    for (size_t i = 0; i < names(v); i++)
        if (!elem_whole(name(v, i)))
            return false;
    return true;
}

static void scanned(void *ctx)
{
    struct value *v = ctx;
    if (!sound_page(v)) {
        value_changed(v);
        return;
    }
    const struct reply *r = page(v);
    memcpy(v->cursor, elem_text(r, &r->e[1]), r->e[1].n);
    v->cursor[r->e[1].n] = '\0';
    v->at = strcmp(v->cursor, "0") == 0;
    v->seen += names(v);
    value_widen(v, value_bytes(r), names(v));
    if (names(v) == 0) {
        walk(v);
        return;
    }
    v->p.next = looked_up;
    if (v->type == VALUE_HASH)
        ask_fields(v, !v->dir, "HMGET", got_fields);
    else
        ask_each(v, !v->dir, v->type == VALUE_SET ? "SISMEMBER" : "ZSCORE");
}

static void scan(struct value *v)
{
    static const char *const commands[] = {
        [VALUE_SET] = "SSCAN", [VALUE_ZSET] = "ZSCAN", [VALUE_HASH] = "HSCAN"};
    const char *c = commands[v->type];
    uint8_t count[21];
    const struct slice word[] = {{(const uint8_t *)c, strlen(c)},
                                 PAIR_KEY,
                                 {(const uint8_t *)v->cursor, strlen(v->cursor)},
                                 PAIR_WORD("COUNT"),
                                 {count, dec_u64(count, v->window)}};
    v->at = 0;
    v->p.next = scanned;
    pair_ask(&v->p, v->dir, v->type == VALUE_SET ? KEEP_ALL : KEEP_NAMES, 5, word);
}

/* Go on, with the next part, the other side, or the end. at: the cursor is back at its begin. */
static void walk(struct value *v)
{
    bool sure = v->seen == v->count[0] && v->count[0] == v->count[1];
    if (v->at == 0) {
        scan(v);
    } else if (v->dir == 0 && !sure) {
        v->dir = 1;
        v->seen = 0;
        scan(v);
    } else
        value_equal(v);
}

void value_members(struct value *v)
{
    v->found = false;
    scan(v);
}
