/* Keys of snapshots, on their way to the target: by RESTORE, as SET, as commands. */
#include "change.h"

/* Values up to this many bytes are looked at whole before it is decided how they are written. Streams are
 * worth more, since RESTORE is the only exact copy of them; so are filters and sketches, which only RESTORE
 * makes. */
#define STREAM_WHOLE ((size_t)768 << 10)

void sink_free(struct sink *to)
{
    const struct site at = SITE_OF(to);
    outlet_end(&at, &to->value);
    value_free(&to->restored);
    scratch_free(&to->s);
    buf_free(&to->renamed.names);
    buf_free(&to->renamed.argv);
    buf_free(&to->program);
    buf_free(&to->guarded);
    buf_free(&to->answer);
    buf_free(&to->checks.waiting);
    buf_free(&to->checks.name);
}

void change_once(struct emit *e, struct origin *o, bool *told, const char *kind, const char *detail)
{
    if (!*told)
        emit_report(e, o, false, kind, (const uint8_t *)"", 0, detail);
    *told = true;
}

void change_hint_lost(struct emit *e, struct origin *o, bool *told)
{
    change_once(e, o, told, "eviction-hint",
                target_takes_hints(&e->target)
                    ? "values written as commands are new and unused at the target"
                    : "the target takes no idle times and frequencies: Redis from 5.0 on and Valkey do");
}

void change_filter(struct emit *e, struct origin *o, const struct filter *filter, struct buf *names,
                   struct change *ch, unsigned vclass)
{
    struct key *k = &ch->key;
    bool reserved = false;
    o->db = ch->db;
    if (filter != NULL) {
        bool excluded = !filter_passes(filter, k->p, k->n, vclass, ch->db);
        reserved = filter_reserved(filter, k->p, k->n, vclass, ch->db);
        o->db = filter_db(filter, ch->db);
        names->len = 0;
        struct slice name = filter_name(filter, k->p, k->n, names);
        key_set(e, k, name.p, name.n);
        k->excluded = excluded;
    } else if (key_is_ours(k->p, k->n)) {
        k->excluded = reserved = true;
    }
    if (!k->excluded && emit_wrong_db(e, o->db, ch->db))
        k->excluded = true;
    if (reserved)
        emit_reserved(e, o, k->p, k->n);
}

void change_begin(struct sink *to, struct change *ch, struct value *v)
{
    const struct site at = SITE_OF(to);
    change_open(to, ch, value_class(ch->type));
    if (to->outlet != NULL) {
        outlet_begin(&at, ch, v);
        return;
    }
    value_begin(v, to->e, &to->o, &to->s, ch->type, &ch->key, ch->expire_ms);
    v->sticky = ch->sticky;
}

/* The expiry to write. False: the key has expired. */
static bool expiry(struct emit *e, const struct origin *o, uint64_t *ms)
{
    return *ms == 0 || (*ms = emit_expiry(e, o, *ms)) != 0;
}

/* A string behind an expiry, a mask or a hint; with a hint that is to be carried over by RESTORE of its bytes
 * as they lie. */
static void put_prefixed(struct emit *e, struct origin *o, const struct change *ch, const struct slice *raw,
                         const struct slice *t, bool *told_hint)
{
    bool hinted = ch->hint.kind != HINT_NONE;
    uint64_t ms = ch->expire_ms;
    if (hinted && raw->n > e->restore_limit) {
        change_hint_lost(e, o, told_hint);
        hinted = false;
    }
    if (!expiry(e, o, &ms))
        return;
    e->stats.keys[CLASS_STRING]++;
    if (hinted) {
        emit_restore(e, o, &ch->key, CLASS_STRING, 0, raw->p, raw->n, target_restore_version(&e->target, 0),
                     ms, ch->hint);
        return;
    }
    emit_set(e, o, &ch->key, t->p, t->n, ms, 0);
    if (ch->sticky)
        emit_stick(e, o, &ch->key);
}

/* Write it as commands, part by part as its bytes come. odd: of a value that was scanned; NULL: of others. */
static enum got stream_value(struct sink *to, const struct change *ch, struct cur *c, const struct odd *odd)
{
    if (ch->hint.kind != HINT_NONE && !ch->key.excluded)
        change_hint_lost(to->e, &to->o, &to->told_hint);
    value_begin(&to->value, to->e, &to->o, &to->s, ch->type, &ch->key, ch->expire_ms);
    to->value.template.known = ch->templates;
    to->value.sticky = ch->sticky;
    if (odd != NULL)
        to->value.odd = *odd;
    to->in_value = true;
    return change_more(to, c);
}

