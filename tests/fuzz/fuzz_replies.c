/* What a server sends, in pieces: whatever it is, replies are taken apart within their limits, and what is
 * made of them is in order. First byte: how the replies are read, and how large the pieces are. */
#include "fuzz.h"

#include "../../common/hiredis_kind.h"
#include "../../common/slot.h"
#include "../../common/sock.h"
#include "../../common/meta.h"
#include "../../writer/conn/reply.h"
#include "../../writer/target/slotmap.h"

#define MOST ((size_t)4096)

static void take_node(void *ctx, unsigned first, unsigned last, const char *host, const char *port,
                      bool replica)
{
    unsigned *n = ctx;
    (void)replica;
    HOLDS(first <= last && last < SLOTS);
    HOLDS(endpoint_ok(host[0] != '\0' ? host : "h", port));
    ++*n;
}

static void decode(const redisReply *r, struct scan_guard *guard)
{
    unsigned nodes = 0;
    HOLDS(slotmap_read(r, take_node, &nodes) == (nodes > 0));
    if (reply_is_hash(r))
        HOLDS(r->type == REDIS_REPLY_ARRAY && r->elements % 2 == 0);
    if (reply_is_scan(r))
        (void)scan_circles(guard, r->element[0]->str);
    HOLDS(r->type != REDIS_REPLY_STRING || r->len <= MOST);
}

static char seen;

static void *on_string(const redisReadTask *t, char *s, size_t len)
{
    HOLDS(t->type == REDIS_REPLY_STRING ? len <= MOST : memchr(s, '\n', len) == NULL || len <= MOST);
    return &seen;
}

static void *on_array(const redisReadTask *t, hiredis_count elements)
{
    (void)t;
    (void)elements;
    return &seen;
}

static void *on_integer(const redisReadTask *t, long long value)
{
    (void)value;
    return on_array(t, 0);
}

static void *on_nil(const redisReadTask *t)
{
    return on_array(t, 0);
}

static void on_free(void *reply)
{
    (void)reply;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static redisReplyObjectFunctions look = {.createString = on_string,
                                             .createArray = on_array,
                                             .createInteger = on_integer,
                                             .createNil = on_nil,
                                             .freeObject = on_free};
    struct scan_guard guard = {.n = 0};
    struct replies in;
    void *reply;
    if (size < 1 || !replies_open(&in, &look, NULL))
        return 0;
    bool build = (data[0] & 1) != 0;
    size_t piece = 1 + (data[0] >> 1);
    for (size_t at = 1; at < size; at += piece) {
        int got = 1;
        const char *text;
        size_t len;
        replies_feed(&in, (const char *)data + at, size - at < piece ? size - at : piece);
        while (!build && replies_short(&in, &text, &len))
            ;
        while (got > 0) {
            got = replies_next(&in, build, MOST, &reply);
            if (got > 0 && in.build) {
                decode(reply, &guard);
                freeReplyObject(reply);
            }
        }
        if (got < 0)
            break;
    }
    replies_close(&in);
    (void)reply_fits(data, size, REDIS_REPLY_INTEGER);
    return 0;
}
