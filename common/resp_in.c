#include "resp_in.h"

#include <string.h>

/* A value is all there: so may be the arrays around it. */
static enum resp_got ends(struct resp_in *in, struct resp_token *t)
{
    while (in->depth > 0 && --in->items[in->depth - 1] == 0)
        in->depth--;
    t->end = in->depth == 0;
    return RESP_GOT;
}

static enum resp_got string_bytes(struct resp_in *in, const uint8_t *p, size_t have, size_t *taken,
                                  struct resp_token *t)
{
    size_t n = have < in->left ? have : (size_t)in->left;
    *t = (struct resp_token){
        .type = 'b', .text = (const char *)p, .len = n, .depth = in->depth, .index = in->string_index};
    in->left -= n;
    *taken = n;
    if (in->left > 0 || have - n < 2)
        return n > 0 ? RESP_GOT : RESP_NONE;
    if (p[n] != '\r' || p[n + 1] != '\n')
        return RESP_BAD;
    *taken += 2;
    in->in_string = false;
    t->whole = true;
    return ends(in, t);
}

/* "[-]digits" */
static bool number(const char *p, size_t n, int64_t *out)
{
    bool minus = n > 0 && p[0] == '-';
    uint64_t v = 0, most = minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    size_t i = minus ? 1 : 0;
    if (n == i || n - i > 19) /* 19 digits are less than 2^64 */
        return false;
    for (; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    *out = (int64_t)(minus ? 0 - v : v);
    return v <= most;
}

static enum resp_got begin_array(struct resp_in *in, struct resp_token *t)
{
    if (t->n <= 0)
        return ends(in, t);
    if (in->depth == RESP_DEPTH)
        return RESP_DEEP;
    in->items[in->depth] = t->n;
    in->index[in->depth++] = 0;
    return RESP_GOT;
}

static enum resp_got line(struct resp_in *in, struct resp_token *t)
{
    if (t->type == '+' || t->type == '-')
        return ends(in, t);
    if ((t->type != ':' && t->type != '*' && t->type != '$') || !number(t->text, t->len, &t->n) ||
        (t->type != ':' && t->n < -1))
        return RESP_BAD;
    if (t->type == '*')
        return begin_array(in, t);
    if (t->type == ':' || t->n < 0)
        return ends(in, t);
    in->in_string = true;
    in->left = (uint64_t)t->n;
    in->string_index = t->index;
    return RESP_GOT;
}

enum resp_got resp_next(struct resp_in *in, const uint8_t *p, size_t n, size_t *taken, struct resp_token *t)
{
    *taken = 0;
    if (in->in_string)
        return string_bytes(in, p, n, taken, t);
    if (n == 0)
        return RESP_NONE;
    const uint8_t *nl = memchr(p, '\n', n < RESP_LINE_MAX ? n : RESP_LINE_MAX);
    if (nl == NULL)
        return n >= RESP_LINE_MAX ? RESP_BAD : RESP_NONE;
    size_t len = (size_t)(nl - p);
    if (len < 2 || p[len - 1] != '\r')
        return RESP_BAD;
    *t = (struct resp_token){
        .type = (char)p[0], .text = (const char *)p + 1, .len = len - 2, .depth = in->depth};
    if (in->depth > 0)
        t->index = in->index[in->depth - 1]++;
    *taken = len + 1;
    return line(in, t);
}
