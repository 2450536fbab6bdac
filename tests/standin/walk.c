/* Steps over recorded bytes, as little as is needed to find the borders in a flow. */
#include "standin.h"

#include <string.h>

static uint64_t get_be(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

size_t walk_plen(const uint8_t *p, size_t n, uint64_t *value)
{
    if (n == 0)
        return 0;
    if (p[0] < 0x40) {
        *value = p[0];
        return 1;
    }
    if (p[0] < 0x80) {
        if (n < 2)
            return 0;
        *value = get_be(p, 2) & 0x3fff;
        return 2;
    }
    if (p[0] == 0x80 || p[0] == 0x81) {
        unsigned width = p[0] == 0x80 ? 4 : 8;
        if (n < 1 + (size_t)width)
            return 0;
        *value = get_be(p + 1, width);
        return 1 + width;
    }
    return 0;
}

/* plen and so many bytes; 0 if they are not all there. */
static size_t walk_sized(const uint8_t *p, size_t n)
{
    uint64_t len;
    size_t head = walk_plen(p, n, &len);
    return head && len <= n - head ? head + (size_t)len : 0;
}

static size_t walk_pstr(const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    if (p[0] >= 0xc0 && p[0] <= 0xc2) {
        size_t size = 1 + ((size_t)1 << (p[0] - 0xc0));
        return size <= n ? size : 0;
    }
    if (p[0] != 0xc3)
        return walk_sized(p, n);
    uint64_t packed, plain; /* LZF */
    size_t a = walk_plen(p + 1, n - 1, &packed);
    size_t b = a ? walk_plen(p + 1 + a, n - 1 - a, &plain) : 0;
    size_t head = 1 + a + b;
    return b && packed <= n - head ? head + (size_t)packed : 0;
}

size_t walk_after_cut(const uint8_t *p, size_t n)
{
    uint64_t v;
    size_t a, b;
    if (n == 0)
        return 0;
    switch (p[0]) {
    case 0xfe: /* SELECTDB */ a = walk_plen(p + 1, n - 1, &v); return a ? 1 + a : 0;
    case 0xc9: /* zstd blob */
    case 0xca: /* LZ4 blob */ a = walk_sized(p + 1, n - 1); return a ? 1 + a : 0;
    case 0xd2: /* journal blob */
        a = walk_plen(p + 1, n - 1, &v);
        b = a ? walk_pstr(p + 1 + a, n - 1 - a) : 0;
        return b ? 1 + a + b : 0;
    case 0xd3: /* journal offset */ return n < 9 ? 0 : 9;
    default: return 0;
    }
}

/* COMMAND and its relatives: txid, shard count, n, total, n strings. */
static size_t walk_command(const uint8_t *p, size_t n)
{
    uint64_t head[4];
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        size_t s = walk_plen(p + at, n - at, &head[i]);
        if (!s)
            return 0;
        at += s;
    }
    for (uint64_t i = 0; i < head[2]; i++) {
        size_t s = walk_sized(p + at, n - at);
        if (!s)
            return 0;
        at += s;
    }
    return at;
}

size_t walk_journal(const uint8_t *p, size_t n, uint64_t *lsn, uint64_t until)
{
    size_t at = 0;
    uint64_t v;
    while (at < n && *lsn < until) {
        const uint8_t *q = p + at + 1;
        size_t left = n - at - 1, s = 0;
        bool counts = true;
        switch (p[at]) {
        case 6:  /* SELECT */
        case 15: /* LSN marker */
            s = walk_plen(q, left, &v);
            if (!s)
                return at;
            counts = false;
            break;
        case 9:  /* EXPIRED */
        case 10: /* COMMAND */
        case 11: /* MULTI_COMMAND */
            s = walk_command(q, left);
            if (!s)
                return at;
            break;
        case 13: /* PING */ break;
        default: return at;
        }
        at += 1 + s;
        if (counts)
            (*lsn)++;
    }
    return at;
}
