#include "inspect.h"

#include <stdlib.h>

#include "../change.h"
#include "../export/stream_copy.h"
#include "../value/parts.h"

#define WHOLE ((size_t)64 << 10) /* strings up to this are looked at whole */

enum measuring { MEASURE_STRING, MEASURE_PARTS, MEASURE_STREAM, MEASURE_SKIP };

struct taken {
    enum measuring how;
    struct measured m;
    struct buf name;
    const struct shape *shape;
    struct parts parts;
    struct stream_copy stream;
    struct value skipped; /* of what can only be passed over */
    bool begun;
    uint64_t left;      /* bytes of a string still to come */
    struct taken *next; /* that is free, too */
};

struct inspect {
    struct outlet outlet; /* first: what others know of it */
    struct tally tally;
    struct taken *spare; /* those that are free */
};

static struct inspect *of(struct outlet *out)
{
    return (struct inspect *)out;
}

/* ---- parts ---- */

static void measure(struct taken *v, const struct slice *part)
{
    if (part->n > v->m.largest)
        v->m.largest = part->n;
}

static void on_element(void *ctx, const struct element *x, const struct slice *raw)
{
    struct taken *v = ctx;
    (void)raw;
    v->m.elements++;
    for (unsigned i = 0; i < x->nstr; i++)
        measure(v, &x->str[i]);
}

static bool on_packed(void *ctx, const struct slice *raw, uint64_t n, const struct odd *odd)
{
    (void)ctx, (void)raw, (void)n, (void)odd;
    return false;
}

static const struct parts_to to_measure = {.element = on_element, .packed = on_packed};

/* ---- values ---- */

static enum measuring how_of(const struct shape *sh)
{
    switch (sh->layout) {
    case LAYOUT_STRING: return MEASURE_STRING;
    case LAYOUT_STREAM: return MEASURE_STREAM;
    case LAYOUT_BLOB:
    case LAYOUT_ELEMENTS:
    case LAYOUT_NODES:
    case LAYOUT_TEMPLATE: return MEASURE_PARTS;
    default: return MEASURE_SKIP;
    }
}

static enum got feed_string(struct taken *v, struct cur *c)
{
    bool plain = true;
    struct pstr ps;
    if (!v->begun) {
        enum got g = cur_pstr_head(c, &v->left, &plain);
        if (g == GOT && !plain) {
            g = cur_pstr(c, &ps);
            v->left = 0;
        }
        if (g != GOT)
            return g;
        v->m.elements = v->m.largest = plain ? v->left : ps.n;
        v->begun = true;
    }
    size_t n = cur_left(c) < v->left ? cur_left(c) : (size_t)v->left;
    c->p += n;
    v->left -= n;
    return v->left == 0 ? GOT : cur_need(c, v->left < PAGES_STEP ? v->left : PAGES_STEP);
}

static enum got feed(struct taken *v, const struct site *at, struct cur *c)
{
    switch (v->how) {
    case MEASURE_STRING: return feed_string(v, c);
    case MEASURE_STREAM: return stream_copy(&v->stream, c, at->s, NULL, NULL);
    case MEASURE_SKIP: return value_feed(&v->skipped, c);
    default: return parts_feed(&v->parts, c, at->s);
    }
}

/* Excluded for the decoder, so that it only passes over it. */
static void begin_skipped(struct taken *v, const struct site *at, const struct change *ch)
{
    struct key k = ch->key;
    k.excluded = true;
    value_begin(&v->skipped, at->e, at->o, at->s, ch->type, &k, 0);
    at->e->stats.filtered--;
}

static void start(struct taken *v, const struct site *at, const struct change *ch)
{
    v->shape = shape_of(ch->type);
    v->how = how_of(v->shape);
    v->begun = false;
    v->left = 0;
    v->name.len = 0;
    (void)buf_add(&v->name, ch->key.p, ch->key.n);
    v->m = (struct measured){.key = {v->name.p, v->name.len},
                             .db = at->o->db,
                             .vclass = v->shape->vclass,
                             .type = ch->type,
                             .size = ch->key.n,
                             .expire_ms = ch->expire_ms};
    parts_begin(&v->parts, v->shape, &to_measure, v);
    v->parts.template.known = ch->templates;
    if (v->how == MEASURE_STREAM)
        stream_copy_begin(&v->stream, ch->type, ch->type);
    else if (v->how == MEASURE_SKIP)
        begin_skipped(v, at, ch);
}

