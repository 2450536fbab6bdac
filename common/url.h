/* URLs of sources and targets, percent-encoded, IPv6 in brackets:
 *
 *   redis://[user[:password]@]host[:port][/db]          also dragonfly://, valkey:// and any other scheme
 *   rediss://, dragonflys://, valkeys://                the same over TLS
 *   redis-cluster://…host[:port][,host[:port]…]         seeds of a cluster; rediss-cluster:// over TLS
 *   sentinel://…host[:port][,host[:port]…]/name[/db]    the master that these sentinels know; sentinels://
 *                                                     over TLS
 *   any of them with ?mode=scan at its end              a source that is read by SCAN
 *   unix://[user[:password]@]/path[?db=N]               a Unix socket; also redis+unix://,
 * dragonfly+unix://
 *
 * The credentials end at the last @: a password may hold any character but a percent sign as it is.
 */
#ifndef DF_URL_H
#define DF_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sock.h"

#define URL_SEEDS 16

struct tls;

struct url {
    char scheme[24];
    char user[256];
    char password[512];
    char host[256]; /* the first one; empty with a Unix socket, whose path is in seed[0] */
    char port[8];
    uint32_t db;
    bool has_db;
    bool secure;    /* over TLS */
    bool sentinel;  /* the seeds are sentinels, name is what they know the master by */
    bool cluster;   /* said to be a cluster */
    bool scan;      /* ?mode=scan stands at its end: of a source */
    unsigned seeds; /* hosts that are named; at least one */
    struct endpoint seed[URL_SEEDS];
    char name[128];
    struct tls *tls; /* for connections; the caller's, NULL plain. url_parse leaves it NULL */
};

/* Parse text. Returns NULL, or what is wrong with it (a constant that never holds the password). */
const char *url_parse(struct url *u, const char *text);

/* Fill in a password that the URL lacks: from file (its first line) if not NULL, else from the environment
 * variable env. Returns NULL or what is wrong. */
const char *url_password(struct url *u, const char *file, const char *env);

/* The same for any other secret: to has cap bytes, and stays empty when there is none. */
const char *url_secret(char *to, size_t cap, const char *file, const char *env);

/* "scheme://host:port" and the like without secrets, for messages. */
void url_show(const struct url *u, char *out, size_t cap);

/* text without its password, for what others may see. False: it does not fit. */
bool url_without_password(const char *text, char *out, size_t cap);

/* Overwrite the password part of an argument, so that no process list shows it. */
void url_hide_argument(char *arg);

#endif
