/* A set of 32-bit key hashes: open addressing, linear probing, removal without tombstones. */
#ifndef RW_HASHSET_H
#define RW_HASHSET_H

#include <stdbool.h>
#include <stdint.h>

struct hashset {
    uint32_t *slot; /* 0: free */
    uint32_t mask;
    unsigned shift;
    uint32_t count;
};

/* Room for max members (the table is twice that, a power of two). */
void hashset_init(struct hashset *s, uint32_t max);
void hashset_free(struct hashset *s);

/* A hash as it is kept: the database is mixed in, 0 is kept for free slots. */
static inline uint32_t hashset_key(uint32_t hash, uint32_t db)
{
    uint32_t h = hash ^ db * 0x9e3779b1u;
    return h != 0 ? h : 1;
}

/* A hash that is kept as key in that database. */
static inline uint32_t hashset_hash(uint32_t key, uint32_t db)
{
    return key ^ db * 0x9e3779b1u;
}

static inline uint32_t hashset_home(const struct hashset *s, uint32_t key)
{
    return key * 0x85ebca6bu >> s->shift;
}

static inline bool hashset_has(const struct hashset *s, uint32_t key)
{
    for (uint32_t i = hashset_home(s, key);; i = (i + 1) & s->mask) {
        if (s->slot[i] == key)
            return true;
        if (s->slot[i] == 0)
            return false;
    }
}

/* Add key. False when it was there already. The caller sees to it that there are no more than max. */
static inline bool hashset_add(struct hashset *s, uint32_t key)
{
    for (uint32_t i = hashset_home(s, key);; i = (i + 1) & s->mask) {
        if (s->slot[i] == key)
            return false;
        if (s->slot[i] == 0) {
            s->slot[i] = key;
            s->count++;
            return true;
        }
    }
}

/* Remove a member. */
void hashset_remove(struct hashset *s, uint32_t key);

#endif
