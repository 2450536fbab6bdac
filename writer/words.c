#include "words.h"

#include <string.h>

/* Behind a word of n bytes. */
static void pass(const char **p, size_t n)
{
    *p += n;
    if (**p == ' ')
        ++*p;
}

bool words_text(const char **p, char *out, size_t cap)
{
    size_t n = strcspn(*p, " ");
    if (n == 0 || n >= cap)
        return false;
    memcpy(out, *p, n);
    out[n] = '\0';
    pass(p, n);
    return true;
}

bool words_number(const char **p, uint64_t most, uint64_t *out)
{
    size_t n = strcspn(*p, " ");
    uint64_t v = 0;
    if (n == 0 || (n > 1 && **p == '0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)(*p)[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (v > most)
        return false;
    *out = v;
    pass(p, n);
    return true;
}

bool words_index(const char *text, char letter, uint64_t most, uint64_t *out)
{
    const char *p = text + 1;
    return text[0] == letter && words_number(&p, most, out) && *p == '\0' && p[-1] != ' ';
}
