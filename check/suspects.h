/* Keys that differed when they were looked at, to be looked at again: in a file without a name, however many
 * they are. */
#ifndef CHECK_SUSPECTS_H
#define CHECK_SUSPECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define SUSPECT_NO_DB UINT32_MAX /* no database of that side becomes the other one's */

struct suspect {
    uint32_t db[2];
    uint32_t len[2]; /* of its names; the names themselves follow each other */
    uint64_t print;  /* of what was found */
};

struct suspects {
    int fd; /* -1: none so far */
    uint64_t n, written, read;
    struct buf buf;
    size_t at;
};

void suspects_init(struct suspects *s);
void suspects_free(struct suspects *s);

/* Ends the process with status 1 when the file cannot be written. */
void suspects_add(struct suspects *s, const struct suspect *x, const void *source_name,
                  const void *target_name);

/* Adding ends, and reading begins. */
void suspects_rewind(struct suspects *s);

/* The next one; its names, x->len[0] + x->len[1] bytes, are valid until the next call. NULL: that was the
 * last. */
const uint8_t *suspects_next(struct suspects *s, struct suspect *x);

/* A list that is being read. */
struct suspect_reader {
    struct suspects list;
    struct suspect next;
    const uint8_t *names; /* of next; NULL: there is none */
};

/* Take a list over, which is empty then, and read it from its beginning. */
void suspects_read(struct suspect_reader *r, struct suspects *list);

/* Next but one. */
void suspects_pass(struct suspect_reader *r);

#endif
