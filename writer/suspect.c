#include "suspect.h"

#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "group.h"
#include "log.h"
#include "writer.h"

const char *suspect_text(const char *why)
{
    static char text[240];
    snprintf(text, sizeof text, "%s: %.160s", SUSPECT_TEXT, why);
    return text;
}

bool suspect_is(const char *text, size_t len)
{
    return len >= sizeof SUSPECT_TEXT - 1 && memcmp(text, SUSPECT_TEXT, sizeof SUSPECT_TEXT - 1) == 0;
}

bool suspect_found(struct writer *w, unsigned *row)
{
    if (++*row < SUSPECT_ROW || w->failed)
        return !w->failed;
    writer_fail(w, EXIT_RETRY, "event=target_closes_always target=%s note=%s", w->opt.shown,
                "\"the connection is lost at one request after the other\"");
    return false;
}

/* Is a group in flight, and how many requests of it? */
static unsigned in_group(const struct node *n)
{
    const struct group *g = n->b.flying;
    unsigned k = 0;
    for (unsigned i = 0; g != NULL && i < g->n; i++)
        k += !g->item[i].out;
    return k;
}

bool suspect_in_flight(const struct node *n)
{
    return n->un > 0 && n->ring.sent > n->ring.acked && n->unit[n->uhead].kind != U_SELECT;
}

void suspect_lost(struct node *n)
{
    const struct unit *first = &n->unit[n->uhead];
    if (!suspect_in_flight(n) || n->blameless)
        return;
    bool one = n->ring.sent <= n->ring.acked + first->len;
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

size_t suspect_sendable(const struct node *n)
{
    size_t all = ring_unsent(&n->ring);
    if (n->alone == 0 || n->un == 0)
        return all;
    uint64_t end = n->ring.acked + n->unit[n->uhead].len;
    size_t first = end > n->ring.sent ? (size_t)(end - n->ring.sent) : 0;
    return first < all ? first : all;
}

void suspect_cleared(struct node *n)
{
    n->losses = n->alone_losses = n->given_up = 0;
    if (n->alone > 0)
        n->alone--;
}

void suspect_judge(struct node *n)
{
    const struct unit *first = &n->unit[n->uhead];
    if (n->losses < SUSPECT_LOST || n->alone_losses < SUSPECT_ALONE || n->un == 0 || first->kind == U_SELECT)
        return;
    if (first->kind != U_MSET && !suspect_found(n->w, &n->given_up))
        return;
    const char *text = suspect_text(n->lost_why);
    if (first->kind == U_GROUP)
        group_give_up(n, text, strlen(text));
    else
        n->alone += pipeline_give_up(n, text, strlen(text));
    n->losses = n->alone_losses = 0;
}
