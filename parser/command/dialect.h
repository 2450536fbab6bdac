/* What a source says in its own way: all that the meaning of its commands depends on. A source whose commands
 * do what Redis' documentation says has nothing set. */
#ifndef DFP_DIALECT_H
#define DFP_DIALECT_H

#include <stdbool.h>

struct dialect {
    bool early;            /* commands come before the snapshot has brought the keys that they look at */
    bool one_shard;        /* SORT … STORE and its kin: each shard logs its own keys only */
    bool keeps_store;      /* those leave their destination as it is where there was nothing to read */
    bool logs_failures;    /* commands also where they failed: ACT_TRY, XSETID */
    bool logs_nothing;     /* commands with nothing to add or to remove */
    bool claim_makes;      /* XCLAIM and XAUTOCLAIM make the consumer also when there is nothing to claim */
    bool doubles;          /* INCRBYFLOAT adds doubles, not long doubles */
    bool hash_doubles;     /* so does HINCRBYFLOAT */
    bool rename_keeps_ttl; /* RENAME leaves the expiry of what it overwrites in place when both keys have one
                            */
    bool rounds_scores;    /* ZUNIONSTORE and its kin are logged as DEL and ZADD, with 6 digits */
    bool old_json;         /* a RESTORE of an RDB version below 10 has JSON as type 20 */
    bool native;           /* commands, numbers of value types and times are a Dragonfly's own */
    bool logs_conditions;  /* commands also where their conditions (FNX, NX, …) did not hold */
    bool own_scripts;      /* scripts by their text, which runs on data that only the source has */
    bool zero_persists;    /* PEXPIREAT with the time 0 takes the expiry away */
};

/* Dragonfly's, of the release major << 16 | minor << 8 | patch; 0: older than v1.27, or not told. */
struct dialect dialect_dragonfly(unsigned version);

/* That of Redis, Valkey and KeyDB. */
struct dialect dialect_redis(void);

#endif
