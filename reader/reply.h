/* Replies of the master, and what is wrong with them. No input or output: hiredis's parser puts the values
 * here. */
#ifndef READER_REPLY_H
#define READER_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define ITEM_TEXT   264
#define REPLY_ITEMS 16
#define REPLY_MAX   ((size_t)64 << 10) /* bytes that one reply may have */
#define FAULT_TEXT  400

/* One value of a reply; texts are cut at ITEM_TEXT - 1 bytes. */
struct item {
    int type; /* REDIS_REPLY_… */
    long long num;
    size_t len; /* as sent: may be more than is kept in text */
    char text[ITEM_TEXT];
};

/* A reply: one value, or an array of which the first REPLY_ITEMS plain values are kept. */
struct reply {
    struct item top;
    int count;
    struct item el[REPLY_ITEMS];
    uint64_t *numbers; /* where not NULL: gets the first numbers_cap integers of an array */
    unsigned numbers_cap;
    struct buf *whole; /* where not NULL: gets all bytes of a string that is the reply */
};

/* What went wrong, in words for the user, and the exit status that follows. */
struct fault {
    int status;
    char text[FAULT_TEXT];
};

void fault_set(struct fault *f, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Does the reply consist of this simple string? */
bool reply_is(const struct reply *r, const char *text);

struct redisReader;

/* A parser whose replies land in r; nothing is allocated for them. NULL: no memory. */
struct redisReader *reply_reader(struct reply *r);

#endif
