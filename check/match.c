#include "match.h"

#include <stdlib.h>
#include <string.h>

#include "io.h"

#define FIT       ((uint64_t)4 << 20) /* bytes of entries that are matched at once */
#define LOAD_MOST ((size_t)64 << 20)  /* of them, where keys are long */
#define HASH_BITS 64u

struct slot {
    uint32_t at[MATCH_PILES]; /* one more than where the entry stands, in units of 8 bytes; 0: none */
};

struct match {
    match_fn *fn;
    void *ctx;
    struct buf entries;
    struct slot *slot;
    size_t slots; /* a power of two */
};

static const struct entry *entry_at(const struct match *m, uint32_t at)
{
    return (const struct entry *)(const void *)(m->entries.p + (size_t)(at - 1) * 8);
}

static bool same_key(const struct entry *a, const struct entry *b)
{
    struct slice x = entry_name(a), y = entry_name(b);
    return a->db == b->db && x.n == y.n && memcmp(x.p, y.p, x.n) == 0;
}

static const struct entry *any_of(const struct match *m, const struct slot *s)
{
    for (unsigned i = 0; i < MATCH_PILES; i++)
        if (s->at[i] != 0)
            return entry_at(m, s->at[i]);
    return NULL;
}

static struct slot *find(const struct match *m, const struct entry *e)
{
    struct slice name = entry_name(e);
    size_t i = (size_t)entry_hash(e->db, name.p, name.n) & (m->slots - 1);
    const struct entry *other;
    while ((other = any_of(m, &m->slot[i])) != NULL && !same_key(e, other))
        i = (i + 1) & (m->slots - 1);
    return &m->slot[i];
}

static void put(const struct match *m, unsigned which, size_t at)
{
    struct entry *e = (struct entry *)(void *)(m->entries.p + at);
    struct slot *s = find(m, e);
    if (s->at[which] != 0)
        e->flags |= entry_at(m, s->at[which])->flags & ENTRY_UNKNOWN;
    s->at[which] = (uint32_t)(at / 8 + 1);
}

static size_t slots_for(size_t n)
{
    size_t slots = 64;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

/* Piles of one number, which fit. */
static void match_here(struct match *m, struct piles *const p[MATCH_PILES], unsigned i)
{
    size_t end[MATCH_PILES], n = 0, at = 0;
    m->entries.len = 0;
    for (unsigned k = 0; k < MATCH_PILES; k++) {
        piles_load(p[k], i, &m->entries);
        end[k] = m->entries.len;
    }
    for (size_t k = 0; k < m->entries.len; n++)
        k += ((const struct entry *)(const void *)(m->entries.p + k))->size;
    m->slots = slots_for(n);
    m->slot = xcalloc(m->slots, sizeof *m->slot);
    for (unsigned k = 0; k < MATCH_PILES; k++)
        for (; at < end[k]; at += ((const struct entry *)(const void *)(m->entries.p + at))->size)
            put(m, k, at);
    for (size_t s = 0; s < m->slots; s++) {
        const struct entry *e[MATCH_PILES];
        for (unsigned k = 0; k < MATCH_PILES; k++)
            e[k] = m->slot[s].at[k] != 0 ? entry_at(m, m->slot[s].at[k]) : NULL;
        if (any_of(m, &m->slot[s]) != NULL)
            m->fn(m->ctx, e);
    }
    free(m->slot);
    m->slot = NULL;
    buf_trim(&m->entries, 0);
}

static void spread(void *ctx, const struct entry *e)
{
    struct slice name = entry_name(e);
    piles_add(ctx, entry_hash(e->db, name.p, name.n), e);
}

static void match_piles(struct match *m, struct piles *const p[MATCH_PILES]);

/* Piles of one number, which do not. */
static void match_spread(struct match *m, struct piles *const p[MATCH_PILES], unsigned i)
{
    struct piles *finer = xcalloc(MATCH_PILES, sizeof *finer);
    struct piles *const all[MATCH_PILES] = {&finer[0], &finer[1], &finer[2]};
    struct buf scratch = {.max = LOAD_MOST};
    for (unsigned k = 0; k < MATCH_PILES; k++) {
        piles_init(&finer[k], p[k]->shift + PILES_BITS);
        piles_each(p[k], i, &scratch, spread, &finer[k]);
    }
    buf_free(&scratch);
    match_piles(m, all);
    for (unsigned k = 0; k < MATCH_PILES; k++)
        piles_free(&finer[k]);
    free(finer);
}

static void match_piles(struct match *m, struct piles *const p[MATCH_PILES])
{
    for (unsigned k = 0; k < MATCH_PILES; k++)
        piles_close(p[k]);
    for (unsigned i = 0; i < PILES; i++) {
        uint64_t bytes = 0;
        for (unsigned k = 0; k < MATCH_PILES; k++)
            bytes += p[k]->pile[i].bytes;
        if (bytes > FIT && p[0]->shift + 2 * PILES_BITS <= HASH_BITS)
            match_spread(m, p, i);
        else if (bytes > 0)
            match_here(m, p, i);
    }
}

void match_all(struct piles *const p[MATCH_PILES], match_fn *fn, void *ctx)
{
    struct match m = {.fn = fn, .ctx = ctx, .entries = {.max = LOAD_MOST}};
    match_piles(&m, p);
    buf_free(&m.entries);
}
