/* One command, one reply, waiting: for handshakes and questions, not for records. */
#ifndef RW_CALL_H
#define RW_CALL_H

#include <hiredis/hiredis.h>
#include <stdarg.h>

#include "resp.h"
#include "sock.h"
#include "url.h"

#define CALL_ARGS_MAX 16

/* Send one command and wait for its reply, which the caller frees (freeReplyObject). Only while nothing else
 * is in flight. NULL when the connection was lost or timeout_ms passed (errno ETIMEDOUT); what comes is no
 * RESP: EPROTO. */
redisReply *call_argv(struct transport *t, int timeout_ms, const char *const *arg, unsigned argc);

/* The same with a request in RESP. */
redisReply *call_request(struct transport *t, int timeout_ms, const void *request, size_t len);

/* The same with arguments that end with NULL. */
redisReply *call(struct transport *t, int timeout_ms, ...) __attribute__((sentinel));

/* Collect arguments that end with NULL into arg (CALL_ARGS_MAX); returns their number. */
unsigned call_collect(const char **arg, va_list ap);

/* Why call returned NULL, in words; directly after it. */
const char *call_reason(const struct transport *t);

/* AUTH with the user and password; NULL and *needed false when there is neither. */
redisReply *call_auth(struct transport *t, int timeout_ms, const char *user, const char *password,
                      bool *needed);

#endif
