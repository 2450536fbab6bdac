/* What a stream of command records means, whatever parts it was cut into: two parses of the same bytes must
 * give the same. Snapshot parts (RPUSH, SADD, HSET, ZADD, HPEXPIREAT) of one key are joined; a
 * value that was found damaged in its middle counts as one that was found damaged before its first part. */
#ifndef CANON_H
#define CANON_H

#include <stddef.h>
#include <stdint.h>

#include "../../common/buf.h"

/* Records (no stream header) to text. Returns NULL, or what is wrong with the records: chains that do not
 * hold together, RESP that is not canonical, a hash or slot that is not the key's, a gap in the sequence, a
 * payload above the limit. END records are left out. */
const char *canon(const uint8_t *p, size_t n, struct buf *out);

#endif
