/* Questions to a server outside the batches: the loop runs until the answer is there. */
#ifndef CHECK_SIDE_ASK_H
#define CHECK_SIDE_ASK_H

#include <stdbool.h>
#include <stddef.h>

#include "side.h"

/* ms, for each reply */
int side_timeout(const struct side *s);

/* A request of n words; its reply, which is no error: then the process ends. Valid until the next request. */
struct reply *side_must(struct side *s, struct link *l, unsigned n, const char *const *word);

#define MUST(s, l, ...)                                                                                      \
    side_must(s, l, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *),                       \
              (const char *const[]){__VA_ARGS__})

/* The value of "name:value" in the reply to INFO; false: it has none. */
bool info_field(const struct reply *r, const char *name, char *out, size_t cap);

#endif
