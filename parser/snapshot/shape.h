/* How the value types are laid out, and what the decoders of values share. Only value.c, scan.c, elements.c,
 * value_write.c, strings.c, module.c and skip.c need this. rdb(5), VALUES. */
#ifndef DFP_SHAPE_H
#define DFP_SHAPE_H

#include "../value/listpack.h"
#include "../value/value.h"

enum packing { PACK_NONE, PACK_LISTPACK, PACK_ZIPLIST, PACK_INTSET, PACK_QUICKLIST2, PACK_ZIPMAP };

enum layout {
    LAYOUT_STRING,   /* one string */
    LAYOUT_BLOB,     /* one string that packs all elements */
    LAYOUT_ELEMENTS, /* a count, then elements of one or more fields each */
    LAYOUT_NODES,    /* a count, then strings that pack elements */
    LAYOUT_STREAM,
    LAYOUT_SKIP, /* nothing that Redis could hold */
    LAYOUT_MODULE,
    LAYOUT_TEMPLATE, /* a hash whose field names were told before */
    LAYOUT_REFUSED,  /* cannot even be passed over */
};

/* One field of an element, in the order of the file. */
enum field {
    F_END,
    F_STR,
    F_F64,
    F_DOUBLETEXT,
    F_TTL,     /* decimal text, seconds since 2023-02-01, -1 none (Dragonfly) */
    F_TTL_REL, /* length: milliseconds above the hash's base less one, 0 none (Redis 7.4) */
    F_TTL_ABS, /* length: absolute milliseconds, 0 none (Redis 7.4 RC) */
    F_TTL_I64, /* eight bytes: absolute milliseconds, -1 none (Valkey 9) */
};

struct shape {
    enum layout layout;
    unsigned vclass;
    enum packing pack;
    enum field fields[4]; /* LAYOUT_ELEMENTS */
    unsigned
        group; /* packed elements that belong together: 1, 2 for hashes and sorted sets, 3 with expiries */
    bool base; /* eight bytes stand in front: the least expiry of the hash */
    const char *command; /* that adds elements */
    bool idempotent;     /* so is that command */
    const char *name;    /* of types that cannot be carried over */
};

/* NULL: no such type. */
const struct shape *shape_of(unsigned type);

/* A score as servers read it. False: it is no number. */
bool score_number(const uint8_t *p, size_t n, double *d);

/* Greatest expiry of a field, in milliseconds. */
#define FIELD_TTL_MAX ((UINT64_C(1) << 48) - 1)

/* What one element consists of. Integers lie in the scratch. */
struct element {
    struct slice str[2];
    unsigned nstr;
    double score;
    uint64_t ms;        /* expiry, 0: none */
    const char *damage; /* what was expected of a field, and is not there; NULL: nothing */
};

/* One element of LAYOUT_ELEMENTS: all its fields or none. base: what F_TTL_REL is relative to. */
enum got element_take(const struct shape *sh, struct cur *c, struct scratch *s, uint64_t base,
                      struct element *x);

/* A packed hash, set, sorted set or list is what servers take for granted: its structure, scores, expiries.
 * Returns NULL and *n its elements, or what was expected. What is odd of it is added to *odd: its order, an
 * element that is there twice. */
const char *sound_packed(const struct shape *sh, enum packing pack, const struct slice *t,
                         struct keyset *seen, long *n, struct odd *odd);

/* An element is there twice. */
void odd_twice(struct odd *odd);

/* The next element of a packed container other than an intset, the one of that turn in its group. *it begins
 * at NULL. Returns 1, 0 at the end, -1: corrupt. */
int packed_next(enum packing pack, const struct slice *t, const uint8_t **it, unsigned turn, struct elem *el);

/* Walk a packed container and check it. Number of elements, -1 when corrupt. */
long packed_check(enum packing pack, const struct slice *t);

/* ---- value_write.c: the requests that make up a container ---- */

/* One element (member; field and value; score and member) joins the part, or goes alone when it is large.
 * False: it is not written, as it is too large (which is reported) or all of the key is dropped. */
bool value_add(struct value *v, const struct slice *args, size_t n);

/* A field has an expiry of its own. Its HSET is written before the expiries are. */
void value_add_ttl(struct value *v, const struct slice *field, uint64_t ms);
void value_flush(struct value *v);

/* ---- the decoders ---- */

enum got elements_feed(struct value *v, struct cur *c);
enum got blob_feed(struct value *v, struct cur *c);
enum got template_feed(struct value *v, struct cur *c);
enum got string_feed(struct value *v, struct cur *c);
enum got json_feed(struct value *v, struct cur *c);
enum got module_feed(struct value *v, struct cur *c);
enum got skip_feed(struct value *v, struct cur *c);
enum got skip_scan(unsigned type, struct cur *c);

/* Write JSON text as the target can hold it, or report it. */
void json_write(struct value *v, const struct slice *text);

#endif
