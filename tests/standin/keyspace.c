/*
 * The generated keys as a client sees them: SCAN, DUMP, PTTL and EXISTS of a master that holds them all,
 * though with --omit its full sync has left some out.
 */
#include "standin.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../common/crc64.h"

#define BUCKET     10u
#define SHARD_BITS 10
#define NAME_LEN   14u

bool key_omitted(uint64_t index)
{
    return opt.omit && index % opt.omit == opt.omit - 1;
}

/* Index of one of our keys. */
static bool own_key(const struct conn *c, const char *name, size_t n, uint64_t *index)
{
    return c->db == 0 && n == NAME_LEN && !memcmp(name, "key:", 4) && parse_u64(name + 4, index) &&
           *index < opt.keys;
}

static long long time_left(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return opt.expiry ? (long long)opt.expiry - (long long)now.tv_sec * 1000 : -1;
}

static void run_dump(struct conn *c, uint64_t index)
{
    struct dataset d;
    struct buf entry = {0};
    dataset_init(&d);
    rdb_key_value(&d, &entry, index);
    size_t at = entry.p[0] == 0xfc ? 9 : 0, value = at + 2 + NAME_LEN;
    struct buf dump = {0};
    buf_put(&dump, entry.p + at, 1);
    buf_put(&dump, entry.p + value, entry.len - value);
    buf_le(&dump, 9, 2);
    buf_le(&dump, crc64(0, dump.p, dump.len), 8);
    buf_bulk(&c->out, dump.p, dump.len);
    buf_free(&dump);
    buf_free(&entry);
    dataset_free(&d);
}

static void scan_shard(void *ctx, unsigned db, unsigned shard, uint64_t *at, uint64_t limit, struct buf *out,
                       uint64_t *found)
{
    (void)ctx;
    (void)db;
    uint64_t keys = dataset_flow_keys(shard), n = 0;
    while (*at < keys && n < limit) {
        for (unsigned i = 0; i < BUCKET && *at < keys; i++, n++) {
            char name[32];
            buf_bulk(out, name, key_name(name, (*at)++ * opt.flows + shard));
        }
    }
    *found += n;
    if (*at >= keys)
        *at = 0;
}

void scan_answer(struct conn *c, const struct request *r, scan_fn *scan, void *ctx)
{
    uint64_t cursor, limit = 10, found = 0;
    struct buf keys = {0};
    char number[24];
    if (!parse_u64(r->argv[1], &cursor) || (r->argc == 4 && !parse_u64(r->argv[3], &limit))) {
        conn_reply(c, "-ERR invalid cursor\r\n");
        return;
    }
    uint64_t shard = cursor & ((1u << SHARD_BITS) - 1), at = cursor >> SHARD_BITS;
    while (scan != NULL && shard < opt.flows && found < limit) {
        scan(ctx, c->db, (unsigned)shard, &at, limit, &keys, &found);
        shard += at == 0;
    }
    cursor = scan == NULL || shard >= opt.flows ? 0 : at << SHARD_BITS | shard;
    buf_array(&c->out, 2);
    buf_bulk(&c->out, number, format_u64(number, cursor));
    buf_array(&c->out, found);
    buf_put(&c->out, keys.p, keys.len);
    buf_free(&keys);
}

bool keyspace_run(struct master *m, struct conn *c, const struct request *r)
{
    uint64_t index;
    if (!opt.generate)
        return false;
    if (word_is(r->argv[0], "SCAN") && (r->argc == 2 || (r->argc == 4 && word_is(r->argv[2], "COUNT")))) {
        if (++m->scans == opt.close_at_scan)
            conn_close(m, c, "planned: at this SCAN");
        else if (opt.no_scan)
            conn_reply(c, "-NOPERM this user has no permissions to run the 'scan' command\r\n");
        else
            scan_answer(c, r, opt.omit && c->db == 0 ? scan_shard : NULL, NULL);
        return true;
    }
    if (r->argc != 2 || !opt.omit || !own_key(c, r->argv[1], r->len[1], &index))
        return false;
    if (word_is(r->argv[0], "DUMP"))
        run_dump(c, index);
    else if (word_is(r->argv[0], "PTTL"))
        conn_reply(c, ":%lld\r\n", time_left());
    else
        return false;
    return true;
}
