#include "identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <bsd/string.h>

#include "info.h"
#include "../words.h"

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

/* An uptime of more than there has been since 1970 is none. */
static void take_uptime(struct identity *id, const char *info)
{
    char text[24] = "";
    const char *p = text;
    uint64_t uptime;
    time_t now = time(NULL);
    take(info, "uptime_in_seconds", text, sizeof text);
    if (now > 0 && words_number(&p, (uint64_t)now, &uptime))
        id->started = (int64_t)now - (int64_t)uptime;
}

void identity_learn(struct identity *id, const char *info)
{
    take(info, "run_id", id->run_id, sizeof id->run_id);
    take(info, "master_replid", id->replid, sizeof id->replid);
    take(info, "master_replid2", id->replid2, sizeof id->replid2);
    take(info, "process_id", id->pid, sizeof id->pid);
    take_uptime(id, info);
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
    uint64_t started;
    *id = (struct identity){0};
    if (!words_text(&text, id->run_id, sizeof id->run_id) ||
        !words_text(&text, id->replid, sizeof id->replid) || !words_text(&text, id->pid, sizeof id->pid) ||
        !words_number(&text, INT64_MAX, &started))
        return false;
    id->started = (int64_t)started;
    if (strcmp(id->run_id, "-") == 0)
        id->run_id[0] = '\0';
    if (strcmp(id->replid, "-") == 0)
        id->replid[0] = '\0';
    if (strcmp(id->pid, "-") == 0)
        id->pid[0] = '\0';
    return true;
}
