/* Paths and their responses. */
#ifndef MONITOR_ROUTES_H
#define MONITOR_ROUTES_H

#include <stdbool.h>

#include "answer.h"
#include "tasks.h"

/* method and path (without a query) as they came; since: the query's, 0: none. now: Unix time. control:
 * tasks can be changed here, which is none of this. */
void routes_answer(const struct tasks *t, bool control, const char *method, const char *path, int64_t since,
                   int64_t now, struct answer *a);

#endif
