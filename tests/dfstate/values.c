/* The commands that read a value of each type, and the canonical JSON of their replies.
 * value_ask() and value_read() are a pair: the first queues just the commands whose replies the
 * second takes, so that many keys can be under way at once. */
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

#define PENDING_LIMIT "100000"

typedef struct pair {
    bytes a, b;
} pair;

enum kind kind_of(const char *type)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {{"none", K_NONE},     {"string", K_STRING}, {"list", K_LIST},
                 {"set", K_SET},       {"zset", K_ZSET},     {"hash", K_HASH},
                 {"stream", K_STREAM}, {"json", K_JSON},     {"ReJSON-RL", K_JSON}};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(type, kinds[i].name) == 0)
            return kinds[i].kind;
    return K_OTHER;
}

static bytes text_of(const redisReply *r)
{
    if (!r || (r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_STATUS))
        die("a text was expected in a reply");
    return (bytes){r->str, r->len};
}

static void write_reply(buf *out, const redisReply *r)
{
    if (!r || r->type == REDIS_REPLY_NIL) {
        buf_text(out, "null");
    } else if (r->type == REDIS_REPLY_INTEGER) {
        buf_int(out, r->integer);
    } else if (r->type == REDIS_REPLY_ARRAY) {
        buf_add(out, "[", 1);
        for (size_t i = 0; i < r->elements; i++) {
            if (i)
                buf_add(out, ", ", 2);
            write_reply(out, r->element[i]);
        }
        buf_add(out, "]", 1);
    } else if (r->type == REDIS_REPLY_ERROR) {
        buf_text(out, "\"ERR ");
        buf_json_body(out, (bytes){r->str, r->len});
        buf_add(out, "\"", 1);
    } else {
        buf_json(out, (bytes){r->str, r->len});
    }
}

/* XINFO answers with a flat list of names and values. */
static const redisReply *field(const redisReply *flat, const char *name)
{
    for (size_t i = 0; flat && i + 1 < flat->elements; i += 2) {
        const redisReply *k = flat->element[i];

        if (k->str && strcmp(k->str, name) == 0)
            return flat->element[i + 1];
    }
    return NULL;
}

static redisReply *read_array(node *n, const char *what)
{
    redisReply *r = wire_reply_ok(n, what);

    if (r->type != REDIS_REPLY_ARRAY)
        die("%s: a list was expected", what);
    return r;
}

static int cmp_bytes(const void *a, const void *b)
{
    return bytes_cmp(*(const bytes *)a, *(const bytes *)b);
}

static int cmp_pair(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    int c = bytes_cmp(x->a, y->a);

    return c ? c : bytes_cmp(x->b, y->b);
}

/* A sorted list of n texts, and its memory with it. */
static void write_sorted(buf *out, bytes *texts, size_t n)
{
    if (n)
        qsort(texts, n, sizeof(*texts), cmp_bytes);
    buf_add(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add(out, ", ", 2);
        buf_json(out, texts[i]);
    }
    buf_add(out, "]", 1);
    free(texts);
}

static enum outcome outcome_of(const redisReply *r)
{
    bool empty = r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && !r->elements);

    return empty ? V_EMPTY : V_READ;
}

static enum outcome read_set(node *n, buf *out)
{
    redisReply *r = read_array(n, "SMEMBERS");
    bytes *texts = xcalloc(r->elements, sizeof(*texts));
    enum outcome result = outcome_of(r);

    for (size_t i = 0; i < r->elements; i++)
        texts[i] = text_of(r->element[i]);
    write_sorted(out, texts, r->elements);
    freeReplyObject(r);
    return result;
}

static void write_pairs(buf *out, pair *pairs, size_t n)
{
    if (n)
        qsort(pairs, n, sizeof(*pairs), cmp_pair);
    buf_add(out, "[", 1);
    for (size_t i = 0; i < n; i++) {
        buf_text(out, i ? ", [" : "[");
        buf_json(out, pairs[i].a);
        buf_add(out, ", ", 2);
        buf_json(out, pairs[i].b);
        buf_add(out, "]", 1);
    }
    buf_add(out, "]", 1);
}

/* Hashes, and sorted sets, whose scores are brought into one form. */
static enum outcome read_pairs(node *n, bool scores, buf *out)
{
    redisReply *r = read_array(n, scores ? "ZRANGE" : "HGETALL");
    enum outcome result = outcome_of(r);
    size_t count = r->elements / 2;
    pair *pairs = xcalloc(count, sizeof(*pairs));
    char *texts = scores ? xcalloc(count, PYFLOAT_MAX) : NULL;

    if (r->elements % 2)
        die("%s: an odd number of elements", scores ? "ZRANGE" : "HGETALL");
    for (size_t i = 0; i < count; i++) {
        size_t len;

        pairs[i] = (pair){text_of(r->element[2 * i]), text_of(r->element[2 * i + 1])};
        if (texts && py_normal_float(pairs[i].b, texts + i * PYFLOAT_MAX, &len))
            pairs[i].b = (bytes){texts + i * PYFLOAT_MAX, len};
    }
    write_pairs(out, pairs, count);
    free(texts);
    free(pairs);
    freeReplyObject(r);
    return result;
}

static int cmp_group(const void *a, const void *b)
{
    return bytes_cmp(text_of(field(*(redisReply *const *)a, "name")),
                     text_of(field(*(redisReply *const *)b, "name")));
}

/* Groups are asked about in the order in which they are written. */
void groups_sort(redisReply *groups)
{
    if (groups->elements)
        qsort(groups->element, groups->elements, sizeof(groups->element[0]), cmp_group);
}

