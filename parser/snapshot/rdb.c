#include "rdb.h"

#include <stdio.h>
#include <stdlib.h>

#include "crc64.h"
#include "../command/aof.h"
#include "../command/journal.h"
#include "magic.h"

#define TOKEN_LEN 40
#define PAGE      ((uint64_t)4096) /* files of Dragonfly are a multiple of it */

static void drop_chunks(struct rdb *r)
{
    const struct site at = SITE_OF(r->to);
    while (r->chunks != NULL) {
        struct chunked *ch = r->chunks;
        r->chunks = ch->next;
        outlet_end(&at, &ch->v);
        free(ch);
    }
    r->nchunks = 0;
    r->chunk = NULL;
}

/* ---- chunks, blobs ---- */

/* First bytes of a value in chunks: [expiry] [mask] type key. */
static enum got chunk_begin(struct rdb *r, struct cur *c)
{
    while (c->p < c->end && (*c->p == OP_EXPIRE_MS || *c->p == OP_DF_MASK)) {
        struct cur t = *c;
        enum got g = opcode(r, &t, *t.p++, true);
        if (cur_settle(c, &t, g) != GOT)
            return g;
    }
    if (c->p >= c->end)
        return cur_need(c, 1);
    struct cur t = *c;
    struct pstr ps;
    struct change *next = &r->next;
    next->at = rdb_at(r, t.p);
    next->type = *t.p++;
    if (value_class(next->type) == 0)
        return rdb_unknown(r, c, "value type", next->type);
    enum got g = rdb_key(r, &t, &ps, &next->key);
    if (cur_settle(c, &t, g) != GOT)
        return g;
    change_begin(r->to, next, &r->chunk->v);
    change_clear(next);
    r->chunk->begun = true;
    return GOT;
}

static enum got chunk_done(struct rdb *r, struct cur *c)
{
    const struct site at = SITE_OF(r->to);
    struct chunked *ch = r->chunk;
    if (r->chunk_left > 0)
        return cur_bad(c, "a chunk that ends where its value does");
    r->chunks = ch->next; /* the one being read is always first */
    r->chunk = NULL;
    r->nchunks--;
    outlet_end(&at, &ch->v);
    free(ch);
    return GOT;
}

static enum got feed_chunk(struct rdb *r, struct cur *c)
{
    const struct site at = SITE_OF(r->to);
    bool whole = cur_left(c) >= r->chunk_left;
    struct cur t = {c->p, whole ? c->p + r->chunk_left : c->end, 0, NULL};
    enum got g = r->chunk->begun ? GOT : chunk_begin(r, &t);
    if (g == GOT)
        g = outlet_feed(&at, &r->chunk->v, &t);
    r->chunk_left -= (uint64_t)(t.p - c->p);
    c->p = t.p;
    c->want = t.want;
    c->why = t.why;
    if (g == GOT)
        return chunk_done(r, c);
    if (g == BAD || !whole)
        return g;
    if (!r->chunk->begun) /* its expiry must not come to another key */
        return cur_bad(c, "a first chunk with a whole key");
    if (r->chunk_left > 0)
        return cur_bad(c, "a chunk that ends between elements");
    r->chunk = NULL; /* more of this value comes in a later chunk */
    return GOT;
}

static enum got parse_rdb(struct rdb *r, struct cur *c, bool in_blob);

static enum got feed_blob(struct rdb *r, struct cur *c)
{
    for (;;) {
        enum got g = blob_unpack(&r->blob, c);
        if (g != GOT)
            return g;
        struct blob *b = &r->blob;
        struct cur in = {b->out.p + b->start, b->out.p + b->out.len, 0, NULL};
        g = parse_rdb(r, &in, true);
        b->start = (size_t)(in.p - b->out.p);
        b->need = g == NEED ? cur_left(&in) + in.want : 0;
        if (g == BAD)
            return cur_bad(c, in.why);
        if (r->to->e->refused)
            return GOT;
        if (!b->finished)
            continue;
        b->active = false;
        buf_trim(&b->out, (size_t)2 << 20);
        if (in.p != in.end || r->to->in_value || r->chunk != NULL)
            return cur_bad(c, "a compressed blob that ends between items");
        return GOT;
    }
}

/* ---- the loop ---- */

static enum got parse_one(struct rdb *r, struct cur *c, bool in_blob)
{
    if (__builtin_expect(r->blob.active && !in_blob, 0)) /* which may have begun a chunk or a value */
        return feed_blob(r, c);
    if (__builtin_expect(r->chunk != NULL, 0))
        return feed_chunk(r, c);
    if (__builtin_expect(r->to->in_value, 0))
        return change_more(r->to, c);
    unsigned op = *c->p;
    if (op < OP_FULLSYNC_END)
        return rdb_key_value(r, c);
    struct cur t = *c;
    t.p++;
    enum got g = opcode(r, &t, op, in_blob);
    return cur_settle(c, &t, g);
}

