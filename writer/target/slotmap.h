/* The reply to CLUSTER SLOTS, taken apart: nothing of it counts unless all of it is in order. */
#ifndef RW_SLOTMAP_H
#define RW_SLOTMAP_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

/* A node of a range of slots; host: "" is whoever was asked. replica: it only knows of them. */
typedef void slotmap_fn(void *ctx, unsigned first, unsigned last, const char *host, const char *port,
                        bool replica);

/* False: it is no such reply, and fn was not called. */
bool slotmap_read(const redisReply *r, slotmap_fn *fn, void *ctx);

#endif
