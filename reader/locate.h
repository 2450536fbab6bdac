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

/* The same of a server that was found before, and was lost: within 2 seconds for each answer. */
int locate_soon(const struct options *o, struct url *at, struct fault *f);

/* Do the sentinels name another server than at by now, in now, which is a master? Returns 1, 0 no, -1 none of
 * them says anything. Waits a second at most for each answer. */
int locate_again(const struct options *o, const struct url *at, struct url *now);

/* Is the server of the URL a Dragonfly? False also where it does not answer. */
bool locate_dragonfly(const struct options *o);

#endif
