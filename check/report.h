/* What comes out: differences as lines of JSON, the first ones and a summary as text. */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"
#include "finding.h"
#include "known.h"
#include "resp.h"

struct report {
    FILE *json; /* NULL: none */
    FILE *text; /* list and summary */
    uint64_t list, listed;
    uint64_t kinds[FOUND_KINDS];
    uint64_t changing;                 /* keys that differed, and not twice in the same way */
    uint64_t differ;                   /* keys that differ for certain, without those of unknown types */
    struct known known;                /* keys whose differences do not count */
    uint64_t known_kinds[FOUND_KINDS]; /* of these */
    struct buf line;
};

/* A key: database and name in the source and in the target. */
struct subject {
    uint32_t db[2];
    struct slice name[2];
};

/* A key that differs. settled: it was seen so twice. False: its differences are known. */
bool report_key(struct report *r, const struct subject *s, const struct finding *f, bool settled);

/* The status of the program. */
int report_status(const struct report *r);

/* The kinds, one line each. */
void report_kinds(const struct report *r);

/* Ends the process with status 1 if something could not be written. */
void report_close(struct report *r);

#endif
