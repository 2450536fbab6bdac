/* What has to hold before this writer changes anything: the target is not the source, and the task, which is
 * its name and its source, is not another's. rediswriter(1), Tasks. */
#ifndef RW_CLAIM_H
#define RW_CLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/put.h"
#include "record.h"

struct writer;

/* Before the first request of a session. PUT_WAIT: servers are still asked, or the connection was lost. */
enum put claim_target(struct writer *w);

#endif
