#include "convert.h"

#include <stdio.h>

#include "put.h"
#include "../change.h"

#define HASH_TTL_REDIS  (T_REDIS + 24)
#define HASH_TTL_VALKEY (T_VALKEY + 22)
#define LOWEST_TTL      1 /* what expiries are relative to in type 24: any lower bound is valid */

/* ReJSON-RL, version 3, and the opcode of a string. */
static const uint8_t rejson[] = {0x81, 0x45, 0xe2, 0x52, 0x38, 0xdf, 0x91, 0x2c, 0x03, 0x05};

static bool has_ttls(const struct shape *sh)
{
    bool any = sh->group == 3;
    for (size_t i = 0; i < 4 && sh->fields[i] != F_END; i++)
        any |= sh->fields[i] >= F_TTL;
    return any;
}

static unsigned plain(const struct target *t, const struct shape *sh)
{
    switch (sh->vclass) {
    case CLASS_LIST: return 1;
    case CLASS_SET: return 2;
    case CLASS_ZSET: return 5;
    default: break;
    }
    if (!has_ttls(sh) || !target_field_ttl(t))
        return 4;
    return t->kind == SERVER_VALKEY ? HASH_TTL_VALKEY : HASH_TTL_REDIS;
}

static unsigned stream_as(const struct target *t, unsigned type)
{
    static const unsigned older[] = {T_REDIS + 27, T_REDIS + 26, 21, 19, 15};
    bool reached = false;
    for (size_t i = 0; i < sizeof older / sizeof older[0]; i++) {
        reached |= older[i] == type;
        if (reached && target_restore_version(t, older[i]) != 0)
            return older[i];
    }
    return 0;
}

unsigned convert_as(const struct target *t, unsigned type)
{
    const struct shape *sh = shape_of(type);
    switch (sh->layout) {
    case LAYOUT_STREAM: return stream_as(t, type);
    case LAYOUT_BLOB:
    case LAYOUT_ELEMENTS:
    case LAYOUT_NODES:
    case LAYOUT_TEMPLATE: return target_restore_version(t, type) != 0 ? type : plain(t, sh);
    default: return 0;
    }
}

bool convert_json_module(const struct target *t)
{
    return target_names_module(t, "ReJSON-RL");
}

/* ---- parts ---- */

/* What is copied may lie in a mapped file. */
static void add(struct taken *v, const uint8_t *p, size_t n)
{
    while (n > PAGES_STEP) {
        heaped_add(v->heap, &v->item.body, p, PAGES_STEP);
        if (v->site->s->pages != NULL)
            pages_drop(v->site->s->pages);
        p += PAGES_STEP;
        n -= PAGES_STEP;
    }
    heaped_add(v->heap, &v->item.body, p, n);
}

static void add_str(struct taken *v, const struct slice *s)
{
    uint8_t len[PUT_LEN_MAX];
    add(v, len, (size_t)(put_len(len, s->n) - len));
    add(v, s->p, s->n);
}

/* The target has no expiries of elements: those that have expired are gone, the others lose theirs. False: it
 * is gone. */
static bool without_ttl(struct taken *v, uint64_t ms)
{
    const struct site *at = v->site;
    if (ms <= at->e->now_ms)
        return false;
    if (!v->ttl_lost)
        emit_report(at->e, at->o, true, v->shape->vclass == CLASS_HASH ? "field-ttl" : "member-ttl",
                    v->item.name.p, v->item.name.len,
                    "elements were written without their expiries: the target has none");
    v->ttl_lost = true;
    return true;
}

static void add_ttl(struct taken *v, uint64_t ms)
{
    uint8_t b[8];
    (void)put_u64(b, ms != 0 ? ms : UINT64_MAX);
    add(v, b, sizeof b);
}

