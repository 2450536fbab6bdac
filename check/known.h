/* Keys whose differences are known: those that dfparse --report says it did not carry over. Hashes of them,
 * in a mapped file without a name, however many they are. */
#ifndef CHECK_KNOWN_H
#define CHECK_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resp.h"

struct known {
    uint64_t *hash; /* a table of slots, 0: free; NULL: nothing is known */
    size_t slots, n;
    int fd;
};

/* Read the file. Ends the process with status 1 when that is not possible. */
void known_read(struct known *k, const char *path);
void known_free(struct known *k);

bool known_has(const struct known *k, uint32_t db, struct slice name);

/* One line of the file, n bytes: database and key of what was not carried over, the key in name of cap bytes.
 * Returns its length; -1: the line says nothing of that sort. */
long known_parse(const char *line, size_t n, uint32_t *db, uint8_t *name, size_t cap);

#endif
