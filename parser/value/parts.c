#include "parts.h"

void parts_begin(struct parts *w, const struct shape *shape, const struct parts_to *to, void *ctx)
{
    *w = (struct parts){.shape = shape, .to = to, .ctx = ctx};
}

/* BAD only where a temporary file was at fault. */
static enum got damaged(void *ctx, struct cur *c, const struct scratch *s, const char *why)
{
    struct parts *w = ctx;
    if (scratch_fault(s) != 0)
        return cur_bad(c, why);
    if (w->damage == NULL)
        w->damage = why;
    return GOT;
}

static void tell(struct parts *w, const struct element *x, const struct slice *raw)
{
    if (w->damage == NULL)
        w->to->element(w->ctx, x, raw);
}

/* ---- packed containers ---- */

static void packed_element(struct parts *w, const struct elem *el)
{
    struct element x = {.str = {{el[0].p, el[0].n}}, .nstr = 1};
    if (w->shape->vclass == CLASS_ZSET) {
        if (el[1].is_int)
            x.score = (double)el[1].v;
        else
            (void)score_number(el[1].p, el[1].n, &x.score); /* it was checked */
    } else if (w->shape->group > 1) {
        x.str[x.nstr++] = (struct slice){el[1].p, el[1].n};
        x.ms = w->shape->group == 3 && el[2].is_int && el[2].v > 0 ? (uint64_t)el[2].v : 0;
    }
    tell(w, &x, NULL);
}

/* One that does not ascend may have an integer twice. */
static void intset_elements(struct parts *w, const struct slice *t, struct scratch *s, const struct odd *odd)
{
    struct elem el[1];
    size_t n = le32(t->p + 4);
    distinct_begin(&s->seen[0], odd->why != NULL ? n : 0);
    for (size_t i = 0; i < n; i++) {
        el[0].p = el[0].num;
        el[0].n = dec_i64(el[0].num, intset_at(t->p, i));
        if (distinct_add(&s->seen[0], el[0].p, el[0].n))
            packed_element(w, el);
        else
            w->twice = true;
    }
}

static void packed_elements(struct parts *w, enum packing pack, const struct slice *t, struct scratch *s,
                            const struct odd *odd, uint64_t n)
{
    struct elem el[3];
    const uint8_t *it = NULL, *from = t->p;
    memset(el, 0, sizeof el);
    if (odd->twice)
        distinct_begin(&s->seen[0], n / w->shape->group);
    for (;;) {
        for (unsigned i = 0; i < w->shape->group; i++)
            if (packed_next(pack, t, &it, i, &el[i]) != 1) /* their number was checked */
                return;
        if (!odd->twice || distinct_add(&s->seen[0], el[0].p, el[0].n))
            packed_element(w, el);
        else
            w->twice = true;
        if (it - from > (ptrdiff_t)PAGES_STEP && s->pages != NULL) {
            pages_drop(s->pages);
            from = it;
        }
    }
}

/* One string with a packed container. raw: where its entry begins. */
static enum got take_packed(struct parts *w, struct cur *c, struct scratch *s, enum packing pack,
                            const uint8_t *raw)
{
    struct pstr ps;
    struct slice t;
    struct odd odd = {.why = NULL};
    long n = 0;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &t))
        return damaged(w, c, s, UNPACKS);
    const char *why = sound_packed(w->shape, pack, &t, &s->seen[0], &n, &odd);
    if (why != NULL)
        return damaged(w, c, s, why);
    struct slice all = {raw, (size_t)(c->p - raw)};
    if (n == 0 || w->damage != NULL || w->to->packed(w->ctx, &all, (uint64_t)n / w->shape->group, &odd))
        return GOT;
    if (pack == PACK_INTSET)
        intset_elements(w, &t, s, &odd);
    else
        packed_elements(w, pack, &t, s, &odd, (uint64_t)n);
    return GOT;
}

