/* Requests that come in several records: collected in memory up to a bound, then in an unlinked file, and
 * sent whole. */
#ifndef RW_COLLECT_H
#define RW_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"
#include "../conn/args.h"
#include "request.h"

/* A server closes a connection with more than client-query-buffer-limit (1 GiB), the transaction around
 * included. */
#define BIG_MAX (((uint64_t)1 << 30) - ((uint64_t)64 << 10))

struct big {
    struct rec first; /* header of the first record */
    struct buf mem;   /* its first bytes, enough to name the key; all of them as long as fd is -1 */
    size_t keep;      /* so much may stay in memory */
    int fd;
    uint64_t size;
    uint64_t sent;
    bool too_large; /* only counted, not kept */
    struct reqcheck check;
    struct args args; /* for the sweep, while there is one */
};

/* Begin with a first record; keep: bytes that may stay in memory. */
struct big *big_new(const struct rec *r, size_t keep);
void big_free(struct big *b);

/* Append a record's payload. Returns NULL, or what is wrong; *io: writing the file failed (errno). */
const char *big_add(struct big *b, const uint8_t *payload, size_t n, const char *dir, bool *io);

/* Up to n bytes from offset at. Returns how many, -1 with errno. */
long big_read(const struct big *b, uint64_t at, uint8_t *to, size_t n);

#endif
