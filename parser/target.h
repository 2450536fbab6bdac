/* What the target can load and understand. df2redis(7), The life of a record; rdb(5), COMPATIBILITY. */
#ifndef DFP_TARGET_H
#define DFP_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "server.h"

/* What keys that are at the target already are to the snapshot's. */
enum existing { EXISTING_OVERWRITE, EXISTING_SKIP, EXISTING_FAIL };

struct target {
    enum server_kind kind;
    unsigned version; /* major << 16 | minor << 8 | patch */
    unsigned rdb;     /* newest RDB version it loads by RESTORE; 0: no RESTORE (portable) */
    bool cluster;     /* slots matter */
    enum existing existing;
    bool has_json;
    uint64_t maxbulk;  /* proto-max-bulk-len */
    char modules[256]; /* names, separated by commas */
};

/* Value types: 0 to 21 as they are, Dragonfly's from 30 on as they are, others above 21 with one of these
 * added. */
#define T_REDIS  0x100u
#define T_VALKEY 0x200u

/* The oldest server that understands portable streams. */
#define PORTABLE_VERSION VERSION(6, 2)

void target_portable(struct target *t);

/* Parse "7.0.15", "redis:7.0", "valkey-8", "dragonfly:1.40", each perhaps with "/cluster" behind it. False
 * when malformed or unknown. */
bool target_parse(struct target *t, const char *text);

/* The target has these modules: names, separated by commas. */
void target_modules(struct target *t, const char *names);

/* "overwrite", "skip", "fail". False: something else. */
bool target_existing(struct target *t, const char *text);

/* Take over n bytes of "kind=… version=…": a control message, or a TARGET record. False when malformed. */
bool target_read(struct target *t, const void *text, size_t n);

/* Payload of the TARGET record. */
void target_meta(const struct target *t, struct buf *b);

/* The target has this module type ("ReJSON-RL"), or may have it: nobody names the types of a module, and a
 * RESTORE of one that it has not is a data error. */
bool target_has_module(const struct target *t, const char *type_name);

/* The same for one that is known to be there. Names of modules in lower case count, too. */
bool target_names_module(const struct target *t, const char *type_name);

/* RDB version that a RESTORE payload of this value type needs, if the target loads it; 0 if it has to be
 * written as commands. */
unsigned target_restore_version(const struct target *t, unsigned type);

/* The same with streams made over for older targets: *as is the type that the payload has then, else type. */
unsigned target_restore_as(const struct target *t, unsigned type, unsigned *as);

/* RESTORE takes IDLETIME and FREQ. */
bool target_takes_hints(const struct target *t);

/* It has values of the class at all: streams came with Redis 5.0. */
bool target_has_class(const struct target *t, unsigned vclass);

/* Hash fields can have expiries of their own (HPEXPIREAT, with Dragonfly FIELDEXPIRE, for members of sets,
 * too). */
bool target_field_ttl(const struct target *t);

#endif
