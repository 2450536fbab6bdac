/* Commands for a cluster whose keys lie in several slots: taken apart, or made programs (dfrecord(5),
 * PROGRAM). What is done for each: dfparse(1). */
#ifndef DFP_SPREAD_H
#define DFP_SPREAD_H

#include "command_parts.h"
#include "program.h"

/* The target is a cluster. True: the command was written, or reported, here; false: it may go its usual way,
 * all of its keys lie in one slot. */
bool spread(const struct cmd *m);

/* ---- for spread.c and programs.c ---- */

/* A PROGRAM record under way for a command, as its only one. */
struct spreading {
    const struct cmd *m;
    struct keys keys;
    struct program p;
};

void spread_rename(struct spreading *s);
void spread_copy(struct spreading *s);
void spread_smove(struct spreading *s);
void spread_lmove(struct spreading *s);
void spread_gather(struct spreading *s);

#endif
