#include "value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "listpack.h"

#define UNPACK_MAX    ((size_t)64 << 20)
#define STRING_PIECE  ((uint64_t)128 << 10)
#define PREALLOC_FROM ((uint64_t)1 << 20)
#define DF_EPOCH      1675209600u /* field expiries count seconds from 2023-02-01 */

enum packing { PACK_NONE, PACK_LISTPACK, PACK_ZIPLIST, PACK_INTSET, PACK_QUICKLIST2 };

enum layout {
    LAYOUT_STRING,   /* one string */
    LAYOUT_BLOB,     /* one string that packs all elements */
    LAYOUT_ELEMENTS, /* a count, then elements of one or more fields each */
    LAYOUT_NODES,    /* a count, then strings that pack elements */
    LAYOUT_STREAM,
    LAYOUT_SKIP,     /* nothing that Redis could hold */
};

/* One field of an element. */
enum field { F_END, F_STR, F_F64, F_DOUBLETEXT, F_TTL };

struct shape {
    enum layout layout;
    unsigned vclass;
    enum packing pack;
    enum field fields[4]; /* LAYOUT_ELEMENTS */
    unsigned group;       /* packed elements that belong together: 1, or 2 for hashes and sorted sets */
    const char *command;  /* that adds elements */
    bool idempotent;      /* so is that command */
    const char *name;     /* of types that cannot be carried over */
};

static const struct shape shapes[38] = {
    [0] = {LAYOUT_STRING, CLASS_STRING, PACK_NONE, {F_END}, 0, NULL, true, NULL},
    [1] = {LAYOUT_ELEMENTS, CLASS_LIST, PACK_NONE, {F_STR}, 1, "RPUSH", false, NULL},
    [2] = {LAYOUT_ELEMENTS, CLASS_SET, PACK_NONE, {F_STR}, 1, "SADD", true, NULL},
    [3] = {LAYOUT_ELEMENTS, CLASS_ZSET, PACK_NONE, {F_STR, F_DOUBLETEXT}, 2, "ZADD", true, NULL},
    [4] = {LAYOUT_ELEMENTS, CLASS_HASH, PACK_NONE, {F_STR, F_STR}, 2, "HSET", true, NULL},
    [5] = {LAYOUT_ELEMENTS, CLASS_ZSET, PACK_NONE, {F_STR, F_F64}, 2, "ZADD", true, NULL},
    [10] = {LAYOUT_BLOB, CLASS_LIST, PACK_ZIPLIST, {F_END}, 1, "RPUSH", false, NULL},
    [11] = {LAYOUT_BLOB, CLASS_SET, PACK_INTSET, {F_END}, 1, "SADD", true, NULL},
    [12] = {LAYOUT_BLOB, CLASS_ZSET, PACK_ZIPLIST, {F_END}, 2, "ZADD", true, NULL},
    [13] = {LAYOUT_BLOB, CLASS_HASH, PACK_ZIPLIST, {F_END}, 2, "HSET", true, NULL},
    [14] = {LAYOUT_NODES, CLASS_LIST, PACK_ZIPLIST, {F_END}, 1, "RPUSH", false, NULL},
    [15] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, {F_END}, 0, NULL, false, NULL},
    [16] = {LAYOUT_BLOB, CLASS_HASH, PACK_LISTPACK, {F_END}, 2, "HSET", true, NULL},
    [17] = {LAYOUT_BLOB, CLASS_ZSET, PACK_LISTPACK, {F_END}, 2, "ZADD", true, NULL},
    [18] = {LAYOUT_NODES, CLASS_LIST, PACK_QUICKLIST2, {F_END}, 1, "RPUSH", false, NULL},
    [19] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, {F_END}, 0, NULL, false, NULL},
    [20] = {LAYOUT_BLOB, CLASS_SET, PACK_LISTPACK, {F_END}, 1, "SADD", true, NULL},
    [21] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, {F_END}, 0, NULL, false, NULL},
    [30] = {LAYOUT_STRING, CLASS_JSON, PACK_NONE, {F_END}, 0, NULL, true, NULL},
    [31] = {LAYOUT_ELEMENTS, CLASS_HASH, PACK_NONE, {F_STR, F_STR, F_TTL}, 2, "HSET", true, NULL},
    [32] = {LAYOUT_ELEMENTS, CLASS_SET, PACK_NONE, {F_STR, F_TTL}, 1, "SADD", true, NULL},
    [33] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, {F_END}, 0, NULL, true, "bloom-filter"},
    [34] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, {F_END}, 0, NULL, true, "bloom-filter"},
    [35] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, {F_END}, 0, NULL, true, "count-min-sketch"},
    [36] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, {F_END}, 0, NULL, true, "top-k"},
    [37] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, {F_END}, 0, NULL, true, "cuckoo-filter"},
};

