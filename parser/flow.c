#include "flow_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <bsd/string.h>

#include "crc64.h"
#include "magic.h"

#define TOKEN_LEN 40
#define PAGE      ((uint64_t)4096) /* files of Dragonfly are a multiple of it */

void flow_init(struct flow *f, uint16_t number)
{
    memset(f, 0, sizeof *f);
    f->o.flow = number;
    f->rr_hold = f->rr_due = UINT64_MAX;
    carry_init(&f->carry);
}

static void drop_chunks(struct flow *f)
{
    while (f->chunks != NULL) {
        struct chunked *ch = f->chunks;
        f->chunks = ch->next;
        value_free(&ch->v);
        free(ch);
    }
    f->nchunks = 0;
    f->chunk = NULL;
}

static void drop_multis(struct flow *f)
{
    while (f->multis != NULL) {
        struct multi *m = f->multis;
        f->multis = m->next;
        buf_free(&m->entries);
        free(m);
    }
}

void flow_free(struct flow *f)
{
    drop_chunks(f);
    drop_multis(f);
    value_free(&f->cur);
    value_free(&f->restored);
    blob_free(&f->blob);
    scratch_free(&f->s);
    buf_free(&f->argv);
    unpack_free(&f->journal);
    drop_templates(f);
    buf_free(&f->last.name);
    buf_free(&f->last.field);
    recent_free(&f->recent);
    buf_free(&f->aux_told);
    buf_free(&f->names);
    buf_free(&f->narrowed);
    buf_free(&f->program);
    buf_free(&f->rr_in);
    buf_free(&f->checks);
    buf_free(&f->check_name);
    carry_free(&f->carry);
}

void flow_begin(struct flow *f, uint16_t epoch, bool file, bool journal, unsigned flows, uint64_t lsn,
                const char *token)
{
    uint16_t number = f->o.flow;
    const struct select *sel = f->sel;
    struct rereads *rereads = f->rereads;
    flow_free(f);
    flow_init(f, number);
    f->sel = sel;
    f->rereads = rereads;
    f->o.epoch = epoch;
    f->o.journal = journal;
    f->file = file;
    f->flows = flows;
    if (token != NULL)
        strlcpy(f->token, token, sizeof f->token);
    if (lsn > 0) {
        f->stage = STAGE_JOURNAL;
        f->cut = f->synced = f->counting = f->goes_on = true;
        f->next_lsn = lsn;
        f->df_version =
            VERSION(1, 40); /* no AUX says it; most masters with partial syncs are of these releases */
        f->o.live = true;
    }
}

void flow_as_snapshot(struct flow *f)
{
    f->stage = STAGE_MAGIC;
    f->cut = f->synced = false;
    f->df_version = 0; /* AUX will say */
    f->o.live = false;
}

/* ---- chunks, blobs ---- */

/* First bytes of a value in chunks: [expiry] [mask] type key. */
static enum got chunk_begin(struct flow *f, struct emit *e, struct cur *c)
{
    while (c->p < c->end && (*c->p == OP_EXPIRE_MS || *c->p == OP_DF_MASK)) {
        struct cur t = *c;
        enum got g = opcode(f, e, &t, *t.p++, true);
        c->want = t.want;
        c->why = t.why;
        if (g != GOT)
            return g;
        c->p = t.p;
    }
    if (c->p >= c->end)
        return cur_need(c, 1);
    struct cur t = *c;
    struct pstr ps;
    struct key k;
    uint64_t at = flow_at(f, t.p);
    unsigned type = *t.p++;
    if (value_class(type) == 0)
        return flow_unknown(f, c, "value type", type);
    enum got g = read_key(f, e, &t, &ps, &k);
    c->want = t.want;
    c->why = t.why;
    if (g != GOT)
        return g;
    c->p = t.p;
    if (choose_key(f, e, value_class(type), &k))
        emit_reserved(e, &f->o, k.p, k.n);
    f->o.live = false;
    f->o.at = at;
    bool sticky = f->pend.sticky;
    value_begin(&f->chunk->v, e, &f->o, type, &k, take_expiry(f));
    f->chunk->v.sticky = sticky;
    f->chunk->begun = true;
    return GOT;
}

