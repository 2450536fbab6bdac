#include "emit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "crc64.h"
#include "io.h"
#include "render.h"
#include "command/scripts.h"
#include "slot.h"

#define OUT_LIMIT    ((size_t)64 << 10)
#define CHAIN_RECORD ((size_t)256 << 10)
#define GRACE_MS     1000  /* an expiry this near counts as passed; nearer ones too where the data are old */
#define EXTEND_MS    60000 /* what a passed one becomes where a journal follows */

void emit_init(struct emit *e, int fd, enum emit_mode mode)
{
    memset(e, 0, sizeof *e);
    recout_init(&e->out, fd, OUT_LIMIT);
    e->out.b.max = OUT_LIMIT + 2 * REC_PAYLOAD_MAX;
    recout_init(&e->rendered, fd, OUT_LIMIT);
    e->rendered.b.max = 16 * REC_PAYLOAD_MAX;
    e->mode = mode;
    target_portable(&e->target);
    e->slots = true;
    e->restore_limit = (size_t)64 << 10;
    e->part_size = (size_t)64 << 10;
    e->now_ms = now_us() / 1000;
}

void emit_free(struct emit *e)
{
    recout_free(&e->out);
    recout_free(&e->rendered);
    buf_free(&e->text);
    buf_free(&e->older);
    buf_free(&e->payload);
    keyset_free(&e->not_carried);
    late_free(&e->late);
    render_free(e);
}

static void failed(struct emit *e)
{
    e->failed = true;
    e->fault = errno;
}

int emit_flush(struct emit *e)
{
    if (!e->failed && (recout_flush(&e->out) < 0 || recout_flush(&e->rendered) < 0))
        failed(e);
    return e->failed ? -1 : 0;
}

void key_set(const struct emit *e, struct key *k, const uint8_t *p, size_t n)
{
    k->p = p;
    k->n = n;
    k->hash = (uint32_t)XXH3_64bits(p, n);
    k->slot = e->slots ? key_slot(p, n) : REC_NO_SLOT;
    k->excluded = false;
}

/* Space for a record with up to n bytes of payload; returns where the payload begins. NULL: output has
 * failed. */
static inline uint8_t *begin(struct emit *e, size_t n)
{
    if (__builtin_expect(e->failed, 0))
        return NULL;
    uint8_t *p = recout_room(&e->out, REC_HEADER + n);
    if (__builtin_expect(p == NULL, 0)) {
        failed(e);
        return NULL;
    }
    return p + REC_HEADER;
}

/* The record that begin() made room for is complete: n bytes of payload. */
static inline void commit(struct emit *e, struct rec *r, size_t n)
{
    uint8_t *at = e->out.b.p + e->out.b.len;
    r->len = (uint32_t)n;
    rec_encode(at, r);
    if (__builtin_expect(e->mode == EMIT_RECORDS, 1))
        e->out.b.len += REC_HEADER + n;
    else
        render(e, r, at + REC_HEADER);
}

/* The last record of the flow, if it has not gone yet, is of the same transaction as the one that follows. */
static void join(struct emit *e, const struct origin *o)
{
    uint16_t flags;
    if (e->failed || e->mode != EMIT_RECORDS || o->last == NO_HEADER || o->last < e->out.bytes)
        return;
    uint8_t *at = e->out.b.p + (o->last - e->out.bytes) + offsetof(struct rec, flags);
    memcpy(&flags, at, sizeof flags);
    flags |= RF_TOGETHER;
    memcpy(at, &flags, sizeof flags);
}

static inline struct rec request(struct emit *e, struct origin *o, const struct key *k, unsigned flags)
{
    uint64_t pos = o->pos;
    if (__builtin_expect(e->late.pending, 0) && k != NULL)
        late_keep(&e->late, o->db, k->p, k->n);
    if (__builtin_expect(o->together, 0))
        join(e, o);
    o->together = o->entry;
    o->last =
        o->entry ? e->out.bytes + e->out.b.len : NO_HEADER; /* also when making room flushes what is before */
    flags |= o->live ? RF_LIVE : 0;
    if (__builtin_expect(o->open, 0))
        flags |= RF_TOGETHER;
    if (__builtin_expect(o->fresh, 0)) {
        flags |= RF_FRESH;
        if (pos < o->contains) {
            flags |= RF_HELD;
            pos = o->contains;
        }
    } else if (__builtin_expect(pos < o->after, 0)) { /* it is not reached: say which entry this belongs to */
        flags |= RF_HELD;
        pos = o->after;
    }
    return (struct rec){
        .type = REC_REQUEST,
        .flags = (uint16_t)flags,
        .flow = o->flow,
        .slot = k != NULL ? k->slot : REC_NO_SLOT,
        .epoch = o->epoch,
        .keyarg = k != NULL ? 1 : 0,
        .db = o->db,
        .hash = k != NULL ? k->hash : 0,
        .seq = ++o->seq,
        .pos = pos,
        .time = o->time,
    };
}

