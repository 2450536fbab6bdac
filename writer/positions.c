#include "positions.h"

#include <stdlib.h>

#include "buf.h"

void positions_init(struct positions *p, unsigned flows)
{
    p->n = flows;
    p->flow = xcalloc(flows, sizeof *p->flow);
}

void positions_free(struct positions *p)
{
    for (unsigned i = 0; i < p->n; i++)
        free(p->flow[i].mark);
    free(p->flow);
    *p = (struct positions){0};
}

static struct mark *mark_at(const struct flowpos *f, uint32_t i)
{
    return &f->mark[(f->head + i) & (f->cap - 1)];
}

static void grow(struct flowpos *f)
{
    uint32_t cap = f->cap > 0 ? 2 * f->cap : 4;
    struct mark *m = xcalloc(cap, sizeof *m);
    for (uint32_t i = 0; i < f->n; i++)
        m[i] = *mark_at(f, i);
    free(f->mark);
    f->mark = m;
    f->cap = cap;
    f->head = 0;
}

static void applied(struct flowpos *f, uint64_t seq, uint64_t pos)
{
    f->seq = seq;
    if (pos > 0)
        f->pos = pos;
    if (f->synced_seq > 0 && seq >= f->synced_seq)
        f->synced = true;
}

/* What is done at the front has been applied. */
static void advance(struct flowpos *f)
{
    while (f->n > 0 && mark_at(f, 0)->done) {
        applied(f, mark_at(f, 0)->seq, mark_at(f, 0)->pos);
        f->head = (f->head + 1) & (f->cap - 1);
        f->first++;
        f->n--;
    }
}

uint64_t positions_mark(struct positions *p, unsigned flow, uint64_t seq, uint64_t pos, bool done)
{
    struct flowpos *f = &p->flow[flow];
    if (done && f->n > 0 && mark_at(f, f->n - 1)->done) { /* however many come while something stands still */
        struct mark *last = mark_at(f, f->n - 1);
        last->seq = seq;
        if (pos > 0)
            last->pos = pos;
        return f->first + f->n - 1;
    }
    if (f->n == f->cap)
        grow(f);
    f->n++;
    *mark_at(f, f->n - 1) = (struct mark){.seq = seq, .pos = pos, .done = done};
    return f->first + f->n - 1;
}

void positions_mark_done(struct positions *p, unsigned flow, uint64_t mark)
{
    struct flowpos *f = &p->flow[flow];
    mark_at(f, (uint32_t)(mark - f->first))->done = true;
    advance(f);
}

bool positions_pass(struct positions *p, unsigned flow, uint64_t seq, uint64_t pos)
{
    struct flowpos *f = &p->flow[flow];
    if (f->n > 0)
        return false;
    if (pos > 0 && f->snapshot > 0)
        return false;
    applied(f, seq, pos);
    return true;
}

bool positions_all_saved_synced(const struct positions *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (!p->flow[i].synced || p->flow[i].saved_seq < p->flow[i].synced_seq)
            return false;
    return p->n > 0;
}

bool positions_all_synced(const struct positions *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (!p->flow[i].synced)
            return false;
    return p->n > 0;
}
