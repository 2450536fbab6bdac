/* Requests made over for Redis 4.0 to 6.0, which lack commands and options that came up to 6.2. Later
 * differences are where the requests are made. dragonfly-wire.md 5.8; rdb-format.md 11. */
#ifndef DFP_OLDER_H
#define DFP_OLDER_H

#include "emit.h"

/* The target is one of these. */
static inline bool older_target(const struct target *t)
{
    return t->kind == SERVER_REDIS && t->version < VERSION(6, 2);
}

/* The request as that target understands it: argv itself, or another in e->older, valid until the next call.
 * What cannot be said there (ZADD GT INCR) is left as it is: the target's error will name it. */
const struct slice *older_request(struct emit *e, const struct slice *argv, size_t *argc, unsigned *keyarg);

#endif
