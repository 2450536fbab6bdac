/* One flow of another process's session: --flow N --session PATH. */
#ifndef READER_JOIN_H
#define READER_JOIN_H

#include "options.h"

/* Returns the exit status. */
int join_run(const struct options *o);

#endif
