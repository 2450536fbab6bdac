/* Of a single server: what in flight was its connection lost for? */
#include <string.h>

#include "node.h"
#include "suspect.h"

/* Is a group in flight, and how many requests of it? */
static unsigned in_group(const struct node *n)
{
    const struct group *g = n->b.flying;
    unsigned k = 0;
    for (unsigned i = 0; g != NULL && i < g->n; i++)
        k += !g->item[i].out;
    return k;
}

void suspect_lost(struct node *n)
{
    const struct unit *first = &n->unit[n->uhead];
    if (!suspect_in_flight(n) || n->blameless)
        return;
    bool one = n->wire.ring.sent <= n->wire.ring.acked + first->len;
    if (first->kind == U_GROUP && !n->b.flying->single)
        one &= in_group(n) <= 1;
    n->losses++;
    n->alone_losses += one;
    if (n->losses < SUSPECT_AFTER)
        return;
    if (n->alone < n->un)
        n->alone = n->un;
    if (n->b.flying != NULL)
        n->b.flying->single = true;
}

void suspect_judge(struct node *n)
{
    const struct unit *first = &n->unit[n->uhead];
    if (n->losses < SUSPECT_LOST || n->alone_losses < SUSPECT_ALONE || n->un == 0 ||
        first->kind == U_SELECT || first->kind == U_INFO)
        return;
    if (!pipeline_divides(n, first) && !suspect_found(n->w, &n->given_up))
        return;
    const char *text = suspect_text(n->lost_why);
    if (first->kind == U_GROUP)
        group_give_up(n, text, strlen(text));
    else
        n->alone += pipeline_give_up(n, text, strlen(text));
    n->losses = n->alone_losses = 0;
}
