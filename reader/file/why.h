/* Where those that look for files say what is wrong with them. */
#ifndef READER_WHY_H
#define READER_WHY_H

#include <stddef.h>

struct why {
    char *text; /* of the caller */
    size_t cap;
};

/* Returns status. */
int wrong(const struct why *w, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
