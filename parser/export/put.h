/* Primitives of RDB files, as bytes to write. rdb(5), PRIMITIVES. */
#ifndef DFP_EXPORT_PUT_H
#define DFP_EXPORT_PUT_H

#include <stdint.h>
#include <string.h>

#define PUT_LEN_MAX 9 /* bytes of a length */

static inline uint8_t *put_u64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
    return p + sizeof v;
}

static inline uint8_t *put_len(uint8_t *p, uint64_t n)
{
    if (n < 64) {
        *p++ = (uint8_t)n;
    } else if (n < 16384) {
        *p++ = (uint8_t)(n >> 8 | 0x40);
        *p++ = (uint8_t)n;
    } else if (n <= UINT32_MAX) {
        uint32_t be = __builtin_bswap32((uint32_t)n);
        *p++ = 0x80;
        memcpy(p, &be, sizeof be);
        p += sizeof be;
    } else {
        *p++ = 0x81;
        p = put_u64(p, __builtin_bswap64(n));
    }
    return p;
}

static inline uint8_t *put_bytes(uint8_t *p, const void *data, size_t n)
{
    if (n > 0)
        memcpy(p, data, n);
    return p + n;
}

static inline uint8_t *put_str(uint8_t *p, const void *data, size_t n)
{
    return put_bytes(put_len(p, n), data, n);
}

#endif
