/* The keys of a server that are being read, in order, and places between them. Each goes through the steps
 * type and size (asked for, known) and value (asked for), and is done with at the head. Their names lie one
 * behind the other. */
#ifndef READER_SCAN_WANTS_H
#define READER_SCAN_WANTS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "resp.h"

enum want_kind {
    WANT_KEY,
    WANT_PLACE,
    WANT_END, /* a place behind which the scan is complete */
    WANT_NOTHING,
};

enum want_type {
    TYPE_UNKNOWN,
    TYPE_STRING,
    TYPE_LIST,
    TYPE_SET,
    TYPE_ZSET,
    TYPE_HASH,
    TYPE_STREAM,
    TYPE_OTHER,
    TYPE_NONE
};

struct want {
    uint64_t name;   /* where it begins, counted from the first byte ever */
    uint64_t size;   /* bytes, or elements where the source tells no more; 0: not known */
    uint64_t on_way; /* what it counts while it is asked for */
    uint32_t len;
    uint8_t kind, type;
    bool live;    /* it was named by a notification */
    bool large;   /* its value is read in parts */
    bool guessed; /* its type was not asked for */
    bool again;   /* it was read before, and what came was not all */
    bool longer;  /* a string that is asked for its length first */
    bool whole;   /* ... not, as found when that began */
    bool plain;   /* nothing is asked about its size */
};

struct wants {
    struct want *v;
    uint32_t cap; /* a power of two */
    uint64_t head, tail;
    uint64_t type_asked, type_known, size_asked, size_known, value_asked; /* the next one, of each step */
    struct buf names;
    uint64_t gone; /* bytes of names before those in names */
    uint64_t next; /* where the next name begins */
};

#define WANTS_MAX (1u << 20)

void wants_free(struct wants *w);
void wants_clear(struct wants *w);

static inline struct want *want_at(const struct wants *w, uint64_t i)
{
    return &w->v[i & (w->cap - 1)];
}

static inline uint64_t wants_left(const struct wants *w)
{
    return w->tail - w->head;
}

static inline struct slice want_name(const struct wants *w, const struct want *x)
{
    return (struct slice){w->names.p + (x->name - w->gone), x->len};
}

/* Bytes of the next one's name. False: that cannot be kept. */
bool wants_name(struct wants *w, const void *p, size_t n);

/* The bytes added since the last call are a name. False: too many. */
bool wants_add(struct wants *w, enum want_kind kind, bool live);

/* The head is done with. */
void wants_pop(struct wants *w);

#endif
