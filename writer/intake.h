/* Records as they come from an input: what is checked once, and who takes them. */
#ifndef RW_INTAKE_H
#define RW_INTAKE_H

#include <stdbool.h>

#include "target/node.h"

struct writer;
struct input;

/* Offer the record of an input to who takes it; first: for the first time. PUT_WAIT: offer it again later. */
enum put intake_offer(struct writer *w, struct input *in, bool first);

#endif
