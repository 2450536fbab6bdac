#include "nearest.h"

#include <stddef.h>
#include <string.h>

#define LONGEST 40 /* longer words are near to nothing */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: two neighbours exchanged are one change. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned rows[3][LONGEST + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[nb];
}

void nearest_begin(struct nearest *n, const char *word)
{
    size_t len = strlen(word);
    /* A third of the word, but one change at least: of what is left nobody would recognise it. */
    *n = (struct nearest){.word = word, .changes = len < 3 ? 1 : (unsigned)len / 3 + 1};
}

void nearest_offer(struct nearest *n, const char *name)
{
    size_t len = strlen(n->word), other = strlen(name);
    if (len > LONGEST || other > LONGEST)
        return;
    unsigned d = distance(n->word, len, name, other);
    if (d < n->changes) {
        n->changes = d;
        n->best = name;
    }
}
