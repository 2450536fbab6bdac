/* RESTORE, which is also how RENAME and COPY over shards are journaled. rdb(5), DUMP PAYLOADS;
 * dragonfly-replication(7), Rewritten commands. */
#include "command.h"
#include "crc64.h"

bool restore_footer_fits(const struct emit *e, const struct slice *p)
{
    uint64_t crc, sum = 0;
    memcpy(&crc, p->p + p->n - 8, sizeof crc);
    for (size_t at = 0, step; crc != 0 && at < p->n - 8; at += step) {
        step = p->n - 8 - at < PAGES_STEP ? p->n - 8 - at : PAGES_STEP;
        sum = crc64(sum, p->p + at, step);
        pages_drop(&e->pages);
    }
    return crc == sum;
}

/* Its value cannot be carried over: what was there before it is not to stay. */
static void leave_nothing(const struct sending *s, const struct slice *key, unsigned flags)
{
    struct slice del[2] = {SLICE("DEL"), *key};
    send_last(s, 1, del, 2, RF_IDEMPOTENT | flags);
}

static void refuse(const struct cmd *m, const char *why, unsigned flags)
{
    cmd_lost(m, "restore-payload", why);
    leave_nothing(&m->send, &m->argv[1], flags);
}

/* A string by one request, however long it is. Other values are there already (check.h): what takes more than
 * one request is left as it is, as a part of it would be taken for the whole. */
static void restore_string(const struct cmd *m, const struct slice *raw, uint64_t ms)
{
    struct key k;
    struct pstr ps;
    uint8_t num[20];
    struct slice set[5] = {SLICE("SET"), m->argv[1], {NULL, 0}, SLICE("PXAT")};
    struct cur c = {raw->p, raw->p + raw->n, 0, NULL};
    if (cur_pstr(&c, &ps) != GOT || !value_text(&m->to->s, 0, &ps, &set[2])) {
        refuse(m, "a damaged value", 0);
        return;
    }
    if (set[2].n > m->send.e->target.maxbulk) {
        cmd_lost_only(m, "string-too-large", "longer than the target's proto-max-bulk-len");
        return;
    }
    if (ms != 0)
        ms = emit_expiry(m->send.e, m->send.o, ms);
    set[4] = (struct slice){num, dec_u64(num, ms)};
    key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
    m->send.o->pos = m->send.after;
    emit_argv(m->send.e, m->send.o, &k, 1, CLASS_STRING, RF_IDEMPOTENT, set, ms != 0 ? 5 : 3);
}

static void restore_value(const struct cmd *m, unsigned type, const struct slice *raw, uint64_t ms)
{
    struct key k;
    struct slice made;
    struct cur whole = {raw->p, raw->p + raw->n, 0, NULL};
    unsigned was = type, ver = target_restore_as(m->target, was, &type);
    if (type != was) {
        (void)stream_to_older(was, type == 19, &whole, &m->to->s, &made); /* was scanned: cannot fail */
        raw = &made;
    }
    bool fits = type != 0 && ver != 0 && !value_unfit(type, raw, &m->to->s, m->send.e->now_ms);
    bool twice = ms != 0 && older_target(m->target) && m->target->version < VERSION(5, 0);
    if (m->to->at_once && type == 0) {
        restore_string(m, raw, ms);
        return;
    }
    key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
    if (fits && raw->n + k.n < REC_PAYLOAD_MAX - 512 && !(m->to->at_once && twice)) {
        if (ms != 0)
            ms = emit_expiry(m->send.e, m->send.o, ms);
        m->send.o->pos = m->send.after;
        emit_restore(m->send.e, m->send.o, &k, value_class(type), type & 255, raw->p, raw->n, ver, ms,
                     (struct hint){HINT_NONE, 0});
        return;
    }
    if (m->to->at_once) {
        send_nothing(&m->send);
        return;
    }
    struct cur c = {raw->p, raw->p + raw->n, 0, NULL};
    m->send.o->pos = m->send.before;
    m->send.o->at = AT_UNKNOWN;
    value_begin(&m->to->restored, m->send.e, m->send.o, &m->to->s, type, &k, ms);
    m->to->restored.odd = m->to->s.odd;
    const struct value *v = &m->to->restored;
    /* Its structure was scanned; what is left are filters and sketches, and memory. */
    bool done = value_feed(&m->to->restored, &c) == GOT;
    if (done && !v->dropped)
        send_nothing(&m->send);
    else if (done || value_class(type) == CLASS_OTHER)
        leave_nothing(&m->send, &m->argv[1], 0);
    else
        refuse(m, "a damaged value", v->started ? RF_LAST : 0);
}

/* A value of a module goes as it is to a target that has the module. */
static void restore_module(const struct cmd *m, const struct slice *raw, uint64_t ms)
{
    struct key k;
    char name[10];
    bool there = module_of(raw->p, raw->n, name) != NULL && target_has_module(m->target, name);
    unsigned ver = target_restore_version(m->target, 7);
    if (!there || ver == 0 || raw->n + m->argv[1].n >= REC_PAYLOAD_MAX - 512) {
        cmd_lost(m, "module",
                 there ? "too large a value of a module" : "a module that the target does not have");
        leave_nothing(&m->send, &m->argv[1], 0);
        return;
    }
    key_set(m->send.e, &k, m->argv[1].p, m->argv[1].n);
    if (ms != 0)
        ms = emit_expiry(m->send.e, m->send.o, ms);
    m->send.o->pos = m->send.after;
    emit_restore(m->send.e, m->send.o, &k, CLASS_OTHER, 7, raw->p, raw->n, ver, ms,
                 (struct hint){HINT_NONE, 0});
}

/* The type of the value as its first byte and the RDB version of its writer say it: Valkey's own begin at 80.
 */
static unsigned type_of(const struct dialect *d, const struct slice *p)
{
    unsigned version = le16(p->p + p->n - 10);
    if (d->old_json && p->p[0] == 20 && version < 10)
        return 30; /* an old number of JSON */
    return value_type(d->native ? FAMILY_DRAGONFLY : version >= 80 ? FAMILY_VALKEY : FAMILY_REDIS, p->p[0]);
}

/* RESTORE k ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ f] [STICK]. */
void do_restore(const struct cmd *m)
{
    uint64_t ms;
    if (!args_restore(m->argv, m->argc, m->ch->time / 1000, &ms)) {
        cmd_malformed(m);
        return;
    }
    if (m->argv[1].n > m->target->maxbulk) {
        cmd_lost_only(m, "command-too-large", "a key longer than the target's proto-max-bulk-len");
        return;
    }
    const struct slice *p = &m->argv[3];
    if (p->n < 12 || !restore_footer_fits(m->send.e, p)) {
        refuse(m, "a payload with a wrong checksum", 0);
        return;
    }
    unsigned type = type_of(&m->to->dialect, p);
    struct slice v = {p->p + 1, p->n - 11};
    struct cur c = {v.p, v.p + v.n, 0, NULL};
    if (type == 7 && !m->to->dialect.native) {
        restore_module(m, &v, ms);
        return;
    }
    if (value_class(type) == 0 || type == 7) {
        refuse(m, "an unknown value type", 0);
        return;
    }
    bool scannable = value_class(type) != CLASS_OTHER;
    if (scannable && (value_scan(type, &c, &m->to->s) != GOT || c.p != c.end || m->to->s.damage != NULL)) {
        refuse(m, "a damaged value", 0);
        return;
    }
    restore_value(m, type, &v, ms);
}
