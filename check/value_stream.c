/* Streams: what XINFO says, entries, groups, consumers and what is pending. */
#include <stdlib.h>
#include <string.h>

#include "value.h"

static const struct reply *said(const struct value *v, unsigned i)
{
    return &v->p.page[i];
}

static bool arrays(struct value *v)
{
    if (said(v, 0)->e[0].type == REPLY_ARRAY && said(v, 1)->e[0].type == REPLY_ARRAY)
        return true;
    value_changed(v);
    return false;
}

/* The field of that name of the maps at both indices is the same, or one of them does not know it. */
static bool same_field(struct value *v, const struct reply *const r[2], const size_t at[2], const char *field,
                       enum finding_kind kind)
{
    size_t a = reply_field(r[0], at[0], field), b = reply_field(r[1], at[1], field);
    bool known = a < r[0]->n && b < r[1]->n && r[0]->e[a].type != REPLY_NIL && r[1]->e[b].type != REPLY_NIL;
    if (!known || elem_same(&r[0]->e[a], &r[1]->e[b]))
        return true;
    struct finding *f = value_finding(v, kind);
    excerpt_str(&f->where, field);
    excerpt_elem(&f->side[0], r[0], a);
    excerpt_elem(&f->side[1], r[1], b);
    return false;
}

/* ---- pending entries of a group ---- */

static void next_group(struct value *v);
static void ask_pending(struct value *v);

static const struct elem *group_name(const struct value *v)
{
    const struct reply *r = &v->kept[0];
    size_t g = reply_child(r, 0, v->group), n = reply_field(r, g, "name");
    return &r->e[n];
}

static struct slice group_slice(const struct value *v)
{
    const struct elem *e = group_name(v);
    return (struct slice){elem_text(&v->kept[0], e), e->kept};
}

/* Id, consumer, deliveries; not the idle time, which grows and says nothing. */
static const unsigned pending_part[] = {0, 1, 3};

static bool same_pending(const struct value *v, size_t a, size_t b)
{
    const struct reply *r = said(v, 0), *s = said(v, 1);
    for (unsigned i = 0; i < 3; i++) {
        size_t x = reply_child(r, a, pending_part[i]), y = reply_child(s, b, pending_part[i]);
        if (x >= r->n || y >= s->n || !elem_same(&r->e[x], &s->e[y]))
            return false;
    }
    return true;
}

static void show_pending(struct value *v, size_t a, size_t b)
{
    struct finding *f = value_finding(v, FOUND_PENDING);
    const size_t at[] = {a, b};
    struct slice g = group_slice(v);
    excerpt_text(&f->where, g.p, g.n);
    for (unsigned i = 0; i < 2; i++) {
        const struct reply *r = said(v, i);
        char text[96] = "";
        for (unsigned k = 0; k < 3 && at[i] < r->n; k++) {
            size_t x = reply_child(r, at[i], pending_part[k]), n = strlen(text);
            if (x >= r->n || n + REPLY_PREFIX + 2 > sizeof text)
                break;
            struct excerpt e;
            excerpt_elem(&e, r, x);
            if (n > 0)
                text[n++] = ' ';
            memcpy(text + n, e.text, e.kept);
            text[n + e.kept] = '\0';
        }
        if (text[0] != '\0')
            excerpt_str(&f->side[i], text);
    }
    value_differs(v);
}

/* The id behind the one in text: XRANGE and XPENDING of old servers know no "(id". */
static void id_behind(struct value *v, const struct reply *r, size_t at)
{
    char text[64];
    const struct elem *e = &r->e[at];
    if (at >= r->n || !elem_whole(e) || e->n >= 24 || e->n >= sizeof text)
        return;
    memcpy(text, elem_text(r, e), e->n);
    text[e->n] = '\0';
    char *dash = strchr(text, '-');
    unsigned long long ms = strtoull(text, NULL, 10), seq = dash != NULL ? strtoull(dash + 1, NULL, 10) : 0;
    if (++seq == 0)
        ms++;
    size_t n = dec_u64((uint8_t *)text, ms);
    text[n++] = '-';
    n += dec_u64((uint8_t *)text + n, seq);
    memcpy(v->cursor, text, n < sizeof v->cursor ? n : sizeof v->cursor - 1);
    v->cursor[n < sizeof v->cursor ? n : sizeof v->cursor - 1] = '\0';
}

