#include "info.h"

#include <stdlib.h>
#include <string.h>

/* What a server says of itself goes into messages: one word, of which nothing can be taken for another. */
static char plain(char c)
{
    return c > ' ' && c <= '~' && c != '"' && c != '\\' ? c : '?';
}

const char *info_value(const char *info, size_t n, const char *name, size_t *len)
{
    size_t k = strlen(name);
    const char *p = info, *stop = info + n;
    while (p < stop) {
        const char *nl = memchr(p, '\n', (size_t)(stop - p)), *e = nl != NULL ? nl : stop;
        if ((size_t)(e - p) > k && memcmp(p, name, k) == 0 && p[k] == ':') {
            const char *cr = memchr(p, '\r', (size_t)(e - p));
            *len = (size_t)((cr != NULL ? cr : e) - p) - k - 1;
            return p + k + 1;
        }
        p = e + 1;
    }
    return NULL;
}

void info_field(const char *text, const char *name, char *out, size_t cap)
{
    size_t n = 0;
    const char *p = info_value(text, strlen(text), name, &n);
    out[0] = '\0';
    if (p == NULL)
        return;
    if (n >= cap)
        n = cap - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = plain(p[i]);
    out[n] = '\0';
}

bool info_number(const char *info, size_t n, const char *name, uint64_t *v)
{
    size_t len;
    const char *p = info_value(info, n, name, &len);
    if (p == NULL || len == 0 || len > 19)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(p[i] - '0');
    }
    *v = sum;
    return true;
}

bool version_less(const char *a, const char *b)
{
    for (int i = 0; i < 3; i++) {
        char *enda, *endb;
        unsigned long va = strtoul(a, &enda, 10), vb = strtoul(b, &endb, 10);
        if (va != vb)
            return va < vb;
        a = *enda == '.' ? enda + 1 : enda;
        b = *endb == '.' ? endb + 1 : endb;
    }
    return false;
}
