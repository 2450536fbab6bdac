/* The server behind --live: what clients write, and what a full sync reads. */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "../../common/crc64.h"
#include "live.h"

#define DUMP_FOOTER 10u /* version and checksum */
#define DUMP_RDB    9u  /* the version that Dragonfly writes there */

struct oracle {
    redisContext *c;
    unsigned db;
};

struct oracle *oracle_open(unsigned port)
{
    struct oracle *o = grab(sizeof *o);
    o->c = redisConnect("127.0.0.1", (int)port);
    if (o->c && !o->c->err)
        return o;
    complain("--live %u: %s", port, o->c ? o->c->errstr : "out of memory");
    oracle_close(o);
    return NULL;
}

void oracle_close(struct oracle *o)
{
    if (o->c)
        redisFree(o->c);
    free(o);
}

static redisReply *reply(struct oracle *o)
{
    void *r = NULL;
    if (redisGetReply(o->c, &r) != REDIS_OK)
        die("the oracle is lost: %s", o->c->errstr);
    return r;
}

static void use_db(struct oracle *o, unsigned db)
{
    if (o->db == db)
        return;
    redisAppendCommand(o->c, "SELECT %u", db);
    freeReplyObject(reply(o));
    o->db = db;
}

/* What came to nothing: a real master has nothing to log then. */
static bool in_vain(const struct traffic_command *c, const redisReply *r)
{
    static const char *const names[] = {"PEXPIREAT", "PERSIST",
                                        "COPY"}; /* words of a command do not end with a NUL */
    for (unsigned i = 0; i < 3; i++)
        if (c->len[0] == strlen(names[i]) && !memcmp(c->argv[0], names[i], c->len[0]))
            return r->type == REDIS_REPLY_INTEGER && r->integer == 0;
    return false;
}

bool oracle_write(struct oracle *o, const struct traffic_command *c)
{
    const char *argv[TRAFFIC_ARGS];
    use_db(o, c->db);
    memcpy(argv, c->argv, sizeof argv);
    redisAppendCommandArgv(o->c, (int)c->argc, argv, c->len);
    redisReply *r = reply(o);
    bool done = r->type != REDIS_REPLY_ERROR && !in_vain(c, r);
    freeReplyObject(r);
    return done;
}

/* Reads the value of a key whose replies (DUMP, PEXPIRETIME) come next. */
static void take_value(struct oracle *o, struct oracle_key *k)
{
    redisReply *dump = reply(o), *expiry = reply(o);
    if (dump->type != REDIS_REPLY_STRING || dump->len <= DUMP_FOOTER || expiry->type != REDIS_REPLY_INTEGER)
        die("the oracle has no %s", k->name);
    k->dump_len = dump->len - DUMP_FOOTER;
    k->dump = grab(k->dump_len);
    memcpy(k->dump, dump->str, k->dump_len);
    k->expiry = expiry->integer > 0 ? (uint64_t)expiry->integer : 0;
    freeReplyObject(dump);
    freeReplyObject(expiry);
}

redisReply *oracle_names(struct oracle *o, unsigned db, unsigned flow)
{
    use_db(o, db);
    redisAppendCommand(o->c, "KEYS *:%u:*", flow);
    return reply(o);
}

struct oracle_key *oracle_keys(struct oracle *o, unsigned flow, size_t *n)
{
    struct oracle_key *keys = NULL;
    *n = 0;
    for (unsigned db = 0; db < opt.live_dbs; db++) {
        redisReply *names = oracle_names(o, db, flow);
        keys = realloc(keys, (*n + names->elements + 1) * sizeof *keys);
        if (!keys)
            die("out of memory");
        for (size_t i = 0; i < names->elements; i++) {
            redisAppendCommand(o->c, "DUMP %s", names->element[i]->str);
            redisAppendCommand(o->c, "PEXPIRETIME %s", names->element[i]->str);
        }
        for (size_t i = 0; i < names->elements; i++) {
            struct oracle_key *k = &keys[(*n)++];
            *k = (struct oracle_key){.db = db, .name = strdup(names->element[i]->str)};
            take_value(o, k);
        }
        freeReplyObject(names);
    }
    return keys;
}

void oracle_keys_free(struct oracle_key *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(keys[i].name);
        free(keys[i].dump);
    }
    free(keys);
}

static long long integer(struct oracle *o)
{
    redisReply *r = reply(o);
    long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : 0;
    freeReplyObject(r);
    return n;
}

bool oracle_exists(struct oracle *o, unsigned db, const char *key, size_t len)
{
    use_db(o, db);
    redisAppendCommand(o->c, "EXISTS %b", key, len);
    return integer(o) > 0;
}

unsigned long long oracle_size(struct oracle *o, unsigned db)
{
    use_db(o, db);
    redisAppendCommand(o->c, "DBSIZE");
    return (unsigned long long)integer(o);
}

void oracle_dump(struct oracle *o, unsigned db, const char *key, size_t len, struct buf *out)
{
    use_db(o, db);
    redisAppendCommand(o->c, "DUMP %b", key, len);
    redisReply *r = reply(o);
    if (r->type == REDIS_REPLY_STRING && r->len > DUMP_FOOTER) {
        struct buf dump = {0};
        buf_put(&dump, r->str, r->len - DUMP_FOOTER);
        buf_le(&dump, DUMP_RDB, 2);
        buf_le(&dump, crc64(0, dump.p, dump.len), 8);
        buf_bulk(out, dump.p, dump.len);
        buf_free(&dump);
    } else {
        buf_text(out, "$-1\r\n");
    }
    freeReplyObject(r);
}

long long oracle_pttl(struct oracle *o, unsigned db, const char *key, size_t len)
{
    use_db(o, db);
    redisAppendCommand(o->c, "PTTL %b", key, len);
    return integer(o);
}
