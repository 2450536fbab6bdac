/* Requests as they come in records: one complete RESP array of bulk strings. A payload that is not exactly
 * that would shift every reply behind it, so each is checked before it is sent. */
#ifndef RW_REQUEST_H
#define RW_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp.h"

/* A check that can be fed piece by piece, for requests that come in several records. */
struct reqcheck {
    uint64_t args;    /* still to come; meaningful once begun */
    uint64_t left;    /* bytes of the current argument still to come, with its CR LF */
    uint64_t number;  /* being read */
    uint64_t longest; /* argument seen */
    uint8_t state;
    uint8_t digits;
};

void reqcheck_init(struct reqcheck *c);

/* Returns false when the bytes so far cannot be one request. */
bool reqcheck_feed(struct reqcheck *c, const uint8_t *p, size_t n);

/* Exactly one request has been seen. */
bool reqcheck_whole(const struct reqcheck *c);

/* Are these n bytes exactly one request? */
bool request_ok(const uint8_t *p, size_t n);

/* Are these n bytes exactly two bulk strings (a plain SET behind its prefix)? */
bool request_pair_ok(const uint8_t *p, size_t n);

/* Length of the two bulk strings (key and value) at p; they were checked before. */
size_t request_pair_len(const uint8_t *p);

/* Would this request change the state of the connection itself, or have another number of replies than one
 * (MULTI, EXEC, SELECT, SUBSCRIBE, CLIENT ...)? Such a one must never come from a stream. */
bool request_alters_connection(const uint8_t *p, size_t n);

/* Would the second of two such requests be answered by an error (error_of_repeat) and change nothing: XADD
 * with its id, XGROUP CREATE? */
bool request_shows_repeat(const uint8_t *p, size_t n);

/* Is it SWAPDB of database 0 and another one, which is written as other? */
bool request_swaps_first(const uint8_t *p, size_t n, struct slice *other);

/* Of a program's steps: does it come to the same when it is carried out twice in a row? */
bool request_repeatable(const uint8_t *p, size_t n);

/* Argument number arg (0: the command's name) of a request of which n bytes are there. False: not there. */
bool request_arg(const uint8_t *p, size_t n, unsigned arg, struct slice *out);

#endif
