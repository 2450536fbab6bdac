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

/* Send one command and wait for its reply, which the caller frees (freeReplyObject). Only while nothing else
 * is in flight. NULL when the connection was lost or timeout_ms passed (errno ETIMEDOUT). The arguments end
 * with NULL. */
redisReply *target_call(struct node *n, int timeout_ms, ...) __attribute__((sentinel));

/* The connection is lost at a question of ours. */
void target_lose(struct node *n, const char *command, const char *why);

/* Learn what INFO says into info. Returns NULL, or the refusal (a reply to free). *lost: no reply at all. */
redisReply *target_inspect(struct node *n, struct target_info *info, bool *lost);

/* Modules and proto-max-bulk-len; refusals are no fault. False: connection lost. */
bool target_limits(struct node *n, struct target_info *info);

/* The rest of the line "target …" of the control protocol. existing: the policy for keys that are there. */
void target_announce(const struct target_info *info, const char *existing, char *out, size_t cap);

/* Does a stream with this TARGET record suit? Returns NULL or what is wrong (static). */
const char *target_unfit(const struct target_info *info, const char *existing, const uint8_t *text, size_t n);

/* Are there keys besides position keys? 1 yes, 0 no, -1 the connection was lost (n->lost) or
 * the writer has failed. */
int target_has_keys(struct writer *w, struct node *n);

/* Run one command that must succeed, waiting where the target refuses for a while. False: the writer has
 * failed. The arguments end with NULL. */
bool target_must(struct writer *w, struct node *n, int timeout_ms, ...) __attribute__((sentinel));

/* The same within MULTI, and EXEC behind so many commands that answer integers. */
bool target_queued(struct writer *w, struct node *n, int timeout_ms, ...) __attribute__((sentinel));
bool target_exec(struct writer *w, struct node *n, int timeout_ms, unsigned commands);

/* The same for its reply, which is no error. NULL: the connection was lost, or the writer has failed. */
redisReply *target_answer(struct writer *w, struct node *n, int timeout_ms, ...) __attribute__((sentinel));

/* Send a request and read its reply, waiting where the target refuses for a while. False: the connection was
 * lost, or the writer has failed. what: for messages. */
bool target_request(struct writer *w, struct node *n, int timeout_ms, const char *what, const void *request,
                    size_t len);

#endif
