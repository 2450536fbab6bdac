/* What journaled commands mean for the target. dragonfly-wire.md 5.5 to 5.8. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "crc64.h"
#include "flow.h"
#include "narrow.h"
#include "scripts.h"

/* A command being written: its arguments, and where its records count. */
struct cmd {
    struct flow *f;
    struct emit *e;
    struct origin *o;
    const struct command *c;
    uint64_t txid;
    const struct slice *argv;
    size_t argc;
    uint64_t before, after; /* positions */
};

static bool is(const struct slice *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((s->p[i] >= 'a' && s->p[i] <= 'z' ? s->p[i] - 32 : s->p[i]) != word[i])
            return false;
    return true;
}

static bool number(const struct slice *s, int64_t *v)
{
    char text[24];
    char *end;
    if (s->n == 0 || s->n >= sizeof text)
        return false;
    memcpy(text, s->p, s->n);
    text[s->n] = '\0';
    *v = strtoll(text, &end, 10);
    return *end == '\0';
}

/* Absolute milliseconds of a time that is relative to the entry's arrival. 0: no valid number. */
static uint64_t from_now(const struct cmd *m, const struct slice *s, int64_t unit)
{
    int64_t v;
    if (!number(s, &v) || v <= 0 || v > INT64_MAX / 1000 / unit)
        return 0;
    return m->o->time / 1000 + (uint64_t)(v * unit);
}

static uint64_t from_epoch(const struct slice *s, int64_t unit)
{
    int64_t v;
    if (!number(s, &v) || v > INT64_MAX / 1000 / unit)
        return 0;
    return v > 0 ? (uint64_t)(v * unit) : 1;
}

static void key_of(const struct cmd *m, struct key *k, size_t i)
{
    key_set(m->e, k, m->argv[i].p, m->argv[i].n);
}

/* Write one request for the key argv[keyarg] of the original; it is the entry's only or last one. */
static void last(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags)
{
    struct key k;
    key_set(m->e, &k, argv[keyarg].p, argv[keyarg].n);
    m->o->pos = m->after;
    emit_argv(m->e, m->o, &k, keyarg, 0, flags, argv, argc);
}

/* The same when others of the entry follow. */
static void one_of(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags)
{
    struct key k;
    key_set(m->e, &k, argv[keyarg].p, argv[keyarg].n);
    m->o->pos = m->before;
    emit_argv(m->e, m->o, &k, keyarg, 0, flags, argv, argc);
}

static void nothing(const struct cmd *m)
{
    m->o->pos = m->after;
    emit_position(m->e, m->o, RF_LIVE);
}

static void lost(const struct cmd *m, const char *kind, const char *detail)
{
    static const struct slice none = {(const uint8_t *)"", 0};
    const struct slice *k = m->argc > 1 ? &m->argv[1] : &none;
    char text[160];
    snprintf(text, sizeof text, "%.*s: %s", (int)(m->argv[0].n < 40 ? m->argv[0].n : 40),
             (const char *)m->argv[0].p, detail);
    m->o->pos = m->before;
    emit_report(m->e, m->o, true, kind, k->p, k->n, text);
}

static void lost_only(const struct cmd *m, const char *kind, const char *detail)
{
    lost(m, kind, detail);
    nothing(m);
}

static void malformed(const struct cmd *m)
{
    lost_only(m, "malformed-command", "arguments that this command does not have");
}

/* ---- strings ---- */

static void write_set(const struct cmd *m, uint64_t ms, bool keepttl)
{
    const struct slice *a = m->argv;
    uint8_t num[20];
    struct key k;
    if (ms != 0)
        ms = emit_expiry(m->e, m->o, ms);
    if (!keepttl && a[1].n + a[2].n < REC_PAYLOAD_MAX - 512) {
        key_of(m, &k, 1);
        m->o->pos = m->after;
        emit_set(m->e, m->o, &k, a[2].p, a[2].n, ms, 0);
        return;
    }
    struct slice out[5] = {a[0], a[1], a[2]};
    size_t n = 3;
    out[0] = SLICE("SET");
    if (keepttl)
        out[n++] = SLICE("KEEPTTL");
    if (ms != 0) {
        out[n++] = SLICE("PXAT");
        out[n++] = (struct slice){num, dec_u64(num, ms)};
    }
    last(m, 1, out, n, RF_IDEMPOTENT);
}

