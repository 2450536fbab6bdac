#include "export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <bsd/string.h>

#include "convert.h"
#include "exits.h"
#include "put.h"
#include "../change.h"
#include "../command/args.h"
#include "../snapshot/rdb.h"

/* Values up to this many bytes are looked at whole, as are streams up to the second number. */
#define WHOLE        ((size_t)256 << 10)
#define STREAM_WHOLE ((size_t)768 << 10)

struct export
{
    struct outlet outlet; /* first: what others know of it */
    struct book book;
    struct heap heap;
    struct taken *spare;      /* those that are free */
    struct repeats libraries; /* of functions: their names */
};

static struct export *of(struct outlet *out)
{
    return (struct export *)out;
}

static void fail(struct outlet *out, int status, const char *why)
{
    if (out->status == 0)
        strlcpy(out->why, why, sizeof out->why);
    out->status = out->status != 0 ? out->status : status;
}

/* Something could not be written: parsing has to end. */
static void check_faults(struct export *x, const struct site *at)
{
    int fault = book_fault(&x->book) != 0 ? book_fault(&x->book) : x->heap.fault;
    char why[200];
    if (__builtin_expect(fault == 0, 1))
        return;
    snprintf(why, sizeof why, "cannot write the file: %s", strerror(fault));
    fail(&x->outlet, EXIT_CANNOT, why);
    at->e->refused = true;
}

/* ---- which values ---- */

static void report_json(const struct site *at, const struct change *ch)
{
    emit_report(at->e, at->o, true, "json", ch->key.p, ch->key.n,
                at->e->target.has_json
                    ? "only values of the module ReJSON have a known form (--unsupported approximate writes "
                      "JSON as a string)"
                    : "the target has no JSON module (--unsupported approximate writes it as a string)");
}

/* JSON as a module's value, or as a string. */
static enum got wants_json(const struct site *at, const struct change *ch, struct outlet_word *word)
{
    if (convert_json_module(&at->e->target))
        return GOT;
    if (at->e->unsupported == UNSUPPORTED_APPROXIMATE) {
        emit_report(at->e, at->o, false, "json-as-string", ch->key.p, ch->key.n, "written as a string");
        return GOT;
    }
    report_json(at, ch);
    word->reported = true;
    return BAD;
}

static enum got wants_module(const struct site *at, const struct change *ch, const struct cur *c,
                             struct outlet_word *word)
{
    struct cur id = *c;
    uint64_t name;
    enum got g = cur_plen(&id, &name);
    if (g == NEED) {
        word->want = id.want;
        return NEED;
    }
    if (g == BAD || convert_has_module(&at->e->target, c))
        return g;
    bool json = name >> 8 == UINT64_C(0x45e25238df912c) && (name & 1023) == 3;
    return json ? wants_json(at, ch, word) : BAD;
}

static enum got wants(struct outlet *out, const struct site *at, const struct change *ch, const struct cur *c,
                      struct outlet_word *word)
{
    (void)out;
    if (ch->type == 0)
        return GOT;
    const struct shape *sh = shape_of(ch->type);
    if (sh->layout == LAYOUT_MODULE)
        return c == NULL ? BAD : wants_module(at, ch, c, word);
    if (ch->type == 30)
        return wants_json(at, ch, word);
    return convert_as(&at->e->target, ch->type) != 0 ? GOT : BAD;
}

/* ---- values that are all there ---- */

/* The next key, if it is a short one that stands there, will be looked up: where, is fetched meanwhile. A
 * wrong guess costs nothing. */
static inline void look_ahead(const struct export *x, uint32_t db, const uint8_t *p, const uint8_t *end)
{
    if (end - p > 9 && *p == OP_EXPIRE_MS)
        p += 9;
    if (end - p > 64 && p[1] < 64)
        book_fetch(&x->book, khash_of(db, p + 2, p[1]));
}

/* An entry whose value is written as its bytes lie. */
static void write_raw(struct export *x, const struct site *at, const struct change *ch, const uint8_t *v,
                      size_t n)
{
    uint8_t head[ITEM_HEAD];
    const struct slice key = {ch->key.p, ch->key.n};
    size_t nhead = (size_t)(put_len(item_head(head, ch->expire_ms, ch->hint, ch->type & 255), key.n) - head);
    struct khash hash = khash_of(at->o->db, key.p, key.n);
    struct out *o = book_place(&x->book, at->o->db, &key, hash, nhead + key.n + n);
    if (nhead + key.n + n <= OUT_LIMIT / 2) {
        uint8_t *to = out_room(o, nhead + key.n + n);
        to = put_bytes(put_bytes(put_bytes(to, head, nhead), key.p, key.n), v, n);
        o->b.len = (size_t)(to - o->b.p);
    } else {
        out_add(o, head, nhead);
        out_add(o, key.p, key.n);
        out_add(o, v, n);
    }
    at->e->stats.keys[value_class(ch->type)]++;
    check_faults(x, at);
}

