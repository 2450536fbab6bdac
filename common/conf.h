/* INI files as a source of options: section [reader] with "stall-timeout = 60" is "--stall-timeout=60" before the
 * command line. df2redis.conf(5). */
#ifndef DF_CONF_H
#define DF_CONF_H

/* Look for -c FILE or --config FILE in argv. If there is one, build a new argument vector: argv[0], the options of
 * the section, then the rest of argv without the -c. "name = yes" gives --name, "name = no" nothing. Ends the
 * process with a message (status 2 for the file's contents, 1 when it cannot be read). *argc is updated. */
char **conf_argv(const char *section, int *argc, char **argv);

#endif
