#include "scan_wants.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_KEEP ((size_t)64 << 10)
#define NAMES_MAX  ((size_t)64 << 20)

void wants_free(struct wants *w)
{
    free(w->v);
    buf_free(&w->names);
    *w = (struct wants){.cap = 0};
}

void wants_clear(struct wants *w)
{
    w->head = w->tail = w->type_asked = w->type_known = w->size_asked = w->size_known = w->value_asked = 0;
    w->names.len = 0;
    w->gone = w->next = 0;
}

bool wants_name(struct wants *w, const void *p, size_t n)
{
    w->names.max = NAMES_MAX;
    return buf_add(&w->names, p, n) == 0;
}

static bool grow(struct wants *w)
{
    uint32_t cap = w->cap > 0 ? 2 * w->cap : 1024;
    if (cap > WANTS_MAX)
        return false;
    struct want *v = xcalloc(cap, sizeof *v);
    for (uint64_t i = w->head; i < w->tail; i++)
        v[i & (cap - 1)] = *want_at(w, i);
    free(w->v);
    w->v = v;
    w->cap = cap;
    return true;
}

bool wants_add(struct wants *w, enum want_kind kind, bool live)
{
    if (wants_left(w) == w->cap && !grow(w))
        return false;
    uint64_t end = w->gone + w->names.len;
    *want_at(w, w->tail++) =
        (struct want){.name = w->next, .len = (uint32_t)(end - w->next), .kind = (uint8_t)kind, .live = live};
    w->next = end;
    return true;
}

void wants_pop(struct wants *w)
{
    const struct want *x = want_at(w, w->head);
    uint64_t end = x->name + x->len;
    w->head++;
    uint64_t *steps[] = {&w->type_asked, &w->type_known, &w->size_asked, &w->size_known, &w->value_asked};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (*steps[i] < w->head)
            *steps[i] = w->head;
    size_t gone = (size_t)(end - w->gone);
    if (gone < w->names.len && gone < NAMES_KEEP)
        return;
    buf_shift(&w->names, gone);
    w->gone = end;
}
