/* Replies to INFO. */
#ifndef RW_INFO_H
#define RW_INFO_H

#include <stddef.h>

/* Value of "name:value" in one; "" when it is not there. */
void info_field(const char *text, const char *name, char *out, size_t cap);

#endif
