/*
 * SCAN and INFO keyspace of --live.  A key's bucket follows from its name, so that one that is there all the
 * time is found, whatever comes and goes meanwhile.
 */
#include <hiredis/hiredis.h>
#include <string.h>

#include "live.h"

#define BUCKETS 1024u

static unsigned bucket_of(const redisReply *name)
{
    uint64_t h = 0;
    for (size_t i = 0; i < name->len; i++)
        h = mix2(h, (unsigned char)name->str[i]);
    return (unsigned)(h % BUCKETS);
}

static void scan_shard(void *ctx, unsigned db, unsigned shard, uint64_t *at, uint64_t limit, struct buf *out,
                       uint64_t *found)
{
    struct live *l = ctx;
    redisReply *names = oracle_names(live_oracle(l), db, shard);
    for (; *at < BUCKETS && *found < limit; ++*at)
        for (size_t i = 0; i < names->elements; i++) {
            const redisReply *name = names->element[i];
            if (bucket_of(name) != *at)
                continue;
            buf_bulk(out, name->str, name->len);
            ++*found;
        }
    freeReplyObject(names);
    if (*at >= BUCKETS)
        *at = 0;
}

void live_scan(struct live *l, struct conn *c, const struct request *r)
{
    scan_answer(c, r, scan_shard, l);
}

void live_keyspace(struct live *l, struct buf *out)
{
    char line[80];
    buf_text(out, "# Keyspace\r\n");
    for (unsigned db = 0; db < opt.live_dbs; db++) {
        snprintf(line, sizeof line, "db%u:keys=%llu,expires=0,avg_ttl=-1\r\n", db,
                 oracle_size(live_oracle(l), db));
        buf_text(out, line);
    }
}
