/* What a file is by its first bytes, where it is neither a snapshot nor an append-only file. */
#ifndef READER_FILE_KIND_H
#define READER_FILE_KIND_H

#include <stddef.h>
#include <stdint.h>

/* The first n bytes of a file (0: it is empty). NULL where it may be one of these; else what it is and what
 * to do with it, and in *status the exit status. A pure function. */
const char *file_kind_fault(const uint8_t *p, size_t n, int *status);

#endif
