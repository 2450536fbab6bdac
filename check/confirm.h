/* A difference between two servers of which a task keeps one up to date counts only if the key was not
 * written since: its source is asked by WATCH. */
#ifndef CHECK_CONFIRM_H
#define CHECK_CONFIRM_H

#include "run.h"

/* Go through c->verge: what still differs and was not written is settled, what was written in every attempt
 * keeps changing. */
void confirm_all(struct check *c);

#endif
