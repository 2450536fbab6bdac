/* What the target can load and understand. design.md section 3; rdb-format.md section 11. */
#ifndef DFP_TARGET_H
#define DFP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

enum target_kind { TARGET_PORTABLE, TARGET_REDIS, TARGET_VALKEY, TARGET_DRAGONFLY };

struct target {
    enum target_kind kind;
    unsigned version;   /* major << 16 | minor << 8 | patch */
    unsigned rdb;       /* newest RDB version it loads by RESTORE; 0: no RESTORE (portable) */
    bool cluster;       /* slots matter */
    bool has_json, has_bloom, has_search;
    uint64_t maxbulk;   /* proto-max-bulk-len */
};

#define VERSION(major, minor) ((unsigned)(major) << 16 | (unsigned)(minor) << 8)

/* The oldest server that understands portable streams. */
#define PORTABLE_VERSION VERSION(6, 2)

void target_portable(struct target *t);

/* Parse "7.0.15", "redis:7.0", "valkey:8", "dragonfly:1.40". False when malformed or unknown. */
bool target_parse(struct target *t, const char *text);

/* Take over a control message "target kind=… version=…". False when malformed. */
bool target_from_line(struct target *t, const char *line);

/* Payload of the TARGET record. */
void target_meta(const struct target *t, struct buf *b);

/* RDB version that a RESTORE payload of this value type needs, if the target loads it (type numbers as Redis has
 * them); 0 if it has to be written as commands. */
unsigned target_restore_version(const struct target *t, unsigned type);

/* Hash fields can have expiries of their own (HPEXPIREAT). */
bool target_field_ttl(const struct target *t);

#endif
