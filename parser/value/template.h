/* Hashes whose field names were told before: rdb(5), Hash templates. Pure, no I/O. */
#ifndef DFP_TEMPLATE_H
#define DFP_TEMPLATE_H

#include "value.h"

/* Who gets the fields. Of what the content should be and is not they are told as damage, which returns GOT to
 * go on, or BAD. */
struct template_to {
    void (*field)(void *ctx, const struct slice *name, const struct slice *value);
    enum got (*damage)(void *ctx, struct cur *c, const struct scratch *s, const char *why);
};

/* Decode what there is. packed: the values are in a listpack, behind the template's number. GOT: complete. */
enum got template_take(struct template_read *t, bool packed, struct cur *c, struct scratch *s,
                       const struct template_to *to, void *ctx);

#endif
