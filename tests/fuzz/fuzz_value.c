/* One value: passed over, decoded at once, decoded in pieces. First byte: type; second: target and sizes;
 * third: pieces. */
#include "fuzz.h"

#include "../../parser/value.h"

static enum got decode(unsigned type, uint8_t choice, const uint8_t *p, size_t n, size_t step, size_t *used,
                       struct buf *out)
{
    static const struct key key = {(const uint8_t *)"k", 1, 0, REC_NO_SLOT};
    struct origin o = {.epoch = 1, .journal = (choice & 1) != 0};
    struct scratch s = {.body = {.len = 0}};
    struct value v = {.type = 0};
    struct emit e;
    struct key k;
    size_t at = 0, have = 0;
    enum got g = NEED;
    fuzz_emit(&e, choice);
    key_set(&e, &k, key.p, key.n);
    value_begin(&v, &e, &o, type, &k, (choice & 2) != 0 ? NOW_MS + 5000 : 0);
    while (g == NEED && have < n) {
        have = n - have < step ? n : have + step;
        uint8_t *q = fuzz_exact(p + at, have - at);
        struct cur c = {q, q + (have - at), 0, NULL};
        g = value_feed(&v, &e, &o, &c, &s);
        HOLDS(c.p >= q && c.p <= c.end);
        at += (size_t)(c.p - q);
        free(q);
    }
    *used = at;
    value_free(&v);
    scratch_free(&s);
    fuzz_canon(&e, out);
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf whole, split;
    if (size < 4)
        return 0;
    unsigned type = data[0] % 38;
    if (value_class(type) == 0)
        return 0;
    struct scratch s = {.body = {.len = 0}};
    size_t n = size - 3, used, used2, scanned = 0;
    enum got scan = BAD;
    if (value_class(type) != CLASS_OTHER) {
        uint8_t *q = fuzz_exact(data + 3, n);
        struct cur c = {q, q + n, 0, NULL};
        scan = value_scan(type, &c, &s);
        scanned = (size_t)(c.p - q);
        if (scan == NEED)
            HOLDS(c.want > 0);
        if (scan == BAD)
            HOLDS(c.why != NULL);
        free(q);
    }
    enum got g = decode(type, data[1], data + 3, n, n, &used, &whole);
    enum got g2 = decode(type, data[1], data + 3, n, 1 + data[2] % 60, &used2, &split);
    if (scan == GOT) { /* decoding sees more (LZF, scores, expiries) but never another length */
        HOLDS(g != NEED);
        HOLDS(g == BAD || used == scanned);
    }
    if (scan == BAD && value_class(type) != CLASS_OTHER)
        HOLDS(g != GOT);
    HOLDS(g == g2);
    if (g == GOT) {
        HOLDS(used == used2);
        HOLDS(whole.len == split.len && memcmp(whole.p, split.p, whole.len) == 0);
    }
    scratch_free(&s);
    return 0;
}
