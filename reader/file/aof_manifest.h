/* The manifest of an append-only file in parts (Redis from 7.0 on): which files it consists of. Pure: text
 * in, entries out. What is taken and what is refused is what redis-server does. dfreader(1), Append-only
 * files. */
#ifndef READER_AOF_MANIFEST_H
#define READER_AOF_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#define AOF_LINE_MAX 1024              /* bytes of a line, its end included */
#define AOF_TEXT_MAX ((size_t)1 << 20) /* bytes of a manifest */

struct aof_entry {
    char *name; /* without a folder */
    unsigned line;
    char type; /* b: base, i: increment, h: history, which is not loaded */
};

/* In the order of the lines; a base may stand anywhere. */
struct aof_manifest {
    struct aof_entry *v;
    size_t n;
    unsigned line; /* number of the line that was read last */
    size_t at;     /* where it begins */
};

/* NULL: m has the entries. Else what is wrong, in line m->line. aof_manifest_free in either case. */
const char *aof_manifest_parse(struct aof_manifest *m, const uint8_t *p, size_t n);
void aof_manifest_free(struct aof_manifest *m);

#endif