/* SET k v [PXAT ms | EX s | …] [KEEPTTL] [STICK] [_MCFLAGS n]; conditions were met when it was logged. */
static void do_set(const struct cmd *m)
{
    uint64_t ms = 0;
    bool keepttl = false;
    if (m->argc < 3) {
        malformed(m);
        return;
    }
    for (size_t i = 3; i < m->argc; i++) {
        const struct slice *a = &m->argv[i];
        const struct slice *arg = i + 1 < m->argc ? a + 1 : NULL;
        bool takes = true;
        if (is(a, "KEEPTTL"))
            keepttl = true;
        if (is(a, "KEEPTTL") || is(a, "STICK") || is(a, "NX") || is(a, "XX") || is(a, "GET"))
            takes = false;
        else if (arg == NULL)
            break;
        else if (is(a, "PXAT"))
            ms = from_epoch(arg, 1);
        else if (is(a, "EXAT"))
            ms = from_epoch(arg, 1000);
        else if (is(a, "PX"))
            ms = from_now(m, arg, 1);
        else if (is(a, "EX"))
            ms = from_now(m, arg, 1000);
        else if (!is(a, "_MCFLAGS"))
            break;
        if (takes && !is(a, "_MCFLAGS") && ms == 0)
            break;
        i += takes;
        if (i + 1 >= m->argc) {
            write_set(m, ms, keepttl);
            return;
        }
    }
    if (m->argc == 3)
        write_set(m, 0, false);
    else
        malformed(m);
}

/* SETEX k s v, PSETEX k ms v. */
static void do_setex(const struct cmd *m)
{
    uint64_t ms = m->argc == 4 ? from_now(m, &m->argv[2], m->argv[0].p[0] == 'P' ? 1 : 1000) : 0;
    struct slice set[3];
    struct cmd s = *m;
    if (ms == 0) {
        malformed(m);
        return;
    }
    set[0] = SLICE("SET");
    set[1] = m->argv[1];
    set[2] = m->argv[3];
    s.argv = set;
    s.argc = 3;
    write_set(&s, ms, false);
}

/* EVAL script nkeys keys… arguments…: the last n arguments of the command, the first nkeys of them keys. */
static void run_script(const struct cmd *m, struct slice script, unsigned nkeys, size_t n)
{
    struct slice out[7] = {SLICE("EVAL"), script, {(const uint8_t *)(nkeys == 1 ? "1" : "2"), 1}};
    if (m->argc != n + 1) {
        malformed(m);
        return;
    }
    memcpy(out + 3, m->argv + 1, n * sizeof *out);
    last(m, 3, out, 3 + n, nkeys > 1 ? RF_MULTIKEY : 0);
}

/* ---- expiries ---- */

static void do_expire(const struct cmd *m)
{
    uint8_t num[20];
    const struct slice *name = &m->argv[0];
    uint64_t ms = 0;
    if (m->argc >= 3)
        ms = is(name, "PEXPIREAT")   ? from_epoch(&m->argv[2], 1)
             : is(name, "EXPIREAT") ? from_epoch(&m->argv[2], 1000)
             : is(name, "PEXPIRE")  ? from_now(m, &m->argv[2], 1)
                                    : from_now(m, &m->argv[2], 1000);
    if (ms == 0) {
        malformed(m);
        return;
    }
    ms = emit_expiry(m->e, m->o, ms);
    struct slice out[3] = {SLICE("PEXPIREAT"), m->argv[1], {num, dec_u64(num, ms)}};
    last(m, 1, out, 3, RF_IDEMPOTENT);
}

/* DELEX k [IFEQ|IFNE value | IFDEQ|IFDNE digest]: logged also where the condition did not hold. */
static void do_delex(const struct cmd *m)
{
    const struct target *t = &m->e->target;
    struct slice out[2] = {SLICE("DEL"), m->argv[1]};
    if (m->argc == 2)
        last(m, 1, out, 2, RF_IDEMPOTENT);
    else if (t->kind == TARGET_DRAGONFLY || (t->kind == TARGET_REDIS && t->version >= VERSION(8, 4)))
        last(m, 1, m->argv, m->argc, RF_IDEMPOTENT);
    else if (m->argc == 4 && is(&m->argv[2], "IFEQ"))
        run_script(m, SLICE(LUA_DELEX("==")), 1, 3);
    else if (m->argc == 4 && is(&m->argv[2], "IFNE"))
        run_script(m, SLICE(LUA_DELEX("~=")), 1, 3);
    else
        lost_only(m, "command-needs-source", "a condition on the value's digest");
}

