/* Did you mean: of a list of names the one that a misspelt word is nearest to. */
#ifndef DF_NEAREST_H
#define DF_NEAREST_H

struct nearest {
    const char *word; /* what was written */
    const char *best; /* NULL: none is near enough */
    unsigned changes; /* letters to insert, remove, replace or exchange until it is best */
};

void nearest_begin(struct nearest *n, const char *word);
/* name has to stay where it is. The first of several that are equally near counts. */
void nearest_offer(struct nearest *n, const char *name);

#endif
