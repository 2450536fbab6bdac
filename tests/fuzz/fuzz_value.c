/* One value: passed over, made over for an older target, decoded at once, decoded in pieces. First byte: type
 * (0 to 37 Dragonfly's numbers, then Redis' from 22 to 32, then Valkey's 22); second: target and sizes;
 * third: pieces, with more about the target in its upper half. */
#include "fuzz.h"

#include "../../parser/value/value.h"

#define TYPES 50u

static unsigned type_of(unsigned byte)
{
    byte %= TYPES;
    return byte < 38 ? byte : byte < 49 ? T_REDIS + byte - 16 : T_VALKEY + 22;
}

/* Templates 1 (id, name) and 300 (x, y, 2000), as the fixture has them. */
static const struct hash_template *templates(void)
{
    static struct hash_template t[2];
    static const char *const names[] = {"id", "name", "x", "y", "2000"};
    if (t[0].fields == 0)
        for (size_t i = 0; i < 5; i++) {
            uint64_t n = strlen(names[i]);
            (void)buf_add(&t[i > 1].names, &n, 8);
            (void)buf_add(&t[i > 1].names, names[i], n);
            t[i > 1].fields++;
        }
    t[0].id = 1;
    t[0].next = &t[1];
    t[1].id = 300;
    return t;
}

static enum got decode(unsigned type, uint8_t choice, unsigned more, const uint8_t *p, size_t n, size_t step,
                       size_t *used, struct buf *out)
{
    static const struct slice key = {(const uint8_t *)"k", 1};
    struct origin o = {.epoch = 1, .journal = (choice & 1) != 0};
    struct scratch s = {.body = {.len = 0}};
    struct value v = {.type = 0};
    struct emit e;
    struct key k;
    size_t at = 0, have = 0;
    enum got g = NEED;
    fuzz_emit(&e, choice, more);
    key_set(&e, &k, key.p, key.n);
    value_begin(&v, &e, &o, &s, type, &k, (choice & 2) != 0 ? NOW_MS + 5000 : 0);
    v.template.known = templates();
    while (g == NEED && have < n) {
        have = n - have < step ? n : have + step;
        uint8_t *q = fuzz_exact(p + at, have - at);
        struct cur c = {q, q + (have - at), 0, NULL};
        g = value_feed(&v, &c);
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
    unsigned type = type_of(data[0]), more = data[2] >> 4;
    if (value_class(type) == 0)
        return 0;
    struct scratch s = {.body = {.len = 0}};
    size_t n = size - 3, used, used2, scanned = 0;
    enum got scan = BAD;
    bool other = type == T_REDIS + 30 || type == T_REDIS + 32; /* cannot be scanned */
    if (!other) {
        uint8_t *q = fuzz_exact(data + 3, n);
        struct cur c = {q, q + n, 0, NULL};
        scan = value_scan(type, &c, &s);
        scanned = (size_t)(c.p - q);
        if (scan == NEED)
            HOLDS(c.want > 0);
        if (scan == BAD)
            HOLDS(c.why != NULL);
        struct cur c2 = {q, q + n, 0, NULL};
        struct slice older;
        if (type == 21 || type == T_REDIS + 26) {
            HOLDS(stream_to_older(type, (data[1] & 1) != 0, &c2, &s, &older) == scan && c2.p == c.p);
            HOLDS(scan != GOT || older.n <= scanned);
        }
        if (scan == GOT && type != 7)
            (void)value_stale(type, &(struct slice){q, scanned}, NOW_MS);
        free(q);
    }
    enum got g = decode(type, data[1], more, data + 3, n, n, &used, &whole);
    enum got g2 = decode(type, data[1], more, data + 3, n, 1 + data[2] % 60, &used2, &split);
    if (scan == GOT) { /* decoding sees more (LZF, scores, expiries) but never another length */
        HOLDS(g != NEED);
        HOLDS(g == BAD || used == scanned);
    }
    if (scan == BAD && !other)
        HOLDS(g != GOT);
    HOLDS(g == g2);
    if (g == GOT) {
        HOLDS(used == used2);
        /* Of a damaged value more or less is written, in pieces, before it is deleted. */
        bool damage = memmem(whole.p, whole.len, "damaged-value", 13) != NULL;
        HOLDS(damage == (memmem(split.p, split.len, "damaged-value", 13) != NULL));
        HOLDS(damage || (whole.len == split.len && memcmp(whole.p, split.p, whole.len) == 0));
    }
    scratch_free(&s);
    return 0;
}
