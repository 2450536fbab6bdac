/* The commands that a journal can hold: their keys, and what is to be done with them. dragonfly-wire.md 5.6 to 5.8.
 * A command that is not in the table is reported, never guessed at. */
#ifndef DFP_COMMANDS_H
#define DFP_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum action {
    ACT_FORWARD,       /* sent as it is */
    ACT_SET,
    ACT_SETEX,
    ACT_EXPIRE,
    ACT_RESTORE,
    ACT_FLUSH,         /* a barrier of all flows */
    ACT_IGNORE,        /* means nothing to the target */
    ACT_HSETEX,
    ACT_FIELD_EXPIRE,
    ACT_SADDEX,
    ACT_PREPEND,
    ACT_COUNTERS,      /* XGROUP, XSETID */
    ACT_CLAIM,         /* XCLAIM, XAUTOCLAIM */
    ACT_FLOAT,         /* INCRBYFLOAT, HINCRBYFLOAT */
    ACT_RENAME,
    ACT_TWO_KEYS,      /* look at other keys than the one they change; MOVE, RENAMENX: logged also in vain */
    ACT_DELEX,
    ACT_JSON,
    ACT_PROBABILISTIC,
    ACT_SEARCH,
    ACT_DFLYCLUSTER,
    ACT_SOURCE,        /* depends on what only the source has */
    ACT_TRUNCATED,     /* logged with the keys of one shard only */
};

struct command {
    const char *name;
    enum action action;
    unsigned first;  /* argument that is the first key, 0: none */
    int last;        /* the last key; negative: counted from the end */
    unsigned step;   /* from key to key */
    bool idempotent;
    unsigned min_args;
    unsigned since;  /* first Redis version that knows it; 0: all */
};

/* NULL: not known. Names are upper case. */
const struct command *command_find(const uint8_t *name, size_t n);

#endif
