/* Ending a program before its work has begun, or where nothing else can be done: one line on standard error
 * and an exit status. A stage that was to write a stream writes one that says the same, so that the stages
 * behind it end with the cause and not with "cut short". */
#ifndef DF_FATAL_H
#define DF_FATAL_H

#include "record.h"

/* "PROGRAM: TEXT", and exit. fatal_errno appends what errno says. */
void fatal(int status, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
void fatal_errno(int status, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* getopt_long returned c, '?' or ':' (opterr 0, optstring with a leading ':'): name the option, and the one
 * of known that may have been meant, refer to --help, and exit. */
struct option;
void fatal_option(int c, char **argv, const struct option *known) __attribute__((noreturn));

/* From here on fatal writes a stream of this kind to fd, if that is a pipe or a socket and not standard
 * error's, too; -1: no longer. */
void fatal_stream(int fd, enum rec_kind kind);

/* A stream that consists of an END record: reason error, status and text. Blocks. */
void fatal_write_stream(int fd, enum rec_kind kind, int status, const char *text);

#endif
