/* A large value that is being read: what scan_parts.c and scan_stream.c share. */
#ifndef READER_SCAN_PART_H
#define READER_SCAN_PART_H

#include "scan_source.h"

enum part_step {
    PART_TYPE,
    PART_EXPIRY,
    PART_LENGTH,
    PART_PAGE,
    PART_FIELDS, /* HPEXPIRETIME of the fields of a page */
    PART_THERE,  /* is the key still there? */
    STREAM_INFO,
    STREAM_ENTRIES,
    STREAM_GROUPS,
    STREAM_CONSUMERS,
    STREAM_PENDING,
};

struct scan_part {
    struct scan_node *node;
    enum part_step step;
    enum want_type type;
    bool begun; /* its KEY record is open */
    unsigned tries;
    int64_t expiry;
    uint64_t length;
    uint64_t at, got; /* elements or bytes before the page, of it */
    unsigned count;
    char cursor[24];
    size_t cursor_len;
    struct encoder encoder;
    struct buf fields; /* of a page, as bulk strings */
    size_t nfields, field_at;
    struct spool later; /* commands behind the value */

    /* Of a stream. */
    char last_id[64], first_deleted[64], entries_added[24];
    char entry_id[64];
    char field[24];   /* name of the pair that comes */
    struct buf names; /* of groups, and what is known of them */
    size_t group_at, group_len;
    char group_last[64], group_read[24];
    uint64_t idle;
    bool written; /* all of it */
};

/* ---- scan_part.c ---- */

/* Ask for something of the key, which stands at argument 1. */
void part_ask(struct scan_part *p, enum part_step step, int argc, const char *const *argv);

/* A name is kept as a bulk string in fields. */
void part_keep(struct scan_part *p, const struct resp_token *t);

void part_spool(struct scan_part *p);
void part_put(void *ctx, const void *data, size_t len); /* ctx: the part */

/* ---- scan_stream.c ---- */

void stream_begin(struct scan_part *p);

/* True: all of it is written. */
bool stream_token(struct scan_part *p, const struct resp_token *t);

#endif
