/* What the writer counts, for dfreader: message "counters" of dfrecord(5). */
#ifndef RW_COUNTING_H
#define RW_COUNTING_H

#include <stdbool.h>
#include <stdint.h>

struct writer;

/* Once a second, or at once when it is the last time: say all counters, where dfreader is there and takes
 * them. */
void counting_say(struct writer *w, uint64_t now, bool last);

#endif
