/* What the command line says. df2redis-check(1). */
#ifndef CHECK_OPTIONS_H
#define CHECK_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "batch.h"
#include "end.h"
#include "filter.h"

struct options {
    struct end at[2];
    struct depth depth;
    struct filter filter; /* --include, --exclude, --rename-prefix, --db-map */
    uint64_t sample;      /* of 10000 keys so many */
    unsigned rounds;      /* looks after the first one */
    unsigned delay;       /* ms before each of them */
    const char *task;     /* that writes to the target, NULL none */
    int reply_timeout;    /* seconds */
    unsigned connections;
    uint64_t list;
    const char *known;  /* file of keys whose differences do not count, NULL none */
    const char *output; /* JSON lines; NULL none, - standard output */
    enum { NO_REPAIR, REPAIR_BY_COPY, REPAIR_AND_DELETE } repair;
    const char *save; /* file for the values of keys that differ, NULL none */
    bool quiet;
    int verbose;
};

/* One side is a file: offline.h. */
static inline bool options_offline(const struct options *o)
{
    return o->at[0].side.file != NULL || o->at[1].side.file != NULL;
}

void options_parse(struct options *o, int argc, char **argv);

#endif
