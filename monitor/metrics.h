/* Everything that is known of the tasks in Prometheus' text format. */
#ifndef MONITOR_METRICS_H
#define MONITOR_METRICS_H

#include "buf.h"
#include "tasks.h"

void metrics_text(const struct tasks *t, struct buf *b);

#endif
