/* Finding the target: by its address, its Unix socket, or by asking sentinels. */
#ifndef RW_SEEK_H
#define RW_SEEK_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"
#include "sock.h"

enum seek {
    SEEK_OK,
    SEEK_GONE,    /* nobody answers */
    SEEK_LATER,   /* a sentinel answers, but the master it names does not */
    SEEK_UNKNOWN, /* the sentinels do not know the name */
    SEEK_FATAL,   /* trying again will not help */
};

/* Connect to the target that o names, or to one of several hosts: t is connected, with TLS if the URL says
 * so, to *at, and nothing was sent yet. A server that sentinels named has still to be asked whether it is a
 * master. first: of the hosts in the URL the one to begin with, any number. why: what is wrong otherwise. */
enum seek seek_target(const struct options *o, unsigned first, struct transport *t, struct endpoint *at,
                      char *why, size_t whylen);

/* A server that refuses writes as a replica: ask it for its master, and log that. */
void seek_explain_replica(const struct options *o);

#endif