static enum got chunk_done(struct flow *f, struct cur *c)
{
    struct chunked *ch = f->chunk;
    if (f->chunk_left > 0)
        return cur_bad(c, "a chunk that ends where its value does");
    f->chunks = ch->next; /* the one being read is always first */
    f->chunk = NULL;
    f->nchunks--;
    value_free(&ch->v);
    free(ch);
    return GOT;
}

static enum got feed_chunk(struct flow *f, struct emit *e, struct cur *c)
{
    bool whole = cur_left(c) >= f->chunk_left;
    struct cur t = {c->p, whole ? c->p + f->chunk_left : c->end, 0, NULL};
    f->o.live = false;
    enum got g = f->chunk->begun ? GOT : chunk_begin(f, e, &t);
    if (g == GOT)
        g = value_feed(&f->chunk->v, e, &f->o, &t, &f->s);
    f->chunk_left -= (uint64_t)(t.p - c->p);
    c->p = t.p;
    c->want = t.want;
    c->why = t.why;
    if (g == GOT)
        return chunk_done(f, c);
    if (g == BAD || !whole)
        return g;
    if (!f->chunk->begun) /* its expiry must not come to another key */
        return cur_bad(c, "a first chunk with a whole key");
    if (f->chunk_left > 0)
        return cur_bad(c, "a chunk that ends between elements");
    f->chunk = NULL; /* more of this value comes in a later chunk */
    return GOT;
}

static enum got parse_rdb(struct flow *f, struct emit *e, struct cur *c, bool in_blob);

static enum got feed_blob(struct flow *f, struct emit *e, struct cur *c)
{
    for (;;) {
        enum got g = blob_unpack(&f->blob, c);
        if (g != GOT)
            return g;
        struct blob *b = &f->blob;
        struct cur in = {b->out.p + b->start, b->out.p + b->out.len, 0, NULL};
        g = parse_rdb(f, e, &in, true);
        b->start = (size_t)(in.p - b->out.p);
        b->need = g == NEED ? cur_left(&in) + in.want : 0;
        if (g == BAD)
            return cur_bad(c, in.why);
        if (e->refused)
            return GOT;
        if (!b->finished)
            continue;
        b->active = false;
        buf_trim(&b->out, (size_t)2 << 20);
        if (in.p != in.end || f->in_value || f->chunk != NULL)
            return cur_bad(c, "a compressed blob that ends between items");
        return GOT;
    }
}

/* ---- the loop ---- */

static enum got parse_one(struct flow *f, struct emit *e, struct cur *c, bool in_blob)
{
    if (__builtin_expect(f->blob.active && !in_blob, 0)) /* which may have begun a chunk or a value */
        return feed_blob(f, e, c);
    if (__builtin_expect(f->chunk != NULL, 0))
        return feed_chunk(f, e, c);
    if (__builtin_expect(f->in_value, 0)) {
        f->o.live = false;
        enum got g = value_feed(&f->cur, e, &f->o, c, &f->s);
        if (g == GOT) {
            f->in_value = false;
            f->last.gone = f->cur.dropped;
        }
        return g;
    }
    unsigned op = *c->p;
    if (op < OP_FULLSYNC_END)
        return key_entry(f, e, c);
    struct cur t = *c;
    t.p++;
    enum got g = opcode(f, e, &t, op, in_blob);
    return cur_settle(c, &t, g);
}

static enum got parse_rdb(struct flow *f, struct emit *e, struct cur *c, bool in_blob)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end && f->stage == STAGE_RDB && !e->refused)
        g = parse_one(f, e, c, in_blob);
    return g;
}

