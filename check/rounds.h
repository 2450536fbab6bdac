/* Looks after the first one, and repair. */
#ifndef CHECK_ROUNDS_H
#define CHECK_ROUNDS_H

#include "run.h"

/* What the first look found of a key (ctx: the check). */
void rounds_first(void *ctx, const struct batch *b, const struct item *it, const struct finding *f);

/* Look again until all is settled. */
void rounds_run(struct check *c);

/* Write what differs to --save, or again to the target and look at that. */
void rounds_repair(struct check *c, struct report *after);

/* ---- for confirm.c ---- */

/* It differs for certain; it keeps changing. */
void rounds_settled(struct check *c, const struct batch *b, const struct item *it, const struct finding *f);
void rounds_changing(struct check *c, const struct batch *b, const struct item *it, const struct finding *f);

/* Rules for types can only be asked once the type is known: that of the source, else that of the target. */
bool rounds_wanted(const struct check *c, const struct batch *b, const struct item *it);

/* For task_wait; ctx: the engine. */
void rounds_pass_time(void *ctx, unsigned ms);

/* A batch of the next suspects of a list, all of one database, up to limit. Returns 1, or -1 at their end. */
int rounds_suspects(struct check *c, struct suspect_reader *from, struct batch *b, unsigned limit);

#endif
