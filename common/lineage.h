/* Lineage: whose positions a flow counts. Fields replid and lineage of metadata and control messages:
 * dfrecord(5), SESSION, FLOW, resume, from. */
#ifndef DF_LINEAGE_H
#define DF_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

#define REPLID_LEN 40

/* Texts that are not known are "". */
struct lineage {
    char replid[72]; /* the master's own id */
    char top[72];    /* field "lineage": the id of the topmost master where replicas are chained */
};

bool lineage_same(const struct lineage *a, const struct lineage *b);

/* Append the fields that are known, each followed by sep. */
void lineage_add(struct buf *b, const struct lineage *l, char sep);

/* Read the fields in a text of n bytes. False: it has no replid. */
bool lineage_get(struct lineage *l, const void *text, size_t n);

#endif
