/* The two sides of each key, brought together from the piles of both, whatever their number: piles that do
 * not fit into memory are spread once more. */
#ifndef CHECK_MATCH_H
#define CHECK_MATCH_H

#include "entry.h"
#include "piles.h"

enum match_pile { MATCH_SOURCE, MATCH_TARGET, MATCH_MARKS, MATCH_PILES };

/* What came of a key; e[MATCH_SOURCE] or e[MATCH_TARGET] may be NULL, e[MATCH_MARKS] is where a key was
 * marked before. Valid until the call returns. */
typedef void match_fn(void *ctx, const struct entry *const e[MATCH_PILES]);

/* Of a key that comes twice in one of them the last entry counts; what could not be told of it once stays so.
 */
void match_all(struct piles *const p[MATCH_PILES], match_fn *fn, void *ctx);

#endif
