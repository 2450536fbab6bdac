#include "resp.h"

#include <stdbool.h>

size_t dec_u64(uint8_t *p, uint64_t v)
{
    uint8_t tmp[20];
    size_t n = 0;
    do {
        tmp[n++] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < n; i++)
        p[i] = tmp[n - 1 - i];
    return n;
}

size_t dec_i64(uint8_t *p, int64_t v)
{
    if (v >= 0)
        return dec_u64(p, (uint64_t)v);
    *p = '-';
    return 1 + dec_u64(p + 1, ~(uint64_t)v + 1);
}

int resp_add_array(struct buf *b, uint64_t n)
{
    uint8_t *p = buf_room(b, RESP_LEN_MAX);
    if (p == NULL)
        return -1;
    b->len += (size_t)(resp_len(p, '*', n) - p);
    return 0;
}

int resp_add_bulk(struct buf *b, const void *data, size_t n)
{
    uint8_t *p = buf_room(b, RESP_LEN_MAX + n + 2);
    if (p == NULL)
        return -1;
    b->len += (size_t)(resp_bulk(p, data, n) - p);
    return 0;
}

int resp_add_str(struct buf *b, const char *s)
{
    return resp_add_bulk(b, s, strlen(s));
}

int resp_add_num(struct buf *b, int64_t v)
{
    uint8_t num[21];
    return resp_add_bulk(b, num, dec_i64(num, v));
}

/* Parse "<type><number>\r\n" at *p. */
static bool take_len(const uint8_t **p, const uint8_t *end, char type, uint64_t *out)
{
    const uint8_t *q = *p;
    uint64_t v = 0;
    if (q >= end || *q++ != (uint8_t)type)
        return false;
    const uint8_t *digits = q;
    while (q < end && *q >= '0' && *q <= '9' && q - digits < 18)
        v = v * 10 + (uint64_t)(*q++ - '0');
    if (q == digits || end - q < 2 || q[0] != '\r' || q[1] != '\n')
        return false;
    *p = q + 2;
    *out = v;
    return true;
}

/* The bytes to end are the beginning of a length and no more of it is there. */
static bool cut_len(const uint8_t *p, const uint8_t *end, char type)
{
    if (p < end && *p++ != (uint8_t)type)
        return false;
    const uint8_t *digits = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p == end || (p > digits && end - p == 1 && *p == '\r');
}

long resp_split(const uint8_t *p, size_t n, struct slice *out, size_t max, int *whole)
{
    const uint8_t *end = p + n;
    uint64_t argc, len;
    *whole = 0;
    if (!take_len(&p, end, '*', &argc) || argc == 0 || argc > (uint64_t)1 << 32)
        return -1;
    for (uint64_t i = 0; i < argc; i++) {
        if (!take_len(&p, end, '$', &len))
            return i > 0 && cut_len(p, end, '$') ? (long)argc : -1;
        size_t have = (size_t)(end - p) < len ? (size_t)(end - p) : (size_t)len;
        if (i < max)
            out[i] = (struct slice){p, have};
        if (have < len || (size_t)(end - p) < len + 2)
            return (long)argc;
        p += len;
        if (p[0] != '\r' || p[1] != '\n')
            return -1;
        p += 2;
    }
    *whole = p == end;
    return p == end ? (long)argc : -1;
}