/* "REDIS" and four digits, or "VALKEY" and three. */
static enum got parse_magic(struct flow *f, struct cur *c)
{
    const uint8_t *p = NULL;
    unsigned version = 0;
    if (!magic_begins(c->p, cur_left(c))) /* also where less is there than a magic has */
        return cur_bad(c, MAGIC_WANTED);
    enum got g = cur_raw(c, 9, &p);
    if (g != GOT)
        return g;
    bool valkey = memcmp(p, "VALKEY", 6) == 0;
    bool known = valkey || memcmp(p, "REDIS", 5) == 0;
    for (unsigned i = valkey ? 6 : 5; i < 9 && known; i++) {
        known = p[i] >= '0' && p[i] <= '9';
        version = version * 10 + (unsigned)(p[i] - '0');
    }
    if (!known) {
        c->p = p;
        return cur_bad(c, MAGIC_WANTED);
    }
    if (version > (valkey ? RDB_NEWEST_VALKEY : RDB_NEWEST)) {
        c->p = p;
        snprintf(f->foreign, sizeof f->foreign,
                 "version %u of the RDB format of %s, which a newer server wrote; the newest known is %u",
                 version, valkey ? "Valkey" : "Redis", valkey ? RDB_NEWEST_VALKEY : RDB_NEWEST);
        return cur_bad(c, "a known version");
    }
    if (version < (valkey ? RDB_NEWEST_VALKEY : 1)) {
        c->p = p;
        return cur_bad(c, "an RDB version of 1 to 15, or 80 of Valkey");
    }
    f->rdb_version = version;
    f->valkey = valkey;
    if (f->file && (valkey || version != 9))
        f->family = valkey ? FAMILY_VALKEY : FAMILY_REDIS;
    f->stage = STAGE_RDB;
    return GOT;
}

void flow_file_end(struct flow *f, struct emit *e)
{
    f->synced = true;
    f->stage = STAGE_DONE;
    f->o.pos = 0;
    emit_synced(e, &f->o);
}

/* The checksum of a file, over everything before it; 0: the writer made none. */
static enum got parse_checksum(struct flow *f, struct emit *e, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g != GOT)
        return g;
    f->crc = crc64(f->crc, f->crc_from, (size_t)(p - f->crc_from));
    if (le64(p) != 0 && !f->dragonfly && le64(p) != f->crc) {
        c->p = p;
        return cur_bad(c, "the checksum of the bytes before it: something in the file was changed");
    }
    flow_file_end(f, e);
    return GOT;
}

static enum got parse_eof(struct flow *f, struct emit *e, struct cur *c)
{
    const uint8_t *p = NULL;
    if (f->file)
        return parse_checksum(f, e, c);
    enum got g = cur_raw(c, 8 + TOKEN_LEN, &p);
    if (g != GOT)
        return g;
    if (f->token[0] != '\0' && memcmp(p + 8, f->token, TOKEN_LEN) != 0) {
        c->p = p + 8;
        return cur_bad(c, "the EOF token of this flow");
    }
    f->synced = true;
    f->stage = STAGE_JOURNAL;
    f->jrn_db = 0;
    f->o.live = true;
    f->o.pos = f->next_lsn;
    emit_synced(e, &f->o);
    return GOT;
}

/* Behind the end of a snapshot: Dragonfly fills up its last page, with whatever was in memory. Nothing else
 * may stand there. */
static enum got parse_tail(struct flow *f, struct cur *c)
{
    uint64_t at = f->offset + (uint64_t)(c->p - f->crc_from);
    if (f->end == 0)
        f->end = at;
    bool padded = f->dragonfly || f->family == FAMILY_DRAGONFLY;
    uint64_t page = padded ? (f->end + PAGE - 1) / PAGE * PAGE : f->end;
    uint64_t skip = page > at ? page - at : 0;
    c->p = skip < cur_left(c) ? c->p + skip : c->end;
    if (c->p >= c->end)
        return GOT;
    bool request = *c->p == '*' && (cur_left(c) < 2 || (c->p[1] >= '1' && c->p[1] <= '9'));
    if (request || (cur_left(c) >= 4 && memcmp(c->p, "#TS:", 4) == 0))
        return not_supported(f, c, AOF_TEXT);
    return cur_bad(c, "the end of the file: bytes stand behind the end of the snapshot");
}

enum got not_supported(struct flow *f, struct cur *c, const char *what)
{
    f->other_kind = true;
    snprintf(f->foreign, sizeof f->foreign, "%s", what);
    return cur_bad(c, what);
}

static enum got parse(struct flow *f, struct emit *e, struct cur *c)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end && !e->refused) {
        switch (f->stage) {
        case STAGE_MAGIC: g = parse_magic(f, c); break;
        case STAGE_RDB: g = parse_rdb(f, e, c, false); break;
        case STAGE_EOF: g = parse_eof(f, e, c); break;
        case STAGE_JOURNAL: g = journal_entry(f, e, c); break;
        case STAGE_DONE: g = parse_tail(f, c); break;
        }
    }
    return g;
}