void scratch_free(struct scratch *s)
{
    buf_free(&s->body);
    buf_free(&s->ttls);
    buf_free(&s->copy);
    buf_free(&s->lzf[0]);
    buf_free(&s->lzf[1]);
}

unsigned value_class(unsigned type)
{
    return type < sizeof shapes / sizeof shapes[0] ? shapes[type].vclass : 0;
}

bool value_text(struct scratch *s, unsigned which, const struct pstr *ps, struct slice *out)
{
    *out = (struct slice){ps->p, ps->n};
    if (ps->clen == 0)
        return true;
    struct buf *b = &s->lzf[which];
    b->len = 0;
    b->max = UNPACK_MAX;
    uint8_t *to = buf_room(b, ps->n);
    if (to == NULL || lzf_unpack(ps->p, ps->clen, to, ps->n) < 0)
        return false;
    *out = (struct slice){to, ps->n};
    return true;
}

/* ---- passing over a value ---- */

static long packed_check(enum packing pack, const struct slice *t)
{
    switch (pack) {
    case PACK_LISTPACK: return listpack_check(t->p, t->n);
    case PACK_ZIPLIST: return ziplist_check(t->p, t->n);
    case PACK_INTSET: return intset_check(t->p, t->n);
    default: return -1;
    }
}

static enum got scan_packed(struct cur *c, struct scratch *s, enum packing pack, unsigned group)
{
    struct pstr ps;
    struct slice t;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &t))
        return cur_bad(c, "a string that unpacks (LZF)");
    long n = packed_check(pack, &t);
    return n < 0 || n % group != 0 ? cur_bad(c, "a valid listpack, ziplist or intset") : GOT;
}

/* A quicklist node: container kind, then an element or a listpack of them. */
static enum got scan_node2(struct cur *c, struct scratch *s)
{
    uint64_t container;
    struct pstr ps;
    enum got g = cur_plen(c, &container);
    if (g != GOT)
        return g;
    if (container == 2)
        return scan_packed(c, s, PACK_LISTPACK, 1);
    return container == 1 ? cur_pstr(c, &ps) : cur_bad(c, "a list node of kind 1 or 2");
}

static enum got scan_field(struct cur *c, enum field f)
{
    struct pstr ps;
    const uint8_t *p;
    if (f == F_F64)
        return cur_raw(c, 8, &p);
    if (f != F_DOUBLETEXT)
        return cur_pstr(c, &ps);
    if (c->p >= c->end)
        return cur_need(c, 1);
    return cur_raw(c, *c->p >= 253 ? 1 : (size_t)1 + *c->p, &p);
}

static enum got scan_element(const struct shape *sh, struct cur *c)
{
    for (const enum field *f = sh->fields; f < sh->fields + 4 && *f != F_END; f++) {
        enum got g = scan_field(c, *f);
        if (g != GOT)
            return g;
    }
    return GOT;
}

enum got value_scan(unsigned type, struct cur *c, struct scratch *s)
{
    const struct shape *sh = &shapes[type];
    struct pstr ps;
    uint64_t n;
    enum got g;
    switch (sh->layout) {
    case LAYOUT_STRING: return cur_pstr(c, &ps);
    case LAYOUT_BLOB: return scan_packed(c, s, sh->pack, sh->group);
    case LAYOUT_STREAM: return stream_scan(type, c, s);
    case LAYOUT_SKIP: return cur_bad(c, "a type that can be restored");
    default: break;
    }
    g = cur_plen(c, &n);
    for (uint64_t i = 0; g == GOT && i < n; i++) {
        if (sh->layout == LAYOUT_ELEMENTS)
            g = scan_element(sh, c);
        else
            g = sh->pack == PACK_QUICKLIST2 ? scan_node2(c, s) : scan_packed(c, s, sh->pack, 1);
    }
    return g;
}

/* ---- writing parts ---- */

