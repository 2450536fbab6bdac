/* Zipmaps: small hashes of Redis up to 2.4. */
#include "listpack.h"

#include "prim.h"

/* Length at p: one byte below 254, or fe and four bytes. 0 bytes used: impossible. */
static size_t take_len(const uint8_t *p, size_t left, size_t *len)
{
    if (left < 1)
        return 0;
    if (*p < 254) {
        *len = *p;
        return 1;
    }
    if (*p != 254 || left < 5)
        return 0;
    *len = le32(p + 1);
    return 5;
}

int zipmap_next(const uint8_t *zm, size_t n, const uint8_t **it, bool value, struct elem *e)
{
    size_t len = 0;
    if (*it == NULL) {
        if (n < 2 || zm[n - 1] != 0xff)
            return -1;
        *it = zm + 1;
    }
    size_t left = (size_t)(zm + n - 1 - *it);
    if (left == 0)
        return value ? -1 : 0;
    size_t head = take_len(*it, left, &len);
    size_t extra = value ? 1 : 0; /* the number of unused bytes behind a value */
    if (head == 0 || left - head < extra || left - head - extra < len)
        return -1;
    size_t unused = value ? (*it)[head] : 0;
    if (left - head - extra - len < unused)
        return -1;
    e->is_int = false;
    e->p = *it + head + extra;
    e->n = len;
    *it += head + extra + len + unused;
    return 1;
}

long zipmap_check(const uint8_t *zm, size_t n)
{
    const uint8_t *it = NULL;
    struct elem e;
    long count = 0;
    int rc;
    while ((rc = zipmap_next(zm, n, &it, count % 2 != 0, &e)) == 1)
        count++;
    if (rc < 0)
        return -1;
    return zm[0] >= 254 || zm[0] == count / 2 ? count : -1;
}

bool zipmap_wasteful(const uint8_t *zm, size_t n)
{
    const uint8_t *it = NULL, *at = zm + 1;
    struct elem e;
    for (bool value = false; zipmap_next(zm, n, &it, value, &e) == 1; value = !value, at = it)
        if (*at == 254 && le32(at + 1) < 254)
            return true;
    return false;
}
