/* Takes requests apart: RESP arrays of bulk strings, or inline lines of words. */
#include "standin.h"

#include <string.h>

static void request_add(struct request *r, const uint8_t *p, size_t n)
{
    r->argv[r->argc] = (char *)r->store.p + r->store.len;
    r->len[r->argc++] = n;
    buf_put(&r->store, p, n);
    buf_byte(&r->store, '\0');
}

/* "<mark>digits\r\n": returns its size, 0 if incomplete, -1 if it is something else. */
static ssize_t parse_count(const uint8_t *p, size_t n, char mark, uint64_t max, uint64_t *value)
{
    uint64_t v = 0;
    if (n == 0)
        return 0;
    if (p[0] != (uint8_t)mark)
        return -1;
    size_t i = 1;
    for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        v = v * 10 + (uint64_t)(p[i] - '0');
        if (v > max)
            return -1;
    }
    if (i == n || (p[i] == '\r' && i + 1 == n))
        return 0;
    if (i == 1 || p[i] != '\r' || p[i + 1] != '\n')
        return -1;
    *value = v;
    return (ssize_t)(i + 2);
}

static ssize_t parse_array(const uint8_t *p, size_t n, struct request *r)
{
    uint64_t count, len;
    ssize_t s = parse_count(p, n, '*', MAX_ARGS, &count);
    if (s <= 0)
        return s;
    size_t at = (size_t)s;
    for (uint64_t i = 0; i < count; i++) {
        s = parse_count(p + at, n - at, '$', MAX_REQUEST, &len);
        if (s <= 0)
            return s;
        at += (size_t)s;
        if (n - at < len + 2)
            return 0;
        if (p[at + len] != '\r' || p[at + len + 1] != '\n')
            return -1;
        request_add(r, p + at, (size_t)len);
        at += (size_t)len + 2;
    }
    return (ssize_t)at;
}

static ssize_t parse_inline(const uint8_t *p, size_t n, struct request *r)
{
    const uint8_t *end = memchr(p, '\n', n);
    if (!end)
        return 0;
    size_t line = (size_t)(end - p), i = 0;
    while (i < line) {
        size_t from = i;
        while (i < line && p[i] != ' ' && p[i] != '\r')
            i++;
        if (i > from) {
            if (r->argc == MAX_ARGS)
                return -1;
            request_add(r, p + from, i - from);
        }
        i++;
    }
    return (ssize_t)line + 1;
}

ssize_t request_parse(const uint8_t *p, size_t n, struct request *r)
{
    r->argc = 0;
    r->store.len = 0;
    buf_room(&r->store, n + MAX_ARGS + 1); /* so that argv never has to move */
    if (n == 0)
        return 0;
    return p[0] == '*' ? parse_array(p, n, r) : parse_inline(p, n, r);
}
