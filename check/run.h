/* A check of two servers under way: what its parts share. check.c walks, rounds.c looks again and repairs,
 * confirm.c asks whether a key was written meanwhile. */
#ifndef CHECK_RUN_H
#define CHECK_RUN_H

#include "check.h"
#include "engine.h"
#include "suspects.h"
#include "task.h"
#include "walk.h"

struct check {
    const struct options *o;
    struct report *report;
    struct counts *counts;
    struct depth depth; /* of what is under way */
    struct side side[2];
    uint64_t identity[2]; /* of the sides, at the beginning */
    struct loop loop;
    struct engine engine;
    struct task task; /* that writes to the target, with --task */

    unsigned own;   /* side that is walked */
    uint32_t db[2]; /* that is walked, and the one it becomes */
    bool has_db[2];
    bool only_ttl; /* of what is found only times to live count */
    struct walk walk;
    uint32_t no_extra[SIDE_DBS]; /* databases of the target that need no walk */
    unsigned no_extras;

    struct suspect_reader now; /* what is looked at */
    struct suspects later;     /* what is to be looked at next */
    struct suspects verge;     /* with a task: they differ, unless they were written meanwhile */
    struct suspects broken;    /* to be repaired; print is what to do */
    bool last;                 /* look */
    bool repaired;             /* what is looked at now */
};

/* The databases that are under way. */
void run_set_dbs(struct check *c, uint32_t source, uint32_t target);
void run_begin_batch(const struct check *c, struct batch *b);

#endif
