/* Names of the keys that the target has of some hash slots: dfreader asks for them when another flow takes
 * the slots over ("list", dfrecord(5)). All masters are scanned, beside everything else. */
#ifndef RW_LISTING_H
#define RW_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "slotset.h"

struct writer;
struct cluster;

enum listing_phase { LISTING_OFF, LISTING_LOOKS, LISTING_READS, LISTING_LOOKS_AGAIN };

#define LISTINGS 64u /* orders that wait, at most: one of a flow */

struct listing_order {
    unsigned flow, epoch;
    uint32_t number;
    struct slotset slots;
};

struct listing {
    enum listing_phase phase;
    struct listing_order order[LISTINGS]; /* the first is under way */
    unsigned orders;
    unsigned asked;    /* replies that are outstanding */
    char rounds[64];   /* only their addresses count */
    unsigned round;    /* they are of this one */
    uint64_t print[2]; /* of what the masters said before, and behind */
    bool moving;       /* they are giving slots away */
    uint64_t next;     /* mono_us: nothing before */
    struct buf found;  /* lines for dfreader */
    size_t sent;       /* of that */
};

void listing_free(struct listing *l);

/* A line "list". */
void listing_ask(struct writer *w, const char *line);

/* An epoch begins: nothing of the one before. */
void listing_drop(struct writer *w);

void listing_work(struct cluster *cl, uint64_t now);
int listing_timeout(const struct writer *w);

#endif