static bool room_for(const struct cmd *m, struct slice **out, size_t extra)
{
    m->f->s.body.len = 0; /* scratch that no value uses while a journal entry is written */
    *out = (struct slice *)(void *)buf_room(&m->f->s.body, (m->argc + extra) * sizeof **out);
    return *out != NULL;
}

/* HPEXPIREAT key ms [condition] FIELDS n f… from a list of every stride-th argument from first on. condition: NX,
 * XX, GT, LT or NULL. */
static void field_expiry(const struct cmd *m, uint64_t ms, const struct slice *condition, size_t first, size_t stride)
{
    struct slice *out;
    uint8_t when[20], count[20];
    size_t n = 3;
    if (!room_for(m, &out, 6)) {
        lost_only(m, "command-too-large", "too many fields");
        return;
    }
    ms = emit_expiry(m->e, m->o, ms);
    out[0] = SLICE("HPEXPIREAT");
    out[1] = m->argv[1];
    out[2] = (struct slice){when, dec_u64(when, ms)};
    if (condition != NULL)
        out[n++] = *condition;
    out[n++] = SLICE("FIELDS");
    out[n++] = (struct slice){count, dec_u64(count, (m->argc - first + stride - 1) / stride)};
    for (size_t i = first; i < m->argc; i += stride)
        out[n++] = m->argv[i];
    last(m, 1, out, n, condition != NULL ? 0 : RF_IDEMPOTENT);
}

/* WORD key arguments from first on. */
static void with_rest(const struct cmd *m, struct slice word, size_t first)
{
    struct slice *out;
    size_t n = m->argc - first;
    if (!room_for(m, &out, 2)) {
        lost_only(m, "command-too-large", "too many arguments");
        return;
    }
    memcpy(out + 2, m->argv + first, n * sizeof *out);
    out[0] = word;
    out[1] = m->argv[1];
    last(m, 1, out, 2 + n, RF_IDEMPOTENT);
}

static void hset_part(const struct cmd *m, size_t first, bool only)
{
    struct slice *out;
    if (!room_for(m, &out, 2)) {
        lost_only(m, "command-too-large", "too many fields");
        return;
    }
    size_t n = m->argc - first;
    memcpy(out + 2, m->argv + first, n * sizeof *out);
    out[0] = SLICE("HSET");
    out[1] = m->argv[1];
    (only ? last : one_of)(m, 1, out, 2 + n, RF_IDEMPOTENT);
}

/* HSETEX k [NX|FNX|FXX] [KEEPTTL] seconds f v …  (Dragonfly), or k … [EX s|PX ms|…] FIELDS n f v …  (Redis 8). */
static void do_hsetex(const struct cmd *m)
{
    const struct slice *a = m->argv;
    uint64_t ms = 0;
    bool conditional = false, keep = false, timed = false;
    size_t i = 2;
    for (; i + 1 < m->argc; i++) {
        if (is(&a[i], "NX") || is(&a[i], "FNX") || is(&a[i], "FXX"))
            conditional = true;
        else if (is(&a[i], "KEEPTTL"))
            keep = true;
        else if (is(&a[i], "EX"))
            ms = from_now(m, &a[++i], 1000);
        else if (is(&a[i], "PX"))
            ms = from_now(m, &a[++i], 1);
        else if (is(&a[i], "EXAT"))
            ms = from_epoch(&a[++i], 1000);
        else if (is(&a[i], "PXAT"))
            ms = from_epoch(&a[++i], 1);
        else
            break;
    }
    if (i + 1 < m->argc && is(&a[i], "FIELDS")) {
        timed = i > 2 && !conditional && !keep;
        i += 2;
    } else if (i < m->argc) {
        ms = from_now(m, &a[i++], 1000);
        timed = true;
    }
    if (i >= m->argc || (m->argc - i) % 2 != 0 || (timed && ms == 0)) {
        malformed(m);
        return;
    }
    /* Whether a condition held for each single field only the source can say. */
    if (conditional || (keep && target_field_ttl(&m->e->target))) {
        lost_only(m, "command-needs-source", "NX, FNX, FXX and KEEPTTL depend on the fields that were there");
        return;
    }
    if (ms == 0 || target_field_ttl(&m->e->target)) {
        hset_part(m, i, ms == 0);
        if (ms != 0)
            field_expiry(m, ms, NULL, i, 2);
        return;
    }
    lost(m, "field-ttl", "the target has no expiry of fields: they were written without");
    hset_part(m, i, true);
}

