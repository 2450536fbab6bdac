/* What is known about servers by their kind and version. */
#ifndef DF_SERVER_H
#define DF_SERVER_H

#include <stdbool.h>
#include <stddef.h>

/* SERVER_PORTABLE: a server that is not known; what is written for it any of them takes. */
enum server_kind { SERVER_PORTABLE, SERVER_REDIS, SERVER_VALKEY, SERVER_DRAGONFLY };

#define VERSION(major, minor) ((unsigned)(major) << 16 | (unsigned)(minor) << 8)

/* "portable", "redis", "valkey", "dragonfly". */
const char *server_kind_name(enum server_kind kind);

/* One of the last three, n bytes. */
bool server_kind_parse(const char *s, size_t n, enum server_kind *kind);

/* "7", "7.2" or "7.2.4", with nothing behind it. False: it is none, or 0. */
bool server_version_parse(const char *s, unsigned *version);

/* "redis:7.0.15", "valkey:9.1.0-rc1": kind and version, of which what follows the numbers does not count.
 * False: it is none. */
bool server_parse(const char *s, enum server_kind *kind, unsigned *version);

/* RDB version that such a server writes, and so certainly loads in RESTORE. 0: it is too old to be known. */
unsigned server_rdb(enum server_kind kind, unsigned version);

#endif
