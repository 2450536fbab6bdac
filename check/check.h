/* The check: a walk over the source, one over the target, and further looks at what differed. */
#ifndef CHECK_CHECK_H
#define CHECK_CHECK_H

#include "options.h"
#include "repair.h"
#include "report.h"

struct counts {
    uint64_t keys[2];  /* that were walked on each side; with --sample only those */
    uint64_t suspects; /* that differed at the first look */
    struct repair repair;
};

/* Compare; what differs goes to report. With --repair it is repaired then and looked at again: what still
 * differs goes to after. The status of the program. */
int check_run(const struct options *o, struct report *report, struct report *after, struct counts *counts);

#endif
