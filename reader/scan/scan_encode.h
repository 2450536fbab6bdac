/* Elements as commands answer them, in the form of rdb(5) strings: the payload of KEY records with field
 * elements (dfrecord(5)). */
#ifndef READER_SCAN_ENCODE_H
#define READER_SCAN_ENCODE_H

#include "resp_in.h"
#include "scan_wants.h"

struct encoder {
    char score[48];
    size_t score_len;
    void (*put)(void *ctx, const void *p, size_t n);
    void *ctx;
};

/* A token of an element, which is number index of its reply. Of a hash every second one is a value, of a
 * sorted set a score. */
void encode_token(struct encoder *e, enum want_type type, const struct resp_token *t, unsigned index);

enum want_type type_named(const char *name, size_t n);

#endif
