/* A key of the file that is being made, whose value comes in parts. */
#ifndef DFP_EXPORT_ITEM_H
#define DFP_EXPORT_ITEM_H

#include "book.h"
#include "heap.h"

struct item {
    struct buf name;
    struct khash hash; /* of database and name */
    uint32_t db;
    uint64_t expire_ms; /* 0: none */
    struct hint hint;
    unsigned type;
    bool based, counted;
    uint64_t base;  /* based: eight bytes in front of all */
    uint64_t count; /* counted: of elements or nodes, in front of the body */
    struct heaped body;
};

/* Longest beginning of an entry, up to its key. */
#define ITEM_HEAD 32

/* Expiry, hint and type; at most ITEM_HEAD bytes with the length of the key. */
uint8_t *item_head(uint8_t *p, uint64_t expire_ms, struct hint hint, unsigned type);

/* Begin one. False: no room for its name. */
bool item_begin(struct item *x, struct heap *h, uint32_t db, const struct key *k, uint64_t expire_ms,
                struct hint hint);

/* Complete: write it. */
void item_write(struct item *x, struct heap *h, struct book *b);

/* Written or not, nothing is left of it. */
void item_end(struct item *x, struct heap *h);
void item_free(struct item *x);

#endif
