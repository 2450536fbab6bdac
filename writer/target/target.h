/* The target server: what it is, whether records suit it, and its state before the first request. */
#ifndef RW_TARGET_H
#define RW_TARGET_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "info.h"
#include "node.h"
#include "ours.h"

struct hello;

/* Take what an INFO reply says (of the server, or its replication). */
void target_learn(struct target_info *info, const char *text);

/* Ask for modules and proto-max-bulk-len; refusals are no fault. */
void target_limits(struct hello *h);

/* The rest of the line "target …" of the control protocol. existing: the policy for keys that are there. */
void target_announce(const struct target_info *info, const char *existing, char *out, size_t cap);

/* Does a stream with this TARGET record suit? Returns NULL or what is wrong (static). */
const char *target_unfit(const struct target_info *info, const char *existing, const uint8_t *text, size_t n);

#endif
