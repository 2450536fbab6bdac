/* Arguments of commands, as words and numbers. */
#ifndef DFP_ARGS_H
#define DFP_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp.h"

/* The argument is this word (upper case), however it is written. */
bool arg_is(const struct slice *s, const char *word);

/* The argument is a whole decimal number. */
bool arg_number(const struct slice *s, int64_t *v);

/* Absolute milliseconds of a time in units of so many milliseconds that counts from now_ms, or from the
 * epoch. 0: no valid number. */
uint64_t arg_from_now(const struct slice *s, int64_t unit, uint64_t now_ms);
uint64_t arg_from_epoch(const struct slice *s, int64_t unit);

/* The first of n arguments is EX, PX, EXAT or PXAT (*at: one of these), and one follows: the time in it,
 * likewise. False: it is none. */
bool arg_expiry(const struct slice *a, size_t n, uint64_t now_ms, uint64_t *ms, bool *at);

/* RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ f]: when it expires, 0: never. False:
 * malformed. */
bool args_restore(const struct slice *argv, size_t argc, uint64_t now_ms, uint64_t *ms);

/* Keep arguments as (length in 8 bytes, bytes) each. Returns 0, or -1 when the buffer's bound is reached. */
int args_keep(struct buf *b, const struct slice *argv, size_t argc);

/* The same back; they point behind p. Returns the end. */
const uint8_t *args_kept(const uint8_t *p, struct slice *argv, size_t argc);

#endif
