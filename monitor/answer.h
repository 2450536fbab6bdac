/* What a request is answered with. */
#ifndef MONITOR_ANSWER_H
#define MONITOR_ANSWER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct answer {
    unsigned status;
    const char *type;
    const char *allow;    /* with status 405 */
    unsigned retry_after; /* seconds; 0: not said */
    bool fixed;           /* part of the program: browsers may cache it */
    const void *data;     /* a part of the program; NULL: text */
    size_t n;             /* bytes of data */
    struct buf text;      /* the caller's */
};

void answer_init(struct answer *a);
void answer_text(struct answer *a, unsigned status, const char *text);
void answer_error(struct answer *a, unsigned status, const char *words);

/* value's reference is taken; NULL: there was no memory for it. */
void answer_json(struct answer *a, unsigned status, json_t *value);

#endif
