/* HTTP by libmicrohttpd, in the caller's thread. Requests, connections and their time are bounded. */
#ifndef MONITOR_HTTP_H
#define MONITOR_HTTP_H

#include "guard.h"
#include "tasks.h"

struct http;

struct http_setup {
    int fd;                 /* a listening socket, which the server owns from now on */
    const char *cert, *key; /* PEM, needed until it was opened; NULL: no TLS */
    struct guard guard;     /* copied; what it points to stays the caller's */
    const char *files;      /* see orders.h */
    struct tasks *tasks;
};

/* NULL: an error, which was logged. */
struct http *http_open(const struct http_setup *s);
void http_close(struct http *h);

/* Serve for at most timeout_ms, and end connections that take too long. A signal ends the wait. */
void http_turn(struct http *h, int timeout_ms);

#endif
