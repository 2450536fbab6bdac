/* Finding where a value ends, and checking it on the way. */
#include "shape.h"

static enum got scan_packed(struct cur *c, struct scratch *s, enum packing pack, unsigned group)
{
    struct pstr ps;
    struct slice t;
    enum got g = value_string(c, s, 0, &ps, &t);
    if (g != GOT)
        return g;
    long n = packed_check(pack, &t);
    if (n < 0 || n % group != 0)
        return cur_bad(c, "a valid listpack, ziplist or intset");
    s->elements += (uint64_t)n;
    return GOT;
}

/* A quicklist node: container kind, then an element or a listpack of them. */
static enum got scan_node2(struct cur *c, struct scratch *s)
{
    uint64_t container;
    struct pstr ps;
    enum got g = cur_plen(c, &container);
    if (g != GOT)
        return g;
    if (container == 2)
        return scan_packed(c, s, PACK_LISTPACK, 1);
    if (container != 1)
        return cur_bad(c, "a list node of kind 1 or 2");
    s->elements++;
    return cur_pstr(c, &ps);
}

enum got scan_field(struct cur *c, enum field f)
{
    struct pstr ps;
    uint64_t n;
    const uint8_t *p;
    if (f == F_F64 || f == F_TTL_I64)
        return cur_raw(c, 8, &p);
    if (f == F_TTL_REL || f == F_TTL_ABS)
        return cur_plen(c, &n);
    if (f != F_DOUBLETEXT)
        return cur_pstr(c, &ps);
    if (c->p >= c->end)
        return cur_need(c, 1);
    return cur_raw(c, *c->p >= 253 ? 1 : (size_t)1 + *c->p, &p);
}

static enum got scan_element(const struct shape *sh, struct cur *c)
{
    for (const enum field *f = sh->fields; f < sh->fields + 4 && *f != F_END; f++) {
        enum got g = scan_field(c, *f);
        if (g != GOT)
            return g;
    }
    return GOT;
}

enum got value_scan(unsigned type, struct cur *c, struct scratch *s)
{
    const struct shape *sh = shape_of(type);
    struct pstr ps;
    const uint8_t *base;
    uint64_t n;
    s->elements = 0;
    enum got g = sh->base ? cur_raw(c, 8, &base) : GOT;
    if (g != GOT)
        return g;
    switch (sh->layout) {
    case LAYOUT_STRING: return cur_pstr(c, &ps);
    case LAYOUT_BLOB: return scan_packed(c, s, sh->pack, sh->group);
    case LAYOUT_STREAM: return stream_scan(type, c, s);
    case LAYOUT_MODULE: return module_scan(c);
    case LAYOUT_SKIP: return skip_scan(type, c);
    case LAYOUT_ELEMENTS:
    case LAYOUT_NODES: break;
    default: return cur_bad(c, "a type that can be restored");
    }
    g = cur_plen(c, &n);
    if (g == GOT && sh->layout == LAYOUT_ELEMENTS)
        s->elements = n;
    const uint8_t *from = c->p;
    for (uint64_t i = 0; g == GOT && i < n; i++) {
        if (c->p - from > (ptrdiff_t)PAGES_STEP && s->pages != NULL) {
            pages_drop(s->pages);
            from = c->p;
        }
        if (sh->layout == LAYOUT_ELEMENTS)
            g = scan_element(sh, c);
        else
            g = sh->pack == PACK_QUICKLIST2 ? scan_node2(c, s) : scan_packed(c, s, sh->pack, 1);
    }
    return g;
}
