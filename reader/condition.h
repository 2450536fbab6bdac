/* What the writers say of their targets: message "health", dfrecord(5). */
#ifndef READER_CONDITION_H
#define READER_CONDITION_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct condition {
    char target[20]; /* ok, or what is wrong with it; "": nothing was said */
    char why[120];   /* the server's words */
    uint64_t since;  /* mono_us: so long the target has been like this */
    uint64_t errors, lost, doubtful, evicted;
};

/* Take a line "health …". */
void condition_take(struct condition *c, const char *line, uint64_t now);

/* Of several writers: their counters together, and the first target that is not well. */
void condition_join(struct condition *sum, const struct condition *c);

/* Names of what is wrong, each behind a comma where something stands before it. */
void condition_alarms(const struct condition *c, struct buf *b, bool *any);

/* name=value pairs for the status, each with a blank behind it. */
void condition_fields(const struct condition *c, struct buf *b, uint64_t now);

#endif