void value_start(struct value *v, struct emit *e, struct origin *o)
{
    if (v->started || v->dropped)
        return;
    v->started = true;
    struct slice argv[2] = {SLICE("DEL"), {v->key.p, v->key.n}};
    emit_argv(e, o, &v->key, 1, v->vclass, RF_IDEMPOTENT | RF_FIRST, argv, 2);
}

static void flush_ttls(struct value *v, struct emit *e, struct origin *o, struct scratch *s)
{
    if (v->nttls == 0)
        return;
    uint8_t ms[20], n[20];
    struct slice head[5] = {SLICE("HPEXPIREAT"),
                            {v->key.p, v->key.n},
                            {ms, dec_u64(ms, v->ttl_ms)},
                            SLICE("FIELDS"),
                            {n, dec_u64(n, v->nttls)}};
    emit_body(e, o, &v->key, v->vclass, RF_IDEMPOTENT, head, 5, &s->ttls, v->nttls);
    v->nttls = 0;
    s->ttls.len = 0;
}

static void flush_part(struct value *v, struct emit *e, struct origin *o, struct scratch *s)
{
    if (v->nbody > 0 && !v->dropped) {
        value_start(v, e, o);
        struct slice head[2] = {{(const uint8_t *)v->shape->command, strlen(v->shape->command)},
                                {v->key.p, v->key.n}};
        emit_body(e, o, &v->key, v->vclass, v->shape->idempotent ? RF_IDEMPOTENT : 0, head, 2, &s->body, v->nbody);
    }
    v->nbody = 0;
    s->body.len = 0;
    flush_ttls(v, e, o, s);
}

