/* --expand: a command stream whose RESTORE requests become commands, for a target that refuses them. */
#ifndef DFP_EXPAND_H
#define DFP_EXPAND_H

#include "session.h"

/* Take one record of a command stream. Returns like parser_record. */
int expand_record(struct parser *p, const struct rec *r, const uint8_t *payload);

#endif