/* When an expiry of fields is to be, by its word and number: HEXPIRE, EX and the like. 0: no valid number. *gone: it
 * is no later than the entry itself, and the source has no such fields any more. */
static uint64_t field_time(const struct cmd *m, const struct slice *s, bool milli, bool at, bool *gone)
{
    int64_t v;
    uint64_t ms = at ? from_epoch(s, milli ? 1 : 1000) : from_now(m, s, milli ? 1 : 1000);
    if (ms == 0 && !at && number(s, &v) && v == 0)
        ms = m->o->time / 1000;
    *gone = ms != 0 && ms <= m->o->time / 1000;
    return ms;
}

struct field_expire {
    uint64_t ms;
    bool gone, persist, relative;
    const struct slice *condition;
    size_t first; /* of the fields */
};

/* HGETEX k [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS n f…: up to FIELDS. */
static size_t hgetex_options(const struct cmd *m, struct field_expire *x)
{
    const struct slice *a = m->argv;
    size_t i = 2;
    for (; i + 1 < m->argc && !is(&a[i], "FIELDS"); i++) {
        bool at = is(&a[i], "EXAT") || is(&a[i], "PXAT");
        bool milli = is(&a[i], "PX") || is(&a[i], "PXAT");
        if (is(&a[i], "PERSIST")) {
            x->persist = true;
        } else if (at || milli || is(&a[i], "EX")) {
            x->ms = field_time(m, &a[i + 1], milli, at, &x->gone);
            x->relative = !at;
            i++;
        }
    }
    return i;
}

/* HEXPIRE k s [condition] FIELDS n f…, its P and AT forms, FIELDEXPIRE k s f…, HPERSIST k FIELDS n f…, HGETEX. */
static bool parse_field_expire(const struct cmd *m, struct field_expire *x)
{
    const struct slice *a = m->argv;
    size_t i = 2;
    x->persist = is(&a[0], "HPERSIST");
    if (is(&a[0], "HGETEX")) {
        i = hgetex_options(m, x);
    } else if (!x->persist) {
        bool milli = is(&a[0], "HPEXPIRE") || is(&a[0], "HPEXPIREAT");
        bool at = is(&a[0], "HEXPIREAT") || is(&a[0], "HPEXPIREAT");
        x->ms = field_time(m, &a[2], milli, at, &x->gone);
        x->relative = !at;
        i = 3;
    }
    x->first = i;
    if (is(&a[0], "FIELDEXPIRE"))
        return x->ms != 0 && i < m->argc;
    if (i + 1 < m->argc && !is(&a[i], "FIELDS"))
        x->condition = &a[i++];
    x->first = i + 2;
    return i < m->argc && is(&a[i], "FIELDS") && x->first < m->argc && (x->ms != 0 || x->persist);
}

static void do_field_expire(const struct cmd *m)
{
    struct field_expire x = {0};
    bool can = target_field_ttl(&m->e->target);
    if (is(&m->argv[0], "HGETEX") && m->argc > 2 && is(&m->argv[2], "FIELDS")) {
        nothing(m); /* a mere read */
        return;
    }
    if (!parse_field_expire(m, &x)) {
        malformed(m);
        return;
    }
    /* With a time to come, or one that may have come on the way, the field itself says when. */
    if (x.gone && x.condition == NULL && !is(&m->argv[0], "FIELDEXPIRE") && (x.relative || !can))
        with_rest(m, SLICE("HDEL"), x.first);
    else if (x.persist && !can)
        nothing(m); /* no field has an expiry there */
    else if (!can)
        lost_only(m, "field-ttl", "the target has no expiry of fields");
    else if (!x.persist)
        field_expiry(m, x.ms, x.condition, x.first, 1);
    else
        with_rest(m, SLICE("HPERSIST"), x.first - 2);
}

