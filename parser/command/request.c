#include "request.h"

#define LENGTHS "a request: an array of bulk strings (*n, then $n and n bytes each)"

/* "*n\r\n" or "$n\r\n" at *p: at most 10 digits. */
static inline enum got take_number(const uint8_t **pp, const uint8_t *end, uint8_t mark, uint64_t *out)
{
    const uint8_t *p = *pp;
    if (__builtin_expect(
            end - p >= 4 && p[0] == mark && p[2] == '\r' && p[3] == '\n' && (uint8_t)(p[1] - '0') < 10, 1)) {
        *out = (uint64_t)(p[1] - '0');
        *pp = p + 4;
        return GOT;
    }
    uint64_t v = 0;
    if (p < end && *p++ != mark)
        return BAD;
    const uint8_t *digits = p;
    while (p < end && (uint8_t)(*p - '0') < 10 && p - digits < 11)
        v = v * 10 + (uint64_t)(*p++ - '0');
    if (p < end && (p == digits || p - digits > 10 || *p++ != '\r'))
        return BAD;
    if (p >= end)
        return NEED;
    if (*p++ != '\n')
        return BAD;
    *out = v;
    *pp = p;
    return GOT;
}

/* Room for the arguments; they are announced, and each takes six bytes or more. */
static enum got begin(struct requests *r, struct cur *c, const uint8_t **p)
{
    uint64_t n;
    enum got g = take_number(p, c->end, '*', &n);
    if (g == NEED)
        return cur_need(c, cur_left(c) + 1);
    if (g == BAD)
        return cur_bad(c, LENGTHS);
    if (n == 0 || n > REQUEST_ARGS)
        return cur_bad(c, "a request of 1 to 4194304 arguments");
    if ((uint64_t)(c->end - *p) < n * 6)
        return cur_need(c, (uint64_t)(*p - c->p) + n * 6);
    r->argv.len = 0;
    if (buf_room(&r->argv, n * sizeof(struct slice)) == NULL)
        return cur_bad(c, "a request of 1 to 4194304 arguments"); /* the bound holds as many */
    r->argc = n;
    r->done = 0;
    return GOT;
}

/* Where the bytes lie has changed since then. */
static void move(struct requests *r, const uint8_t *base)
{
    struct slice *argv = (struct slice *)(void *)r->argv.p;
    for (uint64_t i = 0; i < r->done && r->base != base; i++)
        argv[i].p = base + ((uintptr_t)argv[i].p - (uintptr_t)r->base);
    r->base = NULL;
}

/* It ends before the argument at p does, which takes at least so many bytes from there on. */
static enum got wait_for(struct requests *r, struct cur *c, const uint8_t *p, uint64_t argument)
{
    r->base = c->p;
    r->at = (size_t)(p - c->p);
    return cur_need(c, r->at + argument + (r->argc - r->done - 1) * 6);
}

enum got request_take(struct requests *r, struct cur *c, const struct slice **argv, size_t *argc)
{
    const uint8_t *p = c->p;
    if (r->base != NULL) {
        move(r, c->p);
        p += r->at;
    } else {
        enum got g = begin(r, c, &p);
        if (g != GOT)
            return g;
    }
    struct slice *out = (struct slice *)(void *)r->argv.p;
    for (; r->done < r->argc; r->done++) {
        const uint8_t *from = p;
        uint64_t n;
        enum got g = take_number(&p, c->end, '$', &n);
        if (g == NEED)
            return wait_for(r, c, from, (uint64_t)(c->end - from) + 1);
        if (g == BAD || (uint64_t)(p - c->p) + n > REQUEST_BYTES) {
            c->p = from;
            return cur_bad(c, g == BAD ? LENGTHS : "a request of at most 4 GiB");
        }
        if ((uint64_t)(c->end - p) < n + 2)
            return wait_for(r, c, from, (uint64_t)(p - from) + n + 2);
        if (p[n] != '\r' || p[n + 1] != '\n') {
            c->p = p + n;
            return cur_bad(c, "the end of an argument: its length is another one");
        }
        out[r->done] = (struct slice){p, n};
        p += n + 2;
    }
    *argv = out;
    *argc = (size_t)r->argc;
    c->p = p;
    return GOT;
}

void requests_free(struct requests *r)
{
    buf_free(&r->argv);
    *r = (struct requests){0};
}
