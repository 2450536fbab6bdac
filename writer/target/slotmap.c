#include "slotmap.h"

#include <stdio.h>
#include <string.h>

#include "slot.h"
#include "sock.h"

/* Host and port of a node. An empty or null host, or one that is not known, means the node that was asked. */
static bool node_of(const redisReply *r, const char **host, char port[8])
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 2 || r->element[1]->type != REDIS_REPLY_INTEGER ||
        r->element[1]->integer < 1 || r->element[1]->integer > 65535)
        return false;
    const redisReply *h = r->element[0];
    if (h->type != REDIS_REPLY_STRING && h->type != REDIS_REPLY_NIL)
        return false;
    snprintf(port, 8, "%lld", r->element[1]->integer);
    *host = h->type == REDIS_REPLY_NIL || strcmp(h->str, "?") == 0 ? "" : h->str;
    return (*host)[0] == '\0' ? h->type == REDIS_REPLY_NIL || h->len <= 1
                              : strlen(*host) == h->len && endpoint_ok(*host, port);
}

/* First slot, last slot, master, replicas. */
static bool range_of(const redisReply *r, slotmap_fn *fn, void *ctx)
{
    const char *host;
    char port[8];
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 3 || r->element[0]->type != REDIS_REPLY_INTEGER ||
        r->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    long long first = r->element[0]->integer, last = r->element[1]->integer;
    if (first < 0 || last < first || last >= (long long)SLOTS)
        return false;
    for (size_t i = 2; i < r->elements; i++) {
        bool ok = node_of(r->element[i], &host, port);
        if (!ok && i == 2)
            return false;
        if (ok && fn != NULL)
            fn(ctx, (unsigned)first, (unsigned)last, host, port, i > 2);
    }
    return true;
}

bool slotmap_read(const redisReply *r, slotmap_fn *fn, void *ctx)
{
    if (r->type != REDIS_REPLY_ARRAY || r->elements == 0 || r->elements > SLOTS)
        return false;
    for (size_t i = 0; i < r->elements; i++)
        if (!range_of(r->element[i], NULL, NULL))
            return false;
    for (size_t i = 0; i < r->elements; i++)
        (void)range_of(r->element[i], fn, ctx);
    return true;
}
