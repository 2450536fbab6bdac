/* Lines of append-only files as redis-server reads them: up to a newline, at most 1023 bytes of it. */
#include "aof.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)1023)

/* The line at c, without its newline, and c behind it. NEED: it has none yet. */
static enum got line(struct cur *c, const char **text, size_t *n)
{
    size_t most = cur_left(c) < LINE_MAX_BYTES ? cur_left(c) : LINE_MAX_BYTES;
    const uint8_t *end = memchr(c->p, '\n', most);
    if (end == NULL && most == LINE_MAX_BYTES)
        return cur_bad(c, "a line of at most 1023 bytes");
    if (end == NULL)
        return cur_need(c, most + 1);
    *text = (const char *)c->p;
    *n = (size_t)(end - c->p);
    c->p = end + 1;
    return GOT;
}

enum got aof_annotation(struct cur *c, uint64_t *time)
{
    const char *text;
    size_t n;
    *time = 0;
    enum got g = line(c, &text, &n);
    if (g != GOT || n < 5 || memcmp(text, "#TS:", 4) != 0)
        return g;
    for (size_t i = 4; i < n && text[i] >= '0' && text[i] <= '9' && i < 4 + 12; i++)
        *time = *time * 10 + (uint64_t)(text[i] - '0');
    return GOT;
}

/* "*n" or "$n", with whatever behind the number; no number is 0. */
static enum got number(struct cur *c, char mark, int64_t *v)
{
    const char *text;
    char digits[24];
    size_t n;
    enum got g = line(c, &text, &n);
    bool counts =
        mark == '*' && cur_left(c) > 1; /* arguments: a part of the number is one, but nothing else */
    if (g == NEED && c->p < c->end &&
        (*c->p != (uint8_t)mark || (counts && (c->p[1] < '0' || c->p[1] > '9'))))
        return cur_bad(c, "");
    if (g != GOT)
        return g;
    if (n == 0 || text[0] != mark)
        return cur_bad(c, "");
    size_t k = n - 1 < sizeof digits - 1 ? n - 1 : sizeof digits - 1;
    memcpy(digits, text + 1, k);
    digits[k] = '\0';
    *v = strtoll(digits, NULL, 10);
    return GOT;
}

enum got aof_looks_cut(const uint8_t *p, const uint8_t *end, uint64_t *want)
{
    struct cur c = {p, end, 0, NULL};
    int64_t args, n;
    enum got g = number(&c, '*', &args);
    if (g == GOT && (args < 1 || args > (int64_t)REQUEST_ARGS))
        return BAD;
    for (int64_t i = 0; g == GOT && i < args; i++) {
        g = number(&c, '$', &n);
        if (g == GOT && (n < 0 || (uint64_t)n > REQUEST_BYTES))
            return BAD;
        if (g == GOT && cur_left(&c) < (uint64_t)n + 2)
            g = cur_need(&c, (uint64_t)n + 2);
        if (g == GOT)
            c.p += n + 2;
    }
    *want = c.want;
    return g == NEED ? NEED : BAD; /* a command that can be made of it is not what was written */
}
