/* Memory, byte strings, growing buffers and JSON text. */
#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

/* A test tool has nobody to recover for: every failure ends it with the "cannot run" code, so that
 * it is never taken for "equal" or "different". */
void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    verrx(EXIT_CANNOT, fmt, ap);
}

/* Makes room for `need` elements, at least doubling so that appending stays linear. */
void *grow_array(void *p, size_t *cap, size_t need, size_t size)
{
    size_t want = *cap ? *cap : 16;

    if (need <= *cap)
        return p;
    while (want < need) {
        if (want > SIZE_MAX / 2)
            die("out of memory");
        want *= 2;
    }
    p = reallocarray(p, want, size);
    if (!p)
        die("out of memory");
    *cap = want;
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p)
        die("out of memory");
    return p;
}

char *copy_text(const char *p, size_t n)
{
    char *s = xcalloc(n + 1, 1);

    if (n)
        memcpy(s, p, n);
    return s;
}

bytes lit(const char *s)
{
    return (bytes){s, strlen(s)};
}

/* The order of latin1 strings by code point, which is the order of their bytes. */
int bytes_cmp(bytes a, bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : (a.n > b.n) - (a.n < b.n);
}

void buf_room(buf *b, size_t more)
{
    if (more > SIZE_MAX - b->len)
        die("out of memory");
    b->p = grow_array(b->p, &b->cap, b->len + more, 1);
}

void buf_add(buf *b, const char *p, size_t n)
{
    if (!n)
        return;
    buf_room(b, n);
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

void buf_text(buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

/* Hot in both pipelines and records, hence without printf. */
void buf_int(buf *b, long long v)
{
    char digits[24];
    size_t i = sizeof(digits);
    unsigned long long u = v < 0 ? 0ULL - (unsigned long long)v : (unsigned long long)v;

    do {
        digits[--i] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        digits[--i] = '-';
    buf_add(b, digits + i, sizeof(digits) - i);
}

static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\': return (char)c;
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    case '\b': return 'b';
    case '\f': return 'f';
    default: return 0;
    }
}

/* Escapes as Python's json.dumps does with ensure_ascii; `to` has room for six characters. */
static char *escape(char *to, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char s = short_escape(c);

    *to++ = '\\';
    if (s) {
        *to++ = s;
        return to;
    }
    memcpy(to, "u00", 3);
    to[3] = hex[c >> 4];
    to[4] = hex[c & 15];
    return to + 5;
}

void buf_json_body(buf *b, bytes s)
{
    const size_t step = 4096; /* so that a huge ASCII value does not reserve six times its size */

    for (size_t i = 0; i < s.n; i += step) {
        size_t end = s.n - i < step ? s.n : i + step;

        buf_room(b, 6 * (end - i));
        char *to = b->p + b->len;
        for (size_t j = i; j < end; j++) {
            unsigned char c = (unsigned char)s.p[j];

            if (c < ' ' || c > '~' || c == '"' || c == '\\')
                to = escape(to, c);
            else
                *to++ = (char)c;
        }
        b->len = (size_t)(to - b->p);
    }
}

void buf_json(buf *b, bytes s)
{
    buf_add(b, "\"", 1);
    buf_json_body(b, s);
    buf_add(b, "\"", 1);
}

void buf_free(buf *b)
{
    free(b->p);
    *b = (buf){0};
}
