#include "meta.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void meta_escape(struct buf *b, const void *value, size_t n, size_t limit)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *v = value;
    size_t shown = limit > 0 && n > limit ? limit : n;
    for (size_t i = 0; i < shown; i++) {
        if (v[i] >= 0x21 && v[i] <= 0x7e && v[i] != '%') {
            (void)buf_add(b, v + i, 1);
        } else {
            char esc[3] = {'%', hex[v[i] >> 4], hex[v[i] & 15]};
            (void)buf_add(b, esc, 3);
        }
    }
    if (shown < n)
        (void)buf_addstr(b, "...");
}

void meta_add(struct buf *b, const char *name, const void *value, size_t n, char sep)
{
    (void)buf_addstr(b, name);
    (void)buf_add(b, "=", 1);
    meta_escape(b, value, n, 0);
    (void)buf_add(b, &sep, 1);
}

void meta_adds(struct buf *b, const char *name, const char *value)
{
    meta_add(b, name, value, strlen(value), '\n');
}

void meta_addu(struct buf *b, const char *name, uint64_t value)
{
    char num[24];
    int n = snprintf(num, sizeof num, "%llu", (unsigned long long)value);
    meta_add(b, name, num, (size_t)n, '\n');
}

static int hexval(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int meta_hex(const char *p)
{
    int high = hexval(p[0]), low = hexval(p[1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Unescape one value up to a blank, newline or end. */
static long unescape(const char *p, const char *end, char *out, size_t cap)
{
    size_t n = 0;
    while (p < end && *p != '\n' && *p != ' ') {
        char c = *p++;
        if (c == '%' && end - p >= 2 && meta_hex(p) >= 0) {
            c = (char)meta_hex(p);
            p += 2;
        }
        if (n + 1 >= cap) {
            out[n] = '\0';
            return -1;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return (long)n;
}

long meta_get(const void *text, size_t n, const char *name, char *out, size_t cap)
{
    const char *p = text;
    const char *end = p + n;
    size_t want = strlen(name);
    out[0] = '\0';
    while (p < end) {
        const char *stop = p;
        while (stop < end && *stop != '\n' && *stop != ' ')
            stop++;
        if ((size_t)(stop - p) > want && memcmp(p, name, want) == 0 && p[want] == '=')
            return unescape(p + want + 1, stop, out, cap);
        p = stop < end ? stop + 1 : end;
    }
    return -1;
}

bool meta_getu(const void *text, size_t n, const char *name, uint64_t *out)
{
    char num[24];
    long len = meta_get(text, n, name, num, sizeof num);
    if (len <= 0 || num[0] < '0' || num[0] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(num, &end, 10);
    if (errno != 0 || end != num + len)
        return false;
    *out = v;
    return true;
}

bool meta_is_word(const char *s)
{
    while (*s > ' ' && *s <= '~' && strchr("\"%=\\", *s) == NULL)
        s++;
    return *s == '\0';
}
