/* The keys of one database of a side, in the order of its cursors: all nodes of a cluster side by side, two
 * pages ahead. Every key that is there from begin to end comes, perhaps more than once. */
#ifndef CHECK_WALK_H
#define CHECK_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"
#include "resp.h"
#include "side.h"

#define WALK_PAGES 2u

struct cursor {
    struct link *link;
    struct side *side;
    char cursor[24];
    bool asked, ended; /* a page is awaited; the last one has come */
    struct reply page[WALK_PAGES];
    unsigned first, full; /* the page that is handed out, and how many there are */
    size_t at;            /* element of it */
    unsigned count, most; /* of SCAN: now, and where it is far away */
    uint64_t asked_at;    /* mono_us */
};

struct walk {
    struct cursor *cursor;
    unsigned n, turn;
};

void walk_begin(struct walk *w, struct side *s, uint32_t db);
void walk_end(struct walk *w);

/* The next key, valid until the next call. Returns 1, 0 none has come yet, -1 there are no more. Keys of ours
 * are left out. */
int walk_next(struct walk *w, struct slice *key);

#endif
