/* Sets of hash slots, and their text: "0-5460,5462", or, where that would be long, '~' and the bitmap. */
#ifndef DF_SLOTSET_H
#define DF_SLOTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slot.h"

#define SLOTSET_WORDS (SLOTS / 64u)
#define SLOTSET_TEXT  2736u /* bytes of a text at most, with its NUL: it fits in a control message */

struct slotset {
    uint64_t word[SLOTSET_WORDS];
};

static inline bool slotset_has(const struct slotset *s, unsigned slot)
{
    return (s->word[slot / 64] >> slot % 64 & 1) != 0;
}

static inline void slotset_add(struct slotset *s, unsigned slot)
{
    s->word[slot / 64] |= (uint64_t)1 << slot % 64;
}

static inline void slotset_del(struct slotset *s, unsigned slot)
{
    s->word[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

void slotset_add_range(struct slotset *s, unsigned first, unsigned last);
unsigned slotset_count(const struct slotset *s);
bool slotset_same(const struct slotset *a, const struct slotset *b);

/* The first slot of the set that is from or above it; SLOTS: there is none. */
unsigned slotset_next(const struct slotset *s, unsigned from);

/* a = a and those of b; a = a without those of b; a = those in both. */
void slotset_join(struct slotset *a, const struct slotset *b);
void slotset_drop(struct slotset *a, const struct slotset *b);
void slotset_meet(struct slotset *a, const struct slotset *b);

/* The text of a set: a word in the sense of meta_is_word, and "-" for the empty set. */
void slotset_print(const struct slotset *s, char out[SLOTSET_TEXT]);

/* False: it is none, or names a slot that does not exist. */
bool slotset_parse(struct slotset *s, const char *text);

#endif
