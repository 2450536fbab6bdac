/* Which replies may be: to a request, and of a scan. */
#include <string.h>
#include <strings.h>
#include <bsd/string.h>

#include "../conn/reply.h"
#include "../engine/request.h"

#define A_STATUS   REPLY_BIT(REDIS_REPLY_STATUS)
#define AN_INTEGER REPLY_BIT(REDIS_REPLY_INTEGER)
#define A_NIL      REPLY_BIT(REDIS_REPLY_NIL)
#define A_STRING   REPLY_BIT(REDIS_REPLY_STRING)
#define AN_ARRAY   REPLY_BIT(REDIS_REPLY_ARRAY)

#define LONGEST    16u /* name of a command that is known */

/* Those that dfparse writes. Others may answer anything. */
struct command {
    char name[LONGEST + 1];
    uint8_t types;
};
static const struct command of_3[] = {
    {"SET", A_STATUS | A_NIL | A_STRING}, /* with NX, XX, GET; see below */
    {"DEL", AN_INTEGER},
    {"", 0},
};
static const struct command of_4[] = {
    {"MSET", A_STATUS},   {"HSET", AN_INTEGER}, {"DUMP", A_STRING | A_NIL}, {"PTTL", AN_INTEGER},
    {"SADD", AN_INTEGER}, {"SREM", AN_INTEGER}, {"ZREM", AN_INTEGER},       {"HDEL", AN_INTEGER},
    {"INCR", AN_INTEGER}, {"DECR", AN_INTEGER}, {"LREM", AN_INTEGER},       {"LSET", A_STATUS},
    {"XACK", AN_INTEGER}, {"XDEL", AN_INTEGER}, {"COPY", AN_INTEGER},       {"", 0},
};
static const struct command of_5[] = {
    {"MULTI", A_STATUS},
    {"HMSET", A_STATUS},
    {"RPUSH", AN_INTEGER},
    {"LPUSH", AN_INTEGER},
    {"LTRIM", A_STATUS},
    {"PFADD", AN_INTEGER},
    {"SETEX", A_STATUS},
    {"SETNX", AN_INTEGER},
    {"XTRIM", AN_INTEGER},
    {"SMOVE", AN_INTEGER},
    {"", 0},
};
static const struct command of_6[] = {
    {"EXPIRE", AN_INTEGER},
    {"APPEND", AN_INTEGER},
    {"SELECT", A_STATUS},
    {"INCRBY", AN_INTEGER},
    {"DECRBY", AN_INTEGER},
    {"UNLINK", AN_INTEGER},
    {"SETBIT", AN_INTEGER},
    {"GEOADD", AN_INTEGER},
    {"MSETNX", AN_INTEGER},
    {"PSETEX", A_STATUS},
    {"RPUSHX", AN_INTEGER},
    {"LPUSHX", AN_INTEGER},
    {"HSETNX", AN_INTEGER},
    {"RENAME", A_STATUS},
    {"EXISTS", AN_INTEGER},
    {"XSETID", A_STATUS},
    {"", 0},
};
static const struct command of_7[] = {
    {"RESTORE", A_STATUS},   {"FLUSHDB", A_STATUS},   {"HINCRBY", AN_INTEGER}, {"LINSERT", AN_INTEGER},
    {"PERSIST", AN_INTEGER}, {"PEXPIRE", AN_INTEGER}, {"HGETALL", AN_ARRAY},   {"", 0},
};
static const struct command of_8[] = {
    {"FLUSHALL", A_STATUS},
    {"SETRANGE", AN_INTEGER},
    {"EXPIREAT", AN_INTEGER},
    {"RENAMENX", AN_INTEGER},
    {"", 0},
};
static const struct command of_9[] = {
    {"PEXPIREAT", AN_INTEGER},
    {"", 0},
};
static const struct command of_10[] = {
    {"HPEXPIREAT", AN_ARRAY},
    {"SDIFFSTORE", AN_INTEGER},
    {"", 0},
};
static const struct command of_11[] = {
    {"SINTERSTORE", AN_INTEGER}, {"SUNIONSTORE", AN_INTEGER}, {"ZINTERSTORE", AN_INTEGER},
    {"ZUNIONSTORE", AN_INTEGER}, {"ZRANGESTORE", AN_INTEGER}, {"", 0},
};
static const struct command of_14[] = {
    {"GEOSEARCHSTORE", AN_INTEGER},
    {"ZREMRANGEBYLEX", AN_INTEGER},
    {"", 0},
};
static const struct command of_15[] = {
    {"ZREMRANGEBYRANK", AN_INTEGER},
    {"", 0},
};
static const struct command of_16[] = {
    {"ZREMRANGEBYSCORE", AN_INTEGER},
    {"", 0},
};
static const struct command *const by_length[LONGEST + 1] = {
    [3] = of_3, [4] = of_4,   [5] = of_5,   [6] = of_6,   [7] = of_7,   [8] = of_8,
    [9] = of_9, [10] = of_10, [11] = of_11, [14] = of_14, [15] = of_15, [16] = of_16,
};

static unsigned types_of(const struct slice *name)
{
    const struct command *c = name->n <= LONGEST ? by_length[name->n] : NULL;
    for (; c != NULL && c->name[0] != '\0'; c++)
        if ((c->name[0] | 0x20) == (name->p[0] | 0x20) &&
            strncasecmp(c->name, (const char *)name->p, name->n) == 0)
            return c->types;
    return ~0u;
}

bool reply_fits(const uint8_t *request, size_t n, int type)
{
    static const char plain[] = "*3\r\n$3\r\nSET\r\n";
    struct slice name;
    if (n > sizeof plain - 1 && memcmp(request, plain, sizeof plain - 1) == 0)
        return type == REDIS_REPLY_STATUS;
    if (!request_arg(request, n, 0, &name))
        return true;
    return (types_of(&name) & REPLY_BIT(type)) != 0;
}

/* Brent's way: the cursor is compared with an earlier one, which is replaced after 1, 2, 4, ... steps. */
bool scan_circles(struct scan_guard *g, const char *cursor)
{
    if (strcmp(cursor, "0") == 0) {
        *g = (struct scan_guard){.n = 0};
        return false;
    }
    if (g->next > 0 && strcmp(cursor, g->mark) == 0)
        return true;
    if (g->n++ == g->next) {
        strlcpy(g->mark, cursor, sizeof g->mark);
        g->next = 2 * g->n;
    }
    return false;
}

bool reply_is_hash(const redisReply *r)
{
    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements % 2 != 0)
        return false;
    for (size_t i = 0; i < r->elements; i++)
        if (r->element[i]->type != REDIS_REPLY_STRING)
            return false;
    return true;
}

bool reply_is_scan(const redisReply *r)
{
    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 2 ||
        r->element[0]->type != REDIS_REPLY_STRING || r->element[0]->len == 0 || r->element[0]->len >= 32 ||
        r->element[1]->type != REDIS_REPLY_ARRAY)
        return false;
    for (size_t i = 0; i < r->element[1]->elements; i++)
        if (r->element[1]->element[i]->type != REDIS_REPLY_STRING)
            return false;
    return true;
}