void emit_record(struct emit *e, const struct rec *r, const void *payload)
{
    uint8_t *p = begin(e, r->len);
    if (p == NULL)
        return;
    struct rec out = *r;
    if (r->len > 0)
        memcpy(p, payload, r->len);
    commit(e, &out, r->len);
}

void emit_meta(struct emit *e, struct origin *o, unsigned type, const void *text, size_t n)
{
    struct rec r = {.len = (uint32_t)n,
                    .type = (uint8_t)type,
                    .flow = o->flow,
                    .slot = REC_NO_SLOT,
                    .epoch = o->epoch,
                    .time = o->time};
    emit_record(e, &r, text);
}

/* Copy of short strings without a call: most keys are. */
static inline uint8_t *bulk(uint8_t *p, const uint8_t *data, size_t n)
{
    p = resp_len(p, '$', n);
    if (__builtin_expect(n > 0, 1)) /* of no bytes data may be NULL */
        memcpy(p, data, n);
    p += n;
    memcpy(p, "\r\n", 2);
    return p + 2;
}

void emit_expire_last(struct emit *e, struct origin *o, const struct key *k, unsigned vclass,
                      uint64_t expire_ms)
{
    uint8_t num[20];
    struct slice argv[3] = {SLICE("PEXPIREAT"), {k->p, k->n}, {num, dec_u64(num, expire_ms)}};
    emit_argv(e, o, k, 1, vclass, RF_IDEMPOTENT | RF_LAST, argv, 3);
}

/* Before Redis 6.2 SET has no PXAT: the expiry is a request of its own. */
static void set_then_expire(struct emit *e, struct origin *o, const struct key *k, const uint8_t *v,
                            size_t vn, uint64_t expire_ms)
{
    uint64_t pos = o->pos;
    uint8_t num[20];
    struct slice guarded[6] = {
        SLICE("EVAL"), SLICE(LUA_SET_NEW), SLICE("1"), {k->p, k->n}, {v, vn}, {num, dec_u64(num, expire_ms)}};
    if (emit_guarded(e, o)) { /* in one, as the second must not run when the first did not */
        emit_argv(e, o, k, 3, CLASS_STRING, RF_IDEMPOTENT, guarded, 6);
        return;
    }
    o->pos = 0;
    emit_set(e, o, k, v, vn, 0, RF_FIRST);
    o->pos = pos;
    emit_expire_last(e, o, k, CLASS_STRING, expire_ms);
}

void emit_set(struct emit *e, struct origin *o, const struct key *k, const uint8_t *v, size_t vn,
              uint64_t expire_ms, unsigned flags)
{
    if (expire_ms != 0 && older_target(&e->target)) {
        set_then_expire(e, o, k, v, vn, expire_ms);
        return;
    }
    uint8_t *start = begin(e, PLAINSET_PREFIX + 3 * RESP_LEN_MAX + k->n + vn + 64);
    if (start == NULL)
        return;
    struct rec r = request(e, o, k, flags | RF_IDEMPOTENT);
    uint8_t *p = start;
    bool whole = (flags & (RF_FIRST | RF_LAST | EMIT_PART)) == 0;
    bool only_new = whole && emit_guarded(e, o);
    memcpy(p, "*3\r\n$3\r\nSET\r\n", PLAINSET_PREFIX);
    p[1] = (uint8_t)('3' + (expire_ms != 0 ? 2 : 0) + only_new);
    p = bulk(p + PLAINSET_PREFIX, k->p, k->n);
    p = bulk(p, v, vn);
    if (expire_ms != 0) {
        uint8_t num[20];
        memcpy(p, "$4\r\nPXAT\r\n", 10);
        p = resp_bulk(p + 10, num, dec_u64(num, expire_ms));
    } else if (!o->live && whole && !only_new) {
        r.flags |= RF_PLAINSET;
    }
    if (only_new)
        p = resp_bulk(p, (const uint8_t *)"NX", 2);
    r.vclass = CLASS_STRING;
    e->stats.requests++;
    commit(e, &r, (size_t)(p - start));
}

