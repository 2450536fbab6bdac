/* Pseudo-random numbers as pure functions, so that any key or entry can be made again at will. */
#include "standin.h"

#include <string.h>

/* A finalizer in the style of splitmix64: every input bit reaches every output bit. */
uint64_t mix64(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t mix2(uint64_t a, uint64_t b)
{
    return mix64(mix64(a) ^ b);
}

void hex40(char out[REPLID_LEN + 1], uint64_t a, uint64_t b)
{
    static const char digit[] = "0123456789abcdef";
    for (unsigned i = 0; i < REPLID_LEN; i++) {
        uint64_t r = mix2(mix2(a, b), i / 16);
        out[i] = digit[(r >> (4 * (i % 16))) & 15];
    }
    out[REPLID_LEN] = '\0';
}
