/* A question to a running dfreader: --ask. */
#ifndef READER_ASK_H
#define READER_ASK_H

#include "../options.h"

/* Print the answer. Returns the exit status: 0, or 1 when nobody answered. */
int ask_run(const struct options *o);

#endif
