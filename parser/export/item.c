#include "item.h"

#include "put.h"
#include "../snapshot/rdb.h"

uint8_t *item_head(uint8_t *p, uint64_t expire_ms, struct hint hint, unsigned type)
{
    if (expire_ms != 0) {
        *p++ = OP_EXPIRE_MS;
        p = put_u64(p, expire_ms);
    }
    if (hint.kind == HINT_IDLE) {
        *p++ = OP_IDLE;
        p = put_len(p, hint.n);
    } else if (hint.kind == HINT_FREQ) {
        *p++ = OP_FREQ;
        *p++ = (uint8_t)hint.n;
    }
    *p++ = (uint8_t)type;
    return p;
}

bool item_begin(struct item *x, struct heap *h, uint32_t db, const struct key *k, uint64_t expire_ms,
                struct hint hint)
{
    x->name.len = 0;
    x->db = db;
    x->hash = khash_of(db, k->p, k->n);
    x->expire_ms = expire_ms;
    x->hint = hint;
    x->based = x->counted = false;
    x->base = x->count = 0;
    heaped_begin(h, &x->body);
    return buf_add(&x->name, k->p, k->n) == 0;
}

void item_write(struct item *x, struct heap *h, struct book *b)
{
    uint8_t head[ITEM_HEAD], value[8 + PUT_LEN_MAX], *v = value;
    uint8_t *p = put_len(item_head(head, x->expire_ms, x->hint, x->type), x->name.len);
    if (x->based)
        v = put_u64(v, x->base);
    if (x->counted)
        v = put_len(v, x->count);
    size_t nhead = (size_t)(p - head), nvalue = (size_t)(v - value);
    const struct slice key = {x->name.p, x->name.len};
    struct out *o = book_place(b, x->db, &key, x->hash, nhead + key.n + nvalue + x->body.n);
    out_add(o, head, nhead);
    out_add(o, key.p, key.n);
    out_add(o, value, nvalue);
    heaped_write(h, &x->body, o);
}

void item_end(struct item *x, struct heap *h)
{
    heaped_end(h, &x->body);
    if (x->name.cap > (size_t)64 << 10)
        buf_free(&x->name);
}

void item_free(struct item *x)
{
    heaped_free(&x->body);
    buf_free(&x->name);
}
