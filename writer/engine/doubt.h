/* At least once: what may have counted twice. */
#ifndef RW_DOUBT_H
#define RW_DOUBT_H

#include <stddef.h>
#include <stdint.h>

struct stats;

/* A request, of which n bytes are there, is sent again, and may have been carried out before: counted by its
 * command, named with its key, and with another one that it writes. */
void doubt_name(struct stats *s, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg);

/* A session that goes on where a run before had not come to its end. */
void doubt_resumed(struct stats *s);

#endif
