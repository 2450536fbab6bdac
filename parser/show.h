/* Command streams as input: they are not parsed, only shown by --json and --resp. */
#ifndef DFP_SHOW_H
#define DFP_SHOW_H

#include "session.h"

/* Does the output chosen take command streams? */
bool show_takes(const struct parser *p);

/* Show one record of a command stream. Returns 0, or -1 when nothing after it may be used: status, reason and
 * message are set. */
int show_record(struct parser *p, const struct rec *r, const uint8_t *payload);

#endif
