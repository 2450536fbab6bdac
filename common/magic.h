/* How a snapshot begins. dfreader recognizes files of other kinds by it, dfparse reads it. */
#ifndef DF_MAGIC_H
#define DF_MAGIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAGIC_WANTED "the magic REDISnnnn or VALKEYnnn of a snapshot"

/* As far as there are bytes: of what is cut within its magic, dfparse says that it is cut short. */
static inline bool magic_begins(const uint8_t *p, size_t n)
{
    return memcmp(p, "REDIS", n < 5 ? n : 5) == 0 || memcmp(p, "VALKEY", n < 6 ? n : 6) == 0;
}

#endif
