/* Names of tasks, as df2redis allows them. */
#ifndef MONITOR_TASK_NAME_H
#define MONITOR_TASK_NAME_H

#include <stdbool.h>
#include <string.h>

#define TASK_NAME_MAX 128

/* Letters, digits, dots, dashes and underscores, the first no dot or dash. */
static inline bool is_task_name(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(s);
    return n > 0 && n < TASK_NAME_MAX && s[0] != '.' && s[0] != '-' && strspn(s, letters) == n;
}

#endif
