/* Which names of section [df2redis] a posted configuration may have. */
#ifndef MONITOR_POSTED_NAMES_H
#define MONITOR_POSTED_NAMES_H

#include <stddef.h>

enum posted_form {
    POSTED_TEXT,   /* df2redis checks it */
    POSTED_LISTED, /* may be repeated */
    POSTED_FILE,   /* a plain name */
    POSTED_END,    /* source, target: a server, by the kind a file */
    POSTED_KIND,
};

/* For which ends there is a name, each with a prefix of its own. */
enum posted_side { SIDE_BOTH = 1, SIDE_SOURCE = 2, SIDE_TARGET = 4 };

struct posted_name {
    const char *name;
    enum posted_form form;
    unsigned sides;
};

/* The row of a name and the side that it is for. NULL: there is none. */
const struct posted_name *posted_name_find(const char *name, unsigned *side);

/* The place of a row, below POSTED_NAMES_MAX. */
#define POSTED_NAMES_MAX 128
size_t posted_name_place(const struct posted_name *row);

#endif
