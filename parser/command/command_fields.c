/* Fields of hashes and members of sets that expire by themselves. dragonfly-replication(7), Dragonfly
 * commands. */
#include "command.h"
#include "scripts.h"

/* HPEXPIREAT key ms [condition] FIELDS n f… from a list of every stride-th argument from first on. condition:
 * NX, XX, GT, LT or NULL. */
static void field_expiry(const struct cmd *m, uint64_t ms, const struct slice *condition, size_t first,
                         size_t stride)
{
    struct slice *out;
    uint8_t when[20], count[20];
    size_t n = 3;
    if ((out = cmd_room(m, 6)) == NULL)
        return;
    ms = emit_field_expiry(m->send.e, m->send.o, ms);
    if (m->target->kind == SERVER_DRAGONFLY) { /* in whole seconds from now */
        uint64_t left = ms > m->send.e->now_ms ? (ms - m->send.e->now_ms + 999) / 1000 : 1;
        out[0] = SLICE("FIELDEXPIRE");
        out[1] = m->argv[1];
        out[2] = (struct slice){when, dec_u64(when, left)};
        for (size_t i = first; i < m->argc; i += stride)
            out[n++] = m->argv[i];
        send_last(&m->send, 1, out, n, RF_IDEMPOTENT);
        return;
    }
    out[0] = SLICE("HPEXPIREAT");
    out[1] = m->argv[1];
    out[2] = (struct slice){when, dec_u64(when, ms)};
    if (condition != NULL)
        out[n++] = *condition;
    out[n++] = SLICE("FIELDS");
    out[n++] = (struct slice){count, dec_u64(count, (m->argc - first + stride - 1) / stride)};
    for (size_t i = first; i < m->argc; i += stride)
        out[n++] = m->argv[i];
    send_last(&m->send, 1, out, n, condition != NULL ? 0 : RF_IDEMPOTENT);
}

/* With a condition, or expiries that are kept: each field is looked at where the command runs. */
static void hsetex_script(const struct cmd *m, struct slice condition, bool keep, uint64_t ms, size_t first)
{
    uint8_t when[20];
    if (ms != 0)
        ms = emit_field_expiry(m->send.e, m->send.o, ms);
    struct slice own[3] = {condition, keep ? SLICE("1") : SLICE(""), {when, dec_u64(when, ms)}};
    cmd_script_with(m, SLICE(LUA_HSETEX), own, 3, first, 0);
}

struct hsetex {
    struct slice condition; /* NX, FNX, FXX, or empty */
    bool keep, timed;
    uint64_t ms;
    size_t first; /* field */
};

/* One word of its options, and what follows it. False: they end before argument *i. */
static bool hsetex_option(const struct slice *argv, size_t argc, uint64_t now, struct hsetex *x, size_t *i)
{
    const struct slice *a = &argv[*i];
    bool at;
    if (arg_is(a, "NX"))
        x->condition = SLICE("NX");
    else if (arg_is(a, "FNX"))
        x->condition = SLICE("FNX");
    else if (arg_is(a, "FXX"))
        x->condition = SLICE("FXX");
    else if (arg_is(a, "KEEPTTL"))
        x->keep = true;
    else if (arg_expiry(a, argc - *i, now, &x->ms, &at)) {
        x->timed = true;
        ++*i;
    } else
        return false;
    ++*i;
    return true;
}

/* HSETEX k [NX|FNX|FXX] [KEEPTTL] seconds f v …  (Dragonfly), or k … [EX s|PX ms|…] FIELDS n f v …  (Redis
 * 8). */
static bool parse_hsetex(const struct slice *argv, size_t argc, uint64_t now, struct hsetex *x)
{
    size_t i = 2;
    *x = (struct hsetex){.condition = SLICE("")};
    while (i + 1 < argc && hsetex_option(argv, argc, now, x, &i))
        ;
    if (i + 1 < argc && arg_is(&argv[i], "FIELDS")) {
        i += 2;
    } else if (i < argc) {
        x->ms = arg_from_now(&argv[i++], 1000, now);
        x->timed = true;
    }
    x->first = i;
    return i < argc && (argc - i) % 2 == 0 && (!x->timed || x->ms != 0);
}

