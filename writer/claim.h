/* What has to hold before this writer changes anything: the target is not the source, and the task, which is
 * its name and its source, is not another's. rediswriter(1), Tasks. */
#ifndef RW_CLAIM_H
#define RW_CLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node.h"

struct writer;

#define RIVAL_WAIT ((uint64_t)5000000) /* us that another writer's connection may take to vanish */

/* --takeover, and this writer has not begun: others of its task may be cut off. */
bool claim_may_take_over(const struct writer *w);

/* Another writer of the task, who, is connected to the target. Whoever restarts may have to wait for the
 * connection of the one before to vanish: true when that has taken too long. why: for messages. */
bool claim_rival(struct writer *w, const char *who, char *why, size_t cap);

/* Before the first request of a session. PUT_WAIT: servers are still asked, or the connection was lost. */
enum put claim_target(struct writer *w);

#endif
