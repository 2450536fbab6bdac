#include "pair.h"

#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "log.h"

struct link *pair_link(struct pair *p, unsigned i)
{
    return side_link(p->side[i], p->db[i], p->key[i].p, p->key[i].n, p->turn);
}

void pair_count(struct pair *p, unsigned i, uint64_t ops)
{
    side_count(p->side[i], mono_us(), ops);
}

void pair_came(struct pair *p)
{
    if (--p->due == 0)
        p->next(p->ctx);
}

static void got_page(void *ctx, struct reply *r, uint32_t tag)
{
    struct pair *p = ctx;
    pair_no_error(p, tag, r, "a value cannot be read");
    reply_swap(&p->page[tag], r);
    pair_came(p);
}

void pair_ask(struct pair *p, unsigned i, enum reply_keep keep, size_t n, const struct slice *word)
{
    struct link *l = pair_link(p, i);
    link_begin(l, n);
    for (size_t k = 0; k < n; k++) {
        const struct slice *w = word[k].p == NULL ? &p->key[i] : &word[k];
        link_arg(l, w->p, w->n);
    }
    p->due++;
    link_ask(l, keep, got_page, p, i);
    pair_count(p, i, 1);
}

void pair_both(struct pair *p, enum reply_keep keep, size_t n, const struct slice *word, void (*next)(void *))
{
    p->next = next;
    pair_ask(p, 0, keep, n, word);
    pair_ask(p, 1, keep, n, word);
}

void pair_no_error(const struct pair *p, unsigned i, const struct reply *r, const char *what)
{
    const struct elem *e = &r->e[0];
    if (e->type != REPLY_ERROR)
        return;
    const char *text = (const char *)elem_text(r, e);
    if (e->kept >= 9 && memcmp(text, "WRONGTYPE", 9) == 0)
        return;
    if (memmem(text, e->kept, "no such key", 11) != NULL || memmem(text, e->kept, "No such key", 11) != NULL)
        return;
    fatal(EXIT_CANNOT, "%s: %s: key %s: %.*s", p->side[i]->shown, what, log_quote(p->key[i].p, p->key[i].n),
          (int)e->kept, text);
}

void pair_free(struct pair *p)
{
    reply_free(&p->page[0]);
    reply_free(&p->page[1]);
}
