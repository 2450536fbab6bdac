/* HTTP by libmicrohttpd, in the caller's thread. Requests, connections and their time are bounded. */
#ifndef MONITOR_HTTP_H
#define MONITOR_HTTP_H

#include "options.h"
#include "tasks.h"

struct http;

/* fd: a listening socket, which the server owns from now on. NULL: an error, which was logged. */
struct http *http_open(int fd, const struct options *o, const struct tasks *t);
void http_close(struct http *h);

/* Serve for at most timeout_ms, and end connections that take too long. A signal ends the wait. */
void http_turn(struct http *h, int timeout_ms);

#endif
