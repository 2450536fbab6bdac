/* Opcodes of snapshots that are not keys. dragonfly-wire.md 3.2 to 3.8; rdb-format.md 3. */
#include "flow_parts.h"

#define MASK_STICKY  1u
#define MASK_MCFLAGS 2u

#define IDLE_MAX     0xffffffu /* the clock of servers has 24 bits */

void flow_once(struct flow *f, struct emit *e, bool *told, const char *kind, const char *detail)
{
    if (!*told)
        emit_report(e, &f->o, false, kind, (const uint8_t *)"", 0, detail);
    *told = true;
}

static enum got op_mask(struct flow *f, struct emit *e, struct cur *c)
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
    if ((mask & MASK_STICKY) != 0 && e->target.kind == SERVER_DRAGONFLY)
        f->pend.sticky = true;
    else if ((mask & MASK_STICKY) != 0)
        flow_once(f, e, &f->told_sticky, "sticky", "Redis has no sticky keys: the marks were left out");
    if ((mask & MASK_MCFLAGS) != 0)
        flow_once(f, e, &f->told_mcflags, "memcache-flags", "Redis has none: they were left out");
    f->pend.any = true;
    return GOT;
}

/* Whole entries, no more and no less. *why: what was expected. */
static bool blob_entries(struct flow *f, struct emit *e, struct cur *j, const char **why)
{
    while (j->p < j->end) {
        enum got g = journal_entry(f, e, j);
        *why = g == NEED ? "whole entries in a journal blob" : j->why;
        if (g != GOT)
            return false;
    }
    return true;
}

static enum got op_journal_blob(struct flow *f, struct emit *e, struct cur *c)
{
    uint64_t count;
    struct pstr ps;
    const char *why = NULL;
    const struct pages around = e->pages;
    enum got g = cur_plen(c, &count);
    if (g == GOT)
        g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    struct cur j = {ps.p, ps.p + ps.n, 0, NULL};
    if (ps.clen > 0) {
        struct slice all;
        if (!unpack(&f->journal, &ps, &all))
            return cur_bad(c, "a journal blob that unpacks (LZF) to its length");
        j = (struct cur){all.p, all.p + all.n, 0, NULL};
        if (f->journal.map != NULL) {
            pages_drop(&around);
            e->pages = (struct pages){f->journal.map, f->journal.mapped};
        }
    }
    bool whole = blob_entries(f, e, &j, &why);
    e->pages = around;
    unpack_drop(&f->journal);
    return whole ? GOT : cur_bad(c, why);
}

static enum got op_chunk(struct flow *f, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    uint32_t id = le32(p), len = le32(p + 4);
    if (id == 0 || len == 0)
        return cur_bad(c, "a tagged chunk with an id and a length");
    struct chunked **at = &f->chunks;
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct chunked *ch = *at;
    if (ch == NULL) {
        if (f->nchunks >= CHUNKS_MAX)
            return cur_bad(c, "at most 4096 values in chunks at once");
        ch = xcalloc(1, sizeof *ch);
        ch->id = id;
        f->nchunks++;
    } else {
        *at = ch->next;
    }
    ch->next = f->chunks; /* the most recent first */
    f->chunks = ch;
    f->chunk = ch;
    f->chunk_left = len;
    return GOT;
}

static enum got op_offset(struct flow *f, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    if (!f->cut)
        return cur_bad(c, "the cut (opcode 200) before the journal offset");
    if (f->goes_on && le64(p) != f->next_lsn)
        return cur_bad(c, "a journal offset behind the entries that were missed, none more and none less");
    f->next_lsn = le64(p);
    f->counting = true;
    return GOT;
}

static enum got op_eof(struct flow *f, struct emit *e, struct cur *c)
{
    if (f->pend.any || f->nchunks > 0)
        return cur_bad(c, f->nchunks > 0 ? "the rest of values in chunks before the end"
                                         : "a key after its expiry");
    if (!f->file && !f->counting)
        return cur_bad(c, "a journal offset (opcode 211) before the end");
    f->stage = STAGE_EOF;
    if (f->file && f->rdb_version > 0 && f->rdb_version < 5) /* no checksum yet */
        flow_file_end(f, e);
    return GOT;
}

