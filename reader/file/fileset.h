/* The files of a source: one, or a Dragonfly set of a summary and shards, BASE-summary.dfs and
 * BASE-0000.dfs …, or those of an append-only file (aof_files.h). */
#ifndef READER_FILESET_H
#define READER_FILESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fileset {
    uint64_t *size; /* of each, 0 if not known */
    char **path;    /* shards in order, the summary last; "-" is standard input */
    unsigned n;
    uint64_t bytes; /* of all, 0 if not known */
    bool base;      /* the first of these is the state of one moment, the others what followed */
    bool aof;       /* one data set, to be read one after the other; else each is a part of its own */
};

/* Find the files that path stands for: itself, or with alone 0 the whole set that it belongs to, or the one
 * set in this folder. Returns 0, or an exit status and in why what is wrong: there is none, more than one, or
 * a shard is missing. fileset_free in either case. */
int fileset_find(struct fileset *s, const char *path, int alone, char *why, size_t cap);
void fileset_free(struct fileset *s);

/* One more file. Returns likewise; errno is that of stat(2), where that failed. */
int fileset_add(struct fileset *s, const char *path, char *why, size_t cap);

/* Is there any file of a .dfs set in the folder? */
bool fileset_holds_set(const char *folder);

#endif