/* ---- elements and nodes ---- */

static enum got take_element(struct parts *w, struct cur *c, struct scratch *s)
{
    struct element x;
    const uint8_t *from = c->p;
    enum got g = element_take(w->shape, c, s, w->base, &x);
    if (g != GOT)
        return g;
    if (x.damage != NULL)
        return damaged(w, c, s, x.damage);
    if (w->alone && w->shape->vclass != CLASS_LIST && !distinct_add(&s->seen[1], x.str[0].p, x.str[0].n)) {
        w->twice = true;
        return GOT;
    }
    struct slice raw = {from, (size_t)(c->p - from)};
    tell(w, &x, &raw);
    return GOT;
}

/* A node of a list: of kind 1 one element, of kind 2 a listpack. */
static enum got take_node2(struct parts *w, struct cur *c, struct scratch *s)
{
    struct cur t = *c;
    uint64_t kind;
    struct pstr ps;
    struct element x = {.nstr = 1};
    struct odd odd = {.why = NULL};
    enum got g = cur_plen(&t, &kind);
    if (g == GOT && kind == 2)
        g = take_packed(w, &t, s, PACK_LISTPACK, c->p);
    else if (g == GOT && kind != 1)
        g = cur_bad(&t, "a list node of kind 1 or 2");
    else if (g == GOT && (g = cur_pstr(&t, &ps)) == GOT) {
        struct slice raw = {c->p, (size_t)(t.p - c->p)};
        odd.form = ps.n == 0; /* servers refuse such a node */
        if (!value_text(s, 0, &ps, &x.str[0]))
            g = damaged(w, &t, s, UNPACKS);
        else if (w->damage == NULL && !w->to->packed(w->ctx, &raw, 1, &odd))
            tell(w, &x, NULL);
    }
    return cur_settle(c, &t, g);
}

static enum got take_count(struct parts *w, struct cur *c, struct scratch *s)
{
    enum got g = cur_plen(c, &w->left);
    if (g != GOT)
        return g;
    w->counted = true;
    if (w->alone && w->shape->layout == LAYOUT_ELEMENTS)
        distinct_begin(&s->seen[1], w->left <= DISTINCT_MAX ? w->left : 0);
    return GOT;
}

static enum got take_all(struct parts *w, struct cur *c, struct scratch *s)
{
    enum got g = w->counted ? GOT : take_count(w, c, s);
    const uint8_t *from = c->p;
    while (g == GOT && w->left > 0) {
        if (w->shape->layout == LAYOUT_ELEMENTS)
            g = take_element(w, c, s);
        else if (w->shape->pack == PACK_QUICKLIST2)
            g = take_node2(w, c, s);
        else
            g = take_packed(w, c, s, w->shape->pack, c->p);
        w->left -= g == GOT;
        if (c->p - from > (ptrdiff_t)PAGES_STEP && s->pages != NULL) {
            pages_drop(s->pages);
            from = c->p;
        }
    }
    return g;
}

/* ---- hashes whose field names were told before ---- */

static void template_field(void *ctx, const struct slice *name, const struct slice *value)
{
    tell(ctx, &(struct element){.str = {*name, *value}, .nstr = 2}, NULL);
}

enum got parts_feed(struct parts *w, struct cur *c, struct scratch *s)
{
    static const struct template_to to = {.field = template_field, .damage = damaged};
    const uint8_t *p;
    if (w->shape->base && !w->based) {
        enum got g = cur_raw(c, 8, &p);
        if (g != GOT)
            return g;
        w->base = le64(p);
        w->based = true;
    }
    switch (w->shape->layout) {
    case LAYOUT_BLOB: return take_packed(w, c, s, w->shape->pack, c->p);
    case LAYOUT_TEMPLATE: return template_take(&w->template, w->shape->pack == PACK_LISTPACK, c, s, &to, w);
    default: return take_all(w, c, s);
    }
}
