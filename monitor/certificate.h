/* Files of TLS, as text for libmicrohttpd. */
#ifndef MONITOR_CERTIFICATE_H
#define MONITOR_CERTIFICATE_H

#include <stddef.h>

/* A PEM file of at most 64 KiB. The caller frees it with certificate_free. NULL: why says what is wrong. */
char *certificate_load(const char *file, char *why, size_t cap);
void certificate_free(char *text);

#endif
