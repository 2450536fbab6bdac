/* Which requests are listened to: by the names that they call us, where they come from, and their token. */
#ifndef MONITOR_GUARD_H
#define MONITOR_GUARD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "answer.h"
#include "login.h"

struct guard {
    const char *const *name; /* in the header Host, besides those of the loopback */
    unsigned names;
    bool tls;
    bool open;           /* whoever reaches us may read: we listen on the loopback */
    struct login *login; /* NULL: nothing can be changed */
};

/* Headers, NULL those that are missing or come twice. */
struct headers {
    const char *host, *origin, *type, *authorization;
    bool body; /* something comes behind them */
};

/* False: refused, and *a says why. */
bool guard_allows(const struct guard *g, const struct headers *h, const char *method, const char *path,
                  const struct sockaddr *from, uint64_t now, struct answer *a);

/* A method that only reads. */
bool guard_only_reads(const char *method);

#endif
