/* One record of a flow whose turn it is: which way it goes, and whether it may go now. */
#ifndef RW_APPLY_H
#define RW_APPLY_H

#include <stdint.h>

#include "../target/node.h"
#include "record.h"

struct writer;
struct input;

/* A REQUEST, POSITION, BARRIER or SYNCED record that was checked when it came. in: where it comes from; NULL:
 * from its lane's queue. PUT_WAIT: offer it again later. */
enum put apply_record(struct writer *w, const struct input *in, const struct rec *given,
                      const uint8_t *payload);

/* Fail over a record that cannot be (status 4): input, flow, offset and what are named. Returns PUT_FAIL. */
enum put record_damaged(struct writer *w, const struct input *in, const struct rec *r, const char *what);

#endif