static void on_element(void *ctx, const struct element *x, const struct slice *raw)
{
    struct taken *v = ctx;
    uint8_t b[PUT_LEN_MAX];
    if (v->as == v->type && raw != NULL) {
        add(v, raw->p, raw->n);
        v->item.count++;
        return;
    }
    bool keeps_ttl = v->as == HASH_TTL_REDIS || v->as == HASH_TTL_VALKEY;
    if (x->ms != 0 && !keeps_ttl && !without_ttl(v, x->ms))
        return;
    if (v->as == HASH_TTL_REDIS) /* so that what is relative to LOWEST_TTL is the time itself */
        add(v, b, (size_t)(put_len(b, x->ms) - b));
    for (unsigned i = 0; i < x->nstr; i++)
        add_str(v, &x->str[i]);
    if (v->as == 5)
        add(v, (const uint8_t *)&x->score, sizeof x->score);
    else if (v->as == HASH_TTL_VALKEY)
        add_ttl(v, x->ms);
    v->item.count++;
}

static void remark_odd(struct taken *v, const char *why, bool lost)
{
    char text[160];
    const struct site *at = v->site;
    snprintf(text, sizeof text, "expected %s; it is written anew%s", why, lost ? ", the first of each" : "");
    emit_report(at->e, at->o, lost, "unsound-value", v->item.name.p, v->item.name.len, text);
}

/* A list node that is a listpack of one empty string: servers refuse a node of kind 1 for it. */
static const uint8_t empty_element[] = {2, 9, 9, 0, 0, 0, 1, 0, 0x80, 1, 0xff};

/* What servers would not load is written as another type; nothing of it was written yet. */
static bool on_packed(void *ctx, const struct slice *raw, uint64_t n, const struct odd *odd)
{
    struct taken *v = ctx;
    bool nodes = v->shape->layout == LAYOUT_NODES;
    (void)n;
    if (v->as != v->type)
        return false;
    if (nodes && odd->form) {
        add(v, empty_element, sizeof empty_element);
        v->item.count++;
        return true;
    }
    if (odd->form || odd->why != NULL) {
        if (odd->why != NULL)
            remark_odd(v, odd->why, odd->twice && v->shape->vclass != CLASS_SET);
        v->as = plain(&v->site->e->target, v->shape);
        return false;
    }
    add(v, raw->p, raw->n);
    v->item.count++;
    return true;
}

static const struct parts_to to_item = {.element = on_element, .packed = on_packed};

static enum got feed_parts(struct taken *v, struct cur *c)
{
    enum got g = parts_feed(&v->parts, c, v->site->s);
    if (g != GOT)
        return g;
    v->damage = v->parts.damage;
    if (v->parts.twice && v->shape->layout == LAYOUT_ELEMENTS && v->damage == NULL)
        remark_odd(v, "each field or member once", v->shape->vclass != CLASS_SET);
    struct item *x = &v->item;
    x->counted = v->as != v->type || v->shape->layout != LAYOUT_BLOB;
    x->based = v->as == HASH_TTL_REDIS || (v->as == v->type && v->shape->base);
    x->base = v->as == v->type ? v->parts.base : LOWEST_TTL;
    return GOT;
}

/* ---- strings, JSON, modules ---- */

/* Does it unpack to its length? In pieces, whatever its length. */
static bool unpacks(const struct pstr *ps, struct scratch *s)
{
    struct lzf_pieces z = {.in = ps->p, .end = ps->p + ps->clen, .b = &s->lzf[0].mem};
    struct slice piece;
    uint64_t done = 0;
    int rc;
    z.b->len = 0;
    while ((rc = lzf_piece(&z, (size_t)128 << 10, &piece)) > 0 && done <= ps->n)
        done += piece.n;
    return rc == 0 && done == ps->n;
}

/* A string as its bytes lie. */
static enum got feed_string(struct taken *v, struct cur *c)
{
    bool is_plain = true;
    struct pstr ps;
    const uint8_t *from = c->p;
    if (!v->begun) {
        enum got g = cur_pstr_head(c, &v->left, &is_plain);
        if (g == GOT && !is_plain) {
            g = cur_pstr(c, &ps);
            if (g == GOT && ps.clen > 0 && !unpacks(&ps, v->site->s))
                v->damage = UNPACKS;
            v->left = 0;
        }
        if (g != GOT)
            return g;
        add(v, from, (size_t)(c->p - from));
        v->begun = true;
    }
    size_t n = cur_left(c) < v->left ? cur_left(c) : (size_t)v->left;
    add(v, c->p, n);
    c->p += n;
    v->left -= n;
    return v->left == 0 ? GOT : cur_need(c, v->left < PAGES_STEP ? v->left : PAGES_STEP);
}