/* SADDEX k [KEEPTTL] seconds m…: Redis has no expiry of members. */
static void do_saddex(const struct cmd *m)
{
    size_t i = m->argc > 2 && is(&m->argv[2], "KEEPTTL") ? 4 : 3;
    if (i >= m->argc) {
        malformed(m);
        return;
    }
    lost(m, "member-ttl", "the target has no expiry of set members: they were written without");
    with_rest(m, SLICE("SADD"), i);
}

/* ---- RESTORE ---- */

static bool footer_fits(const struct slice *p)
{
    uint64_t crc;
    memcpy(&crc, p->p + p->n - 8, sizeof crc);
    return crc == 0 || crc == crc64(0, p->p, p->n - 8);
}

static void restore_value(const struct cmd *m, unsigned type, const struct slice *v, uint64_t ms)
{
    struct key k;
    struct slice older;
    struct cur whole = {v->p, v->p + v->n, 0, NULL};
    unsigned ver = target_restore_version(&m->e->target, type);
    if (ver == 0 && type == 21 && (ver = target_restore_version(&m->e->target, 19)) != 0) {
        (void)stream_to_older(21, true, &whole, &m->f->s, &older); /* was scanned: cannot fail */
        v = &older;
        type = 19;
    }
    bool empty = v->n == 1 && value_class(type) != CLASS_STREAM; /* servers refuse it */
    key_of(m, &k, 1);
    if (type != 0 && ver != 0 && !empty && v->n + k.n < REC_PAYLOAD_MAX - 512) {
        if (ms != 0)
            ms = emit_expiry(m->e, m->o, ms);
        m->o->pos = m->after;
        emit_restore(m->e, m->o, &k, value_class(type), type, v->p, v->n, ver, ms);
        return;
    }
    struct cur c = {v->p, v->p + v->n, 0, NULL};
    m->o->pos = m->before;
    value_begin(&m->f->restored, m->e, m->o, type, &k, ms);
    /* Its structure was scanned; what only decoding notices is a score that is no number and the like. */
    if (value_feed(&m->f->restored, m->e, m->o, &c, &m->f->s) != GOT && value_class(type) != CLASS_OTHER)
        lost(m, "restore-payload", "a damaged value");
    if (!m->f->restored.dropped) {
        nothing(m);
        return;
    }
    /* It is not carried over: what was there before it is not to stay. */
    struct slice del[2] = {SLICE("DEL"), m->argv[1]};
    last(m, 1, del, 2, RF_IDEMPOTENT);
}

/* RESTORE k ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ f] [STICK]. */
static void do_restore(const struct cmd *m)
{
    int64_t ttl;
    bool absolute = false;
    if (m->argc < 4 || !number(&m->argv[2], &ttl) || ttl < 0) {
        malformed(m);
        return;
    }
    if (m->argv[1].n > m->e->target.maxbulk) {
        lost_only(m, "command-too-large", "a key longer than the target's proto-max-bulk-len");
        return;
    }
    for (size_t i = 4; i < m->argc; i++)
        absolute |= is(&m->argv[i], "ABSTTL");
    const struct slice *p = &m->argv[3];
    if (p->n < 12 || !footer_fits(p)) {
        lost_only(m, "restore-payload", "a payload with a wrong checksum");
        return;
    }
    unsigned type = p->p[0];
    if (type == 20 && le16(p->p + p->n - 10) < 10)
        type = 30; /* an old number of JSON */
    struct slice v = {p->p + 1, p->n - 11};
    struct cur c = {v.p, v.p + v.n, 0, NULL};
    if (value_class(type) == 0 || type == 7) {
        lost_only(m, "restore-payload", "an unknown value type");
        return;
    }
    bool scannable = value_class(type) != CLASS_OTHER;
    if (scannable && (value_scan(type, &c, &m->f->s) != GOT || c.p != c.end)) {
        lost_only(m, "restore-payload", "a damaged value");
        return;
    }
    uint64_t ms = (uint64_t)ttl;
    if (ms != 0 && !absolute)
        ms += m->o->time / 1000;
    restore_value(m, type, &v, ms);
}

/* ---- the rest ---- */

static void do_flush(const struct cmd *m)
{
    struct slice out[1] = {m->argv[0]};
    m->o->pos = m->after;
    emit_barrier(m->e, m->o, m->txid, !m->f->cut, out, 1);
}