/* The target knows it in the form that Redis and Valkey give it. */
static bool knows_hsetex(const struct target *t)
{
    return (t->kind == SERVER_REDIS && t->version >= VERSION(8, 0)) ||
           (t->kind == SERVER_VALKEY && t->version >= VERSION(9, 0));
}

/* HSETEX key KEEPTTL | PXAT ms FIELDS n f v …: in one request, so that no field is seen without its expiry.
 */
static void hsetex_plain(const struct cmd *m, const struct hsetex *x)
{
    struct slice *out;
    uint8_t when[20], count[20];
    size_t n = 2, fields = m->argc - x->first;
    if ((out = cmd_room(m, 4)) == NULL)
        return;
    out[0] = SLICE("HSETEX");
    out[1] = m->argv[1];
    if (x->keep) {
        out[n++] = SLICE("KEEPTTL");
    } else {
        out[n++] = SLICE("PXAT");
        out[n++] = (struct slice){when, dec_u64(when, emit_field_expiry(m->send.e, m->send.o, x->ms))};
    }
    out[n++] = SLICE("FIELDS");
    out[n++] = (struct slice){count, dec_u64(count, fields / 2)};
    memcpy(out + n, m->argv + x->first, fields * sizeof *out);
    send_last(&m->send, 1, out, n + fields, RF_IDEMPOTENT);
}

void do_hsetex(const struct cmd *m)
{
    struct hsetex x;
    bool can = target_field_ttl(m->target), parsed = parse_hsetex(m->argv, m->argc, m->ch->time / 1000, &x);
    if (!m->to->dialect.logs_conditions)
        x.condition = SLICE("");
    if (!parsed) {
        cmd_malformed(m);
    } else if (!m->to->dialect.logs_conditions && (x.keep || x.ms != 0) && knows_hsetex(m->target)) {
        hsetex_plain(m, &x);
    } else if (x.keep && can && m->target->kind == SERVER_DRAGONFLY) {
        cmd_script_with(m, SLICE(LUA_HSETEX_KEEP), m->argv, 0, x.first, RF_IDEMPOTENT);
    } else if (can && (x.condition.n > 0 || x.keep)) {
        hsetex_script(m, x.condition, x.keep, x.ms, x.first);
    } else if (x.condition.n > 0) { /* fields that the target should have lost by now would count */
        cmd_reread_or_lost(m, 1, "command-needs-source",
                           "NX, FNX and FXX depend on the fields that were there");
    } else if (x.ms == 0) {
        cmd_with_rest(m, SLICE("HSET"), x.first, true);
    } else if (can) {
        cmd_with_rest(m, SLICE("HSET"), x.first, false);
        field_expiry(m, x.ms, NULL, x.first, 2);
    } else {
        cmd_lost(m, "field-ttl", "the target has no expiry of fields: they were written without");
        cmd_with_rest(m, SLICE("HSET"), x.first, true);
    }
}

/* ms, if not 0, is when an expiry of fields is to be, as *s says it. 0: no valid number. *gone: it is no
 * later than the entry itself, and the source has no such fields any more. */
static uint64_t field_time(const struct slice *s, uint64_t now, uint64_t ms, bool at, bool *gone)
{
    int64_t v;
    if (ms == 0 && !at && arg_number(s, &v) && v == 0)
        ms = now;
    *gone = ms != 0 && ms <= now;
    return ms;
}

struct field_expire {
    uint64_t ms;
    bool gone, persist, relative;
    const struct slice *condition;
    size_t first; /* of the fields */
};

/* HGETEX k [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS n f…: up to FIELDS. */
static size_t hgetex_options(const struct slice *a, size_t argc, uint64_t now, struct field_expire *x)
{
    size_t i = 2;
    for (; i + 1 < argc && !arg_is(&a[i], "FIELDS"); i++) {
        uint64_t ms;
        bool at;
        if (arg_is(&a[i], "PERSIST")) {
            x->persist = true;
        } else if (arg_expiry(&a[i], argc - i, now, &ms, &at)) {
            x->ms = field_time(&a[i + 1], now, ms, at, &x->gone);
            x->relative = !at;
            i++;
        }
    }
    return i;
}

