/* Names of keys that df2redis keeps in the target for itself: positions, and what programs put aside. */
#ifndef DF_OURS_H
#define DF_OURS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define OUR_KEYS "df2redis:{"

static inline bool key_is_ours(const void *key, size_t n)
{
    return n >= sizeof OUR_KEYS - 1 && memcmp(key, OUR_KEYS, sizeof OUR_KEYS - 1) == 0;
}

#endif
