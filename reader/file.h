/* A file, or standard input, as the source: one flow with mode FILE. */
#ifndef READER_FILE_H
#define READER_FILE_H

#include "options.h"

/* Returns the exit status. */
int file_run(const struct options *o);

#endif
