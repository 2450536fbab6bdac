/* The arguments of a request that comes in pieces, one after the other. */
#ifndef RW_ARGS_H
#define RW_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "resp.h"

#define ARGS_KEPT ((size_t)64 << 10) /* what is kept of an argument until the next piece comes */

/* Where in the request the pieces so far end. All zero: at its beginning. */
struct args {
    bool counted; /* the number of arguments was seen */
    bool inside;  /* an argument's bytes */
    unsigned at;  /* that argument's place; 0 is the command's name */
    uint64_t number;
    uint64_t left;    /* of the argument, with its CR LF */
    uint64_t crc;     /* of its bytes so far (seen.h) */
    struct buf begun; /* its bytes from earlier pieces; none if they were too many to be kept */
    bool cut;         /* they were */
};

/* An argument that is complete: its place and CRC. arg->p is NULL if it was too long to be kept. */
typedef void args_fn(void *ctx, unsigned at, const struct slice *arg, uint64_t crc);

/* Go through a piece, which was checked to be part of a request. keep: go on behind it with the next one;
 * without, a is as it was, and the same piece comes again. */
void args_walk(struct args *a, const uint8_t *p, size_t n, args_fn *fn, void *ctx, bool keep);

void args_free(struct args *a);

#endif
