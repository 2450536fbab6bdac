/* Keys with their values, as they stand in snapshots. */
#include "flow_parts.h"

#include "ours.h"

/* Values up to this many bytes are looked at whole before it is decided how they are written. Streams are
 * worth more, since RESTORE is the only exact copy of them; so are filters and sketches, which only RESTORE
 * makes. */
#define STREAM_WHOLE ((size_t)768 << 10)

/* Longer keys are taken for damage. One that does not fit a record with its value goes in several. */
#define KEY_MAX ((size_t)16 << 20)

uint64_t take_expiry(struct flow *f)
{
    uint64_t ms = f->pend.expire_ms;
    f->pend = (struct pending){.any = false};
    return ms;
}

/* A string whose hint is to be carried over: RESTORE of its bytes as they lie. */
static void restore_string(struct flow *f, struct emit *e, const struct key *k, const struct slice *v)
{
    struct hint hint = f->pend.hint;
    uint64_t ms = take_expiry(f);
    if (ms != 0 && (ms = emit_expiry(e, &f->o, ms)) == 0)
        return;
    e->stats.keys[CLASS_STRING]++;
    emit_restore_hinted(e, &f->o, k, CLASS_STRING, 0, v->p, v->n, target_restore_version(&e->target, 0), ms,
                        hint);
}

/* A string behind an expiry, a mask or a hint. */
static void put_prefixed(struct flow *f, struct emit *e, const struct key *k, const struct slice *raw,
                         const struct slice *t)
{
    bool sticky = f->pend.sticky;
    if (f->pend.hint.kind != HINT_NONE && raw->n <= e->restore_limit) {
        restore_string(f, e, k, raw);
        return;
    }
    if (f->pend.hint.kind != HINT_NONE)
        hint_lost(f, e);
    uint64_t ms = take_expiry(f);
    if (ms != 0 && (ms = emit_expiry(e, &f->o, ms)) == 0)
        return;
    e->stats.keys[CLASS_STRING]++;
    emit_set(e, &f->o, k, t->p, t->n, ms, 0);
    if (sticky)
        emit_stick(e, &f->o, k);
}

/* The common case: a string that is all there. raw: as it stands in the snapshot. */
static inline void put_string(struct flow *f, struct emit *e, const struct key *k, const struct slice *raw,
                              const struct slice *t)
{
    if (f->pend.any) {
        put_prefixed(f, e, k, raw, t);
        return;
    }
    e->stats.keys[CLASS_STRING]++;
    emit_set(e, &f->o, k, t->p, t->n, 0, 0);
}

/* Write it as commands, part by part as its bytes come. odd: of a value that was scanned; NULL: of others. */
static enum got stream_value(struct flow *f, struct emit *e, struct cur *c, unsigned type,
                             const struct key *k, const struct odd *odd)
{
    if (f->pend.hint.kind != HINT_NONE && !k->excluded)
        hint_lost(f, e);
    bool sticky = f->pend.sticky;
    value_begin(&f->cur, e, &f->o, &f->s, type, k, take_expiry(f));
    f->cur.templates = f->templates;
    f->cur.sticky = sticky;
    if (odd != NULL)
        f->cur.odd = *odd;
    f->in_value = true;
    enum got g = value_feed(&f->cur, c);
    if (g == GOT) {
        f->in_value = false;
        f->last.gone = f->cur.dropped;
    }
    return g;
}

