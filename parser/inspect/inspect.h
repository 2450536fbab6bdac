/* An outlet for keys: they are measured. dfparse(1), INSPECTING. */
#ifndef DFP_INSPECT_INSPECT_H
#define DFP_INSPECT_INSPECT_H

#include "../outlet.h"
#include "tally.h"

struct inspect;

/* top: so many of the largest keys are shown. */
struct inspect *inspect_open(enum inspect_form form, unsigned top, FILE *to);
struct outlet *inspect_outlet(struct inspect *x);

/* Write what was counted. complete: all keys came. 0, or -1 with errno. */
int inspect_finish(struct inspect *x, bool complete);
void inspect_free(struct inspect *x);

#endif
