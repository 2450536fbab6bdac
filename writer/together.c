#include "together.h"

#include "io.h"
#include "writer.h"

#define HOLD_MAX ((uint64_t)50000) /* us */

/* Its last record says that the next one belongs to it. */
static bool open_in(const struct groups *b, unsigned flow)
{
    return b->open[flow] == b->building->id;
}

bool together_awaits(const struct writer *w, unsigned flow)
{
    return w->node.b.building->open > 0 && open_in(&w->node.b, flow);
}

/* The group being built waits for a record of this flow, or for one that may stand behind it. */
static bool leads_on(const struct writer *w, unsigned flow)
{
    const struct groups *b = &w->node.b;
    const struct session *s = &w->session;
    if (b->building->open == 0)
        return false;
    if (open_in(b, flow))
        return true;
    for (unsigned i = 0; i < s->flows; i++)
        if (open_in(b, i) && s->flow[i].input == s->flow[flow].input)
            return true;
    return false;
}

bool together_admits(const struct writer *w, unsigned flow)
{
    return __builtin_expect(w->node.b.building->held_since == 0, 1) || leads_on(w, flow);
}

bool together_stretches(const struct writer *w, const struct rec *r)
{
    const struct group *g = w->node.b.building;
    size_t most = w->opt.window < GROUP_BYTES ? w->opt.window : GROUP_BYTES;
    return g->n < GROUP_ITEMS + GROUP_MORE && g->req.len + r->len <= most + most / 4 && leads_on(w, r->flow);
}

void together_note(struct writer *w, const struct rec *r, enum put got)
{
    struct groups *b = &w->node.b;
    struct group *g = b->building;
    if (w->cluster != NULL || w->session.stage != ST_RUN)
        return;
    if (got != PUT_DONE) { /* it may wait for this very group */
        if (leads_on(w, r->flow))
            g->loose = true;
        return;
    }
    bool was = g->open > 0 && open_in(b, r->flow);
    bool is =
        (r->flags & (RF_TOGETHER | RF_LIVE | RF_MORE)) == (RF_TOGETHER | RF_LIVE) && r->type != REC_BARRIER;
    if (was == is)
        return;
    b->open[r->flow] = is ? g->id : 0;
    g->open += is ? 1u : -1u;
}

bool together_holds(struct node *n, uint64_t now)
{
    const struct writer *w = n->w;
    struct group *g = n->b.building;
    if (g->open == 0 || g->loose || w->failed || w->inputs.unfinished == 0 || w->quiet_for >= 0)
        return false;
    if (g->held_since == 0)
        g->held_since = now;
    return us_since(now, g->held_since) < HOLD_MAX;
}

uint64_t together_until(const struct node *n, uint64_t now)
{
    const struct group *g = n->b.building;
    if (g->held_since == 0 || us_since(now, g->held_since) >= HOLD_MAX)
        return 0;
    return g->held_since + HOLD_MAX;
}