static struct taken *new_taken(struct export *x)
{
    struct taken *v = x->spare;
    if (v == NULL)
        return xcalloc(1, sizeof *v);
    x->spare = v->next;
    return v;
}

static void drop(struct outlet *out, struct taken *v)
{
    struct export *x = of(out);
    item_end(&v->item, &x->heap);
    buf_trim(&v->stream.pel, (size_t)1 << 20);
    v->next = x->spare;
    x->spare = v;
}

/* A value is complete. */
static void finish(struct export *x, const struct site *at, struct taken *v)
{
    struct key k = {.p = v->item.name.p, .n = v->item.name.len};
    unsigned vclass = value_class(v->type);
    if (v->damage != NULL) {
        value_refused(at->e, at->o, &k, vclass, v->damage);
    } else if (convert_some(v)) {
        at->e->stats.keys[vclass]++;
        item_write(&v->item, &x->heap, &x->book);
    }
    check_faults(x, at);
}

static enum got more(struct outlet *out, const struct site *at, struct taken *v, struct cur *c)
{
    struct export *x = of(out);
    uint32_t db = at->o->db;
    at->o->db = v->item.db;
    enum got g = convert_feed(v, &x->heap, at, c);
    if (g == GOT)
        finish(x, at, v);
    else
        check_faults(x, at);
    at->o->db = db;
    if (g != NEED)
        drop(out, v);
    return g;
}

static struct taken *begin(struct outlet *out, const struct site *at, const struct change *ch)
{
    struct taken *v = new_taken(of(out));
    convert_begin(v, &of(out)->heap, at, ch, NULL);
    return v;
}

/* In pieces, or as another type. */
static enum got convert(struct export *x, const struct site *at, const struct change *ch, struct cur *c,
                        struct taken **rest)
{
    struct taken *v = new_taken(x);
    convert_begin(v, &x->heap, at, ch, c);
    enum got g = more(&x->outlet, at, v, c);
    if (g == NEED)
        *rest = v;
    return g;
}

static enum got key_string(struct export *x, const struct site *at, const struct change *ch, struct cur *c,
                           struct taken **rest)
{
    struct pstr ps;
    struct slice text;
    struct cur v = *c;
    enum got g = cur_pstr(&v, &ps);
    if (g == NEED && v.want + cur_left(c) < WHOLE)
        return cur_settle(c, &v, g);
    if (g == BAD)
        return cur_settle(c, &v, g);
    if (g == NEED || ps.n > UNPACK_MEM)
        return convert(x, at, ch, c, rest);
    if (!value_text(at->s, 0, &ps, &text)) {
        if (scratch_fault(at->s) != 0)
            return cur_bad(c, UNPACKS);
        value_refused(at->e, at->o, &ch->key, CLASS_STRING, UNPACKS);
    } else {
        write_raw(x, at, ch, c->p, (size_t)(v.p - c->p));
    }
    c->p = v.p;
    look_ahead(x, at->o->db, c->p, c->end);
    return GOT;
}

/* Servers refuse it, or crash on it later. */
static bool unfit(const struct scratch *s, unsigned vclass)
{
    if (vclass == CLASS_STREAM || vclass == CLASS_OTHER)
        return s->odd.form;
    return s->elements == 0 || s->odd.form || s->odd.why != NULL;
}

static enum got key_container(struct export *x, const struct site *at, const struct change *ch, struct cur *c,
                              struct taken **rest)
{
    unsigned vclass = value_class(ch->type);
    bool stream = vclass == CLASS_STREAM, module = ch->type == 7 && convert_has_module(&at->e->target, c);
    bool same = module || convert_as(&at->e->target, ch->type) == ch->type;
    size_t limit = stream ? STREAM_WHOLE : WHOLE;
    struct cur v = *c;
    if (!same && !stream)
        return convert(x, at, ch, c, rest);
    if (cur_left(c) > limit) /* what is longer comes in pieces: no need to look at all of it */
        v.end = c->p + limit;
    enum got g = value_scan(ch->type, &v, at->s);
    if (g == BAD || (g == NEED && cur_left(c) < limit))
        return cur_settle(c, &v, g);
    if (g == NEED)
        return convert(x, at, ch, c, rest);
    if (at->s->damage != NULL) {
        value_refused(at->e, at->o, &ch->key, vclass, at->s->damage);
        c->p = v.p;
        return GOT;
    }
    if (!same || unfit(at->s, vclass))
        return convert(x, at, ch, c, rest);
    write_raw(x, at, ch, c->p, (size_t)(v.p - c->p));
    c->p = v.p;
    return GOT;
}