static void do_json(const struct cmd *m)
{
    bool many = m->argc > 4 && is(&m->argv[0], "JSON.MSET");
    if (m->e->target.has_json)
        last(m, 1, m->argv, m->argc, many ? RF_MULTIKEY : 0);
    else
        lost_only(m, "json", "the target has no JSON module");
}

static void do_probabilistic(const struct cmd *m)
{
    lost_only(m, "probabilistic", "the target has no such filter or sketch with the source's contents");
}

static void do_search(const struct cmd *m)
{
    lost_only(m, "search-index", "index definitions are not carried over");
}

static void do_flushslots(const struct cmd *m)
{
    lost_only(m, "flush-slots", "the removal of slots is not carried over");
}

static void do_source(const struct cmd *m)
{
    lost_only(m, "command-needs-source", "its effect depends on data that only the source has");
}

/* The effect depends on a key that the command only looked at. Before the cut the snapshot may not have brought it yet:
 * what is not changed is not sent ahead. */
static void early(const struct cmd *m)
{
    if (!m->f->cut)
        lost(m, "command-in-snapshot", "it depends on a key that had perhaps not come yet: check both");
}

/* SORT … STORE and the like are logged as they are where all keys lie on one shard; else with each shard's keys
 * only. */
static void do_truncated(const struct cmd *m)
{
    if (m->f->flows == 1 || m->argc > 2) {
        struct key k;
        early(m);
        key_of(m, &k, 1);
        m->o->pos = m->after;
        emit_argv(m->e, m->o, &k, 1, 0, RF_MULTIKEY, m->argv, m->argc);
    } else {
        lost_only(m, "command-needs-source", "logged without the keys of other shards");
    }
}

/* As it is. */
static void do_forward(const struct cmd *m)
{
    const struct command *c = m->c;
    unsigned flags = c->idempotent ? RF_IDEMPOTENT : 0;
    struct key k;
    if (c->since > m->e->target.version && m->e->target.kind != TARGET_DRAGONFLY &&
        m->e->target.kind != TARGET_VALKEY) {
        lost_only(m, "command-too-new", "the target does not know it");
        return;
    }
    m->o->pos = m->after;
    if (c->first == 0 || c->first >= m->argc) {
        emit_argv(m->e, m->o, NULL, 0, 0, flags | RF_MULTIKEY, m->argv, m->argc);
        return;
    }
    size_t last_key = c->last < 0 ? m->argc - (size_t)-c->last : (size_t)c->last;
    if (last_key > c->first)
        flags |= RF_MULTIKEY;
    key_of(m, &k, c->first);
    emit_argv(m->e, m->o, &k, c->first, 0, flags, m->argv, m->argc);
}

/* With a selection by type the first of the two keys may not be at the target. */
static void if_there(const struct cmd *m, struct slice script)
{
    struct cmd two = *m;
    two.argc = 3;
    run_script(&two, script, 2, 2);
}

static void do_two_keys(const struct cmd *m)
{
    bool copy = is(&m->argv[0], "COPY") && m->argc <= 4; /* not into another database */
    early(m);
    if (copy && m->f->sel != NULL && m->f->sel->types)
        if_there(m, SLICE(LUA_COPY_IF));
    else
        do_forward(m);
}

/* XGROUP CREATE and SETID, XSETID: targets before 7.0 do not know the counters. */
static void do_counters(const struct cmd *m)
{
    struct cmd s = *m;
    struct slice *out;
    bool group = is(&m->argv[0], "XGROUP");
    size_t options = group ? 5 : 3;
    if (m->e->target.version >= VERSION(7, 0) || m->e->target.kind == TARGET_DRAGONFLY || m->argc <= options ||
        (group && !is(&m->argv[1], "CREATE") && !is(&m->argv[1], "SETID"))) {
        do_forward(m);
        return;
    }
    if (!room_for(m, &out, 0)) {
        lost_only(m, "command-too-large", "too many options");
        return;
    }
    memcpy(out, m->argv, options * sizeof *out);
    s.argv = out;
    s.argc = options;
    for (size_t i = options; i < m->argc; i++) {
        if (is(&m->argv[i], "ENTRIESREAD") || is(&m->argv[i], "ENTRIESADDED") || is(&m->argv[i], "MAXDELETEDID"))
            i++;
        else
            out[s.argc++] = m->argv[i];
    }
    do_forward(&s);
}

