#include "finding.h"

#include <string.h>

#include "resp.h"

const char *finding_name(enum finding_kind kind)
{
    static const char *const names[FOUND_KINDS] = {"missing",  "extra",   "type",        "ttl",     "length",
                                                   "value",    "field",   "field_ttl",   "member",  "score",
                                                   "element",  "entry",   "stream_id",   "counter", "group",
                                                   "consumer", "pending", "unknown_type"};
    return names[kind];
}

void finding_begin(struct finding *f, enum finding_kind kind, const char *type)
{
    memset(f, 0, sizeof *f);
    f->kind = kind;
    f->type = type;
}

void excerpt_text(struct excerpt *x, const void *p, size_t n)
{
    x->there = true;
    x->number = false;
    x->n = n;
    x->kept = (uint8_t)(n < sizeof x->text ? n : sizeof x->text);
    x->hash = XXH3_64bits(p, n);
    if (x->kept > 0)
        memcpy(x->text, p, x->kept);
}

void excerpt_str(struct excerpt *x, const char *s)
{
    excerpt_text(x, s, strlen(s));
}

void excerpt_num(struct excerpt *x, int64_t v)
{
    uint8_t text[21];
    excerpt_text(x, text, dec_i64(text, v));
    x->number = true;
}

void excerpt_elem(struct excerpt *x, const struct reply *r, size_t at)
{
    memset(x, 0, sizeof *x);
    while (at < r->n && r->e[at].type == REPLY_ARRAY)
        at++;
    if (at >= r->n || r->e[at].type == REPLY_NIL)
        return;
    const struct elem *e = &r->e[at];
    if (e->type == REPLY_INT) {
        excerpt_num(x, (int64_t)e->n);
        return;
    }
    excerpt_text(x, elem_text(r, e), e->kept);
    x->n = e->n;
    x->hash = e->hash[0] ^ e->hash[1];
}

uint64_t finding_print(const struct finding *f)
{
    if (f->kind == FOUND_MISSING || f->kind == FOUND_EXTRA) /* whatever it is */
        return 1 + (uint64_t)f->kind;
    uint64_t all[7] = {(uint64_t)f->kind, f->where.hash,   f->where.there,  f->side[0].hash,
                       f->side[0].there,  f->side[1].hash, f->side[1].there};
    uint64_t print = XXH3_64bits(all, sizeof all);
    return print != 0 ? print : 1;
}