/* IDLETIME n or FREQ n. */
static uint8_t *hint_args(uint8_t *p, struct hint hint)
{
    uint8_t num[20];
    p = hint.kind == HINT_IDLE ? resp_bulk(p, (const uint8_t *)"IDLETIME", 8)
                               : resp_bulk(p, (const uint8_t *)"FREQ", 4);
    return resp_bulk(p, num, dec_u64(num, hint.n));
}

/* Type, value, RDB version and checksum. */
static uint8_t *dump_payload(uint8_t *p, unsigned type, const uint8_t *v, size_t vn, unsigned ver)
{
    uint8_t *start = p;
    *p++ = (uint8_t)type;
    if (vn > 0)
        memcpy(p, v, vn);
    p += vn;
    *p++ = (uint8_t)ver;
    *p++ = 0;
    uint64_t crc = crc64(0, start, (size_t)(p - start));
    memcpy(p, &crc, 8);
    return p + 8;
}

static void emit_restore_flags(struct emit *e, struct origin *o, const struct key *k, unsigned vclass,
                               unsigned type, const uint8_t *v, size_t vn, unsigned ver, uint64_t expire_ms,
                               struct hint hint, unsigned flags)
{
    uint8_t *start = begin(e, 8 * RESP_LEN_MAX + k->n + vn + 128);
    if (start == NULL)
        return;
    struct rec r = request(e, o, k, flags | RF_IDEMPOTENT);
    uint8_t num[20];
    bool replace = !emit_guarded(e, o);
    uint8_t *p =
        resp_len(start, '*',
                 4 + (replace ? 1u : 0u) + (expire_ms != 0 ? 1u : 0u) + (hint.kind != HINT_NONE ? 2u : 0u));
    memcpy(p, "$7\r\nRESTORE\r\n", 13);
    p = bulk(p + 13, k->p, k->n);
    p = resp_bulk(p, num, dec_u64(num, expire_ms));
    p = resp_len(p, '$', 1 + vn + 10);
    p = dump_payload(p, type, v, vn, ver);
    memcpy(p, "\r\n$7\r\nREPLACE\r\n", 15);
    p += replace ? 15 : 2;
    if (expire_ms != 0) {
        memcpy(p, "$6\r\nABSTTL\r\n", 12);
        p += 12;
    }
    if (__builtin_expect(hint.kind != HINT_NONE, 0))
        p = hint_args(p, hint);
    r.vclass = (uint8_t)vclass;
    e->stats.requests++;
    commit(e, &r, (size_t)(p - start));
}

/* Before Redis 5.0 RESTORE has no ABSTTL: as with SET, the expiry comes behind it. */
static void restore_then_expire(struct emit *e, struct origin *o, const struct key *k, unsigned vclass,
                                unsigned type, const uint8_t *v, size_t vn, unsigned ver, uint64_t expire_ms)
{
    uint8_t num[20];
    uint64_t pos = o->pos;
    e->payload.len = 0;
    uint8_t *p = emit_guarded(e, o) ? buf_room(&e->payload, vn + 11) : NULL; /* fits one record */
    if (p != NULL) {
        struct slice argv[6] = {SLICE("EVAL"),
                                SLICE(LUA_RESTORE_NEW),
                                SLICE("1"),
                                {k->p, k->n},
                                {p, (size_t)(dump_payload(p, type, v, vn, ver) - p)},
                                {num, dec_u64(num, expire_ms)}};
        emit_argv(e, o, k, 3, vclass, RF_IDEMPOTENT, argv, 6);
        return;
    }
    o->pos = 0;
    emit_restore_flags(e, o, k, vclass, type, v, vn, ver, 0, (struct hint){HINT_NONE, 0}, RF_FIRST);
    o->pos = pos;
    emit_expire_last(e, o, k, vclass, expire_ms);
}

void emit_restore(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, unsigned type,
                  const uint8_t *v, size_t vn, unsigned ver, uint64_t expire_ms, struct hint hint)
{
    if (expire_ms != 0 && older_target(&e->target) && e->target.version < VERSION(5, 0))
        restore_then_expire(e, o, k, vclass, type, v, vn, ver, expire_ms);
    else
        emit_restore_flags(e, o, k, vclass, type, v, vn, ver, expire_ms, hint, 0);
}

/* ---- requests larger than a record ---- */

