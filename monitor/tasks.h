/* The tasks of this machine, as their run directories show them: df2redis(1), FILES. They are only read. A
 * task is known by its name in the list that was found here; nothing that a request says becomes a path. */
#ifndef MONITOR_TASKS_H
#define MONITOR_TASKS_H

#include <jansson.h>
#include <stdint.h>

#include "buf.h"
#include "history.h"
#include "task_name.h"

#define TASKS_MAX 256

struct task {
    char name[TASK_NAME_MAX];
    const char *base; /* its run directory is a member of this one; NULL: it has none, it is only kept */
    bool kept;        /* there is a configuration of that name to start it with */
    json_t *status;   /* what its supervisor last wrote, corrected; NULL: nothing could be read */
    int64_t written;  /* Unix time of that; 0: none */
    struct history history;
    unsigned seen; /* in the round with that number */
};

struct tasks {
    const char *const *base;
    unsigned nbases;
    const char *kept; /* directory of the configurations of tasks that are kept; NULL: nobody wants to know */
    struct task *task[TASKS_MAX]; /* by name */
    unsigned n;
    unsigned round;
    int64_t looked; /* Unix time of the last round; 0: none yet */
};

void tasks_init(struct tasks *t, const char *const *base, unsigned nbases, const char *kept);
void tasks_free(struct tasks *t);

/* Look at all run directories, and take a sample of each task. */
void tasks_look(struct tasks *t, int64_t now);

/* NULL: there is none of that name. */
const struct task *tasks_find(const struct tasks *t, const char *name);

/* A task's status as JSON, also of one that has none yet. The caller gets a new reference. */
json_t *task_status(const struct task *task);

/* The last lines of its log, oldest first. */
void task_log(const struct task *task, struct buf *text);

#endif
