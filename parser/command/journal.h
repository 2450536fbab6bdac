/* Journal entries of Dragonfly: in blobs of the snapshot, and as the stream that follows it.
 * dragonfly-replication(7), Entries, Counting. */
#ifndef DFP_JOURNAL_H
#define DFP_JOURNAL_H

#include "../change.h"

/* Entries of a multi-command transaction, masters up to v1.20. */
struct multi {
    uint64_t txid;
    struct buf entries; /* db, argc, then (length, bytes) each; 8 bytes per number */
    struct multi *next;
};

struct journal {
    struct sink *to;
    uint32_t db; /* of the source */
    struct multi *multis;
    size_t multi_bytes; /* of all of them */
    struct buf argv;    /* struct slice each */
    bool full;          /* more transactions are open than can be kept: no damage */
};

#define MULTI_MAX ((size_t)64 << 20)

/* One entry at c. */
enum got journal_entry(struct journal *j, struct cur *c);

void journal_free(struct journal *j);

#endif
