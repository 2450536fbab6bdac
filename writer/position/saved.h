/* Where an earlier session of this task stood: from the target's position key (a single server: it is written
 * in the transactions whose commands it covers), or from the file of --position-file (else). df2redis(7),
 * Order and positions, dfrecord(5), Resuming. */
#ifndef RW_SAVED_H
#define RW_SAVED_H

#include <stdbool.h>
#include <stdint.h>

#include "position_text.h"

struct writer;

/* Read what there is (saved_check). False: the writer has failed. */
bool saved_read(struct writer *w, struct saved_vector *v);

/* Ask for the position key; where positions are kept in a file: see whether the target still has what they
 * speak of. True: that is known (or there is nothing to know). False: it takes until the servers have
 * answered, or the writer has failed. */
bool saved_check(struct writer *w);

/* Tell dfreader (SESSION had resume=1). Returns -1 when it has gone. */
int saved_tell(struct writer *w, const struct saved_vector *v);

/* Write the file, if it is due: what is applied now. final: also if it is not. Does nothing without
 * --position-file. */
void saved_write(struct writer *w, uint64_t now, bool final);

/* The target is about to be emptied for a full sync: what the file says of it, if there is one, does not hold
 * any more. */
void saved_void(struct writer *w);

/* Before the end: do the marks cover everything that was applied? If not they are written. */
bool saved_settled(struct writer *w);

/* Milliseconds until it is due; -1: not by itself. */
int saved_timeout(const struct writer *w, uint64_t now);

#endif
