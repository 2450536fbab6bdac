/* Text for JSON. Bytes above 0x7e are written as \u00XX: what is shown is bytes, not characters. */
#ifndef DF_JSON_H
#define DF_JSON_H

#include <stddef.h>

#include "buf.h"

/* A string, quoted. A buffer that is at its bound stays as it is. */
void json_add(struct buf *b, const void *p, size_t n);
void json_adds(struct buf *b, const char *s);

#endif
