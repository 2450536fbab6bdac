#include "renames.h"

#include <stdlib.h>
#include <string.h>

bool renames_add(struct renames *r, const char *from, const char *to)
{
    if (r->n == RENAMES_MAX)
        return false;
    r->rule = xrealloc(r->rule, (r->n + 1) * sizeof *r->rule);
    r->rule[r->n++] = (struct rename_rule){xstrdup(from), xstrdup(to), strlen(from), strlen(to)};
    return true;
}

void renames_free(struct renames *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        free(r->rule[i].from);
        free(r->rule[i].to);
    }
    free(r->rule);
    *r = (struct renames){.rule = NULL};
}

unsigned renames_rule(const struct renames *r, const void *name, size_t n)
{
    unsigned i = 0;
    while (i < r->n && (n < r->rule[i].nfrom || memcmp(name, r->rule[i].from, r->rule[i].nfrom) != 0))
        i++;
    return i;
}

bool renames_back(const struct renames *r, unsigned i, const void *name, size_t n, struct buf *out)
{
    static const struct rename_rule same;
    const struct rename_rule *rule = i < r->n ? &r->rule[i] : &same;
    out->len = 0;
    if (n < rule->nto || (rule->nto > 0 && memcmp(name, rule->to, rule->nto) != 0) ||
        buf_add(out, rule->from, rule->nfrom) < 0 ||
        buf_add(out, (const char *)name + rule->nto, n - rule->nto) < 0)
        return false;
    return renames_rule(r, out->p, out->len) == i;
}

size_t renames_back_growth(const struct renames *r)
{
    size_t most = 0;
    for (unsigned i = 0; i < r->n; i++)
        if (r->rule[i].nfrom > most)
            most = r->rule[i].nfrom;
    return most;
}
