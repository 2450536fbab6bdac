/* --forget, and files whose sessions cannot be gone on from: position keys of a task are removed. */
#ifndef RW_FORGET_H
#define RW_FORGET_H

#include <stdbool.h>

struct cluster;
struct exact;
struct options;
struct outcome;

/* A stream that removes them, from its beginning; its descriptor is the caller's. The target's kind is known.
 * -1: errno. (That of a single server is made anew by any writer, and removed at the end of such a stream.)
 */
int forget_stream(const struct exact *x, bool cluster);

/* They are removed: the file of positions and the one beside it go, too. */
void forget_files(const struct options *opt, struct outcome *outcome);

/* Remove the keys of slots that this writer wrote: nothing goes on from them. False: some are still to be
 * removed. */
bool forget_slots(struct exact *x, struct cluster *cl);

#endif
