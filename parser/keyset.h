/* A set of hashes of keys, for what only saves work when it is known. */
#ifndef DFP_KEYSET_H
#define DFP_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define KEYSET_MAX (1u << 20) /* more are not kept */

struct keyset {
    bool on; /* hashes are added */
    uint64_t *slot;
    uint32_t n, cap; /* a power of two */
};

/* Never 0. */
static inline uint64_t keyset_hash(uint32_t db, const void *key, size_t n)
{
    uint64_t h = XXH3_64bits_withSeed(key, n, db);
    return h != 0 ? h : 1;
}

void keyset_add(struct keyset *s, uint64_t hash);
bool keyset_has(const struct keyset *s, uint64_t hash);
void keyset_free(struct keyset *s);

#endif
