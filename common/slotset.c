#include "slotset.h"

#include <stdio.h>
#include <stdlib.h>

#define BITS 6u /* of the bitmap in one character */

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.";

void slotset_add_range(struct slotset *s, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last && i < SLOTS; i++)
        slotset_add(s, i);
}

unsigned slotset_count(const struct slotset *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTSET_WORDS; i++)
        n += (unsigned)__builtin_popcountll(s->word[i]);
    return n;
}

bool slotset_same(const struct slotset *a, const struct slotset *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

unsigned slotset_next(const struct slotset *s, unsigned from)
{
    for (unsigned i = from / 64; i < SLOTSET_WORDS; i++) {
        uint64_t w = s->word[i];
        if (i == from / 64)
            w &= ~(uint64_t)0 << from % 64;
        if (w != 0)
            return i * 64 + (unsigned)__builtin_ctzll(w);
    }
    return SLOTS;
}

void slotset_join(struct slotset *a, const struct slotset *b)
{
    for (unsigned i = 0; i < SLOTSET_WORDS; i++)
        a->word[i] |= b->word[i];
}

void slotset_drop(struct slotset *a, const struct slotset *b)
{
    for (unsigned i = 0; i < SLOTSET_WORDS; i++)
        a->word[i] &= ~b->word[i];
}

void slotset_meet(struct slotset *a, const struct slotset *b)
{
    for (unsigned i = 0; i < SLOTSET_WORDS; i++)
        a->word[i] &= b->word[i];
}

/* ---- text ---- */

static void print_bitmap(const struct slotset *s, char out[SLOTSET_TEXT])
{
    char *to = out;
    *to++ = '~';
    for (unsigned i = 0; i < SLOTS; i += BITS) {
        unsigned v = 0;
        for (unsigned k = 0; k < BITS && i + k < SLOTS; k++)
            v |= (unsigned)slotset_has(s, i + k) << k;
        *to++ = letters[v];
    }
    *to = '\0';
}

void slotset_print(const struct slotset *s, char out[SLOTSET_TEXT])
{
    size_t n = 0;
    unsigned last;
    memcpy(out, "-", 2);
    for (unsigned first = slotset_next(s, 0); first < SLOTS; first = slotset_next(s, last + 1)) {
        for (last = first; last + 1 < SLOTS && slotset_has(s, last + 1); last++)
            ;
        if (n + 16 > SLOTSET_TEXT) {
            print_bitmap(s, out);
            return;
        }
        n += (size_t)snprintf(out + n, SLOTSET_TEXT - n, "%s%u", n > 0 ? "," : "", first);
        if (last > first)
            n += (size_t)snprintf(out + n, SLOTSET_TEXT - n, "-%u", last);
        if (last + 1 >= SLOTS)
            return;
    }
}

static bool parse_bitmap(struct slotset *s, const char *text)
{
    unsigned i = 0;
    for (; *text != '\0'; text++, i += BITS) {
        const char *letter = strchr(letters, *text);
        if (letter == NULL || i >= SLOTS)
            return false;
        unsigned v = (unsigned)(letter - letters);
        for (unsigned k = 0; k < BITS; k++, v >>= 1) {
            if ((v & 1) != 0 && i + k >= SLOTS)
                return false;
            if ((v & 1) != 0)
                slotset_add(s, i + k);
        }
    }
    return i >= SLOTS;
}

/* A slot's number; *text moves behind it. */
static bool number(const char **text, unsigned *slot)
{
    char *end;
    if (**text < '0' || **text > '9')
        return false;
    unsigned long v = strtoul(*text, &end, 10);
    *slot = (unsigned)v;
    *text = end;
    return v < SLOTS;
}

bool slotset_parse(struct slotset *s, const char *text)
{
    unsigned first, last;
    memset(s, 0, sizeof *s);
    if (strcmp(text, "-") == 0)
        return true;
    if (*text == '~')
        return parse_bitmap(s, text + 1);
    for (;; text++) {
        if (!number(&text, &first))
            return false;
        last = first;
        if (*text == '-' && (text++, !number(&text, &last) || last < first))
            return false;
        slotset_add_range(s, first, last);
        if (*text != ',')
            return *text == '\0';
    }
}
