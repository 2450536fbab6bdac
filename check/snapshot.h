/* A snapshot file of single keys, from their DUMP payloads: rdb(5). */
#ifndef CHECK_SNAPSHOT_H
#define CHECK_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server.h"

struct snapshot {
    FILE *f;
    const char *name;
    enum server_kind kind; /* of the server whose payloads they are, and its version: for dfparse */
    const char *version;
    uint64_t crc;
    bool begun;
    uint32_t db;
    uint64_t keys;
};

/* Ends the process with status 1 when the file cannot be written; so do the others. */
void snapshot_open(struct snapshot *s, const char *name, enum server_kind kind, const char *version);

/* expires: ms since the epoch; -1 never. payload: as DUMP gives it, n bytes, more than its footer. */
void snapshot_key(struct snapshot *s, uint32_t db, int64_t expires, const void *key, size_t len,
                  const uint8_t *payload, size_t n);

void snapshot_close(struct snapshot *s);

#endif