/* One element (member; field and value; score and member) joins the part, or goes alone when it is large. */
static void add(struct value *v, struct emit *e, struct origin *o, struct scratch *s, const struct slice *args,
                size_t n)
{
    if (v->dropped)
        return;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += args[i].n;
    if (bytes > e->target.maxbulk) {
        emit_report(e, o, true, "element-too-large", v->key.p, v->key.n, "an element exceeds proto-max-bulk-len");
        return;
    }
    if (s->body.len + bytes > e->part_size)
        flush_part(v, e, o, s);
    if (bytes > e->part_size) {
        struct slice argv[4] = {{(const uint8_t *)v->shape->command, strlen(v->shape->command)},
                                {v->key.p, v->key.n}};
        memcpy(argv + 2, args, n * sizeof *args);
        value_start(v, e, o);
        emit_argv(e, o, &v->key, 1, v->vclass, v->shape->idempotent ? RF_IDEMPOTENT : 0, argv, 2 + n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        (void)resp_add_bulk(&s->body, args[i].p, args[i].n); /* bounded by part_size */
    v->nbody += n;
}

/* A field of a hash has an expiry of its own, ms. Its HSET must have been written when the expiries are. */
static void add_ttl(struct value *v, struct emit *e, struct origin *o, struct scratch *s, const struct slice *field,
                    uint64_t ms)
{
    if (v->dropped)
        return;
    if (v->vclass != CLASS_HASH || !target_field_ttl(&e->target)) {
        if (!v->reported)
            emit_report(e, o, true, v->vclass == CLASS_HASH ? "field-ttl" : "member-ttl", v->key.p, v->key.n,
                        "elements were written without their expiries: the target has none");
        v->reported = true;
        return;
    }
    if (v->nttls > 0 && v->ttl_ms != ms)
        flush_part(v, e, o, s);
    if (resp_add_bulk(&s->ttls, field->p, field->n) < 0) { /* a name of 64 MiB */
        emit_report(e, o, true, "field-ttl", v->key.p, v->key.n, "a field too large was written without its expiry");
        return;
    }
    v->ttl_ms = ms;
    v->nttls++;
    if (s->ttls.len > e->part_size)
        flush_part(v, e, o, s);
}

void value_finish(struct value *v, struct emit *e, struct origin *o)
{
    if (v->dropped)
        return;
    if (!v->started) { /* nothing is left of it: what an older version of the key left must go */
        value_start(v, e, o);
        emit_position(e, o, RF_LAST);
        return;
    }
    if (v->expire_ms == 0) {
        emit_position(e, o, RF_LAST);
        return;
    }
    uint8_t num[20];
    struct slice argv[3] = {SLICE("PEXPIREAT"), {v->key.p, v->key.n}, {num, dec_u64(num, v->expire_ms)}};
    emit_argv(e, o, &v->key, 1, v->vclass, RF_IDEMPOTENT | RF_LAST, argv, 3);
}

/* ---- decoding ---- */

/* Score as text that reads back as the same double. */
static size_t score_text(char *to, size_t cap, double d)
{
    if (isinf(d))
        return (size_t)snprintf(to, cap, "%s", d > 0 ? "inf" : "-inf");
    return (size_t)snprintf(to, cap, "%.17g", d);
}

static bool score_of(enum field f, const uint8_t *p, char *to, size_t cap, struct slice *out)
{
    double d;
    if (f == F_F64) {
        memcpy(&d, p, sizeof d);
    } else {
        char text[256];
        size_t n = *p;
        if (n >= 253) {
            d = n == 254 ? INFINITY : n == 255 ? -INFINITY : NAN;
        } else {
            memcpy(text, p + 1, n);
            text[n] = '\0';
            char *end;
            d = strtod(text, &end);
            if (end == text || *end != '\0')
                return false;
        }
    }
    if (isnan(d))
        return false;
    *out = (struct slice){(const uint8_t *)to, score_text(to, cap, d)};
    return true;
}

/* Expiry of a field in ms, 0: none. False when the text is no possible one. */
static bool ttl_of(const struct slice *t, uint64_t *ms)
{
    char num[20];
    char *end;
    *ms = 0;
    if (t->n == 0 || t->n >= sizeof num)
        return false;
    memcpy(num, t->p, t->n);
    num[t->n] = '\0';
    long long v = strtoll(num, &end, 10);
    if (end != num + t->n || v > INT64_MAX / 1000 - (long long)DF_EPOCH)
        return false;
    if (v >= 0)
        *ms = ((uint64_t)v + DF_EPOCH) * 1000;
    return true;
}

/* One element of LAYOUT_ELEMENTS: all its fields or none. */
static enum got feed_element(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    struct cur t = *c;
    struct pstr ps[3];
    struct slice arg[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    char score[64];
    unsigned n = 0, packed = 0;
    bool alive = true;
    uint64_t ms = 0;
    for (const enum field *f = v->shape->fields; f < v->shape->fields + 4 && *f != F_END; f++, n++) {
        const uint8_t *at = t.p;
        enum got g = *f == F_STR || *f == F_TTL ? cur_pstr(&t, &ps[n]) : scan_field(&t, *f);
        if (g != GOT) {
            c->want = t.want;
            c->why = t.why;
            return g;
        }
        if (*f == F_STR && !value_text(s, packed++, &ps[n], &arg[n]))
            return cur_bad(c, "a string that unpacks (LZF) to at most 64 MiB");
        if ((*f == F_F64 || *f == F_DOUBLETEXT) && !score_of(*f, at, score, sizeof score, &arg[n]))
            return cur_bad(c, "a score");
        if (*f == F_TTL) {
            arg[n] = (struct slice){ps[n].p, ps[n].n};
            if (ps[n].clen > 0 || !ttl_of(&arg[n], &ms))
                return cur_bad(c, "an expiry in decimal");
            alive = ms == 0 || ms > e->now_ms;
        }
    }
    *c = t;
    if (!alive)
        return GOT;
    if (v->vclass == CLASS_ZSET) {
        struct slice swapped[2] = {arg[1], arg[0]};
        add(v, e, o, s, swapped, 2);
    } else {
        add(v, e, o, s, arg, v->shape->group);
    }
    if (ms > 0)
        add_ttl(v, e, o, s, &arg[0], ms);
    return GOT;
}

/* All elements of an intset, listpack or ziplist. */
static enum got feed_packed(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s,
                            enum packing pack, const struct slice *t)
{
    struct elem el[2];
    struct slice arg[2] = {{NULL, 0}, {NULL, 0}};
    const uint8_t *it = NULL;
    if (packed_check(pack, t) < 0)
        return cur_bad(c, "a valid listpack, ziplist or intset");
    if (pack == PACK_INTSET) {
        for (size_t i = 0; i < le32(t->p + 4); i++) {
            arg[0] = (struct slice){el[0].num, dec_i64(el[0].num, intset_at(t->p, i))};
            add(v, e, o, s, arg, 1);
        }
        return GOT;
    }
    for (;;) {
        for (unsigned i = 0; i < v->shape->group; i++) {
            int rc = pack == PACK_LISTPACK ? listpack_next(t->p, t->n, &it, &el[i])
                                           : ziplist_next(t->p, t->n, &it, &el[i]);
            if (rc == 0 && i == 0)
                return GOT;
            if (rc != 1)
                return cur_bad(c, "an even number of elements");
            arg[i] = (struct slice){el[i].p, el[i].n};
        }
        if (v->vclass == CLASS_ZSET) {
            struct slice swapped[2] = {arg[1], arg[0]};
            add(v, e, o, s, swapped, 2);
        } else {
            add(v, e, o, s, arg, v->shape->group);
        }
    }
}

static enum got feed_blob(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s,
                          enum packing pack)
{
    struct pstr ps;
    struct slice t;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &t))
        return cur_bad(c, "a string that unpacks (LZF) to at most 64 MiB");
    return feed_packed(v, e, o, c, s, pack, &t);
}

static enum got feed_node(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    if (v->shape->pack != PACK_QUICKLIST2)
        return feed_blob(v, e, o, c, s, v->shape->pack);
    struct cur t = *c;
    uint64_t container;
    struct pstr ps;
    struct slice el;
    enum got g = cur_plen(&t, &container);
    if (g == GOT && container == 2)
        g = feed_blob(v, e, o, &t, s, PACK_LISTPACK);
    else if (g == GOT && container != 1)
        g = cur_bad(&t, "a list node of kind 1 or 2");
    else if (g == GOT && (g = cur_pstr(&t, &ps)) == GOT) {
        if (value_text(s, 0, &ps, &el))
            add(v, e, o, s, &el, 1);
        else
            g = cur_bad(&t, "a string that unpacks (LZF) to at most 64 MiB");
    }
    if (g == GOT)
        c->p = t.p;
    c->want = t.want;
    c->why = t.why;
    return g;
}

/* ---- strings ---- */

static void put_string(struct value *v, struct emit *e, struct origin *o, const uint8_t *p, uint64_t n, uint64_t total)
{
    uint8_t num[20];
    if (v->dropped)
        return;
    struct slice set[3] = {SLICE("SET"), {v->key.p, v->key.n}, {p, n}};
    if (v->offset == 0) {
        if (n + v->key.n > REC_PAYLOAD_MAX - 512) /* journaled keys have no bound */
            emit_argv(e, o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT | RF_FIRST, set, 3);
        else
            emit_set(e, o, &v->key, p, n, 0, RF_FIRST);
        /* Let the target allocate once instead of growing the string part by part. */
        if (total >= PREALLOC_FROM && total > n) {
            struct slice argv[4] = {SLICE("SETRANGE"), {v->key.p, v->key.n}, {num, dec_u64(num, total - 1)}, {(const uint8_t *)"", 1}};
            emit_argv(e, o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT, argv, 4);
        }
    } else {
        struct slice argv[4] = {SLICE("SETRANGE"), {v->key.p, v->key.n}, {num, dec_u64(num, v->offset)}, {p, n}};
        emit_argv(e, o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT, argv, 4);
    }
    v->started = true;
}

static bool string_fits(struct value *v, struct emit *e, struct origin *o, uint64_t total)
{
    if (total <= e->target.maxbulk)
        return true;
    if (!v->dropped)
        emit_report(e, o, true, "string-too-large", v->key.p, v->key.n, "longer than the target's proto-max-bulk-len");
    v->dropped = true;
    return false;
}

static enum got feed_plain_string(struct value *v, struct emit *e, struct origin *o, struct cur *c)
{
    if (v->left == 0 && v->offset == 0)
        put_string(v, e, o, c->p, 0, 0); /* an empty string is a key, too */
    while (v->left > 0) {
        uint64_t step = v->left < STRING_PIECE ? v->left : STRING_PIECE;
        if (cur_left(c) < step && !v->dropped)
            return cur_need(c, step);
        if (cur_left(c) < step)
            step = cur_left(c);
        if (step == 0)
            return cur_need(c, 1);
        put_string(v, e, o, c->p, step, v->offset + v->left);
        c->p += step;
        v->offset += step;
        v->left -= step;
    }
    return GOT;
}

static enum got feed_string(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    struct pstr ps;
    struct slice t;
    if (!v->counted) {
        bool plain;
        enum got g = cur_pstr_head(c, &v->left, &plain);
        if (g != GOT)
            return g;
        if (plain) {
            v->counted = true;
            (void)string_fits(v, e, o, v->left);
        }
    }
    if (v->counted)
        return feed_plain_string(v, e, o, c);
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &t))
        return cur_bad(c, "a string that unpacks (LZF) to at most 64 MiB");
    if (!string_fits(v, e, o, t.n))
        return GOT;
    struct cur all = {t.p, t.p + t.n, 0, NULL};
    v->left = t.n;
    v->counted = true;
    return feed_plain_string(v, e, o, &all);
}

