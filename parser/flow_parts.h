/* What the files that parse a flow share: flow.c (the loop, chunks, blobs), entry.c (keys), opcode.c,
 * redis_opcode.c. */
#ifndef DFP_FLOW_PARTS_H
#define DFP_FLOW_PARTS_H

#include "flow.h"

enum opcode {
    OP_RAM_LRU = 107,  /* Redis Enterprise: how recently the next key was used */
    OP_SLOT_NUM = 121, /* the same: the slot of the keys that follow */
    OP_FULLSYNC_END = 200,
    OP_ZSTD = 201,
    OP_LZ4 = 202,
    OP_JOURNAL_BLOB = 210,
    OP_JOURNAL_OFFSET = 211,
    OP_DF_MASK = 220,
    OP_TAGGED_CHUNK = 224,
    OP_TEMPLATE = 242,
    OP_KEY_META = 243,
    OP_SLOT_INFO = 244,
    OP_FUNCTION = 245,
    OP_FUNCTION_RC = 246,
    OP_MODULE_AUX = 247,
    OP_IDLE = 248,
    OP_FREQ = 249,
    OP_AUX = 250,
    OP_RESIZEDB = 251,
    OP_EXPIRE_MS = 252,
    OP_EXPIRE_S = 253,
    OP_SELECTDB = 254,
    OP_EOF = 255,
};

/* Where p, of the bytes being parsed, stands in the flow, or the blob that it is in. */
static inline uint64_t flow_at(const struct flow *f, const uint8_t *p)
{
    return f->blob.active ? f->blob_at : f->offset + (uint64_t)(p - f->crc_from);
}

/* Expiry of the next key, 0: none; the prefixes are used up. */
uint64_t take_expiry(struct flow *f);

/* A key whose hint was to be carried over is written as commands, which know none: said once. */
void hint_lost(struct flow *f, struct emit *e);

/* The key at hand goes through as this: excluded, renamed, its database in f->o.db. True: its name is one of
 * ours, to be reported. */
bool choose_key(struct flow *f, struct emit *e, unsigned vclass, struct key *k);

/* A key's name, at most 16 MiB. *ps keeps its bytes. */
enum got read_key(struct flow *f, const struct emit *e, struct cur *t, struct pstr *ps, struct key *k);

/* Type, key and value (or its beginning) at c. */
enum got key_entry(struct flow *f, struct emit *e, struct cur *c);

/* What follows an opcode; c stands behind it and, unless GOT, is put back by the caller. */
enum got opcode(struct flow *f, struct emit *e, struct cur *c, unsigned op, bool in_blob);

/* One AUX field. */
enum got aux_field(struct flow *f, struct emit *e, struct cur *c);

/* It is the last key from here on, its database in f->o.db. */
void keep_last_key(struct flow *f, unsigned type, const struct key *k);

/* A remark that is made once. */
void flow_once(struct flow *f, struct emit *e, bool *told, const char *kind, const char *detail);

/* Nothing here knows how to pass over a value type or opcode: BAD, and that this need not be damage. */
enum got flow_unknown(struct flow *f, struct cur *c, const char *what, unsigned number);

/* Pass over n packed integers. */
enum got pass_plens(struct cur *c, unsigned n);

/* Opcodes 242 to 247, which only Redis and Valkey write, and those of Redis Enterprise. */
enum got redis_opcode(struct flow *f, struct emit *e, struct cur *c, unsigned op);
void drop_templates(struct flow *f);

#define AOF_TEXT "an append-only file (AOF) cannot be a source yet: save an RDB file"

/* The input is sound but not taken: what it is, and what to do. The flow ends with that. */
enum got not_supported(struct flow *f, struct cur *c, const char *what);

#endif
