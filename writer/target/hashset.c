#include "hashset.h"

#include <stdlib.h>

#include "buf.h"

void hashset_init(struct hashset *s, uint32_t max)
{
    uint32_t size = 16;
    unsigned bits = 4;
    while (size < 2 * max) {
        size *= 2;
        bits++;
    }
    *s = (struct hashset){.slot = xcalloc(size, sizeof *s->slot), .mask = size - 1, .shift = 32 - bits};
}

void hashset_free(struct hashset *s)
{
    free(s->slot);
    *s = (struct hashset){0};
}

void hashset_remove(struct hashset *s, uint32_t key)
{
    uint32_t i = hashset_home(s, key);
    while (s->slot[i] != key) {
        if (s->slot[i] == 0)
            return;
        i = (i + 1) & s->mask;
    }
    s->count--;
    /* Move back what the gap would hide from its home. */
    for (uint32_t j = (i + 1) & s->mask; s->slot[j] != 0; j = (j + 1) & s->mask) {
        uint32_t home = hashset_home(s, s->slot[j]);
        if (((j - home) & s->mask) >= ((j - i) & s->mask)) {
            s->slot[i] = s->slot[j];
            i = j;
        }
    }
    s->slot[i] = 0;
}
