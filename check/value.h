/* Comparing the two values of a key in parts: encodings, and the order of fields and members, do not matter.
 */
#ifndef CHECK_VALUE_H
#define CHECK_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "finding.h"
#include "pair.h"

enum value_type {
    VALUE_UNKNOWN, /* not asked yet */
    VALUE_NONE,    /* there is no such key */
    VALUE_STRING,
    VALUE_LIST,
    VALUE_SET,
    VALUE_ZSET,
    VALUE_HASH,
    VALUE_STREAM,
    VALUE_JSON,
    VALUE_OTHER
};

/* "none", "string" … of TYPE. */
enum value_type value_type_of(const struct reply *r, const struct elem *e);
const char *value_type_name(enum value_type type);

/* The command that says how long such a value is; NULL: there is none. */
const char *value_length_command(enum value_type type);

struct value {
    struct pair p;
    enum value_type type;
    uint64_t count[2];       /* length of each, as its server reports it */
    int64_t tolerance;       /* ms, between times to live of fields; -1: they are not compared */
    void (*done)(void *ctx); /* found and finding say what came out */
    void *ctx;
    bool found;
    struct finding finding;

    /* Progress. */
    uint64_t at;          /* strings: bytes; lists: elements */
    uint64_t window;      /* elements of the next part */
    unsigned dir;         /* hashes, sets: whose elements are walked */
    uint64_t seen;        /* of those */
    char cursor[24];      /* of HSCAN …, id of XRANGE, XPENDING */
    struct reply kept[2]; /* XINFO GROUPS */
    uint64_t group;
};

/* Begin; p, type, count, tolerance, done and ctx are set. done may be called at once. */
void value_compare(struct value *v);

void value_free(struct value *v);

/* ---- for the parts of this ---- */

void value_string(struct value *v);
void value_json(struct value *v);
void value_list(struct value *v);
void value_members(struct value *v);
void value_stream(struct value *v);

/* The values are the same. */
void value_equal(struct value *v);

/* They differ: the finding, whose where and side are still to be filled in; then value_differs. */
struct finding *value_finding(struct value *v, enum finding_kind kind);
void value_differs(struct value *v);

/* The value vanished or changed its type while it was read. */
void value_changed(struct value *v);

/* The next window of a value whose elements take so many bytes each. */
void value_widen(struct value *v, uint64_t bytes, uint64_t elements);

/* Bytes of all texts of a reply. */
uint64_t value_bytes(const struct reply *r);

#endif
