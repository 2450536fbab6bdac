#include "prim.h"

#include "resp.h"

enum got cur_plen_slow(struct cur *c, uint64_t *v)
{
    size_t left = cur_left(c);
    const uint8_t *p = c->p;
    if (left < 1)
        return cur_need(c, 1);
    switch (p[0] >> 6) {
    case 0:
        *v = p[0];
        c->p += 1;
        return GOT;
    case 1:
        if (left < 2)
            return cur_need(c, 2);
        *v = (uint64_t)(p[0] & 63) << 8 | p[1];
        c->p += 2;
        return GOT;
    case 2: break;
    default: return cur_bad(c, "a length (found a string encoding)");
    }
    if (p[0] == 0x80) {
        if (left < 5)
            return cur_need(c, 5);
        *v = __builtin_bswap32(le32(p + 1));
        c->p += 5;
        return GOT;
    }
    if (p[0] == 0x81) {
        if (left < 9)
            return cur_need(c, 9);
        *v = be64(p + 1);
        c->p += 9;
        return GOT;
    }
    return cur_bad(c, "a length (illegal first byte)");
}

/* Integer forms c0, c1, c2. */
static enum got take_int(struct cur *c, struct pstr *s, size_t bytes)
{
    if (cur_left(c) < 1 + bytes)
        return cur_need(c, 1 + bytes);
    const uint8_t *p = c->p + 1;
    int64_t v = bytes == 1 ? (int8_t)p[0] : bytes == 2 ? (int16_t)le16(p) : (int32_t)le32(p);
    s->n = dec_i64(s->text, v);
    s->p = s->text;
    s->clen = 0;
    c->p += 1 + bytes;
    return GOT;
}

static enum got take_lzf(struct cur *c, struct pstr *s)
{
    struct cur t = {c->p + 1, c->end, 0, NULL};
    uint64_t clen, n;
    enum got g = cur_plen(&t, &clen);
    if (g == GOT)
        g = cur_plen(&t, &n);
    if (g != GOT)
        return cur_settle(c, &t, g);
    if (clen == 0 || clen > PSTR_MAX || n > PSTR_MAX || n > clen * 264 + 264)
        return cur_bad(c, "a possible LZF length");
    if (cur_left(&t) < clen) {
        c->want = clen - cur_left(&t);
        return NEED;
    }
    s->p = t.p;
    s->clen = (size_t)clen;
    s->n = (size_t)n;
    c->p = t.p + clen;
    return GOT;
}

enum got cur_pstr_slow(struct cur *c, struct pstr *s)
{
    if (c->p >= c->end)
        return cur_need(c, 1);
    switch (*c->p) {
    case 0xc0: return take_int(c, s, 1);
    case 0xc1: return take_int(c, s, 2);
    case 0xc2: return take_int(c, s, 4);
    case 0xc3: return take_lzf(c, s);
    default: break;
    }
    struct cur t = *c;
    uint64_t n;
    enum got g = cur_plen(&t, &n);
    if (g != GOT) {
        c->want = t.want;
        c->why = g == BAD ? "a string (illegal first byte)" : NULL;
        return g;
    }
    if (n > PSTR_MAX)
        return cur_bad(c, "a string of at most 4 GiB");
    if (cur_left(&t) < n) {
        c->want = n - cur_left(&t);
        return NEED;
    }
    s->p = t.p;
    s->n = (size_t)n;
    s->clen = 0;
    c->p = t.p + n;
    return GOT;
}

enum got cur_pstr_head(struct cur *c, uint64_t *n, bool *plain)
{
    if (c->p >= c->end)
        return cur_need(c, 1);
    *plain = *c->p < 0xc0;
    if (!*plain)
        return GOT;
    enum got g = cur_plen(c, n);
    return g == GOT && *n > PSTR_MAX ? cur_bad(c, "a string of at most 4 GiB") : g;
}

/* Unpack behind the len bytes of buf until fewer than reserve bytes of cap are free. */
static inline int lzf_run(const uint8_t **in, const uint8_t *end, uint8_t *buf, size_t *len, size_t cap,
                          size_t reserve)
{
    const uint8_t *p = *in;
    size_t o = *len;
    while (p < end && cap - o >= reserve) {
        size_t c = *p++;
        if (c < 32) {
            c++;
            if ((size_t)(end - p) < c || cap - o < c)
                return -1;
            memcpy(buf + o, p, c);
            p += c;
            o += c;
            continue;
        }
        size_t n = c >> 5;
        if (n == 7) {
            if (p >= end)
                return -1;
            n += *p++;
        }
        n += 2;
        if (p >= end)
            return -1;
        size_t dist = ((c & 31) << 8 | *p++) + 1;
        if (dist > o || cap - o < n)
            return -1;
        for (size_t i = 0; i < n; i++, o++) /* may overlap itself */
            buf[o] = buf[o - dist];
    }
    *in = p;
    *len = o;
    return 0;
}

int lzf_unpack(const uint8_t *in, size_t n, uint8_t *out, size_t outn)
{
    size_t len = 0;
    return lzf_run(&in, in + n, out, &len, outn, 0) == 0 && len == outn ? 0 : -1;
}

int lzf_continue(const uint8_t **in, const uint8_t *end, uint8_t *buf, size_t *len, size_t cap)
{
    return lzf_run(in, end, buf, len, cap, LZF_STEP);
}
