#include "walk.h"

#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "ours.h"

/* Keys that a page is to have; half of them where it comes within FAR. A page is a round trip and keeps a
 * Redis busy for one or two milliseconds; all pages together have to fit into memory. */
#define PAGE       8192u
#define FAR        20000u /* us */
#define PAGE_LEAST 64u
#define ALL_PAGES  32768u

#define FIRST      3u /* element of SCAN's reply: behind the array, the cursor, the array of keys */

static void ask(struct cursor *c);

static void got_page(void *ctx, struct reply *r, uint32_t tag)
{
    struct cursor *c = ctx;
    (void)tag;
    if (r->e[0].type == REPLY_ERROR)
        link_refused(c->link, "SCAN", r, &r->e[0]);
    if (r->n < FIRST || r->e[0].n != 2 || !elem_whole(&r->e[1]) || r->e[1].n >= sizeof c->cursor ||
        r->e[2].type != REPLY_ARRAY || r->e[2].n != r->n - FIRST)
        fatal(EXIT_CANNOT, "%s: SCAN: not understood", c->link->name);
    memcpy(c->cursor, elem_text(r, &r->e[1]), r->e[1].n);
    c->cursor[r->e[1].n] = '\0';
    c->ended = strcmp(c->cursor, "0") == 0;
    c->count = mono_us() - c->asked_at > FAR ? c->most : c->most / 2;
    c->asked = false;
    reply_swap(&c->page[(c->first + c->full) % WALK_PAGES], r);
    c->full++;
    ask(c);
}

/* For another page, if there is room for it. */
static void ask(struct cursor *c)
{
    if (c->asked || c->ended || c->full == WALK_PAGES)
        return;
    link_begin(c->link, 4);
    link_str(c->link, "SCAN");
    link_str(c->link, c->cursor);
    link_str(c->link, "COUNT");
    link_num(c->link, c->count);
    link_ask(c->link, KEEP_ALL, got_page, c, 0);
    side_count(c->side, mono_us(), 1);
    c->asked = true;
    c->asked_at = mono_us();
}

void walk_begin(struct walk *w, struct side *s, uint32_t db)
{
    *w = (struct walk){.n = s->nodes, .cursor = xcalloc(s->nodes, sizeof(struct cursor))};
    unsigned count = ALL_PAGES / s->nodes < PAGE_LEAST ? PAGE_LEAST : ALL_PAGES / s->nodes;
    for (unsigned i = 0; i < w->n; i++) {
        struct cursor *c = &w->cursor[i];
        *c = (struct cursor){.link = side_lister(s, i),
                             .side = s,
                             .cursor = "0",
                             .at = FIRST,
                             .most = count < PAGE ? count : PAGE};
        c->count = c->most / 2;
        for (unsigned k = 0; k < WALK_PAGES; k++)
            reply_init(&c->page[k]);
        link_select(c->link, db);
        ask(c);
    }
}

void walk_end(struct walk *w)
{
    for (unsigned i = 0; i < w->n; i++)
        for (unsigned k = 0; k < WALK_PAGES; k++)
            reply_free(&w->cursor[i].page[k]);
    free(w->cursor);
    w->cursor = NULL;
}

/* Drop pages that were handed out. */
static void turn_page(struct cursor *c)
{
    while (c->full > 0 && c->at >= c->page[c->first].n) {
        c->at = FIRST;
        c->first = (c->first + 1) % WALK_PAGES;
        c->full--;
    }
    ask(c);
}

static bool take(struct cursor *c, struct slice *key)
{
    turn_page(c);
    while (c->full > 0) {
        const struct reply *r = &c->page[c->first];
        const struct elem *e = &r->e[c->at++];
        if (!elem_whole(e))
            fatal(EXIT_CANNOT, "%s: SCAN: not understood", c->link->name);
        if (!key_is_ours(elem_text(r, e), e->kept)) {
            *key = (struct slice){elem_text(r, e), e->kept};
            return true;
        }
        turn_page(c);
    }
    return false;
}

int walk_next(struct walk *w, struct slice *key)
{
    bool more = false;
    for (unsigned i = 0; i < w->n; i++) {
        struct cursor *c = &w->cursor[w->turn];
        if (take(c, key))
            return 1;
        more = more || c->asked || !c->ended;
        w->turn = (w->turn + 1) % w->n;
    }
    return more ? 0 : -1;
}
