/* The keys of the file, each once. An entry whose key may have been there, which is not often wrong, waits in
 * a file of its own until it is sure. */
#ifndef DFP_EXPORT_BOOK_H
#define DFP_EXPORT_BOOK_H

#include "once.h"
#include "out.h"
#include "../emit.h"
#include "../snapshot/repeats.h"

struct book {
    struct out out;
    uint32_t db; /* of the entry before */
    bool any;    /* there was one */
    struct once once;
    struct out hashes; /* of all entries, 16 bytes each */
    struct out late;   /* entries that wait: struct waiting, key, entry */
    uint64_t nhashes, nlate;
};

/* Open the file, "-" for standard output. 0, or -1 with errno (out_open). */
int book_open(struct book *b, const char *path);

/* The directory for what has to wait; NULL: $TMPDIR or /tmp. */
static inline const char *book_dir(const struct book *b)
{
    return b->out.dir;
}

/* An entry with this hash may come next. */
static inline void book_fetch(const struct book *b, struct khash h)
{
    if (b->once.words > 0)
        __builtin_prefetch(once_word(&b->once, h.lo), 1);
}

/* Where an entry of so many bytes, from its expiry to the end of its value, is to be written: all of it, and
 * at once. h: of database and key. */
struct out *book_place(struct book *b, uint32_t db, const struct slice *key, struct khash h, uint64_t size);

/* At the end: an entry that waits is written, or is a key's second entry, which is reported to e as lost, or
 * as a remark. */
void book_settle(struct book *b, struct emit *e, bool lost);

/* The first fault, 0: none. */
int book_fault(const struct book *b);

void book_free(struct book *b);

#endif
