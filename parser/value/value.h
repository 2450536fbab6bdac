/* Values of snapshots: finding where one ends (so that its bytes can be RESTOREd), and decoding one into
 * commands piece by piece, whatever its size. rdb(5), DRAGONFLY EXTENSIONS, VALUES. */
#ifndef DFP_VALUE_H
#define DFP_VALUE_H

#include "../snapshot/keyset.h"
#include "../emit.h"
#include "../snapshot/pages.h"
#include "prim.h"
#include "../snapshot/unpack.h"

struct taken;

/* How far the entries of a stream are: each must have a greater id than the one before. */
struct stream_order {
    uint64_t ms, seq; /* of the last entry */
    uint64_t live;
    uint64_t node[2]; /* id of the last node */
    bool any;         /* there was one */
    bool tangled;     /* ids of nodes are not all greater than the one before */
};

/* What of a value's content is no damage, and yet nothing for RESTORE. */
struct odd {
    /* Nothing is wrong, but servers refuse it: empty nodes, two nodes of a stream with one id, lengths in
     * more bytes than they need. */
    bool form;
    bool twice;      /* a field or member is there twice: the first is what its server finds */
    const char *why; /* what was expected; NULL: nothing else but form */
};

/* Scratch that the values of one flow share; nothing in it outlives a call of value_feed. */
struct scratch {
    struct buf body; /* arguments of the request being gathered */
    struct buf ttls; /* fields that get the expiry ttl_ms */
    struct unpacked lzf[2];
    uint64_t elements; /* that value_scan passed; not counted in streams, strings and modules */
    struct {
        size_t n;
        uint8_t text[12];
    } num[2];                  /* integers as text */
    struct buf copy;           /* a value made over for an older target */
    const struct pages *pages; /* where the bytes being read may be mapped; NULL: nowhere */
    const char
        *damage;    /* what value_scan expected of the content, and did not find; NULL: the value is sound */
    struct odd odd; /* of the content: servers refuse it, or take it and go wrong, but commands make it */
    struct keyset seen[3];     /* elements; groups of a stream; their consumers */
    struct stream_order order; /* of the stream being scanned */
    struct buf
        pel; /* pending ids of the group being scanned: 16 bytes, and whether it has an owner (1), each */
    bool pel_full; /* it has more than can be kept, so that its consumers are not checked */
};

void scratch_free(struct scratch *s);

/* errno where a long string could not be kept, else 0. */
int scratch_fault(const struct scratch *s);

struct stream_state {
    int phase;
    uint64_t groups, pels, consumers, ids; /* still to come */
    uint64_t written;                      /* entries written so far */
    bool deleted;                          /* entries were deleted or trimmed at the source */
    bool too_large;                        /* the entry being gathered cannot be sent */
    bool remarked;
    struct stream_order order;
    uint64_t claimed;           /* pending entries of the group that have an owner */
    uint64_t unkept;            /* pending entries of the group for which there was no room */
    struct buf group, consumer; /* names */
    struct buf pel; /* pending entries of the group: id (16 bytes), time, count (8 each), whether it has an
                     * owner (1); ascending */
};

/* Whose numbers the types above 21 are. */
enum family { FAMILY_DRAGONFLY, FAMILY_REDIS, FAMILY_VALKEY };

unsigned value_type(enum family family, unsigned byte);

/* Field names that hashes of Redis 8.10 refer to by number: (length in 8 bytes, bytes) each. */
struct hash_template {
    uint64_t id;
    uint64_t fields;
    struct buf names;
    struct hash_template *next;
};

/* How far such a hash is read (template.h). */
struct template_read {
    const struct hash_template *known; /* in its flow */
    const struct hash_template *tmpl;
    size_t at;     /* of the next of its names */
    uint64_t left; /* fields still to come */
};

