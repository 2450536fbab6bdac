#include "distinct.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"

#define KEEP ((size_t)1 << 16) /* slots that are kept from one container to the next */

void distinct_free(struct distinct *d)
{
    free(d->slot);
    *d = (struct distinct){NULL, 0, 0};
}

void distinct_begin(struct distinct *d, uint64_t n)
{
    size_t want = 16;
    d->mask = 0;
    if (n < 2 || n > DISTINCT_MAX)
        return;
    while (want < 4 * n) /* so that most have a place of their own */
        want *= 2;
    if (want > d->cap || (d->cap > KEEP && want <= KEEP)) {
        distinct_free(d);
        d->slot = xcalloc(want, sizeof *d->slot);
        d->cap = want;
    } else {
        memset(d->slot, 0, want * sizeof *d->slot);
    }
    d->mask = want - 1;
}
