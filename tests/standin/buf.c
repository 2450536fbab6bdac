/* A growing byte buffer, and the primitives of the RDB and RESP formats written into it. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

uint8_t *buf_room(struct buf *b, size_t n)
{
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap - b->len < n)
            cap *= 2;
        uint8_t *p = realloc(b->p, cap);
        if (!p)
            die("out of memory (%zu bytes)", cap);
        b->p = p;
        b->cap = cap;
    }
    return b->p + b->len;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_room(b, n), p, n);
    b->len += n;
}

void buf_byte(struct buf *b, uint8_t byte)
{
    *buf_room(b, 1) = byte;
    b->len++;
}

void buf_le(struct buf *b, uint64_t value, unsigned bytes)
{
    uint8_t *p = buf_room(b, bytes);
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * i));
    b->len += bytes;
}

void buf_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static void put_be(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

void buf_plen(struct buf *b, uint64_t value)
{
    uint8_t *p = buf_room(b, 9);
    if (value < 64) {
        p[0] = (uint8_t)value;
        b->len += 1;
    } else if (value < 16384) {
        put_be(p, value | 0x4000, 2);
        b->len += 2;
    } else if (value <= UINT32_MAX) {
        p[0] = 0x80;
        put_be(p + 1, value, 4);
        b->len += 5;
    } else {
        p[0] = 0x81;
        put_be(p + 1, value, 8);
        b->len += 9;
    }
}

bool canonical_int(const char *p, size_t n, int64_t *value)
{
    size_t i = 0;
    bool negative = n > 0 && p[0] == '-';
    if (negative)
        i = 1;
    if (n == i || n - i > 19 || p[i] < '0' || p[i] > '9')
        return false;
    if (p[i] == '0' && (negative || n != 1))
        return false;
    uint64_t v = 0;
    for (; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(p[i] - '0');
    }
    if (v > (uint64_t)INT64_MAX)
        return false; /* INT64_MIN stays text: nobody needs it here */
    *value = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

size_t format_u64(char *out, uint64_t value)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

void buf_pstr(struct buf *b, const void *p, size_t n)
{
    int64_t v;
    if (n <= 11 && canonical_int(p, n, &v) && v >= INT32_MIN && v <= INT32_MAX) {
        unsigned width = v >= INT8_MIN && v <= INT8_MAX ? 1 : v >= INT16_MIN && v <= INT16_MAX ? 2 : 4;
        buf_byte(b, width == 1 ? 0xc0 : width == 2 ? 0xc1 : 0xc2);
        buf_le(b, (uint64_t)v, width);
        return;
    }
    buf_plen(b, n);
    buf_put(b, p, n);
}

size_t listpack_begin(struct buf *b)
{
    size_t start = b->len;
    buf_le(b, 0, 6);
    return start;
}

/* The size of the element before, so that it can be walked backwards: 7-bit groups, the most
 * significant first, all but the first marked. */
static void listpack_backlen(struct buf *b, size_t s)
{
    unsigned groups = s <= 127 ? 1 : s < 16383 ? 2 : s < 2097151 ? 3 : s < 268435455 ? 4 : 5;
    for (unsigned i = groups; i-- > 0;) {
        uint8_t byte = (uint8_t)((s >> (7 * i)) & 0x7f);
        buf_byte(b, i == groups - 1 ? byte : (uint8_t)(byte | 0x80));
    }
}

static void listpack_int(struct buf *b, int64_t v)
{
    uint64_t u = (uint64_t)v;
    if (v >= 0 && v <= 127) {
        buf_byte(b, (uint8_t)u);
    } else if (v >= -4096 && v <= 4095) {
        buf_byte(b, (uint8_t)(0xc0 | ((u >> 8) & 0x1f)));
        buf_byte(b, (uint8_t)u);
    } else if (v >= INT16_MIN && v <= INT16_MAX) {
        buf_byte(b, 0xf1);
        buf_le(b, u, 2);
    } else if (v >= -8388608 && v <= 8388607) {
        buf_byte(b, 0xf2);
        buf_le(b, u, 3);
    } else if (v >= INT32_MIN && v <= INT32_MAX) {
        buf_byte(b, 0xf3);
        buf_le(b, u, 4);
    } else {
        buf_byte(b, 0xf4);
        buf_le(b, u, 8);
    }
}

void listpack_add(struct buf *b, const char *p, size_t n)
{
    size_t start = b->len;
    int64_t v;
    if (canonical_int(p, n, &v)) {
        listpack_int(b, v);
    } else {
        if (n < 64) {
            buf_byte(b, (uint8_t)(0x80 | n));
        } else if (n < 4096) {
            buf_byte(b, (uint8_t)(0xe0 | (n >> 8)));
            buf_byte(b, (uint8_t)n);
        } else {
            buf_byte(b, 0xf0);
            buf_le(b, n, 4);
        }
        buf_put(b, p, n);
    }
    listpack_backlen(b, b->len - start);
}

void listpack_end(struct buf *b, size_t start, uint64_t count)
{
    buf_byte(b, 0xff);
    uint8_t *p = b->p + start;
    size_t total = b->len - start;
    if (count > 65535)
        count = 65535; /* the format's "count yourself" */
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(total >> (8 * i));
    p[4] = (uint8_t)count;
    p[5] = (uint8_t)(count >> 8);
}

static void resp_count(struct buf *b, char mark, size_t n)
{
    uint8_t *p = buf_room(b, 24);
    p[0] = (uint8_t)mark;
    size_t digits = format_u64((char *)p + 1, n);
    p[1 + digits] = '\r';
    p[2 + digits] = '\n';
    b->len += 3 + digits;
}

void buf_bulk(struct buf *b, const void *p, size_t n)
{
    resp_count(b, '$', n);
    buf_put(b, p, n);
    buf_put(b, "\r\n", 2);
}

void buf_array(struct buf *b, size_t n)
{
    resp_count(b, '*', n);
}
