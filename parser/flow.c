#include "flow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <bsd/string.h>

#include "log.h"

enum opcode {
    OP_FULLSYNC_END = 200,
    OP_ZSTD = 201,
    OP_LZ4 = 202,
    OP_JOURNAL_BLOB = 210,
    OP_JOURNAL_OFFSET = 211,
    OP_DF_MASK = 220,
    OP_TAGGED_CHUNK = 224,
    OP_IDLE = 248,
    OP_FREQ = 249,
    OP_AUX = 250,
    OP_RESIZEDB = 251,
    OP_EXPIRE_MS = 252,
    OP_EXPIRE_S = 253,
    OP_SELECTDB = 254,
    OP_EOF = 255,
};

#define MASK_STICKY  1u
#define MASK_MCFLAGS 2u
#define TOKEN_LEN    40

/* Values up to this many bytes are looked at whole before it is decided how they are written. Streams are worth
 * more: RESTORE is the only exact copy of them. */
#define STREAM_WHOLE ((size_t)768 << 10)

/* Longer keys are taken for damage. One that does not fit a record with its value goes in several. */
#define KEY_MAX ((size_t)16 << 20)

void flow_init(struct flow *f, uint16_t number)
{
    memset(f, 0, sizeof *f);
    f->o.flow = number;
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
    buf_free(&f->journal);
    carry_free(&f->carry);
}

void flow_begin(struct flow *f, uint16_t epoch, bool file, bool journal, unsigned flows, uint64_t lsn,
                const char *token)
{
    uint16_t number = f->o.flow;
    flow_free(f);
    flow_init(f, number);
    f->o.epoch = epoch;
    f->o.journal = journal;
    f->file = file;
    f->flows = flows;
    if (token != NULL)
        strlcpy(f->token, token, sizeof f->token);
    if (lsn > 0) {
        f->stage = STAGE_JOURNAL;
        f->cut = f->synced = f->counting = true;
        f->next_lsn = lsn;
        f->df_version = VERSION(1, 40); /* no AUX says it; most masters with partial syncs are of these releases */
        f->o.live = true;
    }
}

/* ---- keys ---- */

static uint64_t take_expiry(struct flow *f)
{
    uint64_t ms = f->pend.expire_ms;
    f->pend = (struct pending){false, 0};
    return ms;
}

/* The common case: a string that is all there. */
static void put_string(struct flow *f, struct emit *e, const struct key *k, const struct slice *t)
{
    uint64_t ms = take_expiry(f);
    if (ms != 0 && (ms = emit_expiry(e, &f->o, ms)) == 0)
        return;
    e->stats.keys[CLASS_STRING]++;
    emit_set(e, &f->o, k, t->p, t->n, ms, 0);
}

static enum got stream_value(struct flow *f, struct emit *e, struct cur *c, unsigned type, const struct key *k)
{
    value_begin(&f->cur, e, &f->o, type, k, take_expiry(f));
    f->in_value = true;
    enum got g = value_feed(&f->cur, e, &f->o, c, &f->s);
    if (g == GOT)
        f->in_value = false;
    return g;
}

static enum got string_entry(struct flow *f, struct emit *e, struct cur *c, struct cur *t, const struct key *k)
{
    struct pstr ps;
    struct slice text;
    struct cur v = *t;
    enum got g = cur_pstr(&v, &ps);
    if (g == GOT && value_text(&f->s, 0, &ps, &text) && k->n + text.n < REC_PAYLOAD_MAX - 512) {
        c->p = v.p;
        put_string(f, e, k, &text);
        return GOT;
    }
    if (g == NEED && v.want + cur_left(t) < REC_PAYLOAD_MAX / 2) {
        c->want = v.want;
        return NEED;
    }
    if (g == BAD) {
        c->why = v.why;
        return BAD;
    }
    c->p = t->p;
    return stream_value(f, e, c, 0, k);
}

