/* --forget: the position keys of a task are removed. */
#ifndef RW_FORGET_H
#define RW_FORGET_H

#include <stdbool.h>

struct writer;

/* A stream that removes them, from its beginning; its descriptor is the caller's. The target's kind is known.
 * -1: errno. (That of a single server is made anew by any writer, and removed at the end of such a stream.)
 */
int forget_stream(const struct writer *w);

/* They are removed: the file of positions and the one beside it go, too. */
void forget_files(struct writer *w);

/* Remove the keys of slots that this writer wrote: nothing goes on from them. False: some are still to be
 * removed. */
bool forget_slots(struct writer *w);

#endif
