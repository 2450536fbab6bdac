/* What a process of dfreader counts: message "counters" of dfrecord(5). */
#ifndef READER_COUNTING_H
#define READER_COUNTING_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

struct stream;
struct control;
struct peer;

/* The counters of a process with this stream; flow -1: of all of them. */
void counting_line(const struct stream *st, int flow, struct buf *b);

/* A peer sent its line. */
void counting_take(struct peer *p, const char *line);

/* Keys of the full sync that all writers together have at the target. */
uint64_t counting_keys(const struct control *c);

/* Pass the lines of peers on, behind that of the peer with number *after, which is where to go on. False:
 * there are no more. One line a call. */
bool counting_pass(const struct control *c, struct peer *to, uint64_t *after);

#endif
