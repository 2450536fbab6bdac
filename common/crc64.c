/* By carry-less multiplication where the processor has it, else by tables: sixteen look-ups for sixteen bytes
 * that do not wait for each other. */
#include "crc64.h"

#include <string.h>

#define POLY UINT64_C(0x95ac9329ac4bc9b5) /* reflected: the highest bit is x^0 */

static uint64_t table[16][256];

static void make_tables(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint64_t c = b;
        for (int i = 0; i < 8; i++)
            c = (c & 1) != 0 ? (c >> 1) ^ POLY : c >> 1;
        table[0][b] = c;
    }
    for (unsigned k = 1; k < 16; k++)
        for (unsigned b = 0; b < 256; b++)
            table[k][b] = table[0][table[k - 1][b] & 255] ^ (table[k - 1][b] >> 8);
}

static inline uint64_t eight(uint64_t v, const uint64_t t[][256])
{
    return t[7][v & 255] ^ t[6][v >> 8 & 255] ^ t[5][v >> 16 & 255] ^ t[4][v >> 24 & 255] ^
           t[3][v >> 32 & 255] ^ t[2][v >> 40 & 255] ^ t[1][v >> 48 & 255] ^ t[0][v >> 56];
}

static uint64_t by_tables(uint64_t crc, const uint8_t *p, size_t n)
{
    while (n >= 16) {
        uint64_t a, b;
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        a ^= crc;
        crc = eight(a, (const uint64_t(*)[256])(table + 8)) ^ eight(b, (const uint64_t(*)[256])table);
        p += 16;
        n -= 16;
    }
    while (n-- > 0)
        crc = table[0][(crc ^ *p++) & 255] ^ (crc >> 8);
    return crc;
}

#ifdef __x86_64__

#include <immintrin.h>

#define BLOCK ((size_t)64)

static int has_clmul;
static uint64_t by_512[2],
    by_128[2]; /* what moves 64 bits on by so many bits: the first and the second half */

/* x^n modulo the polynomial. */
static uint64_t power(unsigned n)
{
    uint64_t r = UINT64_C(1) << 63;
    for (; n > 0; n--)
        r = (r & 1) != 0 ? (r >> 1) ^ POLY : r >> 1;
    return r;
}

static void make_powers(void)
{
    /* A product of two reflected words is one bit further than the words are. */
    by_512[0] = power(512 + 64 - 1);
    by_512[1] = power(512 - 1);
    by_128[0] = power(128 + 64 - 1);
    by_128[1] = power(128 - 1);
    has_clmul = __builtin_cpu_supports("pclmul") != 0;
}

__attribute__((target("pclmul"))) static inline __m128i load(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* What x is further on in the message, with what stands there. */
__attribute__((target("pclmul"))) static inline __m128i fold(__m128i x, __m128i by, __m128i there)
{
    __m128i first = _mm_clmulepi64_si128(x, by, 0x00), second = _mm_clmulepi64_si128(x, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(first, second), there);
}

/* At least one block. The remainder of the message is that of sixteen bytes, in rest. Returns how much of it
 * was taken. */
__attribute__((target("pclmul"))) static size_t by_clmul(uint64_t crc, const uint8_t *p, size_t n,
                                                         uint8_t rest[16])
{
    const __m128i far = load(by_512), near = load(by_128);
    const uint8_t *from = p;
    __m128i x[4] = {load(p), load(p + 16), load(p + 32), load(p + 48)};
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi64_si128((long long)crc));
    for (p += BLOCK, n -= BLOCK; n >= BLOCK; p += BLOCK, n -= BLOCK)
        for (int i = 0; i < 4; i++)
            x[i] = fold(x[i], far, load(p + 16 * i));
    for (int i = 1; i < 4; i++)
        x[0] = fold(x[0], near, x[i]);
    for (; n >= 16; p += 16, n -= 16)
        x[0] = fold(x[0], near, load(p));
    _mm_storeu_si128((__m128i *)rest, x[0]);
    return (size_t)(p - from);
}

#endif

__attribute__((constructor)) static void prepare(void)
{
    make_tables();
#ifdef __x86_64__
    make_powers();
#endif
}

uint64_t crc64(uint64_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
#ifdef __x86_64__
    uint8_t rest[16];
    if (n >= BLOCK && has_clmul) {
        size_t taken = by_clmul(crc, p, n, rest);
        crc = by_tables(0, rest, sizeof rest);
        p += taken;
        n -= taken;
    }
#endif
    return by_tables(crc, p, n);
}
