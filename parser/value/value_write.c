#include <stdio.h>

#include "../command/scripts.h"
#include "../snapshot/shape.h"

unsigned value_first(struct value *v)
{
    if (!emit_guarded(v->e, v->o))
        return RF_FIRST;
    struct slice argv[4] = {SLICE("EVAL"), SLICE(LUA_ONLY_NEW), SLICE("1"), {v->key.p, v->key.n}};
    emit_argv(v->e, v->o, &v->key, 3, v->vclass, RF_IDEMPOTENT | RF_FIRST, argv, 4);
    return EMIT_PART;
}

void value_start(struct value *v)
{
    if (v->started || v->dropped)
        return;
    v->started = true;
    if (value_first(v) != RF_FIRST)
        return;
    struct slice argv[2] = {SLICE("DEL"), {v->key.p, v->key.n}};
    emit_argv(v->e, v->o, &v->key, 1, v->vclass, RF_IDEMPOTENT | RF_FIRST, argv, 2);
}

static void flush_ttls(struct value *v)
{
    if (v->nttls == 0)
        return;
    uint8_t ms[20], n[20];
    bool from_now = v->e->target.kind == SERVER_DRAGONFLY; /* in whole seconds */
    uint64_t left = v->ttl_ms > v->e->now_ms ? (v->ttl_ms - v->e->now_ms + 999) / 1000 : 1;
    struct slice head[5] = {from_now ? SLICE("FIELDEXPIRE") : SLICE("HPEXPIREAT"),
                            {v->key.p, v->key.n},
                            {ms, dec_u64(ms, from_now ? left : v->ttl_ms)},
                            SLICE("FIELDS"),
                            {n, dec_u64(n, v->nttls)}};
    emit_body(v->e, v->o, &v->key, v->vclass, RF_IDEMPOTENT, head, from_now ? 3 : 5, &v->s->ttls, v->nttls);
    v->nttls = 0;
    v->s->ttls.len = 0;
}

void value_flush(struct value *v)
{
    if (v->nbody > 0 && !v->dropped) {
        value_start(v);
        struct slice head[2] = {{(const uint8_t *)v->shape->command, strlen(v->shape->command)},
                                {v->key.p, v->key.n}};
        emit_body(v->e, v->o, &v->key, v->vclass, v->shape->idempotent ? RF_IDEMPOTENT : 0, head, 2,
                  &v->s->body, v->nbody);
    }
    v->nbody = 0;
    v->s->body.len = 0;
    flush_ttls(v);
}

bool value_add(struct value *v, const struct slice *args, size_t n)
{
    if (v->dropped)
        return false;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += args[i].n;
    if (bytes > v->e->target.maxbulk) {
        emit_report(v->e, v->o, true, "element-too-large", v->key.p, v->key.n,
                    "an element exceeds proto-max-bulk-len");
        return false;
    }
    if (v->s->body.len + bytes > v->e->part_size)
        value_flush(v);
    if (bytes > v->e->part_size) {
        struct slice argv[4] = {{(const uint8_t *)v->shape->command, strlen(v->shape->command)},
                                {v->key.p, v->key.n}};
        memcpy(argv + 2, args, n * sizeof *args);
        value_start(v);
        emit_argv(v->e, v->o, &v->key, 1, v->vclass, v->shape->idempotent ? RF_IDEMPOTENT : 0, argv, 2 + n);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        (void)resp_add_bulk(&v->s->body, args[i].p, args[i].n); /* bounded by part_size */
    v->nbody += n;
    return true;
}

void value_add_ttl(struct value *v, const struct slice *field, uint64_t ms)
{
    if (v->dropped)
        return;
    bool of_set = v->vclass != CLASS_HASH;
    if (!target_field_ttl(&v->e->target) || (of_set && v->e->target.kind != SERVER_DRAGONFLY)) {
        if (!v->reported)
            emit_report(v->e, v->o, true, of_set ? "member-ttl" : "field-ttl", v->key.p, v->key.n,
                        "elements were written without their expiries: the target has none");
        v->reported = true;
        return;
    }
    if (v->nttls > 0 && v->ttl_ms != ms)
        value_flush(v);
    if (resp_add_bulk(&v->s->ttls, field->p, field->n) < 0) { /* a name of 64 MiB */
        emit_report(v->e, v->o, true, "field-ttl", v->key.p, v->key.n,
                    "a field too large was written without its expiry");
        return;
    }
    v->ttl_ms = ms;
    v->nttls++;
    if (v->s->ttls.len > v->e->part_size)
        value_flush(v);
}

/* What is wrong with a value is told to whomever it is written for. text: behind where it stands. */
static void report_at(struct emit *e, struct origin *o, const struct key *k, bool lost, const char *kind,
                      const char *what, uint64_t at, const char *text)
{
    char detail[260], place[60] = "";
    if (at != AT_UNKNOWN)
        snprintf(place, sizeof place, " at byte %llu of the flow", (unsigned long long)at);
    snprintf(detail, sizeof detail, "%s%s: expected %s", what, place, text);
    bool quiet = e->no_target;
    e->no_target = false;
    emit_report(e, o, lost, kind, k->p, k->n, detail);
    e->no_target = quiet;
}

/* Whatever of it was written, the key ends the same. */
static void take_back(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, bool started)
{
    struct slice argv[2] = {SLICE("DEL"), {k->p, k->n}};
    if (started || !emit_guarded(e, o))
        emit_argv(e, o, k, 1, vclass, RF_IDEMPOTENT | (started ? RF_LAST : 0), argv, 2);
}

void value_refused(struct emit *e, struct origin *o, const struct key *k, unsigned vclass, const char *why)
{
    report_at(e, o, k, true, "damaged-value", "damaged", o->at, why);
    take_back(e, o, k, vclass, false);
}

enum got value_damaged(struct value *v, struct cur *c, const char *why)
{
    if (scratch_fault(v->s) != 0)
        return cur_bad(c, why);
    if (v->dropped)
        return GOT;
    report_at(v->e, v->o, &v->key, true, "damaged-value", "damaged", v->at, why);
    v->dropped = true;
    v->nbody = v->nttls = 0;
    v->s->body.len = v->s->ttls.len = 0;
    take_back(v->e, v->o, &v->key, v->vclass, v->started);
    return GOT;
}

void value_odd(struct value *v, const struct odd *odd)
{
    char text[160];
    if (v->dropped || odd->why == NULL)
        return;
    bool lost = odd->twice && v->vclass != CLASS_SET; /* the other value */
    snprintf(text, sizeof text, "%s; it is written as commands%s", odd->why,
             lost ? ", the first of each" : "");
    report_at(v->e, v->o, &v->key, lost, "unsound-value", "unsound", v->at, text);
}

void value_finish(struct value *v)
{
    if (v->dropped)
        return;
    if (!v->started && emit_guarded(v->e, v->o))
        return;
    if (!v->started) { /* nothing is left of it: what an older version of the key left must go */
        value_start(v);
        emit_last(v->e, v->o, &v->key);
        return;
    }
    if (v->sticky)
        emit_stick(v->e, v->o, &v->key);
    if (v->expire_ms == 0)
        emit_last(v->e, v->o, &v->key);
    else
        emit_expire_last(v->e, v->o, &v->key, v->vclass, v->expire_ms);
}
