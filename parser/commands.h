/* The commands that a journal can hold: their keys, and what is to be done with them. dragonfly-wire.md 5.6
 * to 5.8. A command that is not in the table is reported, never guessed at. */
#ifndef DFP_COMMANDS_H
#define DFP_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp.h"

enum action {
    ACT_FORWARD, /* sent as it is */
    ACT_SET,
    ACT_SETEX,
    ACT_EXPIRE,
    ACT_RESTORE,
    ACT_FLUSH,  /* a barrier of all flows */
    ACT_IGNORE, /* means nothing to the target */
    ACT_HSETEX,
    ACT_FIELD_EXPIRE,
    ACT_SADDEX,
    ACT_PREPEND,
    ACT_COUNTERS, /* XGROUP */
    ACT_SETID,    /* XSETID */
    ACT_CLAIM,    /* XCLAIM, XAUTOCLAIM */
    ACT_FLOAT,    /* INCRBYFLOAT, HINCRBYFLOAT */
    ACT_RENAME,
    ACT_TWO_KEYS, /* look at other keys than the one they change; MOVE, RENAMENX: logged also in vain */
    ACT_DELEX,
    ACT_JSON,
    ACT_PROBABILISTIC,
    ACT_SEARCH,
    ACT_DFLYCLUSTER,
    ACT_SOURCE,    /* depends on what only the source has */
    ACT_TRUNCATED, /* logged with the keys of one shard only */
    ACT_TRY,       /* logged also where it failed at the source */
    ACT_POP_FIRST, /* LMPOP and its kin: of several keys one is changed */
};

/* In place of the last key. */
#define LAST_COUNTED 1000 /* DEST numkeys key… */
#define LAST_STORE   1001 /* the first is read, the one behind STORE is written */
#define LAST_NUMKEYS 1002 /* numkeys key…: first is where numkeys stands */
#define LAST_STREAMS 1003 /* the first half of what stands behind STREAMS */

struct command {
    const char *name;
    enum action action;
    unsigned first; /* argument that is the first key, 0: none */
    int last;       /* the last key; negative: counted from the end; or LAST_… */
    unsigned step;  /* from key to key */
    bool idempotent;
    unsigned min_args;
    unsigned since; /* first Redis version that knows it; 0: all */
};

/* NULL: not known. Names are upper case. */
const struct command *command_find(const uint8_t *name, size_t n);

/* It does the same for each of its keys, with what follows it up to the next. */
bool command_cuttable(const struct command *c);

/* Which arguments of a command are keys: first, first + step … last, and dest. 0: none. */
struct keys {
    size_t first, last, step;
    size_t dest; /* the key written, where it stands apart from those that are read */
};

/* No keys at all: it has none, or its arguments are none that it can have. */
struct keys command_keys(const struct command *c, const struct slice *argv, size_t argc);

/* The argument of MOVE key db and COPY … DB db that is a database; 0: there is none. */
size_t command_other_db(const struct command *c, const struct slice *argv, size_t argc);

/* The keys one by one in the order of the arguments: start with at 0; 0: no more. */
size_t keys_next(const struct keys *k, size_t at);
bool keys_has(const struct keys *k, size_t i);

#endif