static enum got key(struct outlet *out, const struct site *at, const struct change *ch, struct cur *c,
                    struct taken **rest)
{
    struct export *x = of(out);
    return ch->type == 0 ? key_string(x, at, ch, c, rest) : key_container(x, at, ch, c, rest);
}

/* ---- commands ---- */

static void stop(struct outlet *out, const struct site *at, int status, const char *why)
{
    fail(out, status, why);
    at->e->refused = true;
}

/* Changes that came while the snapshot was made are left out: it is of the time when it began. */
static void command(struct outlet *out, const struct site *at, const struct change *ch, bool early)
{
    const struct slice *name = &ch->argv[0];
    if (!early)
        return;
    if (arg_is(name, "FLUSHALL") || arg_is(name, "FLUSHDB"))
        stop(out, at, EXIT_RETRY, "the source was emptied (FLUSHALL, FLUSHDB) while its keys were read");
    else if ((arg_is(name, "RENAME") || arg_is(name, "RENAMENX") || arg_is(name, "RESTORE")) && ch->argc > 1)
        emit_report(at->e, at->o, true, "renamed", ch->argv[1].p, ch->argv[1].n,
                    "renamed or restored while the keys were read: it may be missing under both names");
}

/* Servers refuse a library that is there twice: the masters of a cluster all have it. */
static void library(struct outlet *out, const struct site *at, const struct slice *code)
{
    struct export *x = of(out);
    uint8_t head[1 + PUT_LEN_MAX];
    size_t line = 0;
    while (line < code->n && code->p[line] != '\n')
        line++;
    if (!repeats_first(&x->libraries, khash_of(0, code->p, line)))
        return;
    head[0] = OP_FUNCTION;
    out_add(&x->book.out, head, (size_t)(put_len(head + 1, code->n) - head));
    out_add(&x->book.out, code->p, code->n);
    check_faults(x, at);
}

/* ---- the file ---- */

static void add_aux(struct out *o, const char *name, const char *value)
{
    uint8_t b[128], *p = b;
    *p++ = OP_AUX;
    p = put_str(p, name, strlen(name));
    p = put_str(p, value, strlen(value));
    out_add(o, b, (size_t)(p - b));
}

/* Nothing in it is of today, so that the same input makes the same file. */
static void write_head(struct out *o, const struct target *t)
{
    char magic[16], version[32];
    bool valkey = t->kind == SERVER_VALKEY;
    if (valkey && t->rdb >= 80)
        snprintf(magic, sizeof magic, "VALKEY%03u", t->rdb % 1000);
    else
        snprintf(magic, sizeof magic, "REDIS%04u", t->rdb % 10000);
    out_add(o, magic, 9);
    snprintf(version, sizeof version, "%u.%u.%u", t->version >> 16, t->version >> 8 & 255, t->version & 255);
    add_aux(o, valkey ? "valkey-ver" : "redis-ver", version);
    add_aux(o, "redis-bits", "64");
}

static const struct outlet_kind kind = {.wants = wants,
                                        .key = key,
                                        .begin = begin,
                                        .more = more,
                                        .drop = drop,
                                        .command = command,
                                        .library = library};

struct export *export_open(const char *path, const struct target *t)
{
    struct export *x = xcalloc(1, sizeof *x);
    x->outlet.kind = &kind;
    if (book_open(&x->book, path) < 0) {
        int fault = errno;
        export_free(x);
        errno = fault;
        return NULL;
    }
    heap_init(&x->heap, book_dir(&x->book));
    write_head(&x->book.out, t);
    return x;
}

struct outlet *export_outlet(struct export *x)
{
    return &x->outlet;
}

int export_finish(struct export *x, struct emit *e, bool live)
{
    static const uint8_t eof = OP_EOF;
    book_settle(&x->book, e, !live);
    out_add(&x->book.out, &eof, 1);
    int fault = book_fault(&x->book) != 0 ? book_fault(&x->book) : x->heap.fault;
    if (fault == 0 && !out_finish(&x->book.out))
        fault = x->book.out.fault;
    errno = fault;
    return fault == 0 ? 0 : -1;
}

void export_free(struct export *x)
{
    for (struct taken *v; (v = x->spare) != NULL;) {
        x->spare = v->next;
        item_free(&v->item);
        buf_free(&v->stream.pel);
        free(v);
    }
    repeats_free(&x->libraries);
    heap_free(&x->heap);
    book_free(&x->book);
    free(x);
}
