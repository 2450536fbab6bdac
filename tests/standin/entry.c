/* Generated journal entries: what clients of the pretended master write while it replicates. */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

#define HOT_KEYS    100u /* counters, queues ... a flow */
#define SMALL_VALUE 24u
#define LIVE_EXPIRY UINT64_C(1893456000000) /* 2030: never during a test */

void words_free(struct words *w)
{
    buf_free(&w->store);
}

/* A command of constant words. */
void words_set(struct words *w, size_t argc, const char *const *argv)
{
    w->argc = argc;
    for (size_t i = 0; i < argc; i++) {
        w->argv[i] = argv[i];
        w->len[i] = strlen(argv[i]);
    }
}

static char *store(struct words *w, size_t at)
{
    return (char *)w->store.p + at;
}

/* key of a kind that belongs to one flow only: "counter:<flow>:<n>" */
static size_t hot_key(char *out, const char *kind, unsigned flow, uint64_t r)
{
    size_t n = strlen(kind);
    memcpy(out, kind, n);
    n += format_u64(out + n, flow);
    out[n++] = ':';
    return n + format_u64(out + n, r % HOT_KEYS);
}

/* One of the flow's own snapshot keys, as far as the stream has passed them; else a new key. */
static size_t data_key(char *out, const struct live_op *op, uint64_t r)
{
    if (op->key_limit)
        return key_name(out, (r % op->key_limit) * opt.flows + op->flow);
    return hot_key(out, "live:", op->flow, r);
}

enum verb { SET, SETX, INCR, RPUSH, HSET, SADD, ZADD, DEL, PEXPIREAT };

static enum verb pick_verb(uint64_t r)
{
    static const enum verb mixed[] = {SET,   SET,  SET,  SETX, INCR, INCR,     RPUSH,
                                      RPUSH, HSET, SADD, ZADD, DEL,  PEXPIREAT};
    switch (opt.journal_kind) {
    case JOURNAL_SET: return SET;
    case JOURNAL_INCR: return INCR;
    case JOURNAL_RPUSH: return RPUSH;
    case JOURNAL_MIXED: break;
    }
    return mixed[r % (sizeof mixed / sizeof *mixed)];
}

static void word(struct words *w, const char *text, size_t n)
{
    w->argv[w->argc] = text;
    w->len[w->argc++] = n;
}

/* Layout of the store: key, number, small text, value; each at a fixed place. */
#define AT_KEY    0u
#define AT_NUMBER 64u
#define AT_SMALL  96u
#define AT_VALUE  160u

static const char *const verb_name[] = {"SET",  "SET",  "INCR", "RPUSH",    "HSET",
                                        "SADD", "ZADD", "DEL",  "PEXPIREAT"};
static const char *const verb_key[] = {
    NULL, NULL, "counter:", "queue:", "object:", "tags:", "rank:", NULL, "counter:"};

void live_command(const struct dataset *d, const struct live_op *op, struct words *w)
{
    uint64_t r = mix2(mix2(opt.seed ^ 0x6c697665, op->flow), op->index), s = mix64(r);
    enum verb verb = pick_verb(r >> 40);
    w->store.len = 0;
    buf_room(&w->store, AT_VALUE + opt.value_size);
    char *key = store(w, AT_KEY), *number = store(w, AT_NUMBER), *small = store(w, AT_SMALL);
    char *value = store(w, AT_VALUE);
    size_t key_len = verb_key[verb] ? hot_key(key, verb_key[verb], op->flow, r) : data_key(key, op, r);
    size_t number_len =
        format_u64(number, verb == ZADD || verb == HSET ? s % 1000 : LIVE_EXPIRY + s % 1000000);

    w->argc = 0;
    word(w, verb_name[verb], strlen(verb_name[verb]));
    word(w, key, key_len);
    if (verb == SET || verb == SETX) {
        value_bytes(d, (uint8_t *)value, opt.value_size, s);
        word(w, value, opt.value_size);
    }
    if (verb == SETX)
        word(w, "PXAT", 4);
    if (verb == SETX || verb == HSET || verb == ZADD || verb == PEXPIREAT)
        word(w, number, number_len);
    if (verb == RPUSH || verb == HSET || verb == SADD || verb == ZADD) {
        value_bytes(d, (uint8_t *)small, SMALL_VALUE, s % 5000);
        word(w, small, SMALL_VALUE);
    }
}

uint64_t live_txid(const struct live_op *op)
{
    return 1 + op->index * opt.flows + op->flow;
}

void journal_command_db(struct buf *out, unsigned db, uint64_t txid, const struct words *w)
{
    size_t total = 0;
    for (size_t i = 0; i < w->argc; i++)
        total += w->len[i];
    buf_byte(out, 6); /* SELECT */
    buf_plen(out, db);
    buf_byte(out, 10); /* COMMAND */
    buf_plen(out, txid);
    buf_plen(out, 1); /* shard count: constant from v1.38 on */
    buf_plen(out, w->argc);
    buf_plen(out, total);
    for (size_t i = 0; i < w->argc; i++) {
        buf_plen(out, w->len[i]);
        buf_put(out, w->argv[i], w->len[i]);
    }
}

void journal_command(struct buf *out, uint64_t txid, const struct words *w)
{
    journal_command_db(out, 0, txid, w);
}

void journal_blob(struct buf *out, uint64_t txid, const struct words *w)
{
    struct buf entry = {0};
    journal_command_db(&entry, 0, txid, w);
    buf_byte(out, 0xd2);
    buf_plen(out, 1);
    buf_plen(out, entry.len);
    buf_put(out, entry.p, entry.len);
    buf_free(&entry);
}