static enum got parse_rdb(struct rdb *r, struct cur *c, bool in_blob)
{
    enum got g = GOT;
    while (g == GOT && c->p < c->end && r->stage == STAGE_RDB && !r->to->e->refused)
        g = parse_one(r, c, in_blob);
    return g;
}

/* It begins with commands. Where it is known to be an append-only file, everything but a snapshot does. */
static bool append_only(const struct rdb *r, const struct cur *c)
{
    if (r->aof == NULL || !r->aof->known)
        return false;
    return r->aof->on ? !magic_begins(c->p, cur_left(c)) : *c->p == '*' || *c->p == '#';
}

/* "REDIS" and four digits, or "VALKEY" and three. */
static enum got parse_magic(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    unsigned version = 0;
    if (append_only(r, c)) {
        rdb_append_only(r);
        rdb_file_end(r);
        return GOT;
    }
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
        snprintf(r->foreign, sizeof r->foreign,
                 "version %u of the RDB format of %s, which a newer server wrote; the newest known is %u",
                 version, valkey ? "Valkey" : "Redis", valkey ? RDB_NEWEST_VALKEY : RDB_NEWEST);
        return cur_bad(c, "a known version");
    }
    if (version < (valkey ? RDB_NEWEST_VALKEY : 1)) {
        c->p = p;
        return cur_bad(c, "an RDB version of 1 to 15, or 80 of Valkey");
    }
    r->version = version;
    r->valkey = valkey;
    if (rdb_of_redis(r) && (valkey || version != 9))
        r->family = valkey ? FAMILY_VALKEY : FAMILY_REDIS;
    r->stage = STAGE_RDB;
    return GOT;
}

/* Over everything before it; 0: the writer made none. */
static enum got check_sum(struct rdb *r, struct cur *c, const uint8_t *p)
{
    r->crc = crc64(r->crc, r->crc_from, (size_t)(p - r->crc_from));
    if (le64(p) == 0 || r->dragonfly || le64(p) == r->crc)
        return GOT;
    c->p = p;
    return cur_bad(c, "the checksum of the bytes before it: something in the file was changed");
}

static enum got parse_checksum(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    enum got g = cur_raw(c, 8, &p);
    if (g == GOT)
        g = check_sum(r, c, p);
    if (g == GOT)
        rdb_file_end(r);
    return g;
}

static enum got parse_eof(struct rdb *r, struct cur *c)
{
    const uint8_t *p = NULL;
    if (r->file)
        return parse_checksum(r, c);
    bool token = r->psync == NULL || r->token[0] != '\0';
    enum got g = cur_raw(c, token ? 8 + TOKEN_LEN : 8, &p);
    if (g == GOT && r->psync != NULL)
        g = check_sum(r, c, p);
    if (g != GOT)
        return g;
    if (r->token[0] != '\0' && memcmp(p + 8, r->token, TOKEN_LEN) != 0) {
        c->p = p + 8;
        return cur_bad(c, "the EOF token of this flow");
    }
    r->to->synced = true;
    r->stage = STAGE_JOURNAL;
    r->journal->db = 0;
    r->to->o.live = true;
    r->to->o.pos = sink_below(r->to, r->to->next_lsn); /* none while keys of it are still to be read again */
    emit_synced(r->to->e, &r->to->o);
    return GOT;
}

/* Behind the end of a snapshot: Dragonfly fills up its last page, with whatever was in memory. Nothing else
 * may stand there. */
static enum got parse_tail(struct rdb *r, struct cur *c)
{
    uint64_t at = r->offset + (uint64_t)(c->p - r->crc_from);
    if (r->end == 0)
        r->end = at;
    bool padded = r->dragonfly || r->family == FAMILY_DRAGONFLY;
    uint64_t page = padded ? (r->end + PAGE - 1) / PAGE * PAGE : r->end;
    uint64_t skip = page > at ? page - at : 0;
    c->p = skip < cur_left(c) ? c->p + skip : c->end;
    if (c->p >= c->end)
        return GOT;
    bool request = *c->p == '*' && (cur_left(c) < 2 || (c->p[1] >= '1' && c->p[1] <= '9'));
    if (request || (cur_left(c) >= 4 && memcmp(c->p, "#TS:", 4) == 0))
        return rdb_not_supported(r, c, AOF_TEXT);
    return cur_bad(c, "the end of the file: bytes stand behind the end of the snapshot");
}

enum got rdb_feed(struct rdb *r, struct cur *c)
{
    switch (r->stage) {
    case STAGE_MAGIC: return parse_magic(r, c);
    case STAGE_RDB: return parse_rdb(r, c, false);
    case STAGE_EOF: return parse_eof(r, c);
    default: return parse_tail(r, c);
    }
}

bool rdb_between(const struct rdb *r)
{
    return !r->to->in_value && r->nchunks == 0 && !r->blob.active && !r->next.prefixed;
}

void rdb_free(struct rdb *r)
{
    drop_chunks(r);
    blob_free(&r->blob);
    unpack_free(&r->unpacked);
    drop_templates(r);
    buf_free(&r->last.name);
    buf_free(&r->last.field);
    recent_free(&r->recent);
    buf_free(&r->aux_told);
}
