/* One flow: the bytes that a master sends on one connection, or a snapshot file, from the magic to the
 * journal. dragonfly-wire.md 3 and 5. Decoding only: bytes in, records out through emit. */
#ifndef DFP_FLOW_H
#define DFP_FLOW_H

#include "blob.h"
#include "carry.h"
#include "emit.h"
#include "prim.h"
#include "recent.h"
#include "select.h"
#include "value.h"

enum flow_stage { STAGE_MAGIC, STAGE_RDB, STAGE_EOF, STAGE_JOURNAL, STAGE_DONE };

#define CHUNKS_MAX 4096

/* Newest RDB versions that are known. Valkey's number began at 80. */
#define RDB_NEWEST        15u
#define RDB_NEWEST_VALKEY 80u

/* A value that arrives in tagged chunks. */
struct chunked {
    uint32_t id;
    bool begun; /* its type and key were read */
    struct value v;
    struct chunked *next;
};

/* Entries of a multi-command transaction, masters up to v1.20. */
struct multi {
    uint64_t txid;
    struct buf entries; /* db, argc, then (length, bytes) each; 8 bytes a number */
    struct multi *next;
};

/* Prefixes of the next key. */
struct pending {
    bool any;
    uint64_t expire_ms;
    struct hint hint;
    bool sticky; /* and the target is a Dragonfly, too */
    bool meta;   /* modules keep metadata of it */
};

struct rereads;

/* The key that stands last in the file: KeyDB puts the expiries of its fields and members behind it, in AUX
 * fields. */
struct last_key {
    struct buf name; /* the bytes of key */
    struct key key;  /* as the target gets it; p NULL: none yet, or no memory */
    unsigned type;
    uint32_t db;
    bool gone;        /* nothing was written of its value */
    bool reported;    /* a lost expiry was */
    bool field_known; /* an expiry may follow, for: */
    struct buf field;
};

struct flow {
    struct origin o;
    bool file; /* a snapshot file: ends at EOF */
    unsigned
        df_version; /* of the source, major << 16 | minor << 8 | patch; 0: older than v1.27, or not told */
    bool redis_ver, dragonfly,
        valkey; /* AUX fields seen: redis-ver; df-ver or snapshot-id; valkey-ver or the magic */
    enum family family;
    unsigned rdb_version;
    char snapshot_id[40];            /* the same in all files of a .dfs set */
    struct hash_template *templates; /* Redis 8.10 */
    unsigned ntemplates;
    bool told_import;
    uint64_t crc; /* of a file, up to crc_from */
    const uint8_t *crc_from;
    unsigned flows; /* of the session */
    char token[41];
    enum flow_stage stage;
    const struct select *sel;   /* NULL: every key goes through as it is */
    struct buf names, narrowed; /* new names, and the arguments that they stand in */
    struct buf program;         /* of a command over several slots */
    uint8_t db_text[20];
    uint32_t src_db; /* database of the journal entry, as the source has it */
    uint32_t rdb_db, jrn_db;
    struct pending pend;
    bool in_value;
    struct value cur;
    struct chunked *chunks;
    unsigned nchunks;
    struct chunked *chunk; /* being read */
    uint64_t chunk_left;
    struct blob blob;
    uint64_t blob_at; /* where its opcode stands */
    bool cut, synced;
    bool goes_on; /* a partial sync: the target has everything before, and no keys come */
    bool told_sticky, told_mcflags, told_script, told_hint;
    bool counting; /* next_lsn is known */
    uint64_t next_lsn;
    uint64_t entry_lsn;            /* of the journal entry being written */
    struct rereads *rereads;       /* NULL: keys cannot be read again */
    uint64_t rr_hold;              /* no position behind this LSN may be confirmed; UINT64_MAX: none */
    uint64_t rr_due;               /* LSN at which the next answer is written; UINT64_MAX: none */
    struct buf rr_in;              /* KEY records, up to the last of an answer */
    bool rr_lost;                  /* some of them were too much to keep */
    bool verifying;                /* keys are looked for at the target (check.h) */
    struct buf checks, check_name; /* those whose place has not come, from checks_at on */
    size_t checks_at;
    uint64_t check_due; /* LSN at which the first of them is looked for; UINT64_MAX: there is none */
    struct multi *multis;
    size_t multi_bytes;      /* of all of them */
    struct buf argv;         /* struct slice each */
    struct unpacked journal; /* an unpacked journal blob */
    struct value restored;   /* the value of a RESTORE */
    struct scratch s;
    struct carry carry;
    uint64_t offset;      /* of the first byte not yet consumed */
    struct recent recent; /* keys of a file */
    uint64_t counted_at;  /* where the last of them stands */
    struct last_key last; /* of a file that may be KeyDB's */
    struct buf aux_told;  /* hashes of unknown AUX fields that were named */
    char foreign[160];    /* what stands where parsing ended is nothing known, which need not be damage */
    uint64_t end;         /* of a file: where the snapshot ends; 0: not yet */
    char error[256];
    bool cannot;     /* the error is no damage: no room for a temporary file, say */
    bool other_kind; /* foreign says what the whole input is, if not a snapshot */
};

void flow_init(struct flow *f, uint16_t number);
void flow_free(struct flow *f);

/* Begin at the start of a session: what an earlier one left is dropped. lsn 0: full sync, else next LSN of a
 * partial one. token: 40 bytes or NULL. */
void flow_begin(struct flow *f, uint16_t epoch, bool file, bool journal, unsigned flows, uint64_t lsn,
                const char *token);

/* A partial sync that was begun so has the form of a full one: journal blobs before the cut, opcode 211,
 * token. */
void flow_as_snapshot(struct flow *f);

/* Take bytes that arrived at time_us and stand at pos in the flow. Returns 0; -1 when they are damaged
 * (f->error says where and what) or could not be kept. Output faults show in e->failed. */
int flow_feed(struct flow *f, struct emit *e, const uint8_t *p, size_t n, uint64_t pos, uint64_t time_us);

/* The flow ends here. requested: it was cut off on purpose, so that a last item in part is no damage. Returns
 * 0, or -1 with f->error. */
int flow_end(struct flow *f, bool requested);

/* A snapshot file is complete. */
void flow_file_end(struct flow *f, struct emit *e);

/* ---- journal.c, reread.c, commands.c ---- */

/* One journal entry at c. */
enum got journal_entry(struct flow *f, struct emit *e, struct cur *c);

/* While a transaction waits for its EXEC, or a key for its value, no position behind that may be confirmed.
 */
static inline uint64_t journal_below(const struct flow *f, uint64_t lsn)
{
    if (f->multis != NULL)
        return 0;
    return lsn < f->rr_hold ? lsn : f->rr_hold;
}

/* The position that is reached with all entries so far, as far as it may be confirmed. */
static inline uint64_t journal_reached(const struct flow *f)
{
    if (!f->counting)
        return 0;
    /* What is written while an entry is taken up does not confirm that entry. */
    bool within = f->o.entry && f->o.after > 0 && f->o.after <= f->next_lsn;
    return journal_below(f, within ? f->o.after - 1 : f->next_lsn);
}

/* Write what a journaled command means for the target. after: position once it is applied. */
void command_emit(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                  uint64_t after);

/* The same for one that was kept back, or is not of the journal. */
void command_write(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                   uint64_t after);

/* Write what a command means for the target; after: its position. Keys that are read again are not looked at:
 * that was done (command_write). */
void command_apply(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                   uint64_t after);

#endif
