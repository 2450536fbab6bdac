/* Finding where a value ends, and checking it on the way. */
#include "shape.h"

/* The content is not what why expects; where the value ends is known all the same. */
static enum got damage(struct cur *c, struct scratch *s, const char *why)
{
    if (scratch_fault(s) != 0)
        return cur_bad(c, why);
    if (s->damage == NULL)
        s->damage = why;
    return GOT;
}

/* A string that is there; *ps keeps the text of integers. */
static enum got scan_text(struct cur *c, struct scratch *s, struct pstr *ps, struct slice *t)
{
    enum got g = cur_pstr(c, ps);
    if (g != GOT || value_text(s, 0, ps, t))
        return g;
    *t = (struct slice){NULL, 0};
    return damage(c, s, UNPACKS);
}

static enum got scan_packed(struct cur *c, struct scratch *s, const struct shape *sh, enum packing pack)
{
    struct pstr ps;
    struct slice t;
    long n = 0;
    enum got g = scan_text(c, s, &ps, &t);
    if (g != GOT || t.p == NULL)
        return g;
    const char *why = sound_packed(sh, pack, &t, &s->seen[0], &n, &s->odd);
    if (why != NULL)
        return damage(c, s, why);
    s->elements += (uint64_t)n;
    s->odd.form |= n == 0;
    return GOT;
}

/* A quicklist node: container kind, then an element or a listpack of them. */
static enum got scan_node2(struct cur *c, struct scratch *s, const struct shape *sh)
{
    uint64_t container;
    struct pstr ps;
    struct slice t;
    enum got g = cur_plen(c, &container);
    if (g != GOT)
        return g;
    if (container == 2)
        return scan_packed(c, s, sh, PACK_LISTPACK);
    if (container != 1)
        return cur_bad(c, "a list node of kind 1 or 2");
    s->elements++;
    g = scan_text(c, s, &ps, &t);
    s->odd.form |= g == GOT && ps.n == 0;
    return g;
}

/* An element with all its fields; of hashes, sets and sorted sets none may be there twice. */
static enum got scan_element(const struct shape *sh, struct cur *c, struct scratch *s, uint64_t base)
{
    struct element x;
    enum got g = element_take(sh, c, s, base, &x);
    if (g == GOT && x.damage != NULL)
        return damage(c, s, x.damage);
    if (g == GOT && sh->vclass != CLASS_LIST && !distinct_add(&s->seen[0], x.str[0].p, x.str[0].n))
        odd_twice(&s->odd);
    return g;
}

/* Elements or nodes, as many as are counted in front of them. */
static enum got scan_elements(const struct shape *sh, struct cur *c, struct scratch *s, uint64_t base)
{
    uint64_t n;
    enum got g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    if (sh->layout == LAYOUT_ELEMENTS) {
        s->elements = n;
        distinct_begin(&s->seen[0], n <= cur_left(c) ? n : 0); /* else they are not all there */
    }
    const uint8_t *from = c->p;
    for (uint64_t i = 0; g == GOT && i < n; i++) {
        if (c->p - from > (ptrdiff_t)PAGES_STEP && s->pages != NULL) {
            pages_drop(s->pages);
            from = c->p;
        }
        if (sh->layout == LAYOUT_ELEMENTS)
            g = scan_element(sh, c, s, base);
        else
            g = sh->pack == PACK_QUICKLIST2 ? scan_node2(c, s, sh) : scan_packed(c, s, sh, sh->pack);
    }
    return g;
}

enum got value_scan(unsigned type, struct cur *c, struct scratch *s)
{
    const struct shape *sh = shape_of(type);
    struct pstr ps;
    const uint8_t *base = NULL;
    uint64_t id;
    s->elements = 0;
    s->damage = NULL;
    s->odd = (struct odd){.why = NULL};
    enum got g = sh->base ? cur_raw(c, 8, &base) : GOT;
    if (g != GOT)
        return g;
    switch (sh->layout) {
    case LAYOUT_STRING: return cur_pstr(c, &ps);
    case LAYOUT_BLOB: return scan_packed(c, s, sh, sh->pack);
    case LAYOUT_STREAM: return stream_scan(type, c, s);
    case LAYOUT_MODULE: g = cur_plen(c, &id); return g == GOT ? module_values(c, NULL) : g;
    case LAYOUT_SKIP: return skip_scan(type, c);
    case LAYOUT_ELEMENTS:
    case LAYOUT_NODES: return scan_elements(sh, c, s, sh->base ? le64(base) : 0);
    default: return cur_bad(c, "a type that can be restored");
    }
}