/* XCLAIM key group consumer…, XAUTOCLAIM: Dragonfly makes the consumer also when there is nothing to claim. Before what
 * it logs for XREADGROUP (with LASTID) it logs that by itself. */
static void do_claim(const struct cmd *m)
{
    if (m->argc >= 4 && !is(&m->argv[m->argc - 2], "LASTID")) {
        struct slice out[5] = {SLICE("XGROUP"), SLICE("CREATECONSUMER"), m->argv[1], m->argv[2], m->argv[3]};
        one_of(m, 2, out, 5, RF_IDEMPOTENT);
    }
    do_forward(m);
}

static void do_float(const struct cmd *m)
{
    if (is(&m->argv[0], "INCRBYFLOAT"))
        run_script(m, SLICE(LUA_INCRBYFLOAT), 1, 2);
    else if (m->f->df_version < VERSION(1, 35)) /* computed with long doubles then, as Redis does */
        do_forward(m);
    else
        run_script(m, SLICE(LUA_HINCRBYFLOAT), 1, 3);
}

static void do_rename(const struct cmd *m)
{
    if (m->f->sel != NULL && m->f->sel->types)
        if_there(m, SLICE(LUA_RENAME_IF));
    else if (m->f->df_version < VERSION(1, 38))
        run_script(m, SLICE(LUA_OLD_RENAME), 2, 2);
    else
        do_forward(m);
}

static void act(const struct cmd *m)
{
    switch (m->c->action) {
    case ACT_FORWARD: do_forward(m); return;
    case ACT_SET: do_set(m); return;
    case ACT_SETEX: do_setex(m); return;
    case ACT_EXPIRE: do_expire(m); return;
    case ACT_RESTORE: do_restore(m); return;
    case ACT_FLUSH: do_flush(m); return;
    case ACT_IGNORE:
        m->e->stats.ignored++;
        nothing(m);
        return;
    case ACT_HSETEX: do_hsetex(m); return;
    case ACT_FIELD_EXPIRE: do_field_expire(m); return;
    case ACT_SADDEX: do_saddex(m); return;
    case ACT_PREPEND: run_script(m, SLICE(LUA_PREPEND), 1, 2); return;
    case ACT_COUNTERS: do_counters(m); return;
    case ACT_CLAIM: do_claim(m); return;
    case ACT_FLOAT: do_float(m); return;
    case ACT_RENAME: do_rename(m); return;
    case ACT_TWO_KEYS: do_two_keys(m); return;
    case ACT_DELEX: do_delex(m); return;
    case ACT_JSON: do_json(m); return;
    case ACT_PROBABILISTIC: do_probabilistic(m); return;
    case ACT_SEARCH: do_search(m); return;
    case ACT_DFLYCLUSTER: do_flushslots(m); return;
    case ACT_SOURCE: do_source(m); return;
    case ACT_TRUNCATED: do_truncated(m); return;
    }
}

/* Cut the command down to the keys that go through. False: nothing is left of it. */
static bool select_command(struct cmd *m)
{
    const char *detail = NULL;
    enum narrowed how = narrow(m->f, m->c, &m->argv, &m->argc, &detail);
    if (how == NARROW_PASS) {
        m->c = command_find(m->argv[0].p, m->argv[0].n); /* it may have become another one */
        return true;
    }
    m->e->stats.filtered++;
    if (how == NARROW_LOST)
        lost_only(m, "selection", detail);
    else
        nothing(m);
    return false;
}

void command_emit(struct flow *f, struct emit *e, uint64_t txid, const struct slice *argv, size_t argc,
                  uint64_t after)
{
    struct cmd m = {f, e, &f->o, command_find(argv[0].p, argv[0].n), txid, argv, argc, f->o.pos, after};
    e->stats.commands++;
    if (f->sel != NULL && !select_command(&m))
        return;
    /* Dragonfly as a target understands all that Dragonfly says. */
    if (m.c == NULL || m.argc < m.c->min_args)
        lost_only(&m, "unknown-command", "not known to df2redis: its effect is missing");
    else
        act(&m);
    buf_trim(&f->s.body, (size_t)1 << 20);
}
