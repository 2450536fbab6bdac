/* Names of the keys that a node of a cluster has in hash slots, each slot's at one exact offset: for a flow
 * that takes these slots over. They become SLOTS records (op=key, op=listed; dfrecord(5)). */
#ifndef READER_SLOT_KEYS_H
#define READER_SLOT_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "../conn.h"
#include "slotset.h"
#include "../stream.h"

#define SLOT_KEYS_WINDOW 16u  /* slots that are asked for at a time */
#define SLOT_KEYS_DBS    256u /* databases with keys, at most */

struct slot_asked {
    uint16_t slot;
    uint16_t dbs; /* its first so many databases */
};

struct slot_keys {
    struct conn conn;
    unsigned flow;
    struct slotset todo;
    bool several; /* the node may have several databases: */
    uint32_t db[SLOT_KEYS_DBS];
    unsigned dbs;                              /* ... those it has said it has keys in, and 0 */
    struct slot_asked asked[SLOT_KEYS_WINDOW]; /* in order, from the oldest */
    unsigned n;
    unsigned reply;  /* of the oldest: so many came */
    bool auth;       /* the reply to that comes first */
    void *object;    /* what the oldest's transaction said; NULL: not yet */
    unsigned in;     /* the database whose names are being written */
    size_t at;       /* names of it that were written */
    unsigned listed; /* slots that were named */
    uint64_t names;  /* of their keys */
    uint64_t moved_at;
    char error[160]; /* it cannot be done; "" fine */
    int status;      /* ... what it ends with */
};

void slot_keys_init(struct slot_keys *k, unsigned flow);

/* Begin with these slots; whatever was under way is dropped. version: of the node. */
void slot_keys_start(struct slot_keys *k, const struct slotset *slots, const char *version);
void slot_keys_close(struct slot_keys *k);

/* All were named, since it began; said once, with their number and that of the keys. */
bool slot_keys_listed(struct slot_keys *k, unsigned *slots, uint64_t *keys);

/* Ask, read and write records as far as the output takes them. like: to the node. True: there is more to do
 * at once. */
bool slot_keys_work(struct slot_keys *k, struct stream *st, const struct conn *like, const struct url *at);

#endif
