#include "dialect.h"

#include "server.h"

struct dialect dialect_dragonfly(unsigned version)
{
    return (struct dialect){
        .early = true,
        .one_shard = true,
        .keeps_store = true,
        .logs_failures = true,
        .logs_nothing = true,
        .claim_makes = true,
        .doubles = true,
        .hash_doubles = version >= VERSION(1, 35),
        .rename_keeps_ttl = version < VERSION(1, 38),
        .rounds_scores = version < VERSION(1, 41),
        .old_json = true,
        .native = true,
        .logs_conditions = true,
        .own_scripts = true,
        .zero_persists = true,
    };
}

struct dialect dialect_redis(void)
{
    return (struct dialect){.early = false};
}