/* RESTORE if the target loads the type and the value is small, else commands. */
static enum got container_entry(struct flow *f, struct emit *e, struct cur *c, struct cur *t, unsigned type,
                                const struct key *k)
{
    unsigned ver = target_restore_version(&e->target, type);
    unsigned as = type;
    size_t limit = e->restore_limit;
    if (ver == 0 && type == 21 && (ver = target_restore_version(&e->target, 19)) != 0)
        as = 19;
    if (value_class(type) == CLASS_STREAM && limit > 0 && limit < STREAM_WHOLE)
        limit = STREAM_WHOLE;
    if (ver == 0 || limit == 0) {
        c->p = t->p;
        return stream_value(f, e, c, type, k);
    }
    struct cur v = *t;
    struct slice value = {t->p, 0};
    enum got g = as == type ? value_scan(type, &v, &f->s) : stream_to_19(&v, &f->s, &value);
    size_t n = (size_t)(v.p - t->p);
    if (as == type)
        value.n = n;
    if (g == BAD) {
        c->p = v.p;
        c->why = v.why;
        return BAD;
    }
    if (g == NEED && cur_left(t) < limit) {
        c->want = v.want;
        return NEED;
    }
    /* An empty container is no key; commands leave none. */
    bool empty = n == 1 && value_class(type) != CLASS_STREAM;
    if (g == NEED || n > limit || n + k->n > REC_PAYLOAD_MAX - 512 || empty) {
        c->p = t->p;
        return stream_value(f, e, c, type, k);
    }
    uint64_t ms = take_expiry(f);
    c->p = v.p;
    if (ms != 0 && (ms = emit_expiry(e, &f->o, ms)) == 0)
        return GOT;
    e->stats.keys[value_class(type)]++;
    emit_restore(e, &f->o, k, value_class(type), as, value.p, value.n, ver, ms);
    return GOT;
}

static enum got read_key(struct flow *f, const struct emit *e, struct cur *t, struct pstr *ps, struct key *k)
{
    struct slice text;
    enum got g = cur_pstr(t, ps);
    if (g != GOT)
        return g;
    if (!value_text(&f->s, 1, ps, &text) || text.n > KEY_MAX)
        return cur_bad(t, "a key of at most 16 MiB");
    key_set(e, k, text.p, text.n);
    return GOT;
}

static enum got key_entry(struct flow *f, struct emit *e, struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    struct key k;
    unsigned type = *t.p++;
    if (__builtin_expect(value_class(type) == 0 || (f->redis && type > 21), 0))
        return cur_bad(c, "a known value type");
    enum got g = read_key(f, e, &t, &ps, &k);
    if (g != GOT) {
        c->want = t.want;
        c->why = t.why;
        return g;
    }
    f->o.db = f->rdb_db;
    f->o.live = false;
    return type == 0 ? string_entry(f, e, c, &t, &k) : container_entry(f, e, c, &t, type, &k);
}

/* ---- opcodes ---- */

static void once(struct flow *f, struct emit *e, bool *told, const char *kind, const char *detail)
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
    if ((mask & MASK_STICKY) != 0)
        once(f, e, &f->told_sticky, "sticky", "Redis has no sticky keys: the marks were left out");
    if ((mask & MASK_MCFLAGS) != 0)
        once(f, e, &f->told_mcflags, "memcache-flags", "Redis has none: they were left out");
    f->pend.any = true;
    return GOT;
}

static bool named(const struct slice *s, const char *name)
{
    return s->n == strlen(name) && memcmp(s->p, name, s->n) == 0;
}

/* "df-v1.40.1". */
static unsigned source_version(const struct slice *s)
{
    char text[32] = "";
    unsigned v[3] = {0, 0, 0};
    memcpy(text, s->p, s->n < sizeof text - 1 ? s->n : sizeof text - 1);
    if (sscanf(text, "df-v%3u.%3u.%3u", &v[0], &v[1], &v[2]) < 2)
        return 0;
    return v[0] << 16 | (v[1] & 255) << 8 | (v[2] & 255);
}

static enum got op_aux(struct flow *f, struct emit *e, struct cur *c)
{
    struct pstr a, b;
    struct slice name, value;
    enum got g = cur_pstr(c, &a);
    if (g == GOT)
        g = cur_pstr(c, &b);
    if (g != GOT)
        return g;
    if (!value_text(&f->s, 0, &a, &name) || !value_text(&f->s, 1, &b, &value))
        return cur_bad(c, "an AUX field that unpacks");
    log_event(LOG_DEBUG, f->o.flow, "event=aux name=%s value=%s", log_quote(name.p, name.n),
              log_quote(value.p, value.n));
    if (named(&name, "df-ver"))
        f->df_version = source_version(&value);
    if (named(&name, "df-ver") || named(&name, "snapshot-id"))
        f->dragonfly = true; /* before v1.27 only the snapshot-id tells, which comes first */
    else if (named(&name, "redis-ver"))
        f->redis_ver = true; /* Dragonfly says so, too */
    else if (named(&name, "search-index") || named(&name, "search-synonyms"))
        emit_report(e, &f->o, true, "search-index", value.p, value.n < 80 ? value.n : 80,
                    "index definitions are not carried over");
    f->redis = f->file && f->redis_ver && !f->dragonfly;
    return GOT;
}

