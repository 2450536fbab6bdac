/* Keys of a source that is scanned, on their way to an outlet (a file, a summary): each key once, whole. A
 * key waits until the next one comes, as what was read of it may turn out to be out of date; large ones wait
 * in a file. */
#ifndef DFP_HELD_KEY_H
#define DFP_HELD_KEY_H

#include "../change.h"
#include "../snapshot/carry.h"
#include "../snapshot/repeats.h"

enum held_form {
    HELD_GONE,     /* the source does not have it any more */
    HELD_DUMP,     /* what DUMP said */
    HELD_ELEMENTS, /* of a value, without their number; some of a set, hash or sorted set may come twice */
    HELD_FIELDS,   /* commands about its fields, behind its value */
    HELD_REPORT,   /* it cannot be written: why */
};

struct held_head {
    enum held_form form;
    unsigned type; /* HELD_ELEMENTS */
    bool live; /* it was read again: in place of the one that waits, if it is that; else it is passed over */
    uint32_t db;
    uint64_t expire_ms; /* 0: none */
    const char *why;    /* HELD_REPORT; it is kept */
};

struct held_key {
    struct sink *to;
    struct held_head head;
    bool waits; /* one is there, maybe not all of it */
    bool skips; /* what comes is passed over */
    struct buf name, raw;
    struct carry value;
    char why[160];
    struct repeats keys, elements;
    struct change change;
};

/* But for to, which the caller sets once. */
void held_init(struct held_key *h);
void held_free(struct held_key *h);

/* A key begins. The functions return NULL, or what is wrong. */
const char *held_begin(struct held_key *h, const struct held_head *head, const struct slice *name);

/* Bytes of its value. */
const char *held_add(struct held_key *h, const uint8_t *p, size_t n);

/* The key that waits goes to the outlet. */
const char *held_write(struct held_key *h);

/* Of a DUMP payload of n bytes, more than its footer: the type of the value. */
#define DUMP_FOOTER 10u
unsigned held_dump_type(const struct dialect *d, const uint8_t *p, size_t n);

#endif
