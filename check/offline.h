/* The check where a side is a file: both sides are read from begin to end, and their keys brought together by
 * their digests. df2redis-check(1), Files. */
#ifndef CHECK_OFFLINE_H
#define CHECK_OFFLINE_H

#include "options.h"
#include "report.h"

/* Compare; what differs goes to report. keys: how many each side has. */
void offline_run(const struct options *o, struct report *report, uint64_t keys[2]);

#endif
