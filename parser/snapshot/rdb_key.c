/* Keys with their values, as they stand in snapshots. */
#include "rdb.h"
#include "../reread/slots.h"

/* Longer keys are taken for damage. One that does not fit a record with its value goes in several. */
#define KEY_MAX ((size_t)16 << 20)

enum got rdb_key(struct rdb *r, struct cur *t, struct pstr *ps, struct key *k)
{
    struct slice text;
    enum got g = cur_pstr(t, ps);
    if (g != GOT)
        return g;
    if (ps->n > KEY_MAX || !value_text(&r->to->s, 1, ps, &text))
        return cur_bad(t, "a key of at most 16 MiB");
    key_set(r->to->e, k, text.p, text.n);
    return GOT;
}

/* A file has each key once, servers refuse one that is not so; Dragonfly's may have copies. hash: of database
 * and key as the file has them. An entry whose value is not all there yet comes here again. */
static void check_twice(struct rdb *r, const struct key *k, uint64_t hash)
{
    if (r->counted_at == r->to->o.at)
        return;
    r->counted_at = r->to->o.at;
    if (recent_has(&r->recent, hash))
        emit_report(r->to->e, &r->to->o, true, "duplicate-key", k->p, k->n,
                    "the file has this key twice: one of the two values is lost");
}

/* A byte that is no type of a value: Redis Enterprise has opcodes there. */
static enum got other_item(struct rdb *r, struct cur *c, unsigned byte)
{
    struct cur t = {c->p + 1, c->end, 0, NULL};
    if (r->family != FAMILY_REDIS || (byte != OP_RAM_LRU && byte != OP_SLOT_NUM))
        return rdb_unknown(r, c, "value type", byte);
    return cur_settle(c, &t, redis_opcode(r, &t, byte));
}

enum got rdb_key_value(struct rdb *r, struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    struct change *next = &r->next;
    unsigned type = *t.p++, vclass = CLASS_STRING;
    if (type != 0) {
        type = value_type(r->family, type);
        vclass = value_class(type);
        if (vclass == 0)
            return other_item(r, c, *c->p);
    }
    enum got g = rdb_key(r, &t, &ps, &next->key);
    if (g != GOT)
        return cur_settle(c, &t, g);
    bool once =
        r->file && !r->dragonfly && r->to->outlet == NULL; /* each key; an outlet sees to that itself */
    uint64_t raw = once ? keyset_hash(next->db, next->key.p, next->key.n) : 0;
    struct slice name = {next->key.p, next->key.n}; /* the source's: change_open renames it */
    next->type = type;
    next->at = rdb_at(r, c->p);
    change_open(r->to, next, vclass);
    if (__builtin_expect(r->to->slots != NULL, 0) &&
        !slots_admit_key(r->to->slots, r->to->e, &r->to->o, next->db, &name)) {
        next->key.excluded = true; /* another flow has it */
        r->to->e->stats.moved++;
    }
    if (once) {
        if (!next->key.excluded)
            check_twice(r, &next->key, raw);
    }
    if (r->version == 9 && rdb_of_redis(r)) /* KeyDB has no other */
        keep_last_key(r, type, &next->key);
    g = change_key(r->to, next, c, &t);
    if (next->prefixed && (g == GOT || r->to->in_value))
        change_clear(next);
    return g;
}