enum got pass_plens(struct cur *c, unsigned n)
{
    uint64_t v;
    enum got g = GOT;
    while (g == GOT && n-- > 0)
        g = cur_plen(c, &v);
    return g;
}

static enum got op_select(struct flow *f, struct cur *c)
{
    uint64_t db;
    enum got g = cur_plen(c, &db);
    if (g == GOT && db > 1u << 20)
        return cur_bad(c, "a database number");
    if (g == GOT)
        f->rdb_db = (uint32_t)db;
    return g;
}

static enum got op_expire(struct flow *f, struct cur *c, bool ms)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, ms ? 8 : 4, &p);
    if (g != GOT)
        return g;
    uint64_t v =
        ms ? le64(p) : (uint64_t)((int64_t)(int32_t)le32(p) * 1000); /* signed: some lie before 1970 */
    f->pend.any = true;
    f->pend.expire_ms = v > 0 && v <= INT64_MAX ? v : 1;
    return GOT;
}

void hint_lost(struct flow *f, struct emit *e)
{
    flow_once(f, e, &f->told_hint, "eviction-hint",
              target_takes_hints(&e->target)
                  ? "values written as commands are new and unused at the target"
                  : "the target takes no idle times and frequencies: Redis from 5.0 on and Valkey do");
}

/* Seconds since the last use, or a counter of uses. */
static enum got op_hint(struct flow *f, struct emit *e, struct cur *c, bool idle)
{
    const uint8_t *p = NULL;
    uint64_t n = 0;
    enum got g = idle ? cur_plen(c, &n) : cur_raw(c, 1, &p);
    if (g == GOT && e->hints && !target_takes_hints(&e->target))
        hint_lost(f, e);
    else if (g == GOT && e->hints) {
        f->pend.hint =
            idle ? (struct hint){HINT_IDLE, n < IDLE_MAX ? n : IDLE_MAX} : (struct hint){HINT_FREQ, *p};
        f->pend.any = true;
    }
    return g;
}

enum got opcode(struct flow *f, struct emit *e, struct cur *c, unsigned op, bool in_blob)
{
    uint64_t n;
    const uint8_t *p;
    enum got g;
    if (op < OP_TEMPLATE && f->family != FAMILY_DRAGONFLY)
        return flow_unknown(f, c, "opcode", op);
    switch ((enum opcode)op) {
    case OP_SELECTDB: return op_select(f, c);
    case OP_EXPIRE_MS: return op_expire(f, c, true);
    case OP_EXPIRE_S: return op_expire(f, c, false);
    case OP_DF_MASK: return op_mask(f, e, c);
    case OP_JOURNAL_BLOB: return op_journal_blob(f, e, c);
    case OP_TAGGED_CHUNK: return op_chunk(f, c);
    case OP_JOURNAL_OFFSET: return op_offset(f, c);
    case OP_AUX: return aux_field(f, e, c);
    case OP_RESIZEDB: return pass_plens(c, 2);
    case OP_IDLE:
    case OP_FREQ: return op_hint(f, e, c, op == OP_IDLE);
    case OP_FULLSYNC_END:
        g = cur_raw(c, 8, &p);
        if (g == GOT)
            f->cut = true;
        return g;
    case OP_ZSTD:
    case OP_LZ4:
        if (in_blob)
            return cur_bad(c, "no blob within a blob");
        f->blob_at = flow_at(f, c->p - 1);
        g = cur_plen(c, &n);
        if (g == GOT)
            blob_begin(&f->blob, op == OP_ZSTD, n);
        return g;
    case OP_RAM_LRU: /* comes as a type of values */
    case OP_SLOT_NUM: break;
    case OP_TEMPLATE:
    case OP_KEY_META:
    case OP_SLOT_INFO:
    case OP_FUNCTION:
    case OP_FUNCTION_RC:
    case OP_MODULE_AUX: return redis_opcode(f, e, c, op);
    case OP_EOF: return in_blob ? cur_bad(c, "no end within a blob") : op_eof(f, e, c);
    }
    return flow_unknown(f, c, "opcode", op);
}
