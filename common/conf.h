/* INI files as a source of options: section [reader] with "stall-timeout = 60" is "--stall-timeout=60" before
 * the command line. df2redis.conf(5). */
#ifndef DF_CONF_H
#define DF_CONF_H

#include <getopt.h>

typedef void conf_entry(void *user, const char *section, const char *name, const char *value);

/* Call entry for each entry of the file. An unknown section, a name given twice, a malformed or too long line
 * end the process with status 2 and the number of the line, a file that cannot be read with status 1. */
void conf_read(const char *file, conf_entry *entry, void *user);

/* Look for -c FILE or --config FILE in argv. If there is one, build a new argument vector: argv[0], the
 * options of the section, then the rest of argv without the -c. "name = yes" gives --name for an option
 * without an argument, "name = no" nothing. Ends the process with a message, as conf_read does; also where
 * the section holds a name that is not in known. *argc is updated. */
char **conf_argv(const char *section, const struct option *known, int *argc, char **argv);

#endif
