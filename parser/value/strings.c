/* Strings of any size, and JSON. */
#include "../snapshot/shape.h"

#define STRING_PIECE  ((uint64_t)128 << 10)
#define PREALLOC_FROM ((uint64_t)1 << 20)

static void put_string(struct value *v, const uint8_t *p, uint64_t n, uint64_t total)
{
    uint8_t num[20];
    if (v->dropped)
        return;
    struct slice set[3] = {SLICE("SET"), {v->key.p, v->key.n}, {p, n}};
    if (v->offset == 0) {
        unsigned first = value_first(v);
        if (n + v->key.n > REC_PAYLOAD_MAX - 512) /* journaled keys have no bound */
            emit_argv(v->e, v->o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT | first, set, 3);
        else
            emit_set(v->e, v->o, &v->key, p, n, 0, first);
        /* Let the target allocate once instead of growing the string part by part. */
        if (total >= PREALLOC_FROM && total > n) {
            struct slice argv[4] = {SLICE("SETRANGE"),
                                    {v->key.p, v->key.n},
                                    {num, dec_u64(num, total - 1)},
                                    {(const uint8_t *)"", 1}};
            emit_argv(v->e, v->o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT, argv, 4);
        }
    } else {
        struct slice argv[4] = {
            SLICE("SETRANGE"), {v->key.p, v->key.n}, {num, dec_u64(num, v->offset)}, {p, n}};
        emit_argv(v->e, v->o, &v->key, 1, CLASS_STRING, RF_IDEMPOTENT, argv, 4);
    }
    v->started = true;
}

static bool string_fits(struct value *v, uint64_t total)
{
    if (total <= v->e->target.maxbulk)
        return true;
    if (!v->dropped)
        emit_report(v->e, v->o, true, "string-too-large", v->key.p, v->key.n,
                    "longer than the target's proto-max-bulk-len");
    v->dropped = true;
    return false;
}

static enum got feed_plain_string(struct value *v, struct cur *c)
{
    if (v->left == 0 && v->offset == 0)
        put_string(v, c->p, 0, 0); /* an empty string is a key, too */
    while (v->left > 0) {
        uint64_t step = v->left < STRING_PIECE ? v->left : STRING_PIECE;
        if (cur_left(c) < step && !v->dropped)
            return cur_need(c, step);
        if (cur_left(c) < step)
            step = cur_left(c);
        if (step == 0)
            return cur_need(c, 1);
        put_string(v, c->p, step, v->offset + v->left);
        c->p += step;
        v->offset += step;
        v->left -= step;
    }
    return GOT;
}

/* An LZF string of any size. */
static enum got feed_packed_string(struct value *v, struct cur *c, const struct pstr *ps)
{
    struct lzf_pieces z = {.in = ps->p, .end = ps->p + ps->clen, .b = &v->s->lzf[0].mem};
    struct slice piece;
    int rc;
    z.b->len = 0;
    while ((rc = lzf_piece(&z, STRING_PIECE, &piece)) > 0 && v->offset + piece.n <= ps->n) {
        put_string(v, piece.p, piece.n, ps->n);
        v->offset += piece.n;
    }
    return rc == 0 && v->offset == ps->n ? GOT : value_damaged(v, c, UNPACKS);
}

enum got string_feed(struct value *v, struct cur *c)
{
    struct pstr ps;
    if (!v->counted) {
        bool plain;
        enum got g = cur_pstr_head(c, &v->left, &plain);
        if (g != GOT)
            return g;
        if (plain) {
            v->counted = true;
            (void)string_fits(v, v->left);
        }
    }
    if (v->counted)
        return feed_plain_string(v, c);
    enum got g = cur_pstr(c, &ps);
    if (g != GOT)
        return g;
    if (!string_fits(v, ps.n))
        return GOT;
    if (ps.clen > 0)
        return feed_packed_string(v, c, &ps);
    struct cur all = {ps.p, ps.p + ps.n, 0, NULL};
    v->left = ps.n;
    v->counted = true;
    return feed_plain_string(v, &all);
}

void json_write(struct value *v, const struct slice *text)
{
    if (v->dropped)
        return;
    if (!v->e->target.has_json && v->e->unsupported != UNSUPPORTED_APPROXIMATE) {
        emit_report(v->e, v->o, true, "json", v->key.p, v->key.n,
                    "the target has no JSON module (--unsupported approximate writes it as a string)");
        v->dropped = true;
        return;
    }
    v->started = true;
    if (!v->e->target.has_json)
        emit_report(v->e, v->o, false, "json-as-string", v->key.p, v->key.n, "written as a string");
    unsigned first = value_first(v);
    if (v->e->target.has_json) {
        struct slice argv[4] = {SLICE("JSON.SET"), {v->key.p, v->key.n}, SLICE("$"), *text};
        emit_argv(v->e, v->o, &v->key, 1, CLASS_JSON, RF_IDEMPOTENT | first, argv, 4);
        return;
    }
    struct slice argv[3] = {SLICE("SET"), {v->key.p, v->key.n}, *text};
    emit_argv(v->e, v->o, &v->key, 1, CLASS_JSON, RF_IDEMPOTENT | first, argv, 3);
}

enum got json_feed(struct value *v, struct cur *c)
{
    struct pstr ps;
    struct slice t;
    enum got g = cur_pstr(c, &ps);
    if (g == GOT && !value_text(v->s, 0, &ps, &t))
        return value_damaged(v, c, UNPACKS);
    if (g != GOT)
        return g;
    json_write(v, &t);
    return GOT;
}
