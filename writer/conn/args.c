#include "args.h"

#include "crc64.h"
#include "../target/seen.h"

/* What is behind the number of arguments, or the length of one. */
static void line_byte(struct args *a, uint8_t b)
{
    if (b >= '0' && b <= '9') {
        a->number = a->number * 10 + (b - '0');
        return;
    }
    if (b != '\n')
        return;
    if (a->counted) {
        a->inside = true;
        a->left = a->number + 2;
        a->crc = SEEN_CRC;
    }
    a->counted = true;
    a->number = 0;
}

/* An argument of which the beginning came with earlier pieces. */
static void joined(const struct args *a, const uint8_t *p, size_t n, args_fn *fn, void *ctx)
{
    struct buf all = {.max = ARGS_KEPT};
    struct slice arg = {0};
    if (!a->cut && buf_add(&all, a->begun.p, a->begun.len) == 0 && buf_add(&all, p, n) == 0)
        arg = (struct slice){all.p != NULL ? all.p : p, all.len};
    fn(ctx, a->at, &arg, a->crc);
    buf_free(&all);
}

/* The piece ends within an argument, of which these bytes are in it. */
static void keep_begun(struct args *a, bool from_before, const uint8_t *p, size_t n)
{
    if (!from_before) {
        a->begun.len = 0;
        a->cut = false;
    }
    a->begun.max = ARGS_KEPT;
    a->cut |= buf_add(&a->begun, p, n) < 0;
}

void args_walk(struct args *a, const uint8_t *p, size_t n, args_fn *fn, void *ctx, bool keep)
{
    struct args s = *a; /* but for the bytes in begun, which stay until they are known to be no more needed */
    const uint8_t *end = p + n, *from = p, *data_end = p;
    bool from_before = s.inside;
    while (p < end) {
        if (!s.inside) {
            line_byte(&s, *p++);
            from = data_end = p;
            continue;
        }
        size_t k = (size_t)(end - p) < s.left ? (size_t)(end - p) : (size_t)s.left;
        size_t data = s.left <= 2 ? 0 : k < s.left - 2 ? k : (size_t)s.left - 2;
        s.crc = crc64(s.crc, p, data);
        data_end = p + data;
        s.left -= k;
        p += k;
        if (s.left > 0)
            continue;
        struct slice arg = {from, (size_t)(data_end - from)};
        if (from_before)
            joined(&s, from, arg.n, fn, ctx);
        else
            fn(ctx, s.at, &arg, s.crc);
        s.inside = from_before = false;
        s.at++;
    }
    if (!keep)
        return;
    if (s.inside)
        keep_begun(&s, from_before, from, (size_t)(data_end - from));
    *a = s;
}

void args_free(struct args *a)
{
    buf_free(&a->begun);
}
