/* KEY and SCAN records (dfrecord(5)) of a source that is scanned, gathered so that many small ones go to the
 * output in one write. */
#ifndef READER_KEY_OUT_H
#define READER_KEY_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "../output.h"

#define KEY_OUT_ENOUGH ((size_t)48 << 10)
#define KEY_NAME_MAX   ((size_t)16 << 20)

struct key_out {
    struct buf b;     /* records that are complete, and the beginning of one */
    unsigned records; /* complete */
    size_t begun;     /* where that one begins */
    bool open;
    uint16_t flow, epoch;
    uint32_t db;
    uint64_t time;
};

/* What is known of a key besides its value. Negative: not known, or none. */
struct key_head {
    const void *name;
    size_t len;
    uint32_t db;
    const char *state;    /* value, missing, error */
    const char *error;    /* of state error */
    const char *elements; /* the payload has those of a value (dfrecord(5)); NULL: it is what DUMP said */
    int64_t length;       /* of such a string */
    int64_t expire_ms;    /* when it expires */
    int64_t ttl_ms;       /* how long it has left */
    bool live;            /* it was read because it had changed */
};

/* A key's records: head, any number of bytes, the end. time: for which ttl_ms holds. */
void key_out_begin(struct key_out *k, unsigned flow, uint16_t epoch, uint64_t time, const struct key_head *h);
void key_out_add(struct key_out *k, const void *data, size_t n);
void key_out_end(struct key_out *k);

/* So much of the key may go. */
void key_out_cut(struct key_out *k);

/* All keys before were written: the flow is at pos, and goes on from place. done: it was scanned. */
void key_out_place(struct key_out *k, unsigned flow, uint16_t epoch, uint64_t pos, const char *place,
                   bool done);

/* Hand what is complete over. Returns 0, or -1: the output has failed, which is noticed in the next turn. */
int key_out_flush(struct key_out *k, struct output *out);

/* Is it time to? */
static inline bool key_out_enough(const struct key_out *k)
{
    return k->b.len >= KEY_OUT_ENOUGH;
}

void key_out_free(struct key_out *k);

#endif
