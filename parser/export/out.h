/* The file that an export writes: bytes with a checksum over all of them. A file gets its name when it is
 * complete, and has none before, so that nothing is left of one that is not. */
#ifndef DFP_EXPORT_OUT_H
#define DFP_EXPORT_OUT_H

#include <stdbool.h>

#include "buf.h"

struct out {
    int fd;
    const char *path; /* "-": standard output */
    char *dir;        /* that the file is in */
    char *temp;       /* its name until it is complete, where the file system has no nameless files */
    uint64_t crc;     /* of what has left b */
    struct buf b;
    int fault; /* errno of the first failure; 0: none */
};

#define OUT_LIMIT ((size_t)256 << 10)
#define OUT_ROOM  ((size_t)1 << 20) /* most that out_room gives */

/* Returns 0, or -1 with errno: EEXIST: what has that name is no regular file. */
int out_open(struct out *o, const char *path);

/* Write what was gathered. Faults are kept in o->fault; nothing more is written then. */
void out_flush(struct out *o);

/* Room for n bytes; len of o->b is moved by the caller. */
static inline uint8_t *out_room(struct out *o, size_t n)
{
    if (__builtin_expect(o->b.len + n > OUT_LIMIT, 0))
        out_flush(o);
    return buf_room(&o->b, n); /* has always room for OUT_LIMIT + OUT_ROOM */
}

/* Any number of bytes. */
void out_add(struct out *o, const void *p, size_t n);

/* The checksum of all bytes so far, at the end, and the file gets its name. False: o->fault. */
bool out_finish(struct out *o);

/* Close it; an unfinished file is removed. */
void out_free(struct out *o);

#endif
