/* A reply of a server, taken apart as it arrives: a flat list of elements. Of a long text only its beginning
 * and its hash are kept, so that a value of any size takes a bounded amount of memory. Pure functions over
 * buffers. */
#ifndef CHECK_REPLY_H
#define CHECK_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "buf.h"
#include "resp_in.h"

/* Of every text at least so many bytes are kept. */
#define REPLY_PREFIX   40

#define REPLY_ELEMS    ((size_t)128 << 10) /* most elements of one reply */
#define REPLY_TEXT_MAX ((size_t)4 << 20)   /* most bytes kept of one reply */

#define KEPT_MOST      ((size_t)1 << 20)

enum reply_type { REPLY_NIL, REPLY_INT, REPLY_TEXT, REPLY_ERROR, REPLY_ARRAY };

/* What is kept of texts beyond their beginnings. */
enum reply_keep {
    KEEP_BEGIN, /* nothing */
    KEEP_ALL,   /* everything */
    KEEP_NAMES, /* of arrays in the array, the elements 0, 2, 4 …: field names of HSCAN; and everything
                   outside */
    KEEP_FRONT, /* everything of the first elements of an array: a command, its key */
    KEEP_SMALL, /* everything of texts up to KEPT_MOST */
    KEEP_DUMP,  /* nothing; the hash leaves out the last 10 bytes: version and checksum of a DUMP payload */
};

struct elem {
    uint8_t type;
    uint8_t depth;    /* 0: the reply itself, 1: an element of its array … */
    uint32_t kept;    /* bytes of the text that are kept ... */
    size_t at;        /* ... and where */
    uint64_t n;       /* TEXT, ERROR: length; ARRAY: elements; INT: the number */
    uint64_t hash[2]; /* TEXT, ERROR: of the whole */
};

struct reply {
    struct elem *e;
    size_t n, cap;
    struct buf text;

    /* While it arrives. */
    struct resp_in in;
    uint64_t done; /* bytes of a text that comes in pieces */
    enum reply_keep keep;
    XXH3_state_t *state;
    const char *fault;
};

void reply_init(struct reply *r);
void reply_free(struct reply *r);

/* Begin another one. What a large one took is given back. */
void reply_begin(struct reply *r, enum reply_keep keep);

/* Take what there is of n bytes; *taken says how many. Returns 1 complete, 0 more is needed, -1 it is no
 * reply or beyond the bounds (r->fault). */
int reply_feed(struct reply *r, const uint8_t *p, size_t n, size_t *taken);

/* The contents change places. */
void reply_swap(struct reply *a, struct reply *b);

static inline const uint8_t *elem_text(const struct reply *r, const struct elem *e)
{
    return r->text.p + e->at;
}

/* It is there as a whole. */
static inline bool elem_whole(const struct elem *e)
{
    return e->type == REPLY_TEXT && e->kept == e->n;
}

static inline bool elem_same_text(const struct elem *a, const struct elem *b)
{
    return a->n == b->n && a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1];
}

/* Both say the same: type, and number, text or (of an array) size. */
bool elem_same(const struct elem *a, const struct elem *b);

/* The element is this text. */
bool elem_is(const struct reply *r, const struct elem *e, const char *text);

/* Element number i of the array at index at: its index. r->n: there is none. */
size_t reply_child(const struct reply *r, size_t at, uint64_t i);

/* The index behind the element at index at and all that is in it. */
size_t reply_skip(const struct reply *r, size_t at);

/* Of an array name, value, name, value … at index at: the index of the value. r->n: it has none. */
size_t reply_field(const struct reply *r, size_t at, const char *name);

#endif
