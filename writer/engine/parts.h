/* Keys of the snapshot that come in several requests (DEL, HSET, HSET ...), of a single server over one
 * connection. The requests are gathered, of several keys where these are small, and go as one transaction
 * (bundle.h), so that a key does not wait one round trip for each of its requests. A key of more than one
 * goes on in the next, which is gathered while the one before is in flight and sent when that was confirmed.
 *
 * The transaction with a key's first request, which removes what was there, may be executed twice as a whole.
 * What must not be repeated and has no such request before it goes with the position. */
#ifndef RW_PARTS_H
#define RW_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "put.h"
#include "record.h"

struct cluster;
struct parts;

struct parts *parts_new(struct cluster *cl);
void parts_free(struct parts *p);

/* Does this request of the snapshot, whose keys can be told, belong to one? */
bool parts_want(const struct parts *p, const struct rec *r, const uint8_t *payload);
enum put parts_put(struct parts *p, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* Send what may go. */
void parts_flush(struct parts *p);

/* Is anything of this key gathered behind what is in flight? */
bool parts_hold(const struct parts *p, uint32_t key);

/* The session is void. */
void parts_forget(struct parts *p);

#endif
