/* Strings, lists and JSON: what has an order is compared from its beginning on. */
#include <string.h>

#include "value.h"

#define PART ((uint64_t)64 << 10)
#define SHOW 12u /* bytes before the place where two strings part */

static bool is_text(const struct reply *r)
{
    return r->e[0].type == REPLY_TEXT;
}

/* ---- strings ---- */

static void show_string(struct value *v, uint64_t same)
{
    struct finding *f = value_finding(v, FOUND_VALUE);
    uint64_t from = same > SHOW ? same - SHOW : 0;
    excerpt_num(&f->where, (int64_t)(v->at + same));
    for (unsigned i = 0; i < 2; i++) {
        const struct reply *r = &v->p.page[i];
        const struct elem *e = &r->e[0];
        excerpt_text(&f->side[i], elem_text(r, e) + from, (size_t)(e->n - from));
    }
    value_differs(v);
}

static void string_ask(struct value *v);

static void string_came(void *ctx)
{
    struct value *v = ctx;
    const struct reply *a = &v->p.page[0], *b = &v->p.page[1];
    if (!is_text(a) || !is_text(b)) {
        value_changed(v);
        return;
    }
    uint64_t n = a->e[0].n < b->e[0].n ? a->e[0].n : b->e[0].n, same = 0;
    const uint8_t *p = elem_text(a, &a->e[0]), *q = elem_text(b, &b->e[0]);
    while (same < n && p[same] == q[same])
        same++;
    if (same < n || a->e[0].n != b->e[0].n) {
        show_string(v, same);
        return;
    }
    v->at += n;
    if (n < PART)
        value_equal(v);
    else
        string_ask(v);
}

static void string_ask(struct value *v)
{
    uint8_t from[21], to[21];
    const struct slice word[] = {
        PAIR_WORD("GETRANGE"), PAIR_KEY, {from, dec_u64(from, v->at)}, {to, dec_u64(to, v->at + PART - 1)}};
    pair_both(&v->p, KEEP_ALL, 4, word, string_came);
}

void value_string(struct value *v)
{
    string_ask(v);
}

/* ---- JSON: as its server writes it ---- */

static void json_came(void *ctx)
{
    struct value *v = ctx;
    const struct reply *a = &v->p.page[0], *b = &v->p.page[1];
    if (!is_text(a) || !is_text(b)) {
        value_changed(v);
        return;
    }
    if (elem_same_text(&a->e[0], &b->e[0])) {
        value_equal(v);
        return;
    }
    struct finding *f = value_finding(v, FOUND_VALUE);
    excerpt_elem(&f->side[0], a, 0);
    excerpt_elem(&f->side[1], b, 0);
    value_differs(v);
}

void value_json(struct value *v)
{
    const struct slice word[] = {PAIR_WORD("JSON.GET"), PAIR_KEY};
    pair_both(&v->p, KEEP_BEGIN, 2, word, json_came);
}

/* ---- lists ---- */

static void list_ask(struct value *v);

static void list_came(void *ctx)
{
    struct value *v = ctx;
    const struct reply *a = &v->p.page[0], *b = &v->p.page[1];
    if (a->e[0].type != REPLY_ARRAY || b->e[0].type != REPLY_ARRAY) {
        value_changed(v);
        return;
    }
    for (size_t i = 1; i < a->n || i < b->n; i++) {
        if (i < a->n && i < b->n && elem_same(&a->e[i], &b->e[i]))
            continue;
        struct finding *f = value_finding(v, FOUND_ELEMENT);
        excerpt_num(&f->where, (int64_t)(v->at + i - 1));
        excerpt_elem(&f->side[0], a, i);
        excerpt_elem(&f->side[1], b, i);
        value_differs(v);
        return;
    }
    uint64_t got = a->e[0].n;
    if (got < v->window) {
        value_equal(v);
        return;
    }
    v->at += got;
    value_widen(v, value_bytes(a), got);
    list_ask(v);
}

static void list_ask(struct value *v)
{
    uint8_t from[21], to[21];
    const struct slice word[] = {PAIR_WORD("LRANGE"),
                                 PAIR_KEY,
                                 {from, dec_u64(from, v->at)},
                                 {to, dec_u64(to, v->at + v->window - 1)}};
    pair_both(&v->p, KEEP_BEGIN, 4, word, list_came);
}

void value_list(struct value *v)
{
    list_ask(v);
}
