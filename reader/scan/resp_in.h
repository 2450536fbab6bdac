/* Parses RESP replies as they arrive: whatever their size, no more is in memory than one read returned. */
#ifndef READER_RESP_IN_H
#define READER_RESP_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "../conn.h"

#define RESP_DEPTH 8u /* of arrays within arrays */

enum resp_got {
    RESP_NONE, /* more has to be read */
    RESP_GOT,
    RESP_BAD, /* this is no RESP */
};

/* type '+', '-', ':' a line: text, len, and of ':' n; '*' an array of n begins, '$' a string of n bytes
 * (both: -1 nil); 'b' bytes of that string: text, len. */
struct resp_token {
    char type;
    int64_t n;
    const char *text; /* valid until the next call of resp_next or resp_fill */
    size_t len;
    unsigned depth, index; /* arrays around it; its number in the innermost */
    bool whole;            /* 'b': the string ends */
    bool end;              /* the reply ends */
};

struct resp_in {
    struct buf b;
    size_t at;
    bool in_string;
    uint64_t left; /* bytes of the string */
    unsigned depth;
    int64_t items[RESP_DEPTH]; /* still to come, of each array */
    unsigned index[RESP_DEPTH];
    unsigned string_index;
};

/* Forget what was read: another connection. */
void resp_reset(struct resp_in *in);
void resp_free(struct resp_in *in);

enum resp_got resp_next(struct resp_in *in, struct resp_token *t);

/* Read once. Returns 1, 0: nothing is there now, -1: the connection is gone (errno as conn_read). */
int resp_fill(struct resp_in *in, struct conn *c);

#endif
