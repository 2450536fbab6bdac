#include "value.h"

#include <string.h>

#define PART_BYTES ((uint64_t)512 << 10)
#define PART_ELEMS 1000u

void value_free(struct value *v)
{
    pair_free(&v->p);
    reply_free(&v->kept[0]);
    reply_free(&v->kept[1]);
}

void value_equal(struct value *v)
{
    v->found = false;
    v->done(v->ctx);
}

struct finding *value_finding(struct value *v, enum finding_kind kind)
{
    finding_begin(&v->finding, kind, value_type_name(v->type));
    return &v->finding;
}

void value_differs(struct value *v)
{
    v->found = true;
    v->done(v->ctx);
}

void value_changed(struct value *v)
{
    struct finding *f = value_finding(v, FOUND_VALUE);
    for (unsigned i = 0; i < 2; i++)
        excerpt_str(&f->side[i], "changed while it was read");
    value_differs(v);
}

uint64_t value_bytes(const struct reply *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->e[i].type == REPLY_TEXT)
            sum += r->e[i].n;
    return sum;
}

void value_widen(struct value *v, uint64_t bytes, uint64_t elements)
{
    uint64_t each = elements == 0 ? 0 : bytes / elements;
    uint64_t fit = each == 0 ? PART_ELEMS : PART_BYTES / each;
    uint64_t most = v->window * 4 < PART_ELEMS ? v->window * 4 : PART_ELEMS;
    v->window = fit < 1 ? 1 : fit > most ? most : fit;
}