/* HEXPIRE k s [condition] FIELDS n f…, its P and AT forms, FIELDEXPIRE k s f…, HPERSIST k FIELDS n f…,
 * HGETEX. */
static bool parse_field_expire(const struct slice *a, size_t argc, uint64_t now, struct field_expire *x)
{
    size_t i = 2;
    x->persist = arg_is(&a[0], "HPERSIST");
    if (arg_is(&a[0], "HGETEX")) {
        i = hgetex_options(a, argc, now, x);
    } else if (!x->persist) {
        int64_t unit = arg_is(&a[0], "HPEXPIRE") || arg_is(&a[0], "HPEXPIREAT") ? 1 : 1000;
        bool at = arg_is(&a[0], "HEXPIREAT") || arg_is(&a[0], "HPEXPIREAT");
        uint64_t ms = at ? arg_from_epoch(&a[2], unit) : arg_from_now(&a[2], unit, now);
        x->ms = field_time(&a[2], now, ms, at, &x->gone);
        x->relative = !at;
        i = 3;
    }
    x->first = i;
    if (arg_is(&a[0], "FIELDEXPIRE"))
        return x->ms != 0 && i < argc;
    if (i + 1 < argc && !arg_is(&a[i], "FIELDS"))
        x->condition = &a[i++];
    x->first = i + 2;
    return i < argc && arg_is(&a[i], "FIELDS") && x->first < argc && (x->ms != 0 || x->persist);
}

/* Whether it means a hash or a set only the key tells. */
static void fieldexpire_script(const struct cmd *m, uint64_t ms, size_t first)
{
    uint8_t when[20];
    send_report(&m->send, false, "member-ttl", &m->argv[1],
                "FIELDEXPIRE: if the key is a set its members do not expire at the target");
    struct slice own = {when, dec_u64(when, emit_field_expiry(m->send.e, m->send.o, ms))};
    cmd_script_with(m, SLICE(LUA_FIELDEXPIRE), &own, 1, first, RF_IDEMPOTENT);
}

void do_field_expire(const struct cmd *m)
{
    struct field_expire x = {0};
    bool can = target_field_ttl(m->target);
    if (arg_is(&m->argv[0], "HGETEX") && m->argc > 2 && arg_is(&m->argv[2], "FIELDS")) {
        send_nothing(&m->send); /* a mere read */
        return;
    }
    if (!parse_field_expire(m->argv, m->argc, m->ch->time / 1000, &x)) {
        cmd_malformed(m);
        return;
    }
    /* With a time to come, or one that may have come on the way, the field itself says when. */
    if (x.gone && x.condition == NULL && !arg_is(&m->argv[0], "FIELDEXPIRE") && (x.relative || !can))
        cmd_with_rest(m, SLICE("HDEL"), x.first, true);
    else if (x.persist && !can)
        send_nothing(&m->send); /* no field has an expiry there */
    else if (!can)
        cmd_lost_only(m, "field-ttl", "the target has no expiry of fields");
    else if (x.condition != NULL && m->target->kind == SERVER_DRAGONFLY)
        cmd_lost_only(m, "field-ttl", "the target's expiry of fields has no conditions");
    else if (arg_is(&m->argv[0], "FIELDEXPIRE"))
        fieldexpire_script(m, x.ms, x.first);
    else if (!x.persist)
        field_expiry(m, x.ms, x.condition, x.first, 1);
    else
        cmd_with_rest(m, SLICE("HPERSIST"), x.first - 2, true);
}

/* HGETDEL key FIELDS n field …: what it answers nobody needs. */
void do_hgetdel(const struct cmd *m)
{
    if (arg_is(&m->argv[2], "FIELDS"))
        cmd_with_rest(m, SLICE("HDEL"), 4, true);
    else
        cmd_malformed(m);
}

/* SADDEX k [KEEPTTL] seconds m…: Redis has no expiry of members. */
void do_saddex(const struct cmd *m)
{
    size_t i = m->argc > 2 && arg_is(&m->argv[2], "KEEPTTL") ? 4 : 3;
    if (i >= m->argc) {
        cmd_malformed(m);
        return;
    }
    cmd_lost(m, "member-ttl", "the target has no expiry of set members: they were written without");
    cmd_with_rest(m, SLICE("SADD"), i, true);
}
