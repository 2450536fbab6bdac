/* Opcodes of snapshots that are not keys. dragonfly-replication(7), FULL SYNC; rdb(5), DRAGONFLY EXTENSIONS,
 * OPCODES. */
#include "../command/aof.h"
#include "../command/journal.h"
#include "rdb.h"

#define MASK_STICKY  1u
#define MASK_MCFLAGS 2u

#define IDLE_MAX     0xffffffu /* the clock of servers has 24 bits */

static enum got op_mask(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 4, &p);
    if (g != GOT)
        return g;
    uint32_t mask = le32(p);
    if ((mask & ~(MASK_STICKY | MASK_MCFLAGS)) != 0)
        return cur_bad(c, "a key mask with known bits");
    if ((mask & MASK_MCFLAGS) != 0 && (g = cur_raw(c, 4, &p)) != GOT)
        return g;
    if ((mask & MASK_STICKY) != 0 && r->to->e->target.kind == SERVER_DRAGONFLY)
        r->next.sticky = true;
    else if ((mask & MASK_STICKY) != 0)
        change_once(r->to->e, &r->to->o, &r->told_sticky, "sticky",
                    "Redis has no sticky keys: the marks were left out");
    if ((mask & MASK_MCFLAGS) != 0)
        change_once(r->to->e, &r->to->o, &r->told_mcflags, "memcache-flags",
                    "Redis has none: they were left out");
    r->next.prefixed = true;
    return GOT;
}

/* Whole entries, no more and no less. *why: what was expected. */
static bool blob_entries(struct rdb *r, struct cur *j, const char **why)
{
    while (j->p < j->end) {
        enum got g = journal_entry(r->journal, j);
        *why = g == NEED ? "whole entries in a journal blob" : j->why;
        if (g != GOT)
            return false;
    }
    return true;
}

static enum got op_journal_blob(struct rdb *r, struct cur *c)
{
    uint64_t count;
    struct pstr ps;
    const char *why = NULL;
    const struct pages around = r->to->e->pages;
    enum got g = cur_plen(c, &count);
    if (g == GOT)
        g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    struct cur j = {ps.p, ps.p + ps.n, 0, NULL};
    if (ps.clen > 0) {
        struct slice all;
        if (!unpack(&r->unpacked, &ps, &all))
            return cur_bad(c, "a journal blob that unpacks (LZF) to its length");
        j = (struct cur){all.p, all.p + all.n, 0, NULL};
        if (r->unpacked.map != NULL) {
            pages_drop(&around);
            r->to->e->pages = (struct pages){r->unpacked.map, r->unpacked.mapped};
        }
    }
    bool whole = blob_entries(r, &j, &why);
    r->to->e->pages = around;
    unpack_drop(&r->unpacked);
    return whole ? GOT : cur_bad(c, why);
}

static enum got op_chunk(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    uint32_t id = le32(p), len = le32(p + 4);
    if (id == 0 || len == 0)
        return cur_bad(c, "a tagged chunk with an id and a length");
    struct chunked **at = &r->chunks;
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct chunked *ch = *at;
    if (ch == NULL) {
        if (r->nchunks >= CHUNKS_MAX)
            return cur_bad(c, "at most 4096 values in chunks at once");
        ch = xcalloc(1, sizeof *ch);
        ch->id = id;
        r->nchunks++;
    } else {
        *at = ch->next;
    }
    ch->next = r->chunks; /* the most recent first */
    r->chunks = ch;
    r->chunk = ch;
    r->chunk_left = len;
    return GOT;
}

static enum got op_offset(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    if (!r->to->cut)
        return cur_bad(c, "the cut (opcode 200) before the journal offset");
    if (r->to->goes_on && le64(p) != r->to->next_lsn)
        return cur_bad(c, "a journal offset behind the entries that were missed, none more and none less");
    if (le64(p) > LSN_MAX)
        return cur_bad(c, "a journal offset below 2^63");
    r->to->next_lsn = le64(p);
    r->to->counting = true;
    return GOT;
}

