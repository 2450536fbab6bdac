/* What a request to control a task says: JSON, as df2redis-monitor(1) describes it. A configuration is taken
 * apart, each name is looked for in a list, and a new text is made of what was accepted, so that nothing that
 * was not understood here reaches df2redis. Pure functions over buffers. */
#ifndef MONITOR_POSTED_H
#define MONITOR_POSTED_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "task_name.h"

#define POSTED_MAX ((size_t)65536) /* bytes of a request */

struct posted {
    char name[TASK_NAME_MAX]; /* of a new task */
    struct buf config;        /* its configuration; the caller's */
    char timeout[24];         /* stop: seconds, "": not said */
    bool final;
    char max_ops[24], max_bytes[24]; /* limit: numbers, "": not said */
};

/* Each returns true, or false and in why what is wrong, in printable ASCII. *p is filled in; its config has
 * to be freed in either case. files: the directory in which plain names of files are, NULL: none. */
bool posted_task(const void *body, size_t n, const char *files, struct posted *p, char *why, size_t cap);
bool posted_stop(const void *body, size_t n, struct posted *p, char *why, size_t cap);
bool posted_limit(const void *body, size_t n, struct posted *p, char *why, size_t cap);

/* start and remove: nothing, or an empty object. */
bool posted_nothing(const void *body, size_t n, char *why, size_t cap);

#endif
