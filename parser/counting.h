/* What the parser counts, for dfreader: message "counters" of dfrecord(5). */
#ifndef DFP_COUNTING_H
#define DFP_COUNTING_H

#include <stdbool.h>
#include <stdint.h>

struct parser;

/* Once a second: say all counters, where dfreader is there and takes them. */
void counting_tick(struct parser *p, uint64_t now);

/* The same at once: nothing more is read. */
void counting_last(struct parser *p);

/* Something was counted that was not said yet: the next tick must come without more input. */
bool counting_pending(const struct parser *p);

#endif
