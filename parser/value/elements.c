/* Lists, sets, sorted sets and hashes, element by element. */
#include <math.h>
#include <stdio.h>

#include "../snapshot/shape.h"
#include "template.h"

/* Score as text that reads back as the same double. */
static size_t score_text(char *to, size_t cap, double d)
{
    if (isinf(d))
        return (size_t)snprintf(to, cap, "%s", d > 0 ? "inf" : "-inf");
    return (size_t)snprintf(to, cap, "%.17g", d);
}

/* Of elements that are twice in a value the first counts. Apart from the loops, which hardly ever need it. */
static __attribute__((noinline)) bool is_first(struct scratch *s, const uint8_t *p, size_t n)
{
    return distinct_add(&s->seen[0], p, n);
}

/* One element of LAYOUT_ELEMENTS. */
static enum got feed_element(struct value *v, struct cur *c)
{
    struct element x;
    enum got g = element_take(v->shape, c, v->s, v->ttl_base, &x);
    if (g != GOT)
        return g;
    if (x.damage != NULL)
        return value_damaged(v, c, x.damage);
    if (__builtin_expect(v->odd.twice, 0) && x.nstr > 0 && !is_first(v->s, x.str[0].p, x.str[0].n))
        return GOT;
    if (x.ms != 0 && x.ms <= v->e->now_ms)
        return GOT;
    if (v->vclass == CLASS_ZSET) {
        char score[64];
        struct slice swapped[2] = {{(const uint8_t *)score, score_text(score, sizeof score, x.score)},
                                   x.str[0]};
        value_add(v, swapped, 2);
    } else if (!value_add(v, x.str, x.nstr)) {
        return GOT; /* and no expiry, which might come before the key's first request */
    }
    if (x.ms > 0)
        value_add_ttl(v, &x.str[0], x.ms);
    return GOT;
}

/* A group of packed elements: one; field and value; member and score; field, value and expiry. */
static void add_group(struct value *v, const struct elem *el)
{
    struct slice arg[2] = {{el[0].p, el[0].n}, {el[1].p, el[1].n}};
    if (v->vclass == CLASS_ZSET) {
        struct slice swapped[2] = {arg[1], arg[0]};
        value_add(v, swapped, 2);
        return;
    }
    uint64_t ms = v->shape->group == 3 && el[2].is_int && el[2].v > 0 ? (uint64_t)el[2].v : 0;
    if (ms != 0 && ms <= v->e->now_ms)
        return;
    if (value_add(v, arg, v->shape->group == 1 ? 1 : 2) && ms != 0)
        value_add_ttl(v, &arg[0], ms);
}

/* All elements of an intset, listpack, ziplist or zipmap. */
static enum got feed_packed(struct value *v, struct cur *c, enum packing pack, const struct slice *t)
{
    struct elem el[3];
    const uint8_t *it = NULL;
    long n;
    struct odd odd = {.why = NULL};
    const char *why = sound_packed(v->shape, pack, t, &v->s->seen[0], &n, &odd);
    memset(el, 0, sizeof el);
    if (why != NULL)
        return value_damaged(v, c, why);
    if (odd.why != NULL)
        value_odd(v, &odd);
    if (odd.twice)
        distinct_begin(&v->s->seen[0], (uint64_t)n / v->shape->group);
    if (pack == PACK_INTSET) {
        for (size_t i = 0; i < le32(t->p + 4); i++) {
            struct slice arg = {el[0].num, dec_i64(el[0].num, intset_at(t->p, i))};
            value_add(v, &arg, 1);
        }
        return GOT;
    }
    for (;;) {
        for (unsigned i = 0; i < v->shape->group; i++) {
            if (packed_next(pack, t, &it, i, &el[i]) != 1) /* their number was checked */
                return GOT;
        }
        if (__builtin_expect(!odd.twice, 1) || is_first(v->s, el[0].p, el[0].n))
            add_group(v, el);
    }
}

static enum got feed_blob(struct value *v, struct cur *c, enum packing pack)
{
    struct pstr ps;
    struct slice t;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(v->s, 0, &ps, &t))
        return value_damaged(v, c, UNPACKS);
    return feed_packed(v, c, pack, &t);
}

static enum got feed_node(struct value *v, struct cur *c)
{
    if (v->shape->pack != PACK_QUICKLIST2)
        return feed_blob(v, c, v->shape->pack);
    struct cur t = *c;
    uint64_t container;
    struct pstr ps;
    struct slice el;
    enum got g = cur_plen(&t, &container);
    if (g == GOT && container == 2)
        g = feed_blob(v, &t, PACK_LISTPACK);
    else if (g == GOT && container != 1)
        g = cur_bad(&t, "a list node of kind 1 or 2");
    else if (g == GOT && (g = cur_pstr(&t, &ps)) == GOT) {
        if (value_text(v->s, 0, &ps, &el))
            value_add(v, &el, 1);
        else
            g = value_damaged(v, &t, UNPACKS);
    }
    return cur_settle(c, &t, g);
}

/* Eight bytes in front of some hashes. */
static enum got take_base(struct value *v, struct cur *c)
{
    const uint8_t *p;
    if (!v->shape->base || v->based)
        return GOT;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    v->ttl_base = le64(p);
    v->based = true;
    return GOT;
}

enum got blob_feed(struct value *v, struct cur *c)
{
    enum got g = take_base(v, c);
    return g == GOT ? feed_blob(v, c, v->shape->pack) : g;
}

enum got elements_feed(struct value *v, struct cur *c)
{
    enum got g = take_base(v, c);
    if (g == GOT && !v->counted) {
        g = cur_plen(c, &v->left);
        v->counted = g == GOT;
        if (g == GOT && v->odd.why != NULL) {
            value_odd(v, &v->odd);
            distinct_begin(&v->s->seen[0], v->left);
        }
    }
    while (v->counted && v->left > 0 && g == GOT) {
        g = v->shape->layout == LAYOUT_ELEMENTS ? feed_element(v, c) : feed_node(v, c);
        if (g == GOT)
            v->left--;
    }
    return g;
}

/* ---- hashes whose field names were told before ---- */

static void template_field(void *ctx, const struct slice *name, const struct slice *value)
{
    value_add(ctx, (struct slice[]){*name, *value}, 2); /* nothing, once it is dropped */
}

static enum got template_damage(void *ctx, struct cur *c, const struct scratch *s, const char *why)
{
    (void)s;
    return value_damaged(ctx, c, why);
}

enum got template_feed(struct value *v, struct cur *c)
{
    static const struct template_to to = {.field = template_field, .damage = template_damage};
    return template_take(&v->template, v->shape->pack == PACK_LISTPACK, c, v->s, &to, v);
}
