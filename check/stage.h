/* One side read by the pipeline itself: dfreader SIDE | dfparse, and the commands that come out. */
#ifndef CHECK_STAGE_H
#define CHECK_STAGE_H

#include <sys/types.h>

#include "side.h"

struct stage {
    pid_t pid[2];
    int out; /* the stream of commands */
};

/* Start both. keys: a file that names the only keys to be read, of a server; -1: all of them. Ends the process
 * with status 1 when that is not possible. */
void stage_open(struct stage *s, const struct side_options *o, int keys);

/* Its output is not read any further: both end. */
void stage_close(struct stage *s);

#endif
