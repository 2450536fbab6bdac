/* One key on both sides: the same question to both, and what each of them said. */
#ifndef CHECK_PAIR_H
#define CHECK_PAIR_H

#include <stddef.h>
#include <stdint.h>

#include "reply.h"
#include "resp.h"
#include "side.h"

struct pair {
    struct side *side[2];
    uint32_t db[2];
    struct slice key[2];
    unsigned turn;           /* of the connections */
    unsigned due;            /* replies that are outstanding */
    void (*next)(void *ctx); /* all have come */
    void *ctx;
    struct reply page[2]; /* what pair_ask was answered */
};

/* Placeholder for the key among the words of a request. */
#define PAIR_KEY     ((struct slice){NULL, 0})
#define PAIR_WORD(s) ((struct slice){(const uint8_t *)(s), sizeof(s) - 1})

/* Ask side i (0 source, 1 target); the reply goes to page[i]. */
void pair_ask(struct pair *p, unsigned i, enum reply_keep keep, size_t n, const struct slice *word);

/* Ask both, and go on with next. */
void pair_both(struct pair *p, enum reply_keep keep, size_t n, const struct slice *word,
               void (*next)(void *));

/* A request of other words to side i: begin here, end with pair_count and link_ask. */
struct link *pair_link(struct pair *p, unsigned i);
void pair_count(struct pair *p, unsigned i, uint64_t ops);

/* One of the replies has come: the last one goes on with next. */
void pair_came(struct pair *p);

/* What side i answered is an error: the process ends, unless the key is only of another type by now. */
void pair_no_error(const struct pair *p, unsigned i, const struct reply *r, const char *what);

void pair_free(struct pair *p);

#endif
