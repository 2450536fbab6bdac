#include "listpack.h"

#include "prim.h"
#include "resp.h"

static size_t backlen_size(size_t s)
{
    if (s <= 127)
        return 1;
    if (s < 16383)
        return 2;
    if (s < 2097151)
        return 3;
    return s < 268435455 ? 4 : 5;
}

static inline void set_int(struct elem *e, int64_t v)
{
    e->is_int = true;
    e->v = v;
}

void elem_text(struct elem *e)
{
    if (e->is_int) {
        e->n = dec_i64(e->num, e->v);
        e->p = e->num;
    }
}

/* Bytes of the integer encoding that begins with c, 0 when c is none. */
static inline size_t lp_int_size(uint8_t c)
{
    if (c < 0x80)
        return 1;
    if ((c & 0xe0) == 0xc0)
        return 2;
    return c >= 0xf1 && c <= 0xf3 ? (size_t)(c - 0xf0) + 2 : c == 0xf4 ? 9 : 0;
}

static inline int64_t lp_int(const uint8_t *p)
{
    switch (*p) {
    case 0xf1: return (int16_t)le16(p + 1);
    case 0xf2: return (int32_t)((uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24) >> 8;
    case 0xf3: return (int32_t)le32(p + 1);
    case 0xf4: return (int64_t)le64(p + 1);
    default: break;
    }
    if (*p < 0x80)
        return *p;
    int64_t v = (int64_t)(*p & 31) << 8 | p[1];
    return v >= 4096 ? v - 8192 : v;
}

/* Size of head and data of the element at p, 0 when it is illegal or its head is cut. *head: bytes before
 * string data. */
static inline size_t lp_size(const uint8_t *p, size_t left, size_t *head)
{
    uint8_t c = *p;
    size_t n = lp_int_size(c);
    *head = 0;
    if (n > 0)
        return n;
    if ((c & 0xc0) == 0x80) {
        *head = 1;
        return 1 + (size_t)(c & 63);
    }
    if ((c & 0xf0) == 0xe0 && left >= 2) {
        *head = 2;
        return 2 + ((size_t)(c & 15) << 8 | p[1]);
    }
    if (c == 0xf0 && left >= 5) {
        *head = 5;
        return 5 + (size_t)le32(p + 1);
    }
    return 0;
}

static inline bool backlen_fits(const uint8_t *p, size_t s, size_t bl)
{
    if (bl == 1)
        return p[0] == s;
    for (size_t i = 0; i < bl; i++) {
        uint8_t want = (uint8_t)((s >> (7 * (bl - 1 - i))) & 127);
        if (p[i] != (i == 0 ? want : (want | 128)))
            return false;
    }
    return true;
}

/* Step over the element at *it. */
static inline int lp_step(const uint8_t *lp, size_t n, const uint8_t **it, size_t *head, size_t *size)
{
    if (*it == NULL) {
        if (n < 7 || le32(lp) != n || lp[n - 1] != 0xff)
            return -1;
        *it = lp + 6;
    }
    const uint8_t *end = lp + n - 1; /* the ff */
    if (*it == end)
        return 0;
    size_t left = (size_t)(end - *it);
    *size = lp_size(*it, left, head);
    if (*size == 0 || *size > left)
        return -1;
    size_t bl = backlen_size(*size);
    if (left - *size < bl || !backlen_fits(*it + *size, *size, bl))
        return -1;
    *it += *size + bl;
    return 1;
}

int listpack_look(const uint8_t *lp, size_t n, const uint8_t **it, struct elem *e)
{
    size_t head, size;
    const uint8_t *at = *it;
    int rc = lp_step(lp, n, it, &head, &size);
    if (rc != 1)
        return rc;
    if (at == NULL)
        at = lp + 6;
    e->is_int = false;
    if (head > 0) {
        e->p = at + head;
        e->n = size - head;
    } else {
        set_int(e, lp_int(at));
    }
    return 1;
}

int listpack_next(const uint8_t *lp, size_t n, const uint8_t **it, struct elem *e)
{
    int rc = listpack_look(lp, n, it, e);
    if (rc == 1)
        elem_text(e);
    return rc;
}

long listpack_check(const uint8_t *lp, size_t n)
{
    const uint8_t *it = NULL;
    size_t head, size;
    long count = 0;
    int rc;
    while ((rc = lp_step(lp, n, &it, &head, &size)) == 1)
        count++;
    if (rc < 0)
        return -1;
    long said = le16(lp + 4);
    return said == 65535 || said == count ? count : -1;
}

/* The encoding at p of a ziplist entry: head = bytes before data, size = head + data. */
static bool zl_size(const uint8_t *p, size_t left, size_t *head, size_t *size)
{
    uint8_t c = *p;
    *head = 1;
    switch (c >> 6) {
    case 0: *size = 1 + (size_t)(c & 63); return true;
    case 1:
        *head = 2;
        if (left < 2)
            return false;
        *size = 2 + ((size_t)(c & 63) << 8 | p[1]);
        return true;
    case 2:
        *head = 5;
        if (c != 0x80 || left < 5)
            return false;
        *size = 5 + (size_t)__builtin_bswap32(le32(p + 1));
        return true;
    default: break;
    }
    static const struct {
        uint8_t code, bytes;
    } ints[] = {{0xc0, 2}, {0xd0, 4}, {0xe0, 8}, {0xf0, 3}, {0xfe, 1}};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++)
        if (c == ints[i].code) {
            *size = 1 + (size_t)ints[i].bytes;
            return true;
        }
    *size = 1;
    return c >= 0xf1 && c <= 0xfd;
}

