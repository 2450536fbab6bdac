/* Where the monitor listens, and by which names it may be called. */
#ifndef MONITOR_ADDRESS_H
#define MONITOR_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* A socket that listens at HOST:PORT or [HOST]:PORT, non-blocking. Only loopback addresses: what is said
 * there is not encrypted. Returns the descriptor and in *port its port, or -1 and in why the reason; *usage:
 * the text is at fault. */
int address_listen(const char *text, unsigned *port, bool *usage, char *why, size_t cap);

/* May a request bear this header Host? A page of elsewhere whose name leads to the loopback (DNS rebinding)
 * must not read what we say. NULL: there was no header. */
bool address_host(const char *host, const char *const *names, unsigned n);

#endif