struct value {
    struct emit *e; /* where it is written to */
    struct origin *o;
    struct scratch *s;
    unsigned type;
    unsigned vclass;
    const struct shape *shape;
    struct buf name; /* the key's bytes */
    struct key key;
    uint32_t db;
    uint64_t at;        /* of its key (struct origin) */
    uint64_t expire_ms; /* 0: none */
    bool dropped;       /* decode, write nothing */
    bool counted;       /* its number of elements is known (left) */
    bool started;       /* something of it was written */
    bool reported;      /* its lost expiries were */
    bool sticky;        /* to be marked so at a Dragonfly; set by the caller after value_begin */
    struct odd odd;     /* as value_scan found it, if all of the value is there; set likewise */
    uint64_t left;      /* elements, or bytes of a string, still to come */
    uint64_t offset;    /* bytes of a string written */
    uint64_t nbody;     /* arguments in scratch.body */
    uint64_t nttls;     /* fields in scratch.ttls */
    uint64_t ttl_ms;
    uint64_t ttl_base;             /* of a hash whose expiries are relative to it */
    bool based;                    /* ttl_base was read */
    bool is_json;                  /* of a module value */
    struct template_read template; /* known: set by the caller after value_begin */
    uint64_t skip;                 /* raw bytes to pass over */
    int step;                      /* of the skip program */
    uint64_t before[2];            /* the plens before the last one of the skip program, newest first */
    uint64_t pieces;               /* bytes of pieces still to come within it */
    struct stream_state st;
    struct taken *taken; /* it goes to an outlet (outlet.h), and nothing above is used */
};

/* The value's class, or 0 when there is no such type, or none that could be passed over. */
unsigned value_class(unsigned type);

/* A field of the hash, v being its whole value, has expired, so that its bytes would bring it back. */
bool value_stale(unsigned type, const struct slice *v, uint64_t now_ms);

/* RESTORE would be refused, or make something else of the value v that was scanned and is not damaged. Only
 * commands are sure. */
bool value_unfit(unsigned type, const struct slice *v, const struct scratch *s, uint64_t now_ms);

/* Pass over one value of the type at c, checking every length and everything that servers take for granted of
 * its content. GOT: c stands behind it; where the content is not sound s->damage says what was expected, and
 * s->odd where commands make it all the same.
 * Nothing is written. s->elements says how many elements a container has. */
enum got value_scan(unsigned type, struct cur *c, struct scratch *s);

/* Pass over a stream of type 21 or T_REDIS + 26 and make a type 21 of it, or with no_active a type 19, for
 * older targets. It lacks only producers' message ids, and the times at which consumers were last active.
 * *out points into s->copy. */
enum got stream_to_older(unsigned type, bool no_active, struct cur *c, struct scratch *s, struct slice *out);

/* Modules: pass over values up to the opcode 0 (*data becomes true where they are more than zeros; may be
 * NULL); the module type's name. */
enum got module_values(struct cur *c, bool *data);
const char *module_of(const uint8_t *p, size_t n, char name[10]);

/* Begin to decode into commands, which go to e as records of o. The key is copied; e, o and s are used until
 * all of the value has come. */
void value_begin(struct value *v, struct emit *e, struct origin *o, struct scratch *s, unsigned type,
                 const struct key *k, uint64_t expire_ms);

/* Decode what there is. GOT: the value is complete, v is free for the next. NEED: all whole elements in c
 * were taken and written. BAD: c->why. */
enum got value_feed(struct value *v, struct cur *c);

void value_free(struct value *v);

/* ---- for the decoders in value.c and stream.c ---- */

#define UNPACKS "a string that unpacks (LZF) to its length"

/* A string's bytes, unpacked into s->lzf[which] where needed. False: corrupt, or scratch_fault() says why
 * not. */
bool value_text(struct scratch *s, unsigned which, const struct pstr *ps, struct slice *out);

/* A string at c with its bytes, all of it. *ps keeps the text of integers. */
enum got value_string(struct cur *c, struct scratch *s, unsigned which, struct pstr *ps, struct slice *out);

/* A key in several requests begins: the flags of its first one, before which something may be written that
 * says whether the key may be. */
unsigned value_first(struct value *v);

/* First write of a key that is made by commands: DEL, or value_first's. Does nothing the second time. */
void value_start(struct value *v);

/* The content of the value is not what why expects, though its end is known: it is reported, and what was
 * written of it is taken back. Returns GOT; BAD where only a temporary file was at fault. */
enum got value_damaged(struct value *v, struct cur *c, const char *why);

/* The same of a value of which nothing was written: what the target holds under its name goes, unless keys
 * are guarded. o->at: where the key stands. */
void value_refused(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, const char *why);

/* It is written as commands since it is odd: that is reported. */
void value_odd(struct value *v, const struct odd *odd);

/* The value is complete: its expiry, or the mark of its last part. */
void value_finish(struct value *v);

enum got stream_scan(unsigned type, struct cur *c, struct scratch *s);
enum got stream_feed(struct value *v, struct cur *c);

#endif
