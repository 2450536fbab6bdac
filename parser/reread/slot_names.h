/* Names of keys on both sides, where a flow of a cluster source takes slots over: the source's names and
 * databases decide what is taken, and the target has others (--rename-prefix, --db-map). df2redis(7), A
 * cluster as the source. */
#ifndef DFP_SLOT_NAMES_H
#define DFP_SLOT_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "filter.h"
#include "ctl.h"

#define SLOT_DBS 64u /* databases that are known one by one */

struct slot_names {
    const struct filter *filter; /* NULL: names are the same on both sides */
    uint64_t dbs;                /* bits: databases of the source that keys were named of */
    bool more;                   /* and others from SLOT_DBS on */
    struct buf scratch[2], back;
};

void slot_names_free(struct slot_names *s);

/* The source has keys in this database. */
void slot_names_see(struct slot_names *s, uint32_t db);

/* Another name of the source may become the same one, and that one counts: the two could be in different
 * flows, which have no order. */
bool slot_names_taken(struct slot_names *s, uint32_t db, const struct slice *key);

/* Keys of the source that the key of the target, in its database db, may have been made from: one after the
 * other, *at from 0 on. The name lives until the next call. */
bool slot_names_back(struct slot_names *s, uint32_t db, const struct slice *key, uint32_t *at,
                     uint32_t *from_db, struct slice *name);

/* Does the source have keys in another database, too, that becomes the same one? Then a key that is not in
 * one of them may be there from another. */
bool slot_names_shared(const struct slot_names *s, uint32_t db);

/* The rules by which the target's names are made: lines "rename". */
void slot_names_tell(const struct slot_names *s, struct ctl *c, unsigned flow, unsigned epoch);

#endif
