/* A stream of commands (dfrecord(5)) that dfparse wrote of a file, or of a server that was scanned, taken for
 * what it says: which keys there are, and what they hold. Each key comes out once it is complete. */
#ifndef CHECK_TOLD_H
#define CHECK_TOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "entry.h"
#include "record.h"
#include "reply.h"

/* What dfparse has to be told to write such a stream: any type, any size, no RESTORE but of modules. */
#define TOLD_TARGET  "redis:8.6"
#define TOLD_MODULES "ReJSON,vectorset,any"

struct making;

#define TOLD_BUCKETS 256u

/* A request that is coming. */
struct told_request {
    struct reply q;
    struct buf rest; /* bytes at the end of a record that mean nothing without the next one */
    bool begun;
};

struct told {
    /* A key is complete; name and database are those of the stream. */
    void (*key)(void *ctx, const struct entry *head, const struct part *part, struct slice name);
    void *ctx;

    bool scanned; /* the source is a server, whose keys come one after the other */
    bool ended;   /* the END record came ... */
    int status;   /* ... with this exit status */
    char fault[300];

    struct making *bucket[TOLD_BUCKETS]; /* keys that are not complete */
    struct making *spare;
    unsigned open;
    struct making *latest[REC_FLOWS_MAX];        /* of a scanned flow: it may go on */
    struct told_request *pending[REC_FLOWS_MAX]; /* one of several records */
    struct told_request request;
};

void told_init(struct told *t, void (*key)(void *, const struct entry *, const struct part *, struct slice),
               void *ctx);
void told_free(struct told *t);

/* A record. Returns 0, or -1: fault says why nothing certain can be said about the keys. */
int told_record(struct told *t, const struct rec *r, const uint8_t *payload);

#endif