static enum got op_journal_blob(struct flow *f, struct emit *e, struct cur *c)
{
    uint64_t count;
    struct pstr ps;
    enum got g = cur_plen(c, &count);
    if (g == GOT)
        g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    struct cur j = {ps.p, ps.p + ps.n, 0, NULL};
    if (ps.clen > 0) {
        f->journal.len = 0;
        uint8_t *to = buf_room(&f->journal, ps.n);
        if (to == NULL || lzf_unpack(ps.p, ps.clen, to, ps.n) < 0)
            return cur_bad(c, "a journal blob that unpacks to at most 64 MiB");
        j = (struct cur){to, to + ps.n, 0, NULL};
    }
    while (j.p < j.end) {
        g = journal_entry(f, e, &j);
        if (g != GOT)
            return cur_bad(c, g == NEED ? "whole entries in a journal blob" : j.why);
    }
    buf_trim(&f->journal, (size_t)1 << 20);
    return GOT;
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
    f->next_lsn = le64(p);
    f->counting = true;
    return GOT;
}

static enum got op_eof(struct flow *f, struct cur *c)
{
    if (f->pend.any || f->nchunks > 0)
        return cur_bad(c, f->nchunks > 0 ? "the rest of values in chunks before the end" : "a key after its expiry");
    if (!f->file && !f->counting)
        return cur_bad(c, "a journal offset (opcode 211) before the end");
    f->stage = STAGE_EOF;
    return GOT;
}

static enum got op_numbers(struct cur *c, unsigned n)
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
    uint64_t v = ms ? le64(p) : (uint64_t)le32(p) * 1000;
    f->pend = (struct pending){true, v > 0 && v <= INT64_MAX ? v : 1};
    return GOT;
}

/* What follows an opcode; c stands behind it and, unless GOT, is put back by the caller. */
static enum got opcode(struct flow *f, struct emit *e, struct cur *c, unsigned op, bool in_blob)
{
    uint64_t n;
    const uint8_t *p;
    enum got g;
    switch ((enum opcode)op) {
    case OP_SELECTDB: return op_select(f, c);
    case OP_EXPIRE_MS: return op_expire(f, c, true);
    case OP_EXPIRE_S: return op_expire(f, c, false);
    case OP_DF_MASK: return op_mask(f, e, c);
    case OP_JOURNAL_BLOB: return op_journal_blob(f, e, c);
    case OP_TAGGED_CHUNK: return op_chunk(f, c);
    case OP_JOURNAL_OFFSET: return op_offset(f, c);
    case OP_AUX: return op_aux(f, e, c);
    case OP_RESIZEDB: return op_numbers(c, 2);
    case OP_IDLE: return op_numbers(c, 1);
    case OP_FREQ: return cur_raw(c, 1, &p);
    case OP_FULLSYNC_END:
        g = cur_raw(c, 8, &p);
        if (g == GOT)
            f->cut = true;
        return g;
    case OP_ZSTD:
    case OP_LZ4:
        if (in_blob)
            return cur_bad(c, "no blob within a blob");
        g = cur_plen(c, &n);
        if (g == GOT)
            blob_begin(&f->blob, op == OP_ZSTD, n);
        return g;
    case OP_EOF: return in_blob ? cur_bad(c, "no end within a blob") : op_eof(f, c);
    }
    return cur_bad(c, "a known opcode or value type");
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
    unsigned type = *t.p++;
    if (value_class(type) == 0)
        return cur_bad(c, "a known value type in a chunk");
    enum got g = read_key(f, e, &t, &ps, &k);
    c->want = t.want;
    c->why = t.why;
    if (g != GOT)
        return g;
    c->p = t.p;
    f->o.db = f->rdb_db;
    f->o.live = false;
    value_begin(&f->chunk->v, e, &f->o, type, &k, take_expiry(f));
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
        if (g == BAD)
            return cur_bad(c, in.why);
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
    if (__builtin_expect(f->chunk != NULL, 0))
        return feed_chunk(f, e, c);
    if (__builtin_expect(f->in_value, 0)) {
        f->o.live = false;
        enum got g = value_feed(&f->cur, e, &f->o, c, &f->s);
        if (g == GOT)
            f->in_value = false;
        return g;
    }
    if (__builtin_expect(f->blob.active && !in_blob, 0))
        return feed_blob(f, e, c);
    unsigned op = *c->p;
    if (op < OP_FULLSYNC_END)
        return key_entry(f, e, c);
    struct cur t = *c;
    t.p++;
    enum got g = opcode(f, e, &t, op, in_blob);
    if (g == GOT)
        c->p = t.p;
    c->want = t.want;
    c->why = t.why;
    return g;
}

