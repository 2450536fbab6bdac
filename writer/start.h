/* Before the first request of a session: what the masters hold, and what is to become of it. */
#ifndef RW_START_H
#define RW_START_H

#include "engine/put.h"

struct writer;

/* --on-existing, --on-full-resync, what an epoch before left, and the position key. PUT_WAIT: it takes until
 * servers have answered. */
enum put start_target(struct writer *w);

#endif
