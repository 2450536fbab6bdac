/* New beginnings of key names, and which names they were made from. dfparse(1), SELECTING AND RENAMING. */
#ifndef DF_RENAMES_H
#define DF_RENAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

#define RENAMES_MAX 256u

struct rename_rule {
    char *from, *to;
    size_t nfrom, nto;
};

/* The first rule whose from a name begins with applies to it. */
struct renames {
    struct rename_rule *rule;
    unsigned n;
};

/* Both texts are copied. False: there are too many. */
bool renames_add(struct renames *r, const char *from, const char *to);
void renames_free(struct renames *r);

/* Number of the rule that applies to a name; r->n: none. */
unsigned renames_rule(const struct renames *r, const void *name, size_t n);

/* Which name does rule i make this one of? i = r->n: one that no rule applies to. False: none; else it is in
 * *out, which must have room for it. */
bool renames_back(const struct renames *r, unsigned i, const void *name, size_t n, struct buf *out);

/* Most bytes that going back adds to a name. */
size_t renames_back_growth(const struct renames *r);

#endif