enum got change_more(struct sink *to, struct cur *c)
{
    const struct site at = SITE_OF(to);
    to->o.live = false;
    enum got g = outlet_feed(&at, &to->value, c);
    if (g == GOT) {
        to->in_value = false;
        to->gone = to->value.dropped;
    }
    return g;
}

static enum got put_string(struct sink *to, const struct change *ch, struct cur *c, struct cur *t)
{
    struct pstr ps;
    struct slice text;
    struct cur v = *t;
    enum got g = cur_pstr(&v, &ps);
    if (g == GOT && ch->key.n + ps.n < REC_PAYLOAD_MAX - 512 && value_text(&to->s, 0, &ps, &text)) {
        struct slice raw = {t->p, (size_t)(v.p - t->p)};
        c->p = v.p;
        if (ch->prefixed) {
            put_prefixed(to->e, &to->o, ch, &raw, &text, &to->told_hint);
            return GOT;
        }
        to->e->stats.keys[CLASS_STRING]++;
        emit_set(to->e, &to->o, &ch->key, text.p, text.n, 0, 0);
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
    return stream_value(to, ch, c, NULL);
}

/* The target has the module whose value begins at t. */
static bool module_known(const struct target *target, const struct cur *t)
{
    char name[10];
    return module_of(t->p, cur_left(t), name) != NULL && target_has_module(target, name);
}

/* A value that is all there, and that RESTORE takes. False: nothing was written of it. */
static bool put_restore(const struct site *at, const struct change *ch, unsigned as, unsigned ver,
                        const struct slice *value)
{
    unsigned vclass = value_class(ch->type);
    uint64_t ms = ch->expire_ms;
    if (!expiry(at->e, at->o, &ms))
        return false;
    if (at->s->damage != NULL) {
        value_refused(at->e, at->o, &ch->key, vclass, at->s->damage);
        return false;
    }
    at->e->stats.keys[vclass]++;
    emit_restore(at->e, at->o, &ch->key, vclass, as & 255, value->p, value->n, ver, ms, ch->hint);
    if (ch->sticky)
        emit_stick(at->e, at->o, &ch->key);
    return true;
}

/* RESTORE if the target loads the type and the value is small, else commands. */
static enum got put_container(struct sink *to, const struct change *ch, struct cur *c, struct cur *t)
{
    unsigned as, type = ch->type, vclass = value_class(type);
    unsigned ver = target_restore_as(&to->e->target, type, &as);
    size_t limit = to->e->restore_limit;
    if (vclass == CLASS_OTHER || (vclass == CLASS_STREAM && limit > 0 && limit < STREAM_WHOLE))
        limit = STREAM_WHOLE;
    if (type == 7) {
        struct cur id = *t;
        uint64_t unused;
        if (cur_plen(&id, &unused) == NEED) { /* whose module it is decides */
            c->want = id.want;
            return NEED;
        }
        if (!module_known(&to->e->target, t))
            ver = 0;
    }
    if (ver == 0 || limit == 0) {
        c->p = t->p;
        return stream_value(to, ch, c, NULL);
    }
    struct cur v = *t;
    struct slice value = {t->p, 0};
    if (cur_left(t) > limit) /* what is longer is written as commands: no need to look at all of it */
        v.end = t->p + limit;
    enum got g =
        as == type ? value_scan(type, &v, &to->s) : stream_to_older(type, as == 19, &v, &to->s, &value);
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
    c->p = t->p;
    if (g == NEED || n + ch->key.n > REC_PAYLOAD_MAX - 512)
        return stream_value(to, ch, c, NULL);
    if (to->s.damage == NULL && value_unfit(type, &(struct slice){t->p, n}, &to->s, to->e->now_ms))
        return stream_value(to, ch, c, &to->s.odd);
    c->p = v.p;
    to->gone = !put_restore(&(struct site)SITE_OF(to), ch, as, ver, &value);
    return GOT;
}

enum got change_key(struct sink *to, struct change *ch, struct cur *c, struct cur *value)
{
    to->gone = false;
    if (__builtin_expect(ch->meta, 0)) {
        ch->meta = false;
        if (!ch->key.excluded)
            emit_report(to->e, &to->o, true, "key-metadata", ch->key.p, ch->key.n,
                        "metadata that modules keep of it are left out");
    }
    if (to->outlet != NULL) {
        const struct site at = SITE_OF(to);
        return outlet_key(&at, ch, c, value, &to->value, &to->in_value);
    }
    if (__builtin_expect(ch->key.excluded, 0)) {
        c->p = value->p;
        return stream_value(to, ch, c, NULL);
    }
    return ch->type == 0 ? put_string(to, ch, c, value) : put_container(to, ch, c, value);
}
