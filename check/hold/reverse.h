/* The way back: what a task needs that carries the changes of the target to the source, from the moment of
 * the cutover on. Both are single servers of Redis or Valkey. df2redis(1), CUTOVER; rediswriter(1), Position
 * key. */
#ifndef CHECK_REVERSE_H
#define CHECK_REVERSE_H

#include <stdint.h>

#include "../side.h"

struct reverse_mark {
    char replid[72];
    uint64_t offset; /* what follows in the stream begins in database 0, or with a SELECT */
};

/* The server keeps its stream of changes from here on, as it does once a replica has asked for it. Returns
 * how many bytes of it. Ends the process, as the next ones, when it does not, or refuses. */
uint64_t reverse_backlog(struct side *s);

/* How far its stream is. A key of that name is set and removed again. */
void reverse_mark(struct side *s, const char *key, struct reverse_mark *m);

/* The position key of a task that is to begin there. */
void reverse_save(struct side *s, const char *task, const struct reverse_mark *m);

/* The connections of all clients but the one that asks are closed: who waits for a reply gets none. */
void reverse_kick(struct side *s);

#endif