static enum got feed_module(struct taken *v, struct cur *c)
{
    uint64_t id;
    const uint8_t *from = c->p;
    enum got g = GOT;
    if (!v->begun) {
        g = cur_plen(c, &id);
        v->begun = g == GOT;
    }
    if (g == GOT)
        g = module_values(c, NULL);
    add(v, from, (size_t)(c->p - from));
    return g;
}

/* Around the text: of the source's module, or of the target's. */
static enum got feed_json(struct taken *v, struct cur *c)
{
    uint64_t head[2], end = 0;
    bool of_module = v->type == 7;
    if (!v->headed) {
        if (of_module) {
            enum got g = cur_plens(c, head, 2);
            if (g != GOT)
                return g;
            if (head[1] != 5)
                return cur_bad(c, "the text of a JSON value");
        }
        v->headed = true;
        if (v->as == 7)
            add(v, rejson, sizeof rejson);
    }
    if (!v->texted) {
        enum got g = feed_string(v, c);
        if (g != GOT)
            return g;
        v->texted = true;
        if (v->as == 7)
            add(v, (const uint8_t *)"", 1);
    }
    enum got g = of_module ? cur_plen(c, &end) : GOT;
    return g == GOT && end != 0 ? cur_bad(c, "the end of a JSON value") : g;
}

/* ---- all ---- */

bool convert_has_module(const struct target *t, const struct cur *value)
{
    char name[10];
    return module_of(value->p, cur_left(value), name) != NULL && target_has_module(t, name);
}

static enum way way_of(const struct target *t, unsigned type, const struct shape *sh, const struct cur *value)
{
    switch (sh->layout) {
    case LAYOUT_STRING: return type == 30 ? WAY_JSON : WAY_STRING;
    case LAYOUT_STREAM: return WAY_STREAM;
    case LAYOUT_MODULE: return convert_has_module(t, value) ? WAY_MODULE : WAY_JSON;
    default: return WAY_PARTS;
    }
}

void convert_begin(struct taken *v, struct heap *h, const struct site *at, const struct change *ch,
                   const struct cur *value)
{
    const struct target *t = &at->e->target;
    v->type = ch->type;
    v->shape = shape_of(ch->type);
    v->way = way_of(t, ch->type, v->shape, value);
    v->as = convert_as(t, ch->type);
    if (v->way == WAY_MODULE)
        v->as = 7;
    else if (v->way == WAY_JSON)
        v->as = convert_json_module(t) ? 7 : 0;
    v->begun = v->headed = v->texted = v->ttl_lost = false;
    v->left = 0;
    v->damage = NULL;
    (void)item_begin(&v->item, h, at->o->db, &ch->key, ch->expire_ms, ch->hint);
    parts_begin(&v->parts, v->shape, &to_item, v);
    v->parts.template.known = ch->templates;
    v->parts.alone = value != NULL;
    if (v->way == WAY_STREAM)
        stream_copy_begin(&v->stream, v->type, v->as);
}

enum got convert_feed(struct taken *v, struct heap *h, const struct site *at, struct cur *c)
{
    enum got g;
    v->site = at;
    v->heap = h;
    switch (v->way) {
    case WAY_STRING: g = feed_string(v, c); break;
    case WAY_STREAM:
        g = stream_copy(&v->stream, c, at->s, h, &v->item.body);
        v->damage = v->stream.damage;
        break;
    case WAY_MODULE: g = feed_module(v, c); break;
    case WAY_JSON: g = feed_json(v, c); break;
    default: g = feed_parts(v, c); break;
    }
    v->item.type = v->as & 255;
    unpack_drop(&at->s->lzf[0]);
    unpack_drop(&at->s->lzf[1]);
    return g;
}

bool convert_some(const struct taken *v)
{
    return v->way != WAY_PARTS || (v->item.counted ? v->item.count > 0 : v->item.body.n > 0);
}
