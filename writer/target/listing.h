/* Names of the keys that the target has of some hash slots of the source: a parser asks for them when its
 * flow takes the slots over ("list", dfrecord(5)). All masters are scanned, beside everything else. */
#ifndef RW_LISTING_H
#define RW_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "renames.h"
#include "slotset.h"

struct cluster;
struct live;
struct outcome;
struct session;
struct sweep;

enum listing_phase { LISTING_OFF, LISTING_LOOKS, LISTING_READS, LISTING_LOOKS_AGAIN };

#define LISTINGS 64u /* orders that wait, at most: one of a flow */

struct listing_order {
    unsigned flow, epoch;
    uint32_t number;
    struct slotset slots;
};

struct listing_round {
    struct listing *all;
};

struct listing {
    struct cluster *cl;
    struct outcome *outcome;
    const struct session *session;
    const struct sweep *sweep; /* before which nothing is listed */
    struct live *live;
    enum listing_phase phase;
    struct listing_order order[LISTINGS]; /* the first is under way */
    unsigned orders;
    unsigned asked;                  /* replies that are outstanding */
    struct listing_round rounds[64]; /* what replies are asked with: those of an earlier one do not count */
    unsigned round;                  /* they are of this one */
    uint64_t print[2];               /* of what the masters said before, and behind */
    bool moving;                     /* they are giving slots away */
    uint64_t next;                   /* mono_us: nothing before */
    struct buf found;                /* lines for dfreader */
    size_t sent;                     /* of that */
    struct renames renames;          /* by which the parsers make names, all the same way */
    struct buf name;                 /* scratch */
};

/* Also when an epoch begins: nothing of the one before. */
void listing_free(struct listing *l);

/* Lines "list", and "rename" before it. */
void listing_ask(struct listing *l, const char *line);
void listing_rename(struct listing *l, const char *line);

void listing_work(struct listing *l, uint64_t now);
int listing_timeout(const struct listing *l);

#endif