static void pending_came(void *ctx)
{
    struct value *v = ctx;
    const struct reply *r = said(v, 0), *s = said(v, 1);
    if (!arrays(v))
        return;
    size_t a = 1, b = 1, last = 0;
    while (a < r->n || b < s->n) {
        if (a >= r->n || b >= s->n || !same_pending(v, a, b)) {
            show_pending(v, a, b);
            return;
        }
        last = a;
        a = reply_skip(r, a);
        b = reply_skip(s, b);
    }
    if (r->e[0].n < v->window) {
        v->group++;
        next_group(v);
        return;
    }
    id_behind(v, r, reply_child(r, last, 0));
    ask_pending(v);
}

static void ask_pending(struct value *v)
{
    uint8_t count[21];
    v->window = 1000;
    const struct slice word[] = {PAIR_WORD("XPENDING"), PAIR_KEY,
                                 group_slice(v),        {(const uint8_t *)v->cursor, strlen(v->cursor)},
                                 PAIR_WORD("+"),        {count, dec_u64(count, v->window)}};
    pair_both(&v->p, KEEP_BEGIN, 6, word, pending_came);
}

/* ---- consumers ---- */

static size_t find_named(const struct reply *r, const struct reply *names, const struct elem *name)
{
    size_t at = reply_child(r, 0, 0);
    for (; at < r->n; at = reply_skip(r, at)) {
        size_t n = reply_field(r, at, "name");
        if (n < r->n && r->e[n].n == name->n &&
            memcmp(elem_text(r, &r->e[n]), elem_text(names, name), name->kept) == 0)
            return at;
    }
    return r->n;
}

/* A consumer of side i that the other one has not. */
static bool lone_consumer(struct value *v, unsigned i)
{
    const struct reply *r = said(v, i);
    for (size_t at = reply_child(r, 0, 0); at < r->n; at = reply_skip(r, at)) {
        size_t n = reply_field(r, at, "name");
        if (n >= r->n || find_named(said(v, !i), r, &r->e[n]) < said(v, !i)->n)
            continue;
        struct finding *f = value_finding(v, FOUND_CONSUMER);
        struct slice g = group_slice(v);
        excerpt_text(&f->where, g.p, g.n);
        excerpt_elem(&f->side[i], r, n);
        return true;
    }
    return false;
}

static void consumers_came(void *ctx)
{
    struct value *v = ctx;
    if (!arrays(v))
        return;
    if (lone_consumer(v, 0) || lone_consumer(v, 1)) {
        value_differs(v);
        return;
    }
    strcpy(v->cursor, "-");
    ask_pending(v);
}

/* ---- groups ---- */

/* The group of that number of the source: its position is the same in the target. */
static bool same_group(struct value *v)
{
    const struct reply *const r[2] = {&v->kept[0], &v->kept[1]};
    const struct elem *name = group_name(v);
    const size_t at[2] = {reply_child(r[0], 0, v->group), find_named(r[1], r[0], name)};
    if (at[1] < r[1]->n)
        return same_field(v, r, at, "last-delivered-id", FOUND_GROUP) &&
               same_field(v, r, at, "entries-read", FOUND_COUNTER);
    struct finding *f = value_finding(v, FOUND_GROUP);
    excerpt_text(&f->side[0], elem_text(r[0], name), name->kept);
    return false;
}

static void next_group(struct value *v)
{
    if (v->group >= v->kept[0].e[0].n) {
        value_equal(v);
        return;
    }
    if (!same_group(v)) {
        struct slice g = group_slice(v);
        excerpt_text(&v->finding.where, g.p, g.n);
        value_differs(v);
        return;
    }
    const struct slice word[] = {PAIR_WORD("XINFO"), PAIR_WORD("CONSUMERS"), PAIR_KEY, group_slice(v)};
    pair_both(&v->p, KEEP_ALL, 4, word, consumers_came);
}