static enum got string_entry(struct flow *f, struct emit *e, struct cur *c, struct cur *t,
                             const struct key *k)
{
    struct pstr ps;
    struct slice text;
    struct cur v = *t;
    enum got g = cur_pstr(&v, &ps);
    if (g == GOT && k->n + ps.n < REC_PAYLOAD_MAX - 512 && value_text(&f->s, 0, &ps, &text)) {
        struct slice raw = {t->p, (size_t)(v.p - t->p)};
        c->p = v.p;
        put_string(f, e, k, &raw, &text);
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
    return stream_value(f, e, c, 0, k, NULL);
}

/* The RDB version to restore a value as, and the type: streams can be made over for older targets. 0:
 * commands. */
static unsigned restore_as(const struct emit *e, unsigned type, unsigned *as)
{
    static const unsigned older[] = {21, 19};
    unsigned ver = target_restore_version(&e->target, type);
    *as = type;
    for (size_t i = 0; i < 2 && ver == 0 && (type == 21 || type == T_REDIS + 26); i++) {
        *as = older[i];
        ver = target_restore_version(&e->target, *as);
    }
    return ver;
}

/* The target has the module whose value begins at t. */
static bool module_known(const struct emit *e, const struct cur *t)
{
    char name[10];
    return module_of(t->p, cur_left(t), name) != NULL && target_has_module(&e->target, name);
}

/* RESTORE if the target loads the type and the value is small, else commands. */
static enum got container_entry(struct flow *f, struct emit *e, struct cur *c, struct cur *t, unsigned type,
                                const struct key *k)
{
    unsigned as;
    unsigned ver = restore_as(e, type, &as);
    size_t limit = e->restore_limit;
    if (value_class(type) == CLASS_OTHER ||
        (value_class(type) == CLASS_STREAM && limit > 0 && limit < STREAM_WHOLE))
        limit = STREAM_WHOLE;
    if (type == 7) {
        struct cur id = *t;
        uint64_t unused;
        if (cur_plen(&id, &unused) == NEED) { /* whose module it is decides */
            c->want = id.want;
            return NEED;
        }
        if (!module_known(e, t))
            ver = 0;
    }
    if (ver == 0 || limit == 0) {
        c->p = t->p;
        return stream_value(f, e, c, type, k, NULL);
    }
    struct cur v = *t;
    struct slice value = {t->p, 0};
    bool more = cur_left(t) > limit;
    if (more) /* what is longer is written as commands: no need to look at all of it */
        v.end = t->p + limit;
    enum got g =
        as == type ? value_scan(type, &v, &f->s) : stream_to_older(type, as == 19, &v, &f->s, &value);
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
    if (g == NEED || n + k->n > REC_PAYLOAD_MAX - 512) {
        c->p = t->p;
        return stream_value(f, e, c, type, k, NULL);
    }
    if (f->s.damage == NULL && value_unfit(type, &(struct slice){t->p, n}, &f->s, e->now_ms)) {
        c->p = t->p;
        return stream_value(f, e, c, type, k, &f->s.odd);
    }
    unsigned vclass = value_class(type);
    struct pending pend = f->pend;
    uint64_t ms = take_expiry(f);
    c->p = v.p;
    f->last.gone = true;
    if (ms != 0 && (ms = emit_expiry(e, &f->o, ms)) == 0)
        return GOT;
    if (f->s.damage != NULL) {
        value_refused(e, &f->o, k, vclass, f->s.damage);
        return GOT;
    }
    f->last.gone = false;
    e->stats.keys[vclass]++;
    emit_restore_hinted(e, &f->o, k, vclass, as & 255, value.p, value.n, ver, ms, pend.hint);
    if (pend.sticky)
        emit_stick(e, &f->o, k);
    return GOT;
}

enum got read_key(struct flow *f, const struct emit *e, struct cur *t, struct pstr *ps, struct key *k)
{
    struct slice text;
    enum got g = cur_pstr(t, ps);
    if (g != GOT)
        return g;
    if (ps->n > KEY_MAX || !value_text(&f->s, 1, ps, &text))
        return cur_bad(t, "a key of at most 16 MiB");
    key_set(e, k, text.p, text.n);
    return GOT;
}

bool choose_key(struct flow *f, struct emit *e, unsigned vclass, struct key *k)
{
    bool reserved = false;
    f->o.db = f->rdb_db;
    if (f->sel != NULL) {
        bool excluded = !select_passes(f->sel, k->p, k->n, vclass, f->rdb_db);
        reserved = select_reserved(f->sel, k->p, k->n, vclass, f->rdb_db);
        f->o.db = select_db(f->sel, f->rdb_db);
        f->names.len = 0;
        struct slice name = select_name(f->sel, k->p, k->n, &f->names);
        key_set(e, k, name.p, name.n);
        k->excluded = excluded;
    } else if (key_is_ours(k->p, k->n)) {
        k->excluded = reserved = true;
    }
    if (!k->excluded && emit_wrong_db(e, f->o.db, f->rdb_db))
        k->excluded = true;
    return reserved;
}

/* A file has each key once, servers refuse one that is not so; Dragonfly's may have copies. hash: of database
 * and key as the file has them. An entry whose value is not all there yet comes here again. */
static void check_twice(struct flow *f, struct emit *e, const struct key *k, uint64_t hash)
{
    if (f->counted_at == f->o.at)
        return;
    f->counted_at = f->o.at;
    if (recent_has(&f->recent, hash))
        emit_report(e, &f->o, true, "duplicate-key", k->p, k->n,
                    "the file has this key twice: one of the two values is lost");
}

/* A byte that is no type of a value: Redis Enterprise has opcodes there. */
static enum got other_item(struct flow *f, struct emit *e, struct cur *c, unsigned byte)
{
    struct cur t = {c->p + 1, c->end, 0, NULL};
    if (f->family != FAMILY_REDIS || (byte != OP_RAM_LRU && byte != OP_SLOT_NUM))
        return flow_unknown(f, c, "value type", byte);
    return cur_settle(c, &t, redis_opcode(f, e, &t, byte));
}

enum got key_entry(struct flow *f, struct emit *e, struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    struct key k;
    unsigned type = *t.p++, vclass = CLASS_STRING;
    if (type != 0) {
        type = value_type(f->family, type);
        vclass = value_class(type);
        if (vclass == 0)
            return other_item(f, e, c, *c->p);
    }
    enum got g = read_key(f, e, &t, &ps, &k);
    if (g != GOT)
        return cur_settle(c, &t, g);
    uint64_t raw = f->file && !f->dragonfly ? keyset_hash(f->rdb_db, k.p, k.n) : 0;
    if (__builtin_expect(f->sel == NULL && !e->target.cluster && !key_is_ours(k.p, k.n), 1))
        f->o.db = f->rdb_db;
    else if (choose_key(f, e, vclass, &k))
        emit_reserved(e, &f->o, k.p, k.n);
    f->o.live = false;
    f->o.at = flow_at(f, c->p);
    if (f->file && !f->dragonfly) {
        if (!k.excluded)
            check_twice(f, e, &k, raw);
        if (f->rdb_version == 9) /* KeyDB has no other */
            keep_last_key(f, type, &k);
    }
    if (__builtin_expect(f->pend.meta, 0)) {
        f->pend.meta = false;
        if (!k.excluded)
            emit_report(e, &f->o, true, "key-metadata", k.p, k.n,
                        "metadata that modules keep of it are left out");
    }
    if (__builtin_expect(k.excluded, 0)) {
        c->p = t.p;
        return stream_value(f, e, c, type, &k, NULL);
    }
    return type == 0 ? string_entry(f, e, c, &t, &k) : container_entry(f, e, c, &t, type, &k);
}
