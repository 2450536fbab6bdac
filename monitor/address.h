/* Where the monitor listens, and by which names it may be called. */
#ifndef MONITOR_ADDRESS_H
#define MONITOR_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

struct address {
    const char *text; /* HOST:PORT or [HOST]:PORT */
    bool safe;        /* what is said there is encrypted, and who reads has to log in: any address will do */
    /* filled in: */
    char host[256];
    unsigned port;
    bool loopback;
    bool usage; /* on failure: the text is at fault */
};

/* A socket that listens there, non-blocking; without safe only at a loopback address. Returns the descriptor,
 * or -1 and in why the reason. */
int address_listen(struct address *a, char *why, size_t cap);

/* May a request bear this header Host? A page of elsewhere whose name leads to the loopback (DNS rebinding)
 * must not read what we say. NULL: there was no header. */
bool address_host(const char *host, const char *const *names, unsigned n);

#endif