static enum got feed_json(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    struct pstr ps;
    struct slice t;
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!value_text(s, 0, &ps, &t))
        return cur_bad(c, "a string that unpacks (LZF) to at most 64 MiB");
    if (v->dropped)
        return GOT;
    if (!e->target.has_json && e->unsupported != UNSUPPORTED_APPROXIMATE) {
        emit_report(e, o, true, "json", v->key.p, v->key.n, "the target has no JSON module (--unsupported approximate writes it as a string)");
        v->dropped = true;
        return GOT;
    }
    v->started = true;
    if (e->target.has_json) {
        struct slice argv[4] = {SLICE("JSON.SET"), {v->key.p, v->key.n}, SLICE("$"), t};
        emit_argv(e, o, &v->key, 1, CLASS_JSON, RF_IDEMPOTENT | RF_FIRST, argv, 4);
    } else {
        struct slice argv[3] = {SLICE("SET"), {v->key.p, v->key.n}, t};
        emit_report(e, o, false, "json-as-string", v->key.p, v->key.n, "written as a string");
        emit_argv(e, o, &v->key, 1, CLASS_JSON, RF_IDEMPOTENT | RF_FIRST, argv, 3);
    }
    return GOT;
}

/* ---- what Redis cannot hold ---- */

/* Layouts of 33 to 37 as programs: l = plen, 8 = eight bytes; then the filters that the last plen counted: F = plen
 * and string, P = plen and pieces, p = pieces; C = the counters of a count-min sketch, H = heap of (string, plen),
 * B = plen bytes. */
