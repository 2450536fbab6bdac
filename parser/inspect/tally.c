#include "tally_show.h"

#include <stdlib.h>

void tally_init(struct tally *t, enum inspect_form form, unsigned top, FILE *to)
{
    *t = (struct tally){.form = form, .top = top, .to = to};
    t->dbs = xcalloc(TALLY_DBS, sizeof *t->dbs);
    t->largest = xcalloc((size_t)top + 1, sizeof(struct tally_top *));
    if (form == INSPECT_CSV)
        inspect_csv_head(t);
}

void tally_free(struct tally *t)
{
    for (unsigned i = 0; i < t->nlargest; i++)
        free(t->largest[i]);
    free(t->largest);
    free(t->dbs);
    buf_free(&t->line);
}

/* Of very many databases the last place counts the rest. */
static struct tally_db *db_of(struct tally *t, uint32_t db)
{
    if (t->last_db < t->ndbs && t->dbs[t->last_db].db == db)
        return &t->dbs[t->last_db];
    size_t i = 0;
    while (i < t->ndbs && t->dbs[i].db != db && i < TALLY_DBS - 1)
        i++;
    if (i == t->ndbs)
        t->dbs[t->ndbs++].db = db;
    t->last_db = i;
    return &t->dbs[i];
}

/* ---- the largest keys ---- */

static bool smaller(const struct tally_top *a, const struct tally_top *b)
{
    return a->m.size < b->m.size;
}

static void swap(struct tally_top **a, struct tally_top **b)
{
    struct tally_top *c = *a;
    *a = *b;
    *b = c;
}

static void rise(struct tally *t, unsigned i)
{
    for (; i > 0 && smaller(t->largest[i], t->largest[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&t->largest[i], &t->largest[(i - 1) / 2]);
}

static void sink_down(struct tally *t)
{
    for (unsigned i = 0, k; (k = 2 * i + 1) < t->nlargest; i = k) {
        if (k + 1 < t->nlargest && smaller(t->largest[k + 1], t->largest[k]))
            k++;
        if (!smaller(t->largest[k], t->largest[i]))
            return;
        swap(&t->largest[i], &t->largest[k]);
    }
}

static void keep(struct tally_top *top, const struct measured *m)
{
    top->m = *m;
    top->m.key.n = m->key.n < TALLY_KEY ? m->key.n : TALLY_KEY;
    if (top->m.key.n > 0)
        memcpy(top->key, m->key.p, top->m.key.n);
    top->m.key.p = (const uint8_t *)top->key;
}

static void add_top(struct tally *t, const struct measured *m)
{
    if (t->nlargest < t->top) {
        t->largest[t->nlargest] = xmalloc(sizeof **t->largest);
        keep(t->largest[t->nlargest++], m);
        rise(t, t->nlargest - 1);
    } else if (t->top > 0 && m->size > t->largest[0]->m.size) {
        keep(t->largest[0], m);
        sink_down(t);
    }
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void tally_add(struct tally *t, const struct measured *m, uint64_t now_ms)
{
    struct tally_class *k = &t->of[m->vclass];
    struct tally_db *db = db_of(t, m->db);
    k->keys++;
    k->size += m->size;
    k->elements += m->elements;
    k->most_elements = greater(k->most_elements, m->elements);
    k->most_size = greater(k->most_size, m->size);
    k->largest = greater(k->largest, m->largest);
    db->keys++;
    db->size += m->size;
    if (m->expire_ms != 0) {
        k->expires++;
        k->expired += m->expire_ms <= now_ms;
        db->expires++;
    }
    if (t->form == INSPECT_CSV && t->top == 0)
        inspect_csv_line(t, m);
    else
        add_top(t, m);
}

static int by_size(const void *a, const void *b)
{
    const struct tally_top *x = *(struct tally_top *const *)a, *y = *(struct tally_top *const *)b;
    if (x->m.size != y->m.size)
        return x->m.size > y->m.size ? -1 : 1;
    size_t n = x->m.key.n < y->m.key.n ? x->m.key.n : y->m.key.n;
    int cmp = memcmp(x->key, y->key, n);
    return cmp != 0 ? cmp : (x->m.key.n > y->m.key.n) - (x->m.key.n < y->m.key.n);
}

int tally_write(struct tally *t, bool complete)
{
    qsort(t->largest, t->nlargest, sizeof(struct tally_top *), by_size);
    inspect_show(t, complete);
    return fflush(t->to) != 0 || ferror(t->to) ? -1 : 0;
}