static enum got parse_rdb(struct flow *f, struct emit *e, struct cur *c, bool in_blob)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end && f->stage == STAGE_RDB)
        g = parse_one(f, e, c, in_blob);
    return g;
}

static enum got parse_magic(struct flow *f, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 9, &p);
    if (g != GOT)
        return g;
    if (memcmp(p, "REDIS", 5) != 0) {
        c->p = p;
        return cur_bad(c, "the magic REDISnnnn of a snapshot");
    }
    f->stage = STAGE_RDB;
    return GOT;
}

static enum got parse_eof(struct flow *f, struct emit *e, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, f->file ? 8 : 8 + TOKEN_LEN, &p);
    if (g != GOT)
        return g;
    if (f->file) {
        f->synced = true;
        f->stage = STAGE_DONE;
        f->o.pos = 0;
        emit_synced(e, &f->o);
        return GOT;
    }
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

static enum got parse(struct flow *f, struct emit *e, struct cur *c)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end) {
        switch (f->stage) {
        case STAGE_MAGIC: g = parse_magic(f, c); break;
        case STAGE_RDB: g = parse_rdb(f, e, c, false); break;
        case STAGE_EOF: g = parse_eof(f, e, c); break;
        case STAGE_JOURNAL: g = journal_entry(f, e, c); break;
        case STAGE_DONE: c->p = c->end; break; /* files are padded behind their end */
        }
    }
    return g;
}

static int fail(struct flow *f, uint64_t at, const char *why)
{
    snprintf(f->error, sizeof f->error, "damaged at byte %llu of the flow: expected %s", (unsigned long long)at,
             why != NULL ? why : "something else");
    return -1;
}

static int fail_io(struct flow *f)
{
    snprintf(f->error, sizeof f->error, "cannot keep a large item in a temporary file: %s", strerror(errno));
    return -1;
}

/* Parse n bytes that begin at f->offset. *used, *need: for the rest. */
static int consume(struct flow *f, struct emit *e, const uint8_t *p, uint64_t n, uint64_t *used, uint64_t *need)
{
    struct cur c = {p, p + n, 0, NULL};
    enum got g = parse(f, e, &c);
    *used = (uint64_t)(c.p - p);
    uint64_t at = f->offset + *used;
    f->offset = at;
    *need = g == NEED ? (n - *used) + c.want : 0;
    return g == BAD ? fail(f, at, c.why) : 0;
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
            return fail_io(f);
        return 0;
    }
    if (carry_add(&f->carry, p, n) < 0)
        return fail_io(f);
    if (f->carry.len < f->carry.need)
        return 0;
    const uint8_t *all = carry_bytes(&f->carry);
    if (all == NULL)
        return fail_io(f);
    if (consume(f, e, all, f->carry.len, &used, &need) < 0)
        return -1;
    return carry_keep(&f->carry, used, need) < 0 ? fail_io(f) : 0;
}

int flow_end(struct flow *f, bool requested)
{
    bool between = f->carry.len == 0 && !f->in_value && f->nchunks == 0 && !f->blob.active && !f->pend.any &&
                   f->multis == NULL;
    if (requested || f->stage == STAGE_DONE || (f->stage == STAGE_JOURNAL && between))
        return 0;
    return fail(f, f->offset + f->carry.len, f->file ? "more: the snapshot has no end" : "more: the flow was cut short");
}
