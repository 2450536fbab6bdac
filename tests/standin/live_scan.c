/*
 * SCAN and INFO keyspace of --live, as a real master's: one shard after the other, whole buckets, and the
 * shard's number in the lowest ten bits of the cursor. A key's bucket follows from its name, so that one that
 * is there all the time is found, whatever comes and goes meanwhile.
 */
#include <hiredis/hiredis.h>
#include <string.h>

#include "live.h"

#define BUCKETS    1024u
#define SHARD_BITS 10

static unsigned bucket_of(const redisReply *name)
{
    uint64_t h = 0;
    for (size_t i = 0; i < name->len; i++)
        h = mix2(h, (unsigned char)name->str[i]);
    return (unsigned)(h % BUCKETS);
}

/* Keys of a shard from bucket *at on, which is 0 again at its end. */
static void scan_shard(struct live *l, unsigned db, unsigned shard, uint64_t *at, uint64_t limit,
                       struct buf *out, uint64_t *found)
{
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
    uint64_t cursor, limit = 10, found = 0;
    struct buf keys = {0};
    char number[24];
    if (!parse_u64(r->argv[1], &cursor) || (r->argc == 4 && !parse_u64(r->argv[3], &limit))) {
        conn_reply(c, "-ERR invalid cursor\r\n");
        return;
    }
    uint64_t shard = cursor & ((1u << SHARD_BITS) - 1), at = cursor >> SHARD_BITS;
    while (shard < opt.flows && found < limit) {
        scan_shard(l, c->db, (unsigned)shard, &at, limit, &keys, &found);
        shard += at == 0;
    }
    cursor = shard >= opt.flows ? 0 : at << SHARD_BITS | shard;
    buf_array(&c->out, 2);
    buf_bulk(&c->out, number, format_u64(number, cursor));
    buf_array(&c->out, found);
    buf_put(&c->out, keys.p, keys.len);
    buf_free(&keys);
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
