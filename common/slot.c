#include "slot.h"

#include <string.h>

/* table[k][b]: of the byte b with k zero bytes behind it, for eight bytes at a time. */
static uint16_t table[8][256];

__attribute__((constructor)) static void make_table(void)
{
    for (unsigned b = 0; b < 256; b++) {
        unsigned c = b << 8;
        for (int i = 0; i < 8; i++)
            c = (c & 0x8000) != 0 ? (c << 1) ^ 0x1021 : c << 1;
        table[0][b] = (uint16_t)c;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned b = 0; b < 256; b++)
            table[k][b] = (uint16_t)(table[k - 1][b] << 8 ^ table[0][table[k - 1][b] >> 8]);
}

static unsigned crc16(const uint8_t *p, size_t n)
{
    unsigned crc = 0;
    for (; n >= 8; p += 8, n -= 8)
        crc = (unsigned)table[7][(crc >> 8 ^ p[0]) & 255] ^ table[6][(crc ^ p[1]) & 255] ^ table[5][p[2]] ^
              table[4][p[3]] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; n > 0; p++, n--)
        crc = (crc << 8 & 0xffff) ^ table[0][(crc >> 8 ^ *p) & 255];
    return crc;
}

uint16_t key_slot(const void *key, size_t n)
{
    const uint8_t *p = key;
    const uint8_t *open = memchr(p, '{', n);
    if (open != NULL) {
        size_t rest = n - (size_t)(open + 1 - p);
        const uint8_t *close = memchr(open + 1, '}', rest);
        if (close != NULL && close > open + 1) {
            p = open + 1;
            n = (size_t)(close - p);
        }
    }
    return (uint16_t)(crc16(p, n) & 16383);
}

/* Found by trying, once for all slots (some 10 ms): only requests over several slots need it. */
void slot_tag(unsigned slot, char out[SLOT_TAG_MAX])
{
    static char tag[SLOTS][5];
    static unsigned found;
    for (unsigned n = 0; found < SLOTS; n++) {
        char text[SLOT_TAG_MAX];
        size_t len = 0;
        for (unsigned v = n; len == 0 || v > 0; v /= 36)
            text[len++] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
        char *to = tag[key_slot(text, len)];
        if (to[0] != '\0')
            continue;
        memcpy(to, text, len); /* at most 4 characters are needed (tests/unit) */
        found++;
    }
    memcpy(out, tag[slot], sizeof tag[slot]);
}
