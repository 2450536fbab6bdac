/* What a server says of its commands that write (COMMAND): where their keys stand, for commands that dfparse
 * does not know. dfrecord(5), COMMANDS. */
#ifndef READER_COMMAND_LIST_H
#define READER_COMMAND_LIST_H

#include "../options.h"
#include "../reply.h"

/* The text of that record. Waits, by --connect-timeout for each answer. Returns 0, or -1 with f. */
int command_list(const struct options *o, const struct url *at, struct buf *text, struct fault *f);

#endif
