/* Options of df2redis-monitor; df2redis-monitor(1). */
#ifndef MONITOR_OPTIONS_H
#define MONITOR_OPTIONS_H

#include "log_form.h"

#define BASES_MAX 8
#define HOSTS_MAX 8

struct options {
    const char *listen;
    const char *base[BASES_MAX]; /* directories with a run directory per task */
    unsigned nbases;
    const char *host[HOSTS_MAX + 1]; /* names by which browsers may call us, besides those of the loopback */
    unsigned nhosts;
    const char *token_file; /* NULL: nothing can be changed */
    const char *files;      /* directory of the files of tasks that are created over HTTP; NULL: none */
    const char *kept;       /* where df2redis keeps tasks; NULL: not known */
    const char *tls_cert, *tls_key; /* NULL: no TLS */
    int verbose;
    enum log_form log_form;
};

/* Ends the process on --help, --version and mistakes. */
void options_parse(struct options *o, int argc, char **argv);

#endif
