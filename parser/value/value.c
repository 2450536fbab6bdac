#include "../snapshot/shape.h"

void value_begin(struct value *v, struct emit *e, struct origin *o, struct scratch *s, unsigned type,
                 const struct key *k, uint64_t expire_ms)
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
    v->st.pel.len = 0;
    v->e = e;
    v->o = o;
    v->s = s;
    v->key = *k;
    v->key.p = v->name.p;
    v->type = type;
    v->shape = shape_of(type);
    v->vclass = v->shape->vclass;
    v->db = o->db;
    v->at = o->at;
    if (k->excluded) {
        v->dropped = true;
        e->stats.filtered++;
        return;
    }
    if (expire_ms != 0) {
        v->expire_ms = emit_expiry(e, o, expire_ms);
        v->dropped = v->expire_ms == 0;
    }
    if (v->shape->layout == LAYOUT_SKIP && !v->dropped) {
        emit_report(e, o, true, v->shape->name, k->p, k->n,
                    e->target.kind == SERVER_DRAGONFLY ? "only RESTORE makes it, and it is too large for that"
                                                       : "Redis has no such type that these bits would fit");
        v->dropped = true;
    } else if (!v->dropped && !target_has_class(&e->target, v->vclass)) {
        emit_report(e, o, true, rec_class_name(v->vclass), k->p, k->n,
                    "the target has no values of this type");
        v->dropped = true;
    } else if (!v->dropped && !o->live && v->shape->layout != LAYOUT_MODULE) {
        e->stats.keys[v->vclass]++;
    }
}

enum got value_feed(struct value *v, struct cur *c)
{
    uint32_t db = v->o->db;
    enum got g;
    v->o->db = v->db;
    switch (v->shape->layout) {
    case LAYOUT_STRING: g = v->type == 30 ? json_feed(v, c) : string_feed(v, c); break;
    case LAYOUT_BLOB: g = blob_feed(v, c); break;
    case LAYOUT_STREAM: g = stream_feed(v, c); break;
    case LAYOUT_SKIP: g = skip_feed(v, c); break;
    case LAYOUT_MODULE: g = module_feed(v, c); break;
    case LAYOUT_TEMPLATE: g = template_feed(v, c); break;
    case LAYOUT_REFUSED: g = cur_bad(c, "a value type that can be passed over"); break;
    default: g = elements_feed(v, c); break;
    }
    if (g != BAD) {
        value_flush(v);
        if (g == GOT)
            value_finish(v);
    }
    v->s->body.len = v->s->ttls.len = 0;
    unpack_drop(&v->s->lzf[0]);
    unpack_drop(&v->s->lzf[1]);
    v->o->db = db;
    return g;
}

void value_free(struct value *v)
{
    buf_free(&v->name);
    buf_free(&v->st.group);
    buf_free(&v->st.consumer);
    buf_free(&v->st.pel);
}
