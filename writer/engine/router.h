/* From records to the two paths of a node: which way a record goes, and whether it may go now. */
#ifndef RW_ROUTER_H
#define RW_ROUTER_H

#include <stdbool.h>

struct writer;

/* Take records from queued lanes and inputs as long as any can go. Returns whether any was taken. */
bool router_pump(struct writer *w);

/* Does any record wait in an input's buffer or in a lane that can go on? */
bool router_stalled(const struct writer *w);

/* Inputs have ended; does the router still hold something that can be applied? */
bool router_waits(const struct writer *w);

/* Nothing is in flight and yet nothing can go on: fail the writer with the reason, or find a way. Returns
 * true when the state changed. */
bool router_stuck(struct writer *w);

#endif
