/* Keys of a server that are to be read again: a file without a name for dfreader --scan-keys. */
#ifndef CHECK_NAMED_H
#define CHECK_NAMED_H

#include <stdint.h>
#include <stdio.h>

#include "buf.h"
#include "filter.h"
#include "resp.h"

struct named {
    FILE *f; /* NULL: none so far */
    struct buf line;
};

/* Ends the process with status 1 when that cannot be written. */
void named_add(struct named *n, uint32_t db, struct slice name);

/* All keys of the source that may become this one of the target. scratch is reused. */
void named_add_source(struct named *n, const struct filter *f, uint32_t db, struct slice name,
                      struct buf *scratch);

/* It is complete. Returns a descriptor, which the caller closes; n is empty again. */
int named_end(struct named *n);

#endif
