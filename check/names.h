/* What a key of the source is called in the target, and where one of the target may come from: --include,
 * --exclude, --rename-prefix and --db-map, as dfparse(1) has them. */
#ifndef CHECK_NAMES_H
#define CHECK_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "filter.h"
#include "value.h"

/* The name in the target of a key of the source, appended to out. The first rule that fits counts. Returns 1,
 * or -1 when out is full. */
int names_to_target(const struct filter *f, const void *key, size_t len, struct buf *out);

/* The names in the source that a key of the target may come from, by number up to the number of renamings:
 * candidate i, appended to out. Returns 1, 0 when there is no such candidate (but perhaps others), -1 when
 * out is full or i is beyond them. */
int names_to_source(const struct filter *f, unsigned i, const void *key, size_t len, struct buf *out);

#define NAMES_DBS 256u /* databases that are looked through for those that become another */

/* May a key of the target (database db, of that class, 0: not known) come from one of the source that the
 * rules select? One that no name of the source becomes is no reason to leave it out. scratch is reused. */
bool names_may_come(const struct filter *f, const void *key, size_t len, unsigned vclass, uint32_t db,
                    struct buf *scratch);

/* The class that rules for types mean; CLASS_NONE: not known yet. */
unsigned names_class(enum value_type type);

#endif
