/* The files of an append-only file (AOF) in parts: what a manifest names, in the order in which they are
 * loaded. */
#ifndef READER_AOF_FILES_H
#define READER_AOF_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "fileset.h"

/* Does path stand for an AOF with a manifest? It is one, or lies beside one that names it (not with alone),
 * or it is the directory of one, or its parent. False: it does not, and nothing was done. True: *status is
 * 0 and s its files, or *status is an exit status and why says what is wrong. fileset_free in any case. */
bool aof_find(struct fileset *s, const char *path, bool alone, int *status, char *why, size_t cap);

/* There is no "#TS:" in any of the files: none of their commands has a time. */
bool aof_undated(const struct fileset *s);

#endif
