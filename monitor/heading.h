/* What stands in a request before its body, as libmicrohttpd keeps it. */
#ifndef MONITOR_HEADING_H
#define MONITOR_HEADING_H

#include <microhttpd.h>
#include <stdint.h>

#include "guard.h"

/* Its texts are valid until the request is answered. */
void heading_read(struct MHD_Connection *c, struct headers *h);

/* More than most bytes are to come. A length that is none libmicrohttpd refuses itself. */
bool heading_longer(struct MHD_Connection *c, size_t most);

/* ?since=, Unix time; 0: not said. */
int64_t heading_since(struct MHD_Connection *c);

/* The other side's. */
const struct sockaddr *heading_address(struct MHD_Connection *c);

#endif
