/* Paths and their responses. */
#ifndef MONITOR_ROUTES_H
#define MONITOR_ROUTES_H

#include <stdbool.h>

#include "buf.h"
#include "tasks.h"

struct answer {
    unsigned status;
    const char *type;
    const char *allow; /* with status 405 */
    bool fixed;        /* part of the program: browsers may cache it */
    const void *data;  /* a part of the program; NULL: text */
    size_t n;          /* bytes of data */
    struct buf text;   /* the caller's */
};

/* method and path (without a query) as they came; since: the query's, 0: none. now: Unix time. */
void routes_answer(const struct tasks *t, const char *method, const char *path, int64_t since, int64_t now,
                   struct answer *a);

#endif
