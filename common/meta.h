/* Text metadata: lines of name=value, values percent-escaped. Payload of SESSION, FLOW, END, TARGET and
 * REPORT records, and (blank-separated instead of line-separated) of control messages. dfrecord(5). */
#ifndef DF_META_H
#define DF_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Append "name=value" and sep to b, escaping the value. */
void meta_add(struct buf *b, const char *name, const void *value, size_t n, char sep);
void meta_adds(struct buf *b, const char *name, const char *value);
void meta_addu(struct buf *b, const char *name, uint64_t value);

/* The byte that two hexadecimal digits at p stand for; -1: they are none. */
int meta_hex(const char *p);

/* Append n bytes percent-escaped, at most limit of them (0 = all; a cut is marked "..."). */
void meta_escape(struct buf *b, const void *value, size_t n, size_t limit);

/* Find name in a text of n bytes and unescape its value into out (cap bytes, always NUL-terminated).
 * Returns its length, or -1 when it is missing or longer than cap - 1. */
long meta_get(const void *text, size_t n, const char *name, char *out, size_t cap);

/* The same for a decimal number. False when it is missing or no number. */
bool meta_getu(const void *text, size_t n, const char *name, uint64_t *out);

/* Printable and without blanks, quotes, '%', '=' and backslashes: it can stand in a line of words, and in the
 * log, as it is. */
bool meta_is_word(const char *s);

#endif
