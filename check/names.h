/* What a key of the source is called in the target: --db-map and --rename-prefix, as dfparse(1) has them. */
#ifndef CHECK_NAMES_H
#define CHECK_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define NAMES_RULES 64
#define NAMES_DBS   64

struct names_rule {
    char *from, *to; /* one allocation, from's */
};

struct names {
    struct {
        uint32_t from, to;
    } db[NAMES_DBS];
    unsigned dbs;
    bool others; /* all other databases become one */
    uint32_t others_to;
    struct names_rule rule[NAMES_RULES];
    unsigned rules;
};

/* "A=B[,C=D]", "*=B". Returns NULL or what is wrong. */
const char *names_add_dbs(struct names *n, const char *text);

/* "A=B"; a copy is kept. */
const char *names_add_rule(struct names *n, const char *text);

void names_free(struct names *n);

uint32_t names_db(const struct names *n, uint32_t db);

/* The name in the target of a key of the source, appended to out. The first rule that fits counts. */
int names_to_target(const struct names *n, const void *key, size_t len, struct buf *out);

/* The names in the source that a key of the target may come from, by number: candidate i, appended to out.
 * Returns 1, 0 when there is no such candidate (but perhaps others), -1 when out is full or i is beyond them.
 */
int names_to_source(const struct names *n, unsigned i, const void *key, size_t len, struct buf *out);

#endif
