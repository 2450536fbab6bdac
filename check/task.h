/* A task of ours that keeps the target up to date: by its positions it is known when what the source had at a
 * look has reached the target. */
#ifndef CHECK_TASK_H
#define CHECK_TASK_H

#include "ctl.h"

struct task {
    const char *name;
    struct ctl ctl;
};

/* Find it by its name, or by its control socket, which has a slash. Ends the process with status 1 when it
 * does not run, 75 when its full sync is not complete. */
void task_open(struct task *t, const char *name);
void task_close(struct task *t);

/* Wait until all that the source had written at that time (mono_us) is applied; idle passes so many ms. Ends
 * the process, with status 75, when that takes more than a minute without progress. */
void task_wait(struct task *t, uint64_t written, void (*idle)(void *ctx, unsigned ms), void *ctx);

#endif
