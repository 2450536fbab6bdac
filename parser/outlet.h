/* A destination for keys other than requests: a file (export/), or a summary (inspect/). */
#ifndef DFP_OUTLET_H
#define DFP_OUTLET_H

#include "value/prim.h"

struct emit;
struct origin;
struct scratch;
struct change;
struct slice;
struct value;

/* Source and destination of a key, with what reports and unpacking need of its flow. */
struct site {
    struct outlet *outlet; /* NULL: none */
    struct emit *e;
    struct origin *o;
    struct scratch *s;
};

/* A value of which only a part has come; each outlet has its own. */
struct taken;

struct outlet {
    const struct outlet_kind *kind;
    bool live;  /* the source is a server: its commands are changes after the snapshot, and may be left out */
    int status; /* parsing has to end with this exit status: why; 0: it goes on */
    char why[256];
};

struct outlet_word {
    bool reported; /* after BAD: that it is left out */
    uint64_t want; /* after NEED: bytes */
};

struct outlet_kind {
    /* Is the value of this key for it? One that is not is passed over, and reported as for any target. c:
     * where it begins; NULL: nothing of it is known but its type. GOT: yes, BAD: no, NEED: not known yet. */
    enum got (*wants)(struct outlet *out, const struct site *at, const struct change *ch, const struct cur *c,
                      struct outlet_word *word);

    /* A key, and its value from c on. GOT: it is complete. NEED: with *rest the rest of it goes to more, else
     * nothing was taken, and the key comes again with more bytes. BAD: c->why. */
    enum got (*key)(struct outlet *out, const struct site *at, const struct change *ch, struct cur *c,
                    struct taken **rest);

    /* The same for a value that comes in pieces, between which there are other keys. */
    struct taken *(*begin)(struct outlet *out, const struct site *at, const struct change *ch);

    /* More of the value. GOT, BAD: v is gone. */
    enum got (*more)(struct outlet *out, const struct site *at, struct taken *v, struct cur *c);

    /* Nothing more comes of the value. */
    void (*drop)(struct outlet *out, struct taken *v);

    /* A command of a live source. early: the snapshot is not complete. */
    void (*command)(struct outlet *out, const struct site *at, const struct change *ch, bool early);

    /* A library of functions. */
    void (*library)(struct outlet *out, const struct site *at, const struct slice *code);
};

/* ---- outlet.c: for decoders ---- */

/* A key and its value, of which c is the beginning and value where the value begins. As change_key: with
 * *in_value the rest of the value goes to outlet_feed, with v. */
enum got outlet_key(const struct site *at, const struct change *ch, struct cur *c, struct cur *value,
                    struct value *v, bool *in_value);

/* A key whose value comes in pieces, all of them by outlet_feed. */
void outlet_begin(const struct site *at, const struct change *ch, struct value *v);

/* A command. Those of a file are a part of the data set, and no outlet executes commands: the file is
 * refused. */
void outlet_command(const struct site *at, const struct change *ch, bool early);

/* More of a value, of an outlet or not: as value_feed. */
enum got outlet_feed(const struct site *at, struct value *v, struct cur *c);

/* Nothing more of it comes. */
void outlet_end(const struct site *at, struct value *v);

#endif