static int64_t zl_int(const uint8_t *p)
{
    switch (*p) {
    case 0xc0: return (int16_t)le16(p + 1);
    case 0xd0: return (int32_t)le32(p + 1);
    case 0xe0: return (int64_t)le64(p + 1);
    case 0xf0: return (int32_t)((uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24) >> 8;
    case 0xfe: return (int8_t)p[1];
    default: return (*p & 15) - 1;
    }
}

int ziplist_next(const uint8_t *zl, size_t n, const uint8_t **it, struct elem *e)
{
    if (*it == NULL) {
        if (n < 11 || le32(zl) != n || zl[n - 1] != 0xff)
            return -1;
        *it = zl + 10;
    }
    const uint8_t *end = zl + n - 1;
    if (*it == end)
        return 0;
    size_t prev = **it < 254 ? 1 : 5;
    size_t left = (size_t)(end - *it);
    if (**it == 0xff || left <= prev)
        return -1;
    const uint8_t *p = *it + prev;
    size_t head, size;
    if (!zl_size(p, left - prev, &head, &size) || size > left - prev)
        return -1;
    e->is_int = *p >= 0xc0;
    if (e->is_int) {
        e->v = zl_int(p);
        elem_text(e);
    } else {
        e->p = p + head;
        e->n = size - head;
    }
    *it = p + size;
    return 1;
}

long ziplist_check(const uint8_t *zl, size_t n)
{
    const uint8_t *it = NULL;
    const uint8_t *last = NULL;
    size_t before = 0;
    struct elem e;
    long count = 0;
    int rc = 0;
    if (n < 11)
        return -1;
    for (;;) {
        const uint8_t *at = it != NULL ? it : zl + 10;
        rc = ziplist_next(zl, n, &it, &e);
        if (rc != 1)
            break;
        size_t prev = *at < 254 ? *at : le32(at + 1);
        if (prev != before) /* servers walk backwards by it */
            return -1;
        before = (size_t)(it - at);
        last = at;
        count++;
    }
    if (rc < 0 || (last != NULL && le32(zl + 4) != (uint32_t)(last - zl)))
        return -1;
    long said = le16(zl + 8);
    return said == 65535 || said == count ? count : -1;
}

long intset_check(const uint8_t *is, size_t n)
{
    if (n < 8)
        return -1;
    uint32_t width = le32(is);
    uint32_t count = le32(is + 4);
    if ((width != 2 && width != 4 && width != 8) || n - 8 != (size_t)width * count)
        return -1;
    return (long)count;
}

bool intset_ascends(const uint8_t *is)
{
    for (uint32_t i = 1; i < le32(is + 4); i++)
        if (intset_at(is, i - 1) >= intset_at(is, i))
            return false;
    return true;
}

int64_t intset_at(const uint8_t *is, size_t i)
{
    switch (le32(is)) {
    case 2: return (int16_t)le16(is + 8 + 2 * i);
    case 4: return (int32_t)le32(is + 8 + 4 * i);
    default: return (int64_t)le64(is + 8 + 8 * i);
    }
}
