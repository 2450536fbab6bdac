/* Replies to INFO. */
#ifndef RW_INFO_H
#define RW_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of "name:value" in one of n bytes, at the beginning of a line; *len of it. NULL: it is not there.
 */
const char *info_value(const char *info, size_t n, const char *name, size_t *len);

/* The same as a word for messages; "" when it is not there. */
void info_field(const char *text, const char *name, char *out, size_t cap);

/* The same as a number of up to 19 digits. False: it is none. */
bool info_number(const char *info, size_t n, const char *name, uint64_t *v);

/* a < b for versions "major.minor.patch". */
bool version_less(const char *a, const char *b);

#endif
