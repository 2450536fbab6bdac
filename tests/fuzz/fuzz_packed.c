/* Listpacks, ziplists, intsets, zipmaps: what is checked can be walked, and gives the same number. */
#include "fuzz.h"

#include "../../parser/value/listpack.h"

static long walk(int (*next)(const uint8_t *, size_t, const uint8_t **, struct elem *), const uint8_t *p,
                 size_t n)
{
    const uint8_t *it = NULL;
    struct elem e;
    long count = 0;
    int rc;
    while ((rc = next(p, n, &it, &e)) == 1) {
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < e.n; i++)
            sum = (uint8_t)(sum + e.p[i]);
        HOLDS(!e.is_int || (e.n > 0 && e.n <= 20));
        count++;
        HOLDS(count <= (long)n);
    }
    return rc < 0 ? -1 : count;
}

static long walk_zipmap(const uint8_t *p, size_t n)
{
    const uint8_t *it = NULL;
    struct elem e;
    long count = 0;
    int rc;
    while ((rc = zipmap_next(p, n, &it, count % 2 != 0, &e)) == 1) {
        HOLDS(e.p >= p && e.p + e.n <= p + n);
        count++;
    }
    return rc < 0 ? -1 : count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p = fuzz_exact(data, size);
    if (size >= 8) { /* the total is not what is to be guessed */
        uint32_t total = (uint32_t)size;
        if ((p[size - 1] & 1) != 0)
            memcpy(p, &total, 4);
    }
    long n = listpack_check(p, size);
    if (n >= 0)
        HOLDS(walk(listpack_next, p, size) == n);
    else if (size >= 7)
        (void)walk(listpack_next, p, size);
    n = ziplist_check(p, size);
    if (n >= 0)
        HOLDS(walk(ziplist_next, p, size) == n);
    else if (size >= 11)
        (void)walk(ziplist_next, p, size);
    n = zipmap_check(p, size);
    HOLDS(n < 0 || (n % 2 == 0 && walk_zipmap(p, size) == n));
    n = intset_check(p, size);
    bool ascends = n < 0 || intset_ascends(p);
    for (long i = 1; i < n && ascends; i++)
        HOLDS(intset_at(p, (size_t)i - 1) < intset_at(p, (size_t)i));
    free(p);
    return 0;
}
