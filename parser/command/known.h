/* Which commands servers know, and how many arguments they need: an append-only file that holds another one
 * is loaded by nobody. */
#ifndef DFP_KNOWN_H
#define DFP_KNOWN_H

#include "psync_stream.h"

/* *why, unless it is to be taken or passed over: what is to stand in front of its name. */
enum verdict known_verdict(const struct slice *argv, size_t argc, const char **why);

#endif