static const char *const programs[] = {"l88llllF", "l88llllP", "lllC", "llll8lHB", "lllllllp"};

/* Take the next plen of the program. */
static enum got skip_plen(struct value *v, struct cur *c)
{
    uint64_t n;
    enum got g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    v->before[1] = v->before[0];
    v->before[0] = v->left;
    v->left = n;
    v->step++;
    return GOT;
}

/* The counters of a count-min sketch: width x depth, the two plens before the last, of eight bytes each. */
static enum got skip_counters(struct value *v, struct cur *c)
{
    uint64_t width = v->before[1], depth = v->before[0];
    if (depth != 0 && width > ((uint64_t)1 << 40) / depth)
        return cur_bad(c, "a sketch of a possible size");
    v->skip = width * depth * 8;
    v->step++;
    return GOT;
}

/* Pass over v->skip raw bytes as they come. */
static enum got skip_raw(struct value *v, struct cur *c)
{
    uint64_t n = cur_left(c) < v->skip ? cur_left(c) : v->skip;
    c->p += n;
    v->skip -= n;
    return v->skip > 0 ? cur_need(c, 1) : GOT;
}

/* A string of which only the head must be there. */
static enum got skip_pstr(struct value *v, struct cur *c)
{
    struct pstr ps;
    bool plain;
    uint64_t n = 0;
    enum got g = cur_pstr_head(c, &n, &plain);
    if (g != GOT)
        return g;
    if (!plain)
        return cur_pstr(c, &ps);
    v->skip = n;
    return GOT;
}

/* Pieces of v->pieces bytes in all: (plen, bytes) again and again. */
static enum got skip_piece(struct value *v, struct cur *c)
{
    uint64_t n;
    enum got g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    if (n == 0 || n > v->pieces)
        return cur_bad(c, "a piece that fits its filter");
    v->pieces -= n;
    v->skip = n;
    return GOT;
}

/* One filter: [hash count] and its bits. */
static enum got skip_filter(struct value *v, struct cur *c, char kind)
{
    struct cur t = *c;
    uint64_t unused, total = 0;
    enum got g = kind == 'p' ? GOT : cur_plen(&t, &unused);
    if (g == GOT && kind == 'F')
        g = skip_pstr(v, &t);
    else if (g == GOT && (g = cur_plen(&t, &total)) == GOT)
        v->pieces = total;
    if (g == GOT) {
        c->p = t.p;
        v->left--;
    }
    c->want = t.want;
    c->why = t.why;
    return g;
}

