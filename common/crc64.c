/* Slicing by sixteen: sixteen table look-ups for sixteen bytes that do not wait for each other. */
#include "crc64.h"

#include <string.h>

#define POLY UINT64_C(0x95ac9329ac4bc9b5) /* reflected */

static uint64_t table[16][256];

__attribute__((constructor)) static void make_tables(void)
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

uint64_t crc64(uint64_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
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
