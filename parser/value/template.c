#include "template.h"

#include "listpack.h"

static bool find(struct template_read *t, uint64_t id)
{
    t->tmpl = t->known;
    while (t->tmpl != NULL && t->tmpl->id != id)
        t->tmpl = t->tmpl->next;
    return t->tmpl != NULL;
}

static void tell(struct template_read *t, const struct slice *value, const struct template_to *to, void *ctx)
{
    const uint8_t *at = t->tmpl->names.p + t->at;
    struct slice name = {at + 8, le64(at)};
    t->at += 8 + name.n;
    to->field(ctx, &name, value);
}

static enum got take_packed(struct template_read *t, struct cur *c, struct scratch *s,
                            const struct template_to *to, void *ctx)
{
    struct pstr ps;
    struct slice list;
    struct elem el;
    const uint8_t *it = NULL;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &list) || listpack_check(list.p, list.n) < 1 ||
        listpack_next(list.p, list.n, &it, &el) != 1 || !el.is_int)
        return to->damage(ctx, c, s, "a listpack that begins with a template's number");
    if (!find(t, (uint64_t)el.v) || (uint64_t)listpack_check(list.p, list.n) != t->tmpl->fields + 1)
        return to->damage(ctx, c, s, "a template that was told before, with as many fields");
    while (listpack_next(list.p, list.n, &it, &el) == 1)
        tell(t, &(struct slice){el.p, el.n}, to, ctx);
    return GOT;
}

enum got template_take(struct template_read *t, bool packed, struct cur *c, struct scratch *s,
                       const struct template_to *to, void *ctx)
{
    uint64_t id;
    struct pstr ps;
    enum got g = GOT;
    if (packed)
        return take_packed(t, c, s, to, ctx);
    if (t->tmpl == NULL) {
        if ((g = cur_plen(c, &id)) != GOT)
            return g;
        if (!find(t, id))
            return cur_bad(c, "a template that was told before");
        t->left = t->tmpl->fields;
    }
    for (; t->left > 0; t->left--) {
        struct slice value = {NULL, 0};
        g = cur_pstr(c, &ps);
        if (g == GOT && !value_text(s, 0, &ps, &value))
            g = to->damage(ctx, c, s, UNPACKS);
        if (g != GOT)
            return g;
        tell(t, &value, to, ctx);
    }
    return GOT;
}
