#include "positions.h"

#include <stdlib.h>

#include "buf.h"
#include "record.h"

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

static struct upto upto_of(const struct rec *r)
{
    bool acts = r->type != REC_POSITION;
    return (struct upto){
        .seq = r->seq, .pos = r->pos, .quiet = acts ? r->pos : 0, .acted = acts && r->pos == 0};
}

/* What more says comes behind what to says. An effect inside a transaction has no position of its own: the
 * next one stands behind it. */
static void join(struct upto *to, const struct upto *more)
{
    to->seq = more->seq;
    if (more->pos > 0) {
        if (to->acted || more->quiet > 0)
            to->quiet = to->acted ? more->pos : more->quiet;
        to->pos = more->pos;
        to->acted = false;
    }
    to->acted |= more->acted;
}

static void applied(struct flowpos *f, const struct upto *more)
{
    struct upto r = {.seq = f->seq, .pos = f->pos, .quiet = f->quiet, .acted = f->acted};
    join(&r, more);
    f->seq = r.seq;
    f->pos = r.pos;
    f->quiet = r.quiet;
    f->acted = r.acted;
    if (f->synced_seq > 0 && f->seq >= f->synced_seq)
        f->synced = true;
}

/* What is done at the front has been applied. */
static void advance(struct flowpos *f)
{
    while (f->n > 0 && mark_at(f, 0)->done) {
        applied(f, &mark_at(f, 0)->to);
        f->head = (f->head + 1) & (f->cap - 1);
        f->first++;
        f->n--;
    }
}

uint64_t positions_mark(struct positions *p, const struct rec *r, bool done)
{
    struct flowpos *f = &p->flow[r->flow];
    struct upto to = upto_of(r);
    if (done && f->n > 0 && mark_at(f, f->n - 1)->done) { /* however many come while something stands still */
        join(&mark_at(f, f->n - 1)->to, &to);
        return f->first + f->n - 1;
    }
    if (f->n == f->cap)
        grow(f);
    f->n++;
    *mark_at(f, f->n - 1) = (struct mark){.to = to, .done = done};
    return f->first + f->n - 1;
}

void positions_mark_done(struct positions *p, unsigned flow, uint64_t mark)
{
    struct flowpos *f = &p->flow[flow];
    mark_at(f, (uint32_t)(mark - f->first))->done = true;
    advance(f);
}

bool positions_pass(struct positions *p, const struct rec *r)
{
    struct flowpos *f = &p->flow[r->flow];
    struct upto to = upto_of(r);
    if (f->n > 0)
        return false;
    if (r->pos > 0 && f->snapshot > 0)
        return false;
    applied(f, &to);
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
