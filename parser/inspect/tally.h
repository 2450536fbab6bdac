/* What an inspection counts, and how that is shown. dfparse(1), INSPECTING. */
#ifndef DFP_INSPECT_TALLY_H
#define DFP_INSPECT_TALLY_H

#include <stdio.h>

#include "../emit.h"

enum inspect_form { INSPECT_NONE, INSPECT_TEXT, INSPECT_JSON, INSPECT_CSV };

/* One key. */
struct measured {
    struct slice key;
    uint32_t db;
    unsigned vclass, type;
    uint64_t size;      /* bytes of key and value as the snapshot has them */
    uint64_t elements;  /* of a string its bytes */
    uint64_t largest;   /* bytes of the largest element; 0: not known */
    uint64_t expire_ms; /* 0: none */
};

struct tally_class {
    uint64_t keys, size, elements, expires, expired, most_elements, most_size, largest;
};

struct tally_db {
    uint32_t db;
    uint64_t keys, expires, size;
};

#define TALLY_DBS 1024 /* that are counted one by one */
#define TALLY_KEY 1024 /* bytes of a name that are kept */

struct tally_top {
    struct measured m;
    char key[TALLY_KEY];
};

struct tally {
    enum inspect_form form;
    unsigned top; /* so many of the largest keys */
    struct tally_class of[CLASS_COUNT];
    struct tally_db *dbs;
    size_t ndbs, last_db;
    struct tally_top **largest; /* a heap, the smallest first */
    unsigned nlargest;
    FILE *to;
    struct buf line;
};

void tally_init(struct tally *t, enum inspect_form form, unsigned top, FILE *to);
void tally_free(struct tally *t);

/* now_ms: what has expired by then. */
void tally_add(struct tally *t, const struct measured *m, uint64_t now_ms);

/* All were added: write what was counted. complete: and the snapshot had its end. 0, or -1 with errno. */
int tally_write(struct tally *t, bool complete);

#endif