static void ask_stream(node *n, bytes key, const redisReply *groups)
{
    wire_put(n, (bytes[]){lit("XINFO"), lit("STREAM"), key}, 3);
    wire_put(n, (bytes[]){lit("XRANGE"), key, lit("-"), lit("+")}, 4);
    for (size_t i = 0; i < groups->elements; i++) {
        bytes name = text_of(field(groups->element[i], "name"));

        wire_put(n, (bytes[]){lit("XINFO"), lit("CONSUMERS"), key, name}, 4);
        wire_put(n, (bytes[]){lit("XPENDING"), key, name, lit("-"), lit("+"), lit(PENDING_LIMIT)}, 6);
    }
}

static void write_consumers(const redisReply *r, buf *out)
{
    bytes *names = xcalloc(r->elements, sizeof(*names));

    for (size_t i = 0; i < r->elements; i++)
        names[i] = text_of(field(r->element[i], "name"));
    write_sorted(out, names, r->elements);
}

/* Of an entry (id, consumer, idle time, deliveries) the idle time is left out: it grows. */
static void write_pending(const redisReply *r, buf *out)
{
    buf_add(out, "[", 1);
    for (size_t i = 0; i < r->elements; i++) {
        const redisReply *p = r->element[i];

        if (p->type != REDIS_REPLY_ARRAY || p->elements < 4)
            die("XPENDING: an entry with too few fields");
        buf_text(out, i ? ", [" : "[");
        write_reply(out, p->element[0]);
        buf_add(out, ", ", 2);
        write_reply(out, p->element[1]);
        buf_add(out, ", ", 2);
        write_reply(out, p->element[3]);
        buf_add(out, "]", 1);
    }
    buf_add(out, "]", 1);
}

static void write_group(const redisReply *group, redisReply *const *replies, const live_options *o, buf *out)
{
    buf_text(out, "{\"consumers\": ");
    write_consumers(replies[0], out);
    buf_text(out, ", \"last\": ");
    write_reply(out, field(group, "last-delivered-id"));
    buf_text(out, ", \"name\": ");
    write_reply(out, field(group, "name"));
    buf_text(out, ", \"pending\": ");
    write_pending(replies[1], out);
    if (!o->no_reads) {
        buf_text(out, ", \"read\": ");
        write_reply(out, field(group, "entries-read"));
    }
    buf_add(out, "}", 1);
}

/* `replies` are those to the commands of ask_stream(), in their order. */
static void write_stream(redisReply *const *replies, const redisReply *groups, const live_options *o,
                         buf *out)
{
    buf_text(out, "{\"added\": ");
    write_reply(out, field(replies[0], "entries-added"));
    buf_text(out, ", \"entries\": ");
    write_reply(out, replies[1]);
    buf_text(out, ", \"groups\": [");
    for (size_t i = 0; i < groups->elements; i++) {
        if (i)
            buf_add(out, ", ", 2);
        write_group(groups->element[i], replies + 2 + 2 * i, o, out);
    }
    buf_text(out, "], \"last\": ");
    write_reply(out, field(replies[0], "last-generated-id"));
    buf_text(out, ", \"maxdel\": ");
    write_reply(out, field(replies[0], "max-deleted-entry-id"));
    buf_add(out, "}", 1);
}

static enum outcome read_stream(node *n, const redisReply *groups, const live_options *o, buf *out)
{
    size_t count = 2 + 2 * groups->elements;
    redisReply **replies = xcalloc(count, sizeof(redisReply *));
    enum outcome result = V_READ;

    for (size_t i = 0; i < count; i++) {
        replies[i] = wire_reply(n);
        if (replies[i]->type != REDIS_REPLY_ARRAY)
            result = V_ERROR;
    }
    if (result == V_READ)
        write_stream(replies, groups, o, out);
    for (size_t i = 0; i < count; i++)
        freeReplyObject(replies[i]);
    free(replies);
    return result;
}

static enum outcome read_plain(node *n, const char *what, buf *out)
{
    /* a JSON error is kept as the value; it tells more than the end of the whole dump */
    redisReply *r = what ? wire_reply_ok(n, what) : wire_reply(n);
    enum outcome result = outcome_of(r);

    write_reply(out, r);
    freeReplyObject(r);
    return result;
}

void value_ask(node *n, enum kind kind, bytes key, const redisReply *groups)
{
    switch (kind) {
    case K_STRING: wire_put(n, (bytes[]){lit("GET"), key}, 2); break;
    case K_LIST: wire_put(n, (bytes[]){lit("LRANGE"), key, lit("0"), lit("-1")}, 4); break;
    case K_SET: wire_put(n, (bytes[]){lit("SMEMBERS"), key}, 2); break;
    case K_ZSET: wire_put(n, (bytes[]){lit("ZRANGE"), key, lit("0"), lit("-1"), lit("WITHSCORES")}, 5); break;
    case K_HASH: wire_put(n, (bytes[]){lit("HGETALL"), key}, 2); break;
    case K_STREAM: ask_stream(n, key, groups); break;
    case K_JSON: wire_put(n, (bytes[]){lit("JSON.GET"), key}, 2); break;
    case K_NONE:
    case K_OTHER: break;
    }
}

enum outcome value_read(node *n, enum kind kind, const char *type, const redisReply *groups,
                        const live_options *o, buf *out)
{
    switch (kind) {
    case K_STRING: return read_plain(n, "GET", out);
    case K_LIST: return read_plain(n, "LRANGE", out);
    case K_SET: return read_set(n, out);
    case K_ZSET:
    case K_HASH: return read_pairs(n, kind == K_ZSET, out);
    case K_STREAM: return read_stream(n, groups, o, out);
    case K_JSON: return read_plain(n, NULL, out);
    case K_NONE:
    case K_OTHER: break;
    }
    buf_text(out, "\"unread type ");
    buf_json_body(out, lit(type));
    buf_add(out, "\"", 1);
    return V_READ;
}
