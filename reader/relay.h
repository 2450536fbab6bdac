/* Lines that are passed from one kind of peer to another, and kept for those that come later: the newest
 * "target" of a writer for the parsers, the newest "limit" of a supervisor for the writers. */
#ifndef READER_RELAY_H
#define READER_RELAY_H

#include "hub.h"

struct relay {
    char target[CTL_LINE_MAX]; /* "" none yet */
    char limit[128];
};

/* To a peer that has just joined. */
void relay_welcome(const struct relay *r, struct peer *p);

void relay_target(struct relay *r, struct hub *h, const char *line);

/* Pass the limit on, and answer p, who asked for it. */
void relay_limit(struct relay *r, struct hub *h, struct peer *p, const char *line);

#endif
