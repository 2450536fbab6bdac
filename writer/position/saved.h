/* Where an earlier session of this task stood: from the target's position key (a single server: it is written
 * in the transactions whose commands it covers), or from the file of --position-file (else). df2redis(7),
 * Order and positions, dfrecord(5), Resuming. */
#ifndef RW_SAVED_H
#define RW_SAVED_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "position_text.h"

struct cluster;
struct exact;
struct holds;
struct live;
struct marks;
struct options;
struct outcome;
struct policy;
struct positions;
struct probes;
struct session;
struct sweep;
struct whole;

/* Where positions are kept, and whose they are. */
struct saved {
    const struct options *opt;
    struct outcome *outcome;
    const struct session *session;
    const struct policy *policy;
    const struct positions *positions;
    const struct exact *exact;
    const struct probes *probes;
    const struct sweep *sweep;
    const struct cluster *cl;
    struct whole *whole; /* the position key */
    struct marks *marks; /* beside the file */
    struct holds *holds;
    struct live *live;

    uint64_t at;      /* mono_us: the position file was written, or looked at */
    uint64_t sum;     /* of what stands in it */
    struct buf body;  /* of the file, until the marks are written */
    bool ended_quiet; /* nothing is sent any more, and all that was is done */
    bool over;        /* the run whose positions were read had come to its end */
};

/* Read what there is (saved_check). False: the run has failed. */
bool saved_read(struct saved *d, struct saved_vector *v);

/* Ask for the position key; where positions are kept in a file: see whether the target still has what they
 * speak of. True: that is known (or there is nothing to know). False: it takes until the servers have
 * answered, or the run has failed. */
bool saved_check(struct saved *d);

/* Tell dfreader (SESSION had resume=1). Returns -1 when it has gone. */
int saved_tell(struct saved *d, const struct saved_vector *v);

/* Write the file, if it is due: what is applied now. final: also if it is not. Does nothing without
 * --position-file. */
void saved_write(struct saved *d, uint64_t now, bool final);

/* The target is about to be emptied for a full sync: what the file says of it, if there is one, does not hold
 * any more. */
void saved_void(struct saved *d);

/* Before the end: do the marks cover everything that was applied? If not they are written. */
bool saved_settled(struct saved *d);

/* Milliseconds until it is due; -1: not by itself. */
int saved_timeout(const struct saved *d, uint64_t now);

#endif
