/* What the writers say of their targets: message "health", dfrecord(5). */
#ifndef READER_TARGET_HEALTH_H
#define READER_TARGET_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct target_health {
    char target[20]; /* ok, or what is wrong with it; "": nothing was said */
    char why[120];   /* the server's words */
    uint64_t since;  /* mono_us: so long the target has been like this */
    uint64_t errors, lost, doubtful, evicted;
};

/* Take a line "health …". */
void target_health_take(struct target_health *c, const char *line, uint64_t now);

/* Of several writers: their counters together, and the first target that is not well. */
void target_health_join(struct target_health *sum, const struct target_health *c);

/* A name of what is wrong, behind a comma where something stands before it; those of the targets. */
void alarm_add(struct buf *b, bool *any, const char *name);
void target_health_alarms(const struct target_health *c, struct buf *b, bool *any);

/* name=value pairs for the status, each with a blank behind it. */
void target_health_fields(const struct target_health *c, struct buf *b, uint64_t now);

#endif
