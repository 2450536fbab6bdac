/* What bundle.c (under way), bundle_flow.c (collecting by flow) and gather.c (collecting by slot) share. */
#ifndef RW_BUNDLE_PARTS_H
#define RW_BUNDLE_PARTS_H

#include <sys/queue.h>

#include "bundle.h"
#include "exact.h"
#include "writer.h"

#define BUNDLE_MAX   256u /* records */
#define BUNDLE_BYTES ((size_t)256 << 10)
#define WAIT_MAX     ((uint64_t)50000) /* us for the rest of one */

struct element {
    struct rec r;
    struct exact_id id;
    uint64_t mark;  /* its place among the live records of its flow, once that is taken */
    uint32_t off;   /* of the request */
    uint32_t probe; /* of probes.h; 0: it is none */
    uint8_t vclass;
    bool out;     /* a position, refused for good, or done by an earlier process: not sent (again) */
    bool already; /* the last of these */
    bool resent;  /* it may have been carried out already */
    bool odd;     /* it got a reply that it cannot get */
};

struct bundle {
    TAILQ_ENTRY(bundle) link;
    struct buf req;
    struct element *e;
    unsigned n, cap;
    uint16_t flow, slot;
    bool collecting;
    bool closed;       /* nothing more joins */
    uint64_t since;    /* mono_us */
    unsigned replies;  /* so far */
    unsigned look;     /* the element whose reply in that to EXEC is next */
    bool strange;      /* that holds a reply which its request cannot get */
    struct buf faults; /* the first one of those queued, or those of EXEC */

    /* --exactly-once */
    struct plight plight;
    bool single;   /* its requests go one by one, see suspect.h */
    int step;      /* the one in flight, unless it is the last; -1 */
    char lost[96]; /* how its connection was lost */

    bool exact;
    bool doubt;     /* it may have been carried out: its token says it */
    uint64_t token; /* 0: none yet */
    struct buf hset;
    unsigned fields; /* of it, besides w */
    long long added; /* of all, those that the key did not have */
    TAILQ_ENTRY(bundle) ready;
    bool listed;   /* in the list of those that may go */
    unsigned open; /* flows whose last record belongs together with their next one */
    uint8_t tries;
    bundle_fn *fn; /* a step: whoever runs it has the slot */
    void *arg;
    char why[256]; /* its error */
    unsigned why_len;
};

TAILQ_HEAD(bundle_list, bundle);

struct bundles {
    struct bundle_list used, spare;
    unsigned nspare;
    struct bundle *of[REC_FLOWS_MAX]; /* being collected, or waiting to be sent for the first time */
    unsigned collecting;
    unsigned flying; /* of those with exact */

    /* gather.c */
    struct bundle **at; /* by slot: what gathers */
    struct bundle_list ready;
    unsigned records; /* of slots, gathering or under way */
    size_t bytes;     /* of those that gather */
};

/* A new one, which is in the list of those used. */
struct bundle *bundle_new(struct bundles *b, unsigned slot);
void bundle_retire(struct bundles *b, struct bundle *t);

/* Room for len more bytes and one more record, which is filled in but for its mark. */
struct element *bundle_add(struct bundle *t, const struct rec *r, const uint8_t *payload, uint8_t vclass);

/* The unit that stands for it. */
struct cunit bundle_unit(struct bundle *t);

#endif
