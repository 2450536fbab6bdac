/* Which server to read from, and what it is: before the session is opened. Each waits, by --connect-timeout
 * for each answer. */
#ifndef READER_LOCATE_H
#define READER_LOCATE_H

#include <stdbool.h>

#include "options.h"
#include "reply.h"

/* The server, in at with the credentials of the options: that of the URL, or the one that the sentinels of
 * the URL name, which --from chooses. Returns 0, or -1 with f. */
int locate(const struct options *o, struct url *at, struct fault *f);

/* Is the server of the URL a Dragonfly? False also where it does not answer. */
bool locate_dragonfly(const struct options *o);

#endif
