/* One flow of another process's session: --flow N --session PATH. */
#ifndef READER_FLOW_PROCESS_H
#define READER_FLOW_PROCESS_H

#include "options.h"
#include "source.h"

/* Returns the exit status. */
int flow_process_run(const struct options *o, const struct source_kind *kind);

#endif