static void chain_begin(struct emit *e, struct origin *o, const struct rec *r)
{
    o->last = NO_HEADER;
    e->chain = *r;
    e->chain.flags &= (uint16_t)~RF_TOGETHER;
    e->chain_at = 0;
}

/* Close the record that is being filled. */
static void chain_close(struct emit *e, bool more)
{
    struct rec r = e->chain;
    size_t n = e->chain_at;
    r.flags = (uint16_t)(more ? r.flags | RF_MORE : r.flags);
    e->chain_at = 0;
    commit(e, &r, n);
    pages_drop(&e->pages);
}

static void chain_add(struct emit *e, const uint8_t *p, size_t n)
{
    while (n > 0 && !e->failed) {
        if (e->chain_at == CHAIN_RECORD)
            chain_close(e, true);
        uint8_t *to = begin(e, CHAIN_RECORD);
        if (to == NULL)
            return;
        size_t step = CHAIN_RECORD - e->chain_at;
        if (step > n)
            step = n;
        memcpy(to + e->chain_at, p, step);
        e->chain_at += step;
        p += step;
        n -= step;
    }
}

static void chain_finish(struct emit *e)
{
    if (!e->failed)
        chain_close(e, false);
}

static void chain_len(struct emit *e, char type, uint64_t n)
{
    uint8_t head[RESP_LEN_MAX + 2];
    chain_add(e, head, (size_t)(resp_len(head, type, n) - head));
}

static void chain_bulk(struct emit *e, const struct slice *s)
{
    chain_len(e, '$', s->n);
    chain_add(e, s->p, s->n);
    chain_add(e, (const uint8_t *)"\r\n", 2);
}

/* A request of n bytes was copied, perhaps from a mapped file. */
static inline void copied(struct emit *e, size_t n)
{
    if (__builtin_expect(e->pages.p == NULL, 1))
        return;
    e->pages_read += n;
    if (e->pages_read < PAGES_STEP)
        return;
    e->pages_read = 0;
    pages_drop(&e->pages);
}

/* A request from a head and a body that is already RESP; NULL: there is none. */
static inline __attribute__((always_inline)) void
write_request(struct emit *e, struct origin *o, const struct key *k, unsigned keyarg, unsigned vclass,
              unsigned flags, const struct slice *head, size_t nhead, const struct buf *body, uint64_t nbody)
{
    size_t total = RESP_LEN_MAX + (body != NULL ? body->len : 0);
    for (size_t i = 0; i < nhead; i++)
        total += RESP_LEN_MAX + head[i].n + 2;
    struct rec r = request(e, o, k, flags);
    r.vclass = (uint8_t)vclass;
    r.keyarg = (uint8_t)(k != NULL ? keyarg : 0);
    e->stats.requests++;
    if (total > REC_PAYLOAD_MAX - 64) {
        chain_begin(e, o, &r);
        chain_len(e, '*', nhead + nbody);
        for (size_t i = 0; i < nhead; i++)
            chain_bulk(e, &head[i]);
        if (body != NULL)
            chain_add(e, body->p, body->len);
        chain_finish(e);
        return;
    }
    uint8_t *start = begin(e, total);
    if (start == NULL)
        return;
    uint8_t *p = resp_len(start, '*', nhead + nbody);
    for (size_t i = 0; i < nhead; i++)
        p = bulk(p, head[i].p, head[i].n);
    if (body != NULL && body->len > 0) {
        memcpy(p, body->p, body->len);
        p += body->len;
    }
    commit(e, &r, (size_t)(p - start));
    copied(e, total);
}

void emit_body(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, unsigned flags,
               const struct slice *head, size_t nhead, const struct buf *body, uint64_t nbody)
{
    write_request(e, o, k, 1, vclass, flags, head, nhead, body, nbody);
}

void emit_argv(struct emit *e, struct origin *o, const struct key *k, unsigned keyarg, unsigned vclass,
               unsigned flags, const struct slice *argv, size_t argc)
{
    if (__builtin_expect(older_target(&e->target), 0) && (flags & EMIT_AS_IS) == 0)
        argv = older_request(e, argv, &argc, &keyarg);
    write_request(e, o, k, keyarg, vclass, flags, argv, argc, NULL, 0);
}

void emit_program(struct emit *e, struct origin *o, const struct key *k, const struct buf *program)
{
    uint8_t *p = begin(e, program->len);
    if (p == NULL)
        return;
    struct rec r = request(e, o, k, RF_MULTIKEY);
    r.type = REC_PROGRAM;
    r.keyarg = 0;
    e->stats.requests++;
    memcpy(p, program->p, program->len);
    commit(e, &r, program->len);
}