static void drop(struct outlet *out, struct taken *v)
{
    struct inspect *x = of(out);
    value_free(&v->skipped);
    v->skipped = (struct value){.e = NULL};
    buf_trim(&v->name, (size_t)64 << 10);
    buf_trim(&v->stream.pel, (size_t)1 << 20);
    v->next = x->spare;
    x->spare = v;
}

static void finish(struct inspect *x, const struct site *at, struct taken *v)
{
    struct key k = {.p = v->name.p, .n = v->name.len};
    const char *damage = v->how == MEASURE_PARTS    ? v->parts.damage
                         : v->how == MEASURE_STREAM ? v->stream.damage
                                                    : NULL;
    if (v->how == MEASURE_STREAM)
        v->m.elements = v->stream.order.live;
    if (damage != NULL)
        value_refused(at->e, at->o, &k, v->m.vclass, damage);
    else
        tally_add(&x->tally, &v->m, at->e->now_ms);
}

static struct taken *new_taken(struct inspect *x)
{
    struct taken *v = x->spare;
    if (v == NULL)
        return xcalloc(1, sizeof *v);
    x->spare = v->next;
    return v;
}

static enum got more(struct outlet *out, const struct site *at, struct taken *v, struct cur *c)
{
    const uint8_t *from = c->p;
    uint32_t db = at->o->db;
    at->o->db = v->m.db;
    enum got g = feed(v, at, c);
    v->m.size += (uint64_t)(c->p - from);
    if (g == GOT)
        finish(of(out), at, v);
    at->o->db = db;
    unpack_drop(&at->s->lzf[0]);
    unpack_drop(&at->s->lzf[1]);
    if (g != NEED)
        drop(out, v);
    return g;
}

static struct taken *begin(struct outlet *out, const struct site *at, const struct change *ch)
{
    struct taken *v = new_taken(of(out));
    start(v, at, ch);
    return v;
}

/* Most keys are short strings. False: it is not one, or not all there. */
static bool short_string(struct inspect *x, const struct site *at, const struct change *ch, struct cur *c)
{
    struct pstr ps;
    struct cur v = *c;
    if (ch->type != 0 || cur_pstr(&v, &ps) != GOT || ps.n > WHOLE)
        return false;
    struct measured m = {.key = {ch->key.p, ch->key.n},
                         .db = at->o->db,
                         .vclass = CLASS_STRING,
                         .size = ch->key.n + (size_t)(v.p - c->p),
                         .elements = ps.n,
                         .largest = ps.n,
                         .expire_ms = ch->expire_ms};
    tally_add(&x->tally, &m, at->e->now_ms);
    c->p = v.p;
    return true;
}

static enum got key(struct outlet *out, const struct site *at, const struct change *ch, struct cur *c,
                    struct taken **rest)
{
    if (short_string(of(out), at, ch, c))
        return GOT;
    struct taken *v = begin(out, at, ch);
    enum got g = more(out, at, v, c);
    if (g == NEED)
        *rest = v;
    return g;
}

static enum got wants(struct outlet *out, const struct site *at, const struct change *ch, const struct cur *c,
                      struct outlet_word *word)
{
    (void)out, (void)at, (void)ch, (void)c, (void)word;
    return GOT;
}

static void command(struct outlet *out, const struct site *at, const struct change *ch, bool early)
{
    (void)out, (void)at, (void)ch, (void)early;
}

static void library(struct outlet *out, const struct site *at, const struct slice *code)
{
    (void)out, (void)at, (void)code;
}

static const struct outlet_kind kind = {.wants = wants,
                                        .key = key,
                                        .begin = begin,
                                        .more = more,
                                        .drop = drop,
                                        .command = command,
                                        .library = library};

struct inspect *inspect_open(enum inspect_form form, unsigned top, FILE *to)
{
    struct inspect *x = xcalloc(1, sizeof *x);
    x->outlet.kind = &kind;
    tally_init(&x->tally, form, top, to);
    return x;
}

struct outlet *inspect_outlet(struct inspect *x)
{
    return &x->outlet;
}

int inspect_finish(struct inspect *x, bool complete)
{
    return tally_write(&x->tally, complete);
}

void inspect_free(struct inspect *x)
{
    for (struct taken *v; (v = x->spare) != NULL;) {
        x->spare = v->next;
        value_free(&v->skipped);
        buf_free(&v->name);
        buf_free(&v->stream.pel);
        free(v);
    }
    tally_free(&x->tally);
    free(x);
}
