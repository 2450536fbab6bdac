#include "resp_in.h"

#include <limits.h>
#include <string.h>
#include <bsd/stdlib.h>

#define STEP    ((size_t)64 << 10)
#define LONGEST ((size_t)16 << 10)

void resp_reset(struct resp_in *in)
{
    struct buf b = {.p = in->b.p, .cap = in->b.cap, .max = STEP + LONGEST};
    *in = (struct resp_in){.b = b};
}

void resp_free(struct resp_in *in)
{
    buf_free(&in->b);
    *in = (struct resp_in){.at = 0};
}

/* A value is all there: so may be the arrays around it. */
static void ends(struct resp_in *in, struct resp_token *t)
{
    while (in->depth > 0 && --in->items[in->depth - 1] == 0)
        in->depth--;
    t->end = in->depth == 0;
}

static enum resp_got string_bytes(struct resp_in *in, struct resp_token *t)
{
    const uint8_t *p = in->b.p + in->at;
    size_t have = in->b.len - in->at;
    size_t n = have < in->left ? have : (size_t)in->left;
    *t = (struct resp_token){
        .type = 'b', .text = (const char *)p, .len = n, .depth = in->depth, .index = in->string_index};
    in->left -= n;
    in->at += n;
    if (in->left > 0 || have - n < 2)
        return n > 0 ? RESP_GOT : RESP_NONE;
    if (p[n] != '\r' || p[n + 1] != '\n')
        return RESP_BAD;
    in->at += 2;
    in->in_string = false;
    t->whole = true;
    ends(in, t);
    return RESP_GOT;
}

static bool number(const char *text, size_t len, int64_t *n)
{
    char digits[24];
    const char *fault;
    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    *n = strtonum(digits, LLONG_MIN, LLONG_MAX, &fault);
    return fault == NULL;
}

static enum resp_got begin_array(struct resp_in *in, struct resp_token *t)
{
    if (t->n <= 0) {
        ends(in, t);
        return RESP_GOT;
    }
    if (in->depth == RESP_DEPTH)
        return RESP_BAD;
    in->items[in->depth] = t->n;
    in->index[in->depth++] = 0;
    return RESP_GOT;
}

static enum resp_got line(struct resp_in *in, struct resp_token *t)
{
    switch (t->type) {
    case '+':
    case '-': ends(in, t); return RESP_GOT;
    case ':':
        if (!number(t->text, t->len, &t->n))
            return RESP_BAD;
        ends(in, t);
        return RESP_GOT;
    case '*':
    case '$':
        if (!number(t->text, t->len, &t->n) || t->n < -1)
            return RESP_BAD;
        if (t->type == '*')
            return begin_array(in, t);
        if (t->n < 0) {
            ends(in, t);
            return RESP_GOT;
        }
        in->in_string = true;
        in->left = (uint64_t)t->n;
        in->string_index = t->index;
        return RESP_GOT;
    default: return RESP_BAD;
    }
}

enum resp_got resp_next(struct resp_in *in, struct resp_token *t)
{
    if (in->in_string)
        return string_bytes(in, t);
    size_t have = in->b.len - in->at;
    if (have == 0)
        return RESP_NONE;
    const char *p = (const char *)in->b.p + in->at;
    const char *nl = memchr(p, '\n', have);
    if (nl == NULL)
        return have > LONGEST ? RESP_BAD : RESP_NONE;
    size_t n = (size_t)(nl - p);
    if (n < 2 || p[n - 1] != '\r')
        return RESP_BAD;
    *t = (struct resp_token){.type = p[0], .text = p + 1, .len = n - 2, .depth = in->depth};
    if (in->depth > 0)
        t->index = in->index[in->depth - 1]++;
    in->at += n + 1;
    return line(in, t);
}

int resp_fill(struct resp_in *in, struct conn *c)
{
    if (in->at > 0) {
        buf_shift(&in->b, in->at);
        in->at = 0;
    }
    uint8_t *to = buf_room(&in->b, STEP);
    if (to == NULL || !c->readable)
        return 0;
    long n = conn_read(c, to, STEP);
    if (n <= 0)
        return n < 0 ? -1 : 0;
    in->b.len += (size_t)n;
    return 1;
}
