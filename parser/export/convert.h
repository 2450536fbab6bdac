/* One value on its way into the file: as its bytes lie, or as a type that the target loads. rdb(5), VALUES,
 * COMPATIBILITY. */
#ifndef DFP_EXPORT_CONVERT_H
#define DFP_EXPORT_CONVERT_H

#include "item.h"
#include "stream_copy.h"
#include "../outlet.h"
#include "../value/parts.h"

enum way {
    WAY_STRING,
    WAY_PARTS,
    WAY_STREAM,
    WAY_MODULE,
    WAY_JSON, /* the text of a document, as a string or a module's value */
};

struct taken {
    struct item item;
    enum way way;
    unsigned type;             /* of the value as it comes */
    unsigned as;               /* as it is written */
    const struct shape *shape; /* of type */
    struct parts parts;
    struct stream_copy stream;
    bool begun;          /* something of a string or a module's value was copied */
    bool headed, texted; /* of JSON: what stands in front of its text, and that, were taken */
    uint64_t left;       /* bytes of a string still to come */
    bool ttl_lost;       /* an element's expiry was left out, and that reported */
    const char *damage;  /* what was expected of the content, and is not so */

    /* While it is fed: for the parts. */
    const struct site *site;
    struct heap *heap;
    struct taken *next; /* that is free, too */
};

/* The type to write a value of this type as; 0: the target has none such, or it has to be asked for (JSON,
 * modules, strings). */
unsigned convert_as(const struct target *t, unsigned type);

/* The target's JSON is a module whose values look like ReJSON's. */
bool convert_json_module(const struct target *t);

/* The target has the module of the value that begins at value, or may have it. */
bool convert_has_module(const struct target *t, const struct cur *value);

/* Begin. value: where it begins; NULL where its parts come with others between them. */
void convert_begin(struct taken *v, struct heap *h, const struct site *at, const struct change *ch,
                   const struct cur *value);

/* Take what there is. GOT: complete; then v->damage says what was expected of the content and is not so. */
enum got convert_feed(struct taken *v, struct heap *h, const struct site *at, struct cur *c);

/* Is anything left of it? A container without elements is no key. */
bool convert_some(const struct taken *v);

#endif
