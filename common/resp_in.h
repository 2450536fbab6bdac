/* RESP replies, taken apart as they arrive: whatever their size, nothing is kept. Pure functions over
 * buffers. */
#ifndef DF_RESP_IN_H
#define DF_RESP_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESP_DEPTH    8u                 /* of arrays within arrays */
#define RESP_LINE_MAX ((size_t)32 << 10) /* bytes of a line */

enum resp_got {
    RESP_NONE, /* more bytes are needed */
    RESP_GOT,
    RESP_BAD,  /* this is no RESP */
    RESP_DEEP, /* arrays beyond RESP_DEPTH */
};

/* type '+', '-', ':' a line: text, len, and of ':' n; '*' an array of n begins, '$' a string of n bytes
 * (both: -1 nil); 'b' bytes of that string: text, len. */
struct resp_token {
    char type;
    int64_t n;
    const char *text; /* in the bytes that were given */
    size_t len;
    unsigned depth, index; /* arrays around it; its number in the innermost */
    bool whole;            /* 'b': the string ends */
    bool end;              /* the reply ends */
};

/* Where the decoder stands; all 0: before a reply. */
struct resp_in {
    bool in_string;
    uint64_t left; /* bytes of the string */
    unsigned depth;
    int64_t items[RESP_DEPTH]; /* still to come, of each array */
    unsigned index[RESP_DEPTH];
    unsigned string_index;
};

/* Another reply follows, whatever became of the one before. */
static inline void resp_begin(struct resp_in *in)
{
    in->depth = 0;
    in->in_string = false;
}

/* The next token of the n bytes at p, and in *taken how many of them it has used: also 0 with RESP_NONE,
 * where the next call gets the same bytes and more. After RESP_BAD and RESP_DEEP nothing more can be read. */
enum resp_got resp_next(struct resp_in *in, const uint8_t *p, size_t n, size_t *taken, struct resp_token *t);

#endif