static enum got skip_heap(struct value *v, struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    uint64_t n;
    enum got g = cur_pstr(&t, &ps);
    if (g == GOT)
        g = cur_plen(&t, &n);
    if (g == GOT) {
        c->p = t.p;
        v->left--;
    }
    c->want = t.want;
    c->why = t.why;
    return g;
}

static enum got skip_step(struct value *v, struct cur *c, char op)
{
    const uint8_t *p;
    enum got g = GOT;
    switch (op) {
    case 'l': return skip_plen(v, c);
    case '8': g = cur_raw(c, 8, &p); break;
    case 'F':
    case 'P':
    case 'p':
        if (v->left > 0)
            return skip_filter(v, c, op);
        break;
    case 'H':
        if (v->left > 0)
            return skip_heap(v, c);
        break;
    case 'B':
        g = cur_plen(c, &v->skip);
        break;
    default: return skip_counters(v, c);
    }
    if (g == GOT)
        v->step++;
    return g;
}

static enum got feed_skip(struct value *v, struct cur *c)
{
    const char *program = programs[v->type - 33];
    for (;;) {
        enum got g = skip_raw(v, c);
        if (g == GOT && v->pieces > 0)
            g = skip_piece(v, c);
        else if (g == GOT && program[v->step] == '\0')
            return GOT;
        else if (g == GOT)
            g = skip_step(v, c, program[v->step]);
        if (g != GOT)
            return g;
    }
}

/* ---- the whole ---- */

void value_begin(struct value *v, struct emit *e, struct origin *o, unsigned type, const struct key *k,
                 uint64_t expire_ms)
{
    struct buf name = v->name;
    struct stream_state st = v->st;
    memset(v, 0, sizeof *v);
    name.len = 0;
    name.max = (size_t)1 << 30;
    (void)buf_add(&name, k->p, k->n);
    v->name = name;
    v->st.group = st.group;
    v->st.consumer = st.consumer;
    v->st.pel = st.pel;
    v->key = *k;
    v->key.p = v->name.p;
    v->type = type;
    v->shape = &shapes[type];
    v->vclass = v->shape->vclass;
    v->db = o->db;
    if (expire_ms != 0) {
        v->expire_ms = emit_expiry(e, o, expire_ms);
        v->dropped = v->expire_ms == 0;
    }
    if (v->shape->layout == LAYOUT_SKIP && !v->dropped) {
        emit_report(e, o, true, v->shape->name, k->p, k->n, "Redis has no such type that these bits would fit");
        v->dropped = true;
    } else if (!v->dropped && !o->live) {
        e->stats.keys[v->vclass]++;
    }
}

static enum got feed_counted(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    enum got g = GOT;
    if (!v->counted) {
        g = cur_plen(c, &v->left);
        if (g != GOT)
            return g;
        v->counted = true;
    }
    while (v->left > 0 && g == GOT) {
        g = v->shape->layout == LAYOUT_ELEMENTS ? feed_element(v, e, o, c, s) : feed_node(v, e, o, c, s);
        if (g == GOT)
            v->left--;
    }
    return g;
}

enum got value_feed(struct value *v, struct emit *e, struct origin *o, struct cur *c, struct scratch *s)
{
    uint32_t db = o->db;
    enum got g;
    o->db = v->db;
    switch (v->shape->layout) {
    case LAYOUT_STRING: g = v->type == 30 ? feed_json(v, e, o, c, s) : feed_string(v, e, o, c, s); break;
    case LAYOUT_BLOB: g = feed_blob(v, e, o, c, s, v->shape->pack); break;
    case LAYOUT_STREAM: g = stream_feed(v, e, o, c, s); break;
    case LAYOUT_SKIP: g = feed_skip(v, c); break;
    default: g = feed_counted(v, e, o, c, s); break;
    }
    if (g != BAD) {
        flush_part(v, e, o, s);
        if (g == GOT)
            value_finish(v, e, o);
    }
    s->body.len = s->ttls.len = 0;
    o->db = db;
    return g;
}

void value_free(struct value *v)
{
    buf_free(&v->name);
    buf_free(&v->st.group);
    buf_free(&v->st.consumer);
    buf_free(&v->st.pel);
}