enum got flow_unknown(struct flow *f, struct cur *c, const char *what, unsigned number)
{
    bool type = *what == 'v';
    const char *more = "of a newer version or of another server, or the bytes are damaged";
    if (type && number == 6)
        more = "of modules in candidates of Redis 4.0, which nobody else can pass over";
    else if (type && f->family == FAMILY_REDIS && (number == 29 || number == 31))
        more = "which stands in no file";
    snprintf(f->foreign, sizeof f->foreign, "%s %u, %s", what, number, more);
    return cur_bad(c, "something known");
}

static int fail(struct flow *f, uint64_t at, const char *why)
{
    if (f->foreign[0] != '\0') {
        snprintf(f->error, sizeof f->error, "not supported at byte %llu of the flow: %s",
                 (unsigned long long)at, f->foreign);
        f->cannot =
            f->stage == STAGE_MAGIC || f->other_kind; /* nothing was written yet, or it is no snapshot */
        return -1;
    }
    snprintf(f->error, sizeof f->error, "damaged at byte %llu of the flow: expected %s",
             (unsigned long long)at, why != NULL ? why : "something else");
    return -1;
}

static int fail_io(struct flow *f, int fault)
{
    snprintf(f->error, sizeof f->error, "cannot keep a large item in a temporary file: %s", strerror(fault));
    f->cannot = true;
    return -1;
}

/* Parse n bytes that begin at f->offset. *used, *need: for the rest. */
static int consume(struct flow *f, struct emit *e, const uint8_t *p, uint64_t n, uint64_t *used,
                   uint64_t *need)
{
    struct cur c = {p, p + n, 0, NULL};
    f->crc_from = p;
    enum got g = parse(f, e, &c);
    /* Dragonfly writes no checksums. */
    if (f->file && !f->dragonfly && f->stage != STAGE_DONE)
        f->crc = crc64(f->crc, p, (size_t)(c.p - p));
    *used = (uint64_t)(c.p - p);
    uint64_t at = f->offset + *used;
    f->offset = at;
    *need = g == NEED ? (n - *used) + c.want : 0;
    if (g != BAD)
        return 0;
    if (f->cannot)
        return -1;
    int fault = f->journal.fault != 0 ? f->journal.fault : scratch_fault(&f->s);
    return fault != 0 ? fail_io(f, fault) : fail(f, at, c.why);
}

int flow_feed(struct flow *f, struct emit *e, const uint8_t *p, size_t n, uint64_t pos, uint64_t time_us)
{
    uint64_t used, need;
    if (pos != f->offset + f->carry.len)
        return fail(f, f->offset + f->carry.len, "the next byte of the flow (records are missing)");
    f->o.time = time_us;
    if (f->carry.len == 0) { /* straight from the record */
        if (consume(f, e, p, n, &used, &need) < 0)
            return -1;
        f->carry.need = need;
        if (used < n && carry_add(&f->carry, p + used, n - used) < 0)
            return fail_io(f, errno);
        return 0;
    }
    if (carry_add(&f->carry, p, n) < 0)
        return fail_io(f, errno);
    if (f->carry.len < f->carry.need)
        return 0;
    const uint8_t *all = carry_bytes(&f->carry);
    if (all == NULL)
        return fail_io(f, errno);
    e->pages = (struct pages){f->carry.map, f->carry.mapped};
    f->s.pages = &e->pages;
    int rc = consume(f, e, all, f->carry.len, &used, &need);
    e->pages.p = NULL;
    if (rc < 0)
        return -1;
    return carry_keep(&f->carry, used, need) < 0 ? fail_io(f, errno) : 0;
}

int flow_end(struct flow *f, bool requested)
{
    bool between = f->carry.len == 0 && !f->in_value && f->nchunks == 0 && !f->blob.active && !f->pend.any &&
                   f->multis == NULL;
    if (requested || f->stage == STAGE_DONE || (f->stage == STAGE_JOURNAL && between))
        return 0;
    return fail(f, f->offset + f->carry.len,
                f->file ? "more: the snapshot has no end" : "more: the flow was cut short");
}