static bool lone_group(struct value *v)
{
    const struct reply *r = &v->kept[1];
    for (size_t at = reply_child(r, 0, 0); at < r->n; at = reply_skip(r, at)) {
        size_t n = reply_field(r, at, "name");
        if (n >= r->n || find_named(&v->kept[0], r, &r->e[n]) < v->kept[0].n)
            continue;
        struct finding *f = value_finding(v, FOUND_GROUP);
        excerpt_elem(&f->where, r, n);
        excerpt_elem(&f->side[1], r, n);
        return true;
    }
    return false;
}

static void groups_came(void *ctx)
{
    struct value *v = ctx;
    if (!arrays(v))
        return;
    for (unsigned i = 0; i < 2; i++)
        reply_swap(&v->kept[i], &v->p.page[i]);
    for (uint64_t g = 0; g < v->kept[0].e[0].n; g++)
        if (reply_field(&v->kept[0], reply_child(&v->kept[0], 0, g), "name") >= v->kept[0].n) {
            value_changed(v); /* a reply that names none */
            return;
        }
    v->group = 0;
    if (lone_group(v))
        value_differs(v);
    else
        next_group(v);
}

/* ---- what XINFO says ---- */

static void info_came(void *ctx)
{
    struct value *v = ctx;
    if (!arrays(v))
        return;
    const struct reply *const r[2] = {said(v, 0), said(v, 1)};
    const size_t at[2] = {0, 0};
    if (!same_field(v, r, at, "last-generated-id", FOUND_STREAM_ID) ||
        !same_field(v, r, at, "max-deleted-entry-id", FOUND_STREAM_ID) ||
        !same_field(v, r, at, "entries-added", FOUND_COUNTER)) {
        value_differs(v);
        return;
    }
    const struct slice word[] = {PAIR_WORD("XINFO"), PAIR_WORD("GROUPS"), PAIR_KEY};
    pair_both(&v->p, KEEP_ALL, 3, word, groups_came);
}

/* ---- entries ---- */

static void ask_entries(struct value *v);

/* Index of the entry that holds index i. */
static size_t entry_of(const struct reply *r, size_t i)
{
    size_t at = 1;
    for (size_t next = at; next < r->n && next <= i; next = reply_skip(r, next))
        at = next;
    return at;
}

static void show_entry(struct value *v, size_t i)
{
    struct finding *f = value_finding(v, FOUND_ENTRY);
    const struct reply *r = said(v, 0), *s = said(v, 1);
    size_t a = i < r->n ? entry_of(r, i) : r->n, b = i < s->n ? entry_of(s, i) : s->n;
    excerpt_elem(&f->where, a < r->n ? r : s, a < r->n ? a : b); /* its id */
    bool inside = a < r->n && b < s->n && i > a + 1 && i > b + 1;
    excerpt_elem(&f->side[0], r, inside ? i : a);
    excerpt_elem(&f->side[1], s, inside ? i : b);
    value_differs(v);
}

static void entries_came(void *ctx)
{
    struct value *v = ctx;
    const struct reply *r = said(v, 0), *s = said(v, 1);
    if (!arrays(v))
        return;
    for (size_t i = 1; i < r->n || i < s->n; i++)
        if (i >= r->n || i >= s->n || !elem_same(&r->e[i], &s->e[i])) {
            show_entry(v, i);
            return;
        }
    if (r->e[0].n < v->window) {
        const struct slice word[] = {PAIR_WORD("XINFO"), PAIR_WORD("STREAM"), PAIR_KEY};
        pair_both(&v->p, KEEP_BEGIN, 3, word, info_came);
        return;
    }
    id_behind(v, r, reply_child(r, reply_child(r, 0, r->e[0].n - 1), 0));
    value_widen(v, value_bytes(r), r->e[0].n);
    ask_entries(v);
}

static void ask_entries(struct value *v)
{
    uint8_t count[21];
    const struct slice word[] = {
        PAIR_WORD("XRANGE"), PAIR_KEY,           {(const uint8_t *)v->cursor, strlen(v->cursor)},
        PAIR_WORD("+"),      PAIR_WORD("COUNT"), {count, dec_u64(count, v->window)}};
    pair_both(&v->p, KEEP_BEGIN, 6, word, entries_came);
}

void value_stream(struct value *v)
{
    strcpy(v->cursor, "-");
    ask_entries(v);
}
