/* What differs between the two sides of a key. */
#ifndef CHECK_FINDING_H
#define CHECK_FINDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

enum finding_kind {
    FOUND_MISSING, /* not in the target */
    FOUND_EXTRA,   /* not in the source */
    FOUND_TYPE,
    FOUND_TTL,
    FOUND_LENGTH,
    FOUND_VALUE, /* string, JSON */
    FOUND_FIELD, /* of a hash: missing, extra, or its value */
    FOUND_FIELD_TTL,
    FOUND_MEMBER, /* of a set or sorted set: missing or extra */
    FOUND_SCORE,
    FOUND_ELEMENT,   /* of a list */
    FOUND_ENTRY,     /* of a stream */
    FOUND_STREAM_ID, /* last id, or the largest deleted one */
    FOUND_COUNTER,   /* entries added to a stream, or read by a group */
    FOUND_GROUP,     /* of consumers: missing, extra, or its position */
    FOUND_CONSUMER,
    FOUND_PENDING,
    FOUND_UNKNOWN, /* a type that cannot be compared here */
    FOUND_KINDS
};

const char *finding_name(enum finding_kind kind);

/* The beginning of a text. */
struct excerpt {
    bool there;
    bool number;  /* not quoted in JSON */
    uint8_t kept; /* bytes */
    uint64_t n;   /* of the whole */
    uint64_t hash;
    char text[REPLY_PREFIX];
};

struct finding {
    enum finding_kind kind;
    const char *type;     /* of the value; NULL: not known */
    struct excerpt where; /* field, member, index, id … */
    struct excerpt side[2];
};

void finding_begin(struct finding *f, enum finding_kind kind, const char *type);
void excerpt_text(struct excerpt *x, const void *p, size_t n);
void excerpt_str(struct excerpt *x, const char *s);
void excerpt_num(struct excerpt *x, int64_t v);

/* An element of a reply; a nil one is not there, of an array its first text is shown. */
void excerpt_elem(struct excerpt *x, const struct reply *r, size_t at);

/* The same number for the same finding: whether something changed between two looks. Never 0. */
uint64_t finding_print(const struct finding *f);

#endif
