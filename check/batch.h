/* A batch of keys that are looked up on both sides at once, cheapest questions first: MGET or GET, TYPE,
 * lengths, DUMP; what is still in doubt then is compared in parts (value.h). */
#ifndef CHECK_BATCH_H
#define CHECK_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "finding.h"
#include "side.h"
#include "value.h"

#define BATCH_KEYS 512u
#define BATCH_TEXT ((size_t)64 << 10) /* bytes of key names aimed at */
#define KEY_MAX    ((size_t)4 << 20)  /* longest key name that can be checked */

enum check_mode { MODE_EXISTS, MODE_TYPE_TTL, MODE_LENGTH, MODE_FULL };

/* What is compared. */
struct depth {
    enum check_mode mode;
    bool ttl;          /* times to live of keys, within ... */
    int64_t tolerance; /* ... so many ms */
    bool field_ttl;    /* those of hash fields, too */
    bool relative;     /* PTTL, because one of the sides has no PEXPIRETIME */
};

/* What one side said about a key. */
struct said {
    uint8_t type; /* enum value_type */
    int64_t ttl;
    uint64_t n;       /* its length */
    uint64_t hash[2]; /* of the string, of the DUMP, or of TYPE's answer */
    bool has_hash;
};

struct item {
    size_t at[2]; /* its name on each side, in the batch's text */
    uint32_t len[2];
    bool done;
    uint64_t print; /* of what was found the last time; 0: not looked at yet */
    struct said side[2];
};

struct batch {
    struct side *side[2];
    const struct depth *depth;
    uint32_t db[2];
    bool has_db[2]; /* false: all keys are missing there */
    unsigned turn;
    unsigned n;
    struct item item[BATCH_KEYS];
    struct buf text;
    uint64_t bytes; /* of the values that came */

    /* A difference, or f NULL: the key is the same. */
    void (*result)(void *ctx, const struct batch *b, const struct item *it, const struct finding *f);
    void *ctx;
    void (*done)(void *done_ctx, struct batch *b);
    void *done_ctx;

    unsigned due;
    void (*next)(struct batch *b);
    unsigned at; /* item whose value is compared */
    struct value value;
};

void batch_init(struct batch *b, struct side *source, struct side *target, const struct depth *depth);
void batch_free(struct batch *b);

/* Empty it; what is put in is for these databases. */
void batch_begin(struct batch *b, uint32_t source_db, uint32_t target_db);

/* Is there room for another item? The caller appends its names to text, then calls batch_add. */
static inline bool batch_has_room(const struct batch *b, unsigned limit)
{
    return b->n < limit && b->text.len < BATCH_TEXT;
}

/* Names of a key: n[0] bytes and then n[1] bytes at the end of text; n[1] 0 and the same name: n[0] bytes. */
void batch_add(struct batch *b, uint64_t print, size_t source_len, size_t target_len, bool same_name);

static inline const uint8_t *item_key(const struct batch *b, const struct item *it, unsigned i)
{
    return b->text.p + it->at[i];
}

/* Look. result is called for each item, then done. */
void batch_look(struct batch *b);

/* Keys of side i are looked for on the other one only: they are "missing" or "extra", or the same. Of items
 * in a row with one and the same name on side i, one has to be there. */
void batch_exists(struct batch *b, unsigned i);

/* ---- for the parts of this ---- */

/* Count a reply as outstanding; count one as received: the last one calls b->next. */
static inline void batch_await(struct batch *b)
{
    b->due++;
}
void batch_came(struct batch *b);

/* The connection for this item on side i, with a request begun: its command and, behind it, the key. */
struct link *batch_request(struct batch *b, const struct item *it, unsigned i, const char *command,
                           size_t argc);

/* The process ends: an error that says nothing about the key. */
void batch_refused(const struct batch *b, const struct item *it, unsigned i, const struct reply *r)
    __attribute__((noreturn));

/* The result for an item. */
void batch_same(struct batch *b, struct item *it);
void batch_differs(struct batch *b, struct item *it, const struct finding *f);

#endif
