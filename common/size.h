/* Sizes on command lines: a number with an optional k, m or g (powers of 1024). */
#ifndef DF_SIZE_H
#define DF_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* False when s is no such size or does not fit. */
bool size_parse(const char *s, uint64_t *out);

#endif
