/* The pipeline itself, dfreader SIDE | dfparse: what a side holds comes out as commands, or goes on to the
 * other side. */
#ifndef CHECK_STAGE_H
#define CHECK_STAGE_H

#include <sys/types.h>

#include "filter.h"
#include "side.h"

struct stage {
    pid_t pid[2];
    int out; /* the stream of commands */
};

/* Start both. keys: a file that names the only keys to be read, of a server; -1: all of them. Ends the
 * process with status 1 when that is not possible. */
void stage_open(struct stage *s, const struct side_options *o, int keys);

/* Copy the keys of the source that the file names to the target, by dfreader | dfparse | rediswriter. Returns
 * the worst of their statuses. */
int stage_copy(const struct side_options *source, const struct side_options *target, const struct filter *f,
               int keys);

/* Its output is not read any further: both end. */
void stage_close(struct stage *s);

#endif
