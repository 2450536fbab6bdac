/* Options of dfparse; dfparse(1). */
#ifndef DFP_OPTIONS_H
#define DFP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "emit.h"
#include "log_form.h"
#include "filter.h"
#include "inspect/tally.h"

struct options {
    enum emit_mode mode;
    const char *rdb; /* the file to write, "-": standard output; NULL: none */
    enum inspect_form inspect;
    unsigned top; /* keys that an inspection shows */
    const char *output;
    bool have_target;
    struct target target;
    const char *modules; /* of the target of -t; NULL: none */
    bool have_existing;  /* target.existing was given */
    enum unsupported unsupported;
    size_t restore_limit;
    size_t part_size;
    unsigned target_timeout; /* seconds to wait for the writer's announcement */
    struct filter filter;
    bool expand;    /* the input is a command stream: RESTORE becomes commands */
    bool no_reread; /* report instead */
    bool stats;
    uint64_t max_bulk;  /* the target's proto-max-bulk-len; 0: as it says, or 512 MiB */
    bool publish;       /* pass messages on */
    bool hints;         /* carry idle times and frequencies over */
    const char *report; /* file for everything that was not carried over */
    int verbose;
    enum log_form log_form;
    bool check_only; /* the options are all that is wanted */
    char **inputs;   /* NULL-terminated; empty: stdin */
};

/* Parse the command line; ends the process for --help, --version and errors. */
void options_parse(struct options *o, int argc, char **argv);

#endif
