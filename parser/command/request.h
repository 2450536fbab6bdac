/* Requests in RESP, one after the other: replication streams and append-only files. Bytes in, arguments out,
 * as places in these bytes: nothing is copied. */
#ifndef DFP_REQUEST_H
#define DFP_REQUEST_H

#include "buf.h"
#include "../value/prim.h"
#include "resp.h"

/* Redis before 7.0 takes 2^20 of a client, later ones any number: as many as an array without a bound holds.
 */
#define REQUEST_ARGS  ((uint64_t)1 << 22)
#define REQUEST_BYTES ((uint64_t)4 << 30)

/* Where decoding is. All zero at first. */
struct requests {
    struct buf argv; /* struct slice each: of the request taken last, or of the beginning of one */

    /* A request that is not all there: it is not looked at from its first byte again. */
    const uint8_t *base; /* where it lay; NULL: none */
    uint64_t argc, done; /* arguments that it announces; that are there */
    size_t at;           /* bytes of it that these take */
};

/* One request at c. GOT: *argv and *argc are its arguments, at least one, valid as long as the bytes are; c
 * stands behind it. NEED: c stays, and the next call is to begin with the same bytes, wherever they lie then.
 */
enum got request_take(struct requests *r, struct cur *c, const struct slice **argv, size_t *argc);

void requests_free(struct requests *r);

#endif