void emit_stick(struct emit *e, struct origin *o, const struct key *k)
{
    struct slice argv[2] = {SLICE("STICK"), {k->p, k->n}};
    emit_argv(e, o, k, 1, CLASS_NONE, RF_IDEMPOTENT, argv, 2);
}

static void emit_empty(struct emit *e, struct origin *o, const struct key *k, unsigned type, unsigned flags)
{
    if (begin(e, 0) == NULL)
        return;
    struct rec r = request(e, o, k, flags);
    r.type = (uint8_t)type;
    r.keyarg = 0;
    commit(e, &r, 0);
}

void emit_position(struct emit *e, struct origin *o, unsigned flags)
{
    emit_empty(e, o, NULL, REC_POSITION, flags);
}

void emit_holds(struct emit *e, struct origin *o, const void *text, size_t n)
{
    uint8_t *p = begin(e, n);
    if (p == NULL)
        return;
    struct rec r = request(e, o, NULL, RF_LIVE);
    r.type = REC_HOLDS;
    r.keyarg = 0;
    memcpy(p, text, n);
    commit(e, &r, n);
}

void emit_last(struct emit *e, struct origin *o, const struct key *k)
{
    emit_empty(e, o, k, REC_POSITION, RF_LAST);
}

void emit_probe(struct emit *e, struct origin *o, enum probe_kind kind, uint32_t db,
                const struct slice *about, const struct key *k)
{
    struct probe_head h = {.kind = (uint8_t)kind, .db = db, .n = (uint32_t)about->n};
    uint8_t *start = begin(e, sizeof h + about->n + (k != NULL ? k->n : 0) + 4 * RESP_LEN_MAX);
    if (start == NULL)
        return;
    struct rec r = request(e, o, k, RF_IDEMPOTENT);
    r.type = REC_PROBE;
    memcpy(start, &h, sizeof h);
    uint8_t *p = start + sizeof h;
    if (about->n > 0)
        memcpy(p, about->p, about->n);
    p += about->n;
    if (k != NULL) {
        p = resp_bulk(resp_len(p, '*', 2), "EXISTS", 6);
        p = resp_bulk(p, k->p, k->n);
    }
    commit(e, &r, (size_t)(p - start));
}

void emit_synced(struct emit *e, struct origin *o)
{
    emit_empty(e, o, NULL, REC_SYNCED, 0);
}

void emit_barrier(struct emit *e, struct origin *o, uint64_t txid, unsigned flags, const struct slice *argv,
                  size_t argc)
{
    e->text.len = 0;
    (void)buf_add(&e->text, &txid, sizeof txid);
    (void)resp_add_array(&e->text, argc);
    for (size_t i = 0; i < argc; i++)
        (void)resp_add_bulk(&e->text, argv[i].p, argv[i].n);
    uint8_t *p = begin(e, e->text.len);
    if (p == NULL)
        return;
    struct rec r = request(e, o, NULL, RF_LIVE | flags);
    r.type = REC_BARRIER;
    r.flags &= (uint16_t)~RF_TOGETHER; /* it is carried out alone */
    memcpy(p, e->text.p, e->text.len);
    commit(e, &r, e->text.len);
}

/* The source's PERSIST or later expiry may be on its way behind these bytes for as long as they have been on
 * theirs. */
static uint64_t grace(uint64_t now_ms, const struct origin *o)
{
    uint64_t came = o->time / 1000;
    uint64_t age = came != 0 && came < now_ms ? now_ms - came : 0;
    return GRACE_MS + (age < EXTEND_MS / 2 ? 2 * age : EXTEND_MS - GRACE_MS);
}

uint64_t emit_expiry(struct emit *e, const struct origin *o, uint64_t ms)
{
    return late_waits(&e->late, ms) ? late_time(&e->late, ms) : emit_field_expiry(e, o, ms);
}

uint64_t emit_field_expiry(struct emit *e, const struct origin *o, uint64_t ms)
{
    if (__builtin_expect(ms > e->now_ms + EXTEND_MS, 1))
        return ms;
    if (o->journal || o->live) {
        if (ms > e->now_ms + grace(e->now_ms, o))
            return ms;
        e->stats.extended++;
        return e->now_ms + EXTEND_MS;
    }
    if (ms > e->now_ms)
        return ms;
    e->stats.expired++;
    return 0;
}
