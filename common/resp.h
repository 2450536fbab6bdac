/* RESP requests: formatting, and reading one back for messages and --json. */
#ifndef DF_RESP_H
#define DF_RESP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "buf.h"

/* Decimal digits of v to p (at most 20). Returns how many. */
size_t dec_u64(uint8_t *p, uint64_t v);
size_t dec_i64(uint8_t *p, int64_t v);

/* Bytes that "$<n>\r\n" or "*<n>\r\n" take at most. */
#define RESP_LEN_MAX 23

/* Write "*n\r\n" or "$n\r\n". Returns the end. */
static inline uint8_t *resp_len(uint8_t *p, char type, uint64_t n)
{
    *p++ = (uint8_t)type;
    if (n < 10)
        *p++ = (uint8_t)('0' + n);
    else if (n < 100) {
        *p++ = (uint8_t)('0' + n / 10);
        *p++ = (uint8_t)('0' + n % 10);
    } else
        p += dec_u64(p, n);
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

/* Write a bulk string. Returns the end. */
static inline uint8_t *resp_bulk(uint8_t *p, const void *data, size_t n)
{
    p = resp_len(p, '$', n);
    memcpy(p, data, n);
    p += n;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

/* Append to a buffer. They return 0, or -1 when the buffer's bound is reached. */
int resp_add_array(struct buf *b, uint64_t n);
int resp_add_bulk(struct buf *b, const void *data, size_t n);
int resp_add_str(struct buf *b, const char *s);
int resp_add_num(struct buf *b, int64_t v);

struct slice {
    const uint8_t *p;
    size_t n;
};

/* Take a request apart: up to max arguments into out. Returns the number of arguments the request announces,
 * or -1 when it is malformed or ends early. Arguments beyond the n bytes given (a request that goes on in the
 * next record) are cut: *whole says whether all of it was there. */
long resp_split(const uint8_t *p, size_t n, struct slice *out, size_t max, int *whole);

#endif