static enum got op_eof(struct rdb *r, struct cur *c)
{
    if (r->next.prefixed || r->nchunks > 0)
        return cur_bad(c, r->nchunks > 0 ? "the rest of values in chunks before the end"
                                         : "a key after its expiry");
    if (!r->file && !r->to->counting)
        return cur_bad(c, "a journal offset (opcode 211) before the end");
    r->stage = STAGE_EOF;
    r->to->cut |= r->psync != NULL;
    if (r->file && r->version > 0 && r->version < 5) /* no checksum yet */
        rdb_file_end(r);
    return GOT;
}

static enum got op_select(struct rdb *r, struct cur *c)
{
    uint64_t db;
    enum got g = cur_plen(c, &db);
    if (g == GOT && db > 1u << 20)
        return cur_bad(c, "a database number");
    if (g == GOT && r->aof != NULL && r->aof->file.until > 0 && !r->aof->on) /* keys come */
        return rdb_not_supported(r, c, "--until-time needs an append-only file, and this is a snapshot");
    if (g == GOT)
        r->next.db = (uint32_t)db;
    return g;
}

static enum got op_expire(struct rdb *r, struct cur *c, bool ms)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, ms ? 8 : 4, &p);
    if (g != GOT)
        return g;
    uint64_t v =
        ms ? le64(p) : (uint64_t)((int64_t)(int32_t)le32(p) * 1000); /* signed: some lie before 1970 */
    r->next.prefixed = true;
    r->next.expire_ms = v > 0 && v <= INT64_MAX ? v : 1;
    return GOT;
}

/* Seconds since the last use, or a counter of uses. */
static enum got op_hint(struct rdb *r, struct cur *c, bool idle)
{
    const uint8_t *p = NULL;
    uint64_t n = 0;
    enum got g = idle ? cur_plen(c, &n) : cur_raw(c, 1, &p);
    if (g == GOT && r->to->e->hints && !target_takes_hints(&r->to->e->target))
        change_hint_lost(r->to);
    else if (g == GOT && r->to->e->hints) {
        r->next.hint =
            idle ? (struct hint){HINT_IDLE, n < IDLE_MAX ? n : IDLE_MAX} : (struct hint){HINT_FREQ, *p};
        r->next.prefixed = true;
    }
    return g;
}

enum got opcode(struct rdb *r, struct cur *c, unsigned op, bool in_blob)
{
    uint64_t n, sizes[2];
    const uint8_t *p;
    enum got g;
    if (op < OP_TEMPLATE && r->family != FAMILY_DRAGONFLY)
        return rdb_unknown(r, c, "opcode", op);
    switch ((enum opcode)op) {
    case OP_SELECTDB: return op_select(r, c);
    case OP_EXPIRE_MS: return op_expire(r, c, true);
    case OP_EXPIRE_S: return op_expire(r, c, false);
    case OP_DF_MASK: return op_mask(r, c);
    case OP_JOURNAL_BLOB: return op_journal_blob(r, c);
    case OP_TAGGED_CHUNK: return op_chunk(r, c);
    case OP_JOURNAL_OFFSET: return op_offset(r, c);
    case OP_AUX: return aux_field(r, c);
    case OP_RESIZEDB: return cur_plens(c, sizes, 2);
    case OP_IDLE:
    case OP_FREQ: return op_hint(r, c, op == OP_IDLE);
    case OP_FULLSYNC_END:
        g = cur_raw(c, 8, &p);
        if (g == GOT)
            r->to->cut = true;
        return g;
    case OP_ZSTD:
    case OP_LZ4:
        if (in_blob)
            return cur_bad(c, "no blob within a blob");
        r->blob_at = rdb_at(r, c->p - 1);
        g = cur_plen(c, &n);
        if (g == GOT)
            blob_begin(&r->blob, op == OP_ZSTD, n);
        return g;
    case OP_RAM_LRU: /* comes as a type of values */
    case OP_SLOT_NUM: break;
    case OP_TEMPLATE:
    case OP_KEY_META:
    case OP_SLOT_INFO:
    case OP_FUNCTION:
    case OP_FUNCTION_RC:
    case OP_MODULE_AUX: return redis_opcode(r, c, op);
    case OP_EOF: return in_blob ? cur_bad(c, "no end within a blob") : op_eof(r, c);
    }
    return rdb_unknown(r, c, "opcode", op);
}
