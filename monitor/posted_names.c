#include "posted_names.h"

#include <string.h>

#define EACH_END (SIDE_SOURCE | SIDE_TARGET)
#define ALL      (SIDE_BOTH | EACH_END)

/* df2redis.conf(5). What names the run directory or the task is not among them, nor is what is not here. */
static const struct posted_name names[] = {
    {"kind", POSTED_KIND, SIDE_BOTH},
    {"source", POSTED_END, SIDE_BOTH},
    {"target", POSTED_END, SIDE_BOTH},
    {"password", POSTED_TEXT, EACH_END},
    {"sentinel-password", POSTED_TEXT, SIDE_BOTH},
    {"on-existing", POSTED_TEXT, SIDE_BOTH},
    {"on-full-resync", POSTED_TEXT, SIDE_BOTH},
    {"single", POSTED_TEXT, SIDE_BOTH},
    {"resume", POSTED_TEXT, SIDE_BOTH},
    {"restart", POSTED_TEXT, SIDE_BOTH},
    {"restart-max", POSTED_TEXT, SIDE_BOTH},
    {"restart-window", POSTED_TEXT, SIDE_BOTH},
    {"log-file", POSTED_FILE, SIDE_BOTH},
    {"log-format", POSTED_TEXT, SIDE_BOTH},
    {"report", POSTED_FILE, SIDE_BOTH},
    {"max-ops", POSTED_TEXT, SIDE_BOTH},
    {"max-bytes", POSTED_TEXT, SIDE_BOTH},
    /* connections */
    {"tls-ca", POSTED_FILE, ALL},
    {"tls-cert", POSTED_FILE, ALL},
    {"tls-key", POSTED_FILE, ALL},
    {"tls-key-password-file", POSTED_FILE, ALL},
    {"tls-server-name", POSTED_TEXT, ALL},
    {"tls-insecure", POSTED_TEXT, ALL},
    {"connect-timeout", POSTED_TEXT, EACH_END},
    {"reconnect-timeout", POSTED_TEXT, EACH_END},
    {"reply-timeout", POSTED_TEXT, SIDE_TARGET},
    {"password-file", POSTED_FILE, EACH_END},
    {"sentinel-user", POSTED_TEXT, EACH_END},
    {"sentinel-password-file", POSTED_FILE, EACH_END},
    /* reading */
    {"from", POSTED_TEXT, SIDE_BOTH},
    {"acknowledge", POSTED_TEXT, SIDE_BOTH},
    {"spool", POSTED_FILE, SIDE_BOTH},
    {"no-spool", POSTED_TEXT, SIDE_BOTH},
    {"spool-max", POSTED_TEXT, SIDE_BOTH},
    {"spill-max", POSTED_TEXT, SIDE_BOTH},
    {"spill-dir", POSTED_FILE, SIDE_BOTH},
    {"buffer", POSTED_TEXT, SIDE_BOTH},
    {"parser-timeout", POSTED_TEXT, SIDE_BOTH},
    {"stall-timeout", POSTED_TEXT, SIDE_BOTH},
    {"barrier-timeout", POSTED_TEXT, SIDE_BOTH},
    {"ping-timeout", POSTED_TEXT, SIDE_BOTH},
    {"no-verify", POSTED_TEXT, SIDE_BOTH},
    {"verify-rate", POSTED_TEXT, SIDE_BOTH},
    {"one-file", POSTED_TEXT, SIDE_BOTH},
    {"until-time", POSTED_TEXT, SIDE_BOTH},
    {"truncated", POSTED_TEXT, SIDE_BOTH},
    {"scan", POSTED_TEXT, SIDE_BOTH},
    {"follow", POSTED_TEXT, SIDE_BOTH},
    {"set-notifications", POSTED_TEXT, SIDE_BOTH},
    {"scan-count", POSTED_TEXT, SIDE_BOTH},
    {"scan-window", POSTED_TEXT, SIDE_BOTH},
    {"scan-rate", POSTED_TEXT, SIDE_BOTH},
    {"masters", POSTED_TEXT, SIDE_BOTH},
    {"scan-bytes", POSTED_TEXT, SIDE_BOTH},
    {"scan-large", POSTED_TEXT, SIDE_BOTH},
    {"scan-values", POSTED_TEXT, SIDE_BOTH},
    /* parsing */
    {"include", POSTED_LISTED, SIDE_BOTH},
    {"exclude", POSTED_LISTED, SIDE_BOTH},
    {"rename-prefix", POSTED_LISTED, SIDE_BOTH},
    {"db-map", POSTED_LISTED, SIDE_BOTH},
    {"version", POSTED_TEXT, SIDE_TARGET},
    {"modules", POSTED_TEXT, SIDE_TARGET},
    {"unsupported", POSTED_TEXT, SIDE_BOTH},
    {"restore-limit", POSTED_TEXT, SIDE_BOTH},
    {"part-size", POSTED_TEXT, SIDE_BOTH},
    {"max-bulk", POSTED_TEXT, SIDE_BOTH},
    {"timeout", POSTED_TEXT, SIDE_TARGET},
    {"eviction-hints", POSTED_TEXT, SIDE_BOTH},
    {"publish", POSTED_TEXT, SIDE_BOTH},
    {"no-reread", POSTED_TEXT, SIDE_BOTH},
    {"stats", POSTED_TEXT, SIDE_BOTH},
    /* writing */
    {"on-source-flush", POSTED_TEXT, SIDE_BOTH},
    {"position-file", POSTED_FILE, SIDE_BOTH},
    {"errors-to", POSTED_FILE, SIDE_BOTH},
    {"wait", POSTED_TEXT, SIDE_BOTH},
    {"connections", POSTED_TEXT, SIDE_BOTH},
    {"window", POSTED_TEXT, SIDE_BOTH},
    {"barrier-spill-max", POSTED_TEXT, SIDE_BOTH},
    {"input-timeout", POSTED_TEXT, SIDE_BOTH},
    {"strict", POSTED_TEXT, SIDE_BOTH},
    {"no-mset", POSTED_TEXT, SIDE_BOTH},
    {"exactly-once", POSTED_TEXT, SIDE_BOTH},
    {"at-least-once", POSTED_TEXT, SIDE_BOTH},
    {"durable-target", POSTED_TEXT, SIDE_BOTH},
    {"takeover", POSTED_TEXT, SIDE_BOTH},
};

_Static_assert(sizeof names / sizeof *names <= POSTED_NAMES_MAX, "a bit for each");

static const struct posted_name *find(const char *name, unsigned side)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((names[i].sides & side) != 0 && strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

const struct posted_name *posted_name_find(const char *name, unsigned *side)
{
    *side = SIDE_BOTH;
    const struct posted_name *row = find(name, SIDE_BOTH);
    if (row != NULL)
        return row;
    if (strncmp(name, "source-", 7) == 0)
        *side = SIDE_SOURCE;
    else if (strncmp(name, "target-", 7) == 0)
        *side = SIDE_TARGET;
    else
        return NULL;
    return find(name + 7, *side);
}

size_t posted_name_place(const struct posted_name *row)
{
    return (size_t)(row - names);
}
