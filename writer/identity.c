#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/string.h>

#include "info.h"

#define CLOCK_SLACK 10 /* seconds: a clock that is set, and an uptime in whole seconds */

/* What is not there stays as it is: the sections come one by one. */
static void take(const char *info, const char *name, char *out, size_t cap)
{
    char value[64];
    info_field(info, name, value, sizeof value);
    for (char *p = value; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == '?') /* or cleaned by info_field: no identity */
            return;
    if (value[0] != '\0')
        strlcpy(out, value, cap);
}

void identity_learn(struct identity *id, const char *info)
{
    char uptime[24] = "";
    take(info, "run_id", id->run_id, sizeof id->run_id);
    take(info, "master_replid", id->replid, sizeof id->replid);
    take(info, "master_replid2", id->replid2, sizeof id->replid2);
    take(info, "process_id", id->pid, sizeof id->pid);
    take(info, "uptime_in_seconds", uptime, sizeof uptime);
    if (uptime[0] != '\0')
        id->started = (int64_t)time(NULL) - strtoll(uptime, NULL, 10);
}

static bool differ(const char *a, const char *b)
{
    return a[0] != '\0' && b[0] != '\0' && strcmp(a, b) != 0;
}

static bool match(const char *a, const char *b)
{
    return a[0] != '\0' && strcmp(a, b) == 0;
}

bool identity_same(const struct identity *a, const struct identity *b)
{
    if (a->run_id[0] != '\0' || b->run_id[0] != '\0')
        return match(a->run_id, b->run_id);
    /* Dragonfly has none. A process id alone may come again: in a container it always does. */
    if (differ(a->replid, b->replid) || differ(a->pid, b->pid) || a->started == 0 || b->started == 0)
        return false;
    return llabs(a->started - b->started) <= CLOCK_SLACK &&
           (match(a->replid, b->replid) || match(a->pid, b->pid));
}

bool identity_follows(const struct identity *a, const struct identity *b)
{
    return match(a->replid, b->replid) || match(a->replid, b->replid2);
}

static const char *word(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

void identity_print(const struct identity *id, char out[IDENTITY_TEXT])
{
    snprintf(out, IDENTITY_TEXT, "%s %s %s %lld", word(id->run_id), word(id->replid), word(id->pid),
             (long long)id->started);
}

bool identity_parse(struct identity *id, const char *text)
{
    long long started;
    *id = (struct identity){0};
    if (sscanf(text, "%63s %63s %15s %lld", id->run_id, id->replid, id->pid, &started) != 4)
        return false;
    id->started = started;
    if (strcmp(id->run_id, "-") == 0)
        id->run_id[0] = '\0';
    if (strcmp(id->replid, "-") == 0)
        id->replid[0] = '\0';
    if (strcmp(id->pid, "-") == 0)
        id->pid[0] = '\0';
    return true;
}
