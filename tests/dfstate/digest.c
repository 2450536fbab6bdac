/* One number for the whole state of a server: the sum of 128-bit hashes of its records.
 * A sum, not an exclusive or, so that a key held twice in a cluster does not cancel itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dfstate.h"

typedef struct hash128 {
    uint64_t a, b;
} hash128;

static uint64_t turn(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

/* Spreads every bit of x over the whole word. */
static uint64_t spread(uint64_t x)
{
    x ^= x >> 31;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 29;
    x *= UINT64_C(0xa0761d6478bd642f);
    return x ^ x >> 32;
}

static void mix(hash128 *h, uint64_t word)
{
    h->a = turn(h->a ^ word, 27) * UINT64_C(0x9e3779b97f4a7c15) + h->b;
    h->b = turn(h->b + word, 33) * UINT64_C(0xc2b2ae3d27d4eb4f) ^ h->a;
}

/* Guards against accidents, not against attackers. The length ends the words, so that padding the
 * last one with zeros is unambiguous. */
static hash128 hash(bytes s)
{
    hash128 h = {UINT64_C(0x243f6a8885a308d3), UINT64_C(0x13198a2e03707344)};
    size_t i = 0;
    uint64_t w;

    for (; i + sizeof(w) <= s.n; i += sizeof(w)) {
        memcpy(&w, s.p + i, sizeof(w));
        mix(&h, w);
    }
    w = 0;
    memcpy(&w, s.p + i, s.n - i);
    mix(&h, w);
    mix(&h, s.n);
    h.a = spread(h.a + turn(h.b, 17));
    h.b = spread(h.b ^ h.a);
    return h;
}

void digest_run(const target *t, bool no_ttl)
{
    live *l = live_open(t, (live_options){.no_ttl = no_ttl, .no_reads = true});
    hash128 sum = {0, 0};
    record r;

    while (live_next(l, &r)) {
        hash128 h = hash(r.line);

        sum.a += h.a;
        sum.b += h.b;
    }
    printf("%016" PRIx64 "%016" PRIx64 "\n", sum.a, sum.b);
    live_close(l);
}
