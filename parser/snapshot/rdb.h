/* A snapshot being decoded: the bytes that a master sends in a full sync, or a file, from the magic to the
 * end. dragonfly-replication(7), FULL SYNC; rdb(5), FILE LAYOUT. */
#ifndef DFP_RDB_H
#define DFP_RDB_H

#include "blob.h"
#include "../change.h"

/* Newest RDB versions that are known. Valkey's number began at 80. */
#define RDB_NEWEST        15u
#define RDB_NEWEST_VALKEY 80u

#define CHUNKS_MAX        4096

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

/* The journal, or the stream of commands, follows the end of a snapshot that is no file. */
enum rdb_stage { STAGE_MAGIC, STAGE_RDB, STAGE_EOF, STAGE_JOURNAL, STAGE_DONE };

/* A value that arrives in tagged chunks. */
struct chunked {
    uint32_t id;
    bool begun; /* its type and key were read */
    struct value v;
    struct chunked *next;
};

/* The key that stands last in the file: KeyDB puts the expiries of its fields and members behind it, in AUX
 * fields. */
struct last_key {
    struct buf name; /* the bytes of key */
    struct key key;  /* as the target gets it; p NULL: none yet, or no memory */
    unsigned type;
    uint32_t db;
    bool reported;    /* a lost expiry was */
    bool field_known; /* an expiry may follow, for: */
    struct buf field;
};

struct aof;
struct journal;
struct psync;

struct rdb {
    struct sink *to;
    struct journal *journal; /* for its blobs */
    struct psync *psync;     /* it is that of a Redis or Valkey, and what follows it; NULL: it is not */
    struct aof *aof;         /* a file: what is known of it, besides its bytes */
    enum rdb_stage stage;
    bool file; /* a snapshot file: ends at EOF */
    char token[41];
    struct change next; /* the key that comes, as far as it is known */

    /* Whose it is. */
    bool redis_ver, dragonfly,
        valkey; /* AUX fields seen: redis-ver; df-ver or snapshot-id; valkey-ver or the magic */
    enum family family;
    unsigned version;
    char snapshot_id[40]; /* the same in all files of a .dfs set */

    /* Where decoding is. */
    uint64_t offset;         /* of the first byte of those being decoded */
    const uint8_t *crc_from; /* where it lies */
    uint64_t crc;            /* of a file, up to there */
    uint64_t end;            /* of a file: where the snapshot ends; 0: not yet */
    struct chunked *chunks;
    unsigned nchunks;
    struct chunked *chunk; /* being read */
    uint64_t chunk_left;
    struct blob blob;
    uint64_t blob_at;         /* where its opcode stands */
    struct unpacked unpacked; /* a journal blob */

    /* What was told before. */
    struct hash_template *templates; /* Redis 8.10 */
    unsigned ntemplates;
    struct recent recent; /* keys of a file */
    uint64_t counted_at;  /* where the last of them stands */
    struct last_key last; /* of a file that may be KeyDB's */
    struct buf aux_told;  /* hashes of unknown AUX fields that were named */
    bool told_sticky, told_mcflags, told_script, told_import;

    char foreign[160]; /* what stands where decoding ended is nothing known, which need not be damage */
    bool other_kind;   /* foreign says what the whole input is, if not a snapshot */
};

void rdb_free(struct rdb *r);

/* Decode what there is, up to the end of the snapshot. */
enum got rdb_feed(struct rdb *r, struct cur *c);

/* Nothing is under way: the input may end here. */
bool rdb_between(const struct rdb *r);

/* ---- for the files that decode snapshots: rdb.c (the loop, chunks, blobs), rdb_key.c (keys), opcode.c,
 * redis_opcode.c, aux.c, foreign.c ---- */

/* The end of the snapshot has a checksum that is compared, and its values are numbered as Redis numbers them.
 */
static inline bool rdb_of_redis(const struct rdb *r)
{
    return (r->file || r->psync != NULL) && !r->dragonfly;
}

/* Where p, of the bytes being parsed, stands in the flow, or the blob that it is in. */
static inline uint64_t rdb_at(const struct rdb *r, const uint8_t *p)
{
    return r->blob.active ? r->blob_at : r->offset + (uint64_t)(p - r->crc_from);
}

/* A key's name, at most 16 MiB. *ps keeps its bytes. */
enum got rdb_key(struct rdb *r, struct cur *t, struct pstr *ps, struct key *k);

/* Type, key and value (or its beginning) at c. */
enum got rdb_key_value(struct rdb *r, struct cur *c);

/* What follows an opcode; c stands behind it and, unless GOT, is put back by the caller. */
enum got opcode(struct rdb *r, struct cur *c, unsigned op, bool in_blob);

/* One AUX field. */
enum got aux_field(struct rdb *r, struct cur *c);

/* Opcodes 242 to 247, which only Redis and Valkey write, and those of Redis Enterprise. */
enum got redis_opcode(struct rdb *r, struct cur *c, unsigned op);
void drop_templates(struct rdb *r);

/* A snapshot file is complete: nothing follows, or the commands of an append-only file. */
void rdb_file_end(struct rdb *r);

/* The file is an append-only file: commands follow, or are all there is. */
void rdb_append_only(struct rdb *r);

/* Nothing here knows how to pass over a value type or opcode: BAD, and that this need not be damage. */
enum got rdb_unknown(struct rdb *r, struct cur *c, const char *what, unsigned number);

#define AOF_TEXT                                                                                             \
    "commands stand behind the end of the snapshot, which does not say that it is the beginning of an "      \
    "append-only file (AOF)"

/* The input is sound but not taken: what it is, and what to do. The flow ends with that. */
enum got rdb_not_supported(struct rdb *r, struct cur *c, const char *what);

/* It is the last key from here on, its database in to->o.db. */
void keep_last_key(struct rdb *r, unsigned type, const struct key *k);

#endif
