/* The keys of a Dragonfly master by SCAN, with the flow that each belongs to, over a connection of its own;
 * and whether the master has left writes out of its journal. For verify.c. */
#ifndef READER_SCAN_H
#define READER_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "../conn.h"
#include "../options.h"

#define SCAN_COUNT 1000u

struct redisReply;

/* The reply that is awaited; there is one request on its way (SCAN and DFLY REPLICAOFFSET: two). */
enum scan_await { SCAN_NONE, SCAN_AUTH, SCAN_STATS, SCAN_KEYSPACE, SCAN_SELECT, SCAN_KEYS, SCAN_OFFSETS };

struct scan {
    const struct options *o;
    struct loop *loop;
    const struct conn *like; /* leads to the master */
    unsigned flows;
    long long omits; /* writes left out before the full sync; -1: not known */
    bool looked;     /* whether there are more now */
    bool needless;   /* there are none: nothing can be missing */
    char error[200]; /* it cannot be carried out: why; "": it can */

    /* Keys of a flow of database db, which the source has as it was at LSN at. */
    void (*keys)(void *ctx, uint32_t db, unsigned flow, uint64_t at, const struct redisReply *keys);
    void *ctx;

    struct conn conn;
    enum scan_await await;
    uint64_t await_since, next_at; /* mono_us */
    unsigned losses;               /* of the connection, in a row */
    uint32_t *db;                  /* that hold keys */
    unsigned ndbs, at_db;
    bool listed, selected;
    uint64_t cursor;
    unsigned count; /* COUNT of the next SCAN; of 1 the reply has keys of one shard only */
    struct redisReply *reply;
};

/* Drop the connection and all memory; what is set by the caller stays. */
void scan_reset(struct scan *sc);

/* From the first key on. */
void scan_begin(struct scan *sc);

/* One step: ask, or take a reply. */
void scan_step(struct scan *sc);

/* All databases were scanned. */
static inline bool scan_complete(const struct scan *sc)
{
    return sc->listed && sc->at_db >= sc->ndbs;
}

#endif
