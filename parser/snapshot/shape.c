#include "shape.h"

#define STR   LAYOUT_STRING
#define BLOB  LAYOUT_BLOB
#define ELEMS LAYOUT_ELEMENTS
#define NODES LAYOUT_NODES
#define NOFIELD                                                                                              \
    {                                                                                                        \
        F_END                                                                                                \
    }

/* RDB types 0 to 21 mean the same everywhere; 30 to 37 here are Dragonfly's. */
static const struct shape shapes[38] = {
    [0] = {STR, CLASS_STRING, PACK_NONE, NOFIELD, 0, false, NULL, true, NULL},
    [1] = {ELEMS, CLASS_LIST, PACK_NONE, {F_STR}, 1, false, "RPUSH", false, NULL},
    [2] = {ELEMS, CLASS_SET, PACK_NONE, {F_STR}, 1, false, "SADD", true, NULL},
    [3] = {ELEMS, CLASS_ZSET, PACK_NONE, {F_STR, F_DOUBLETEXT}, 2, false, "ZADD", true, NULL},
    [4] = {ELEMS, CLASS_HASH, PACK_NONE, {F_STR, F_STR}, 2, false, "HSET", true, NULL},
    [5] = {ELEMS, CLASS_ZSET, PACK_NONE, {F_STR, F_F64}, 2, false, "ZADD", true, NULL},
    [6] = {LAYOUT_REFUSED, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "module-4.0-rc"},
    [7] = {LAYOUT_MODULE, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "module"},
    [9] = {BLOB, CLASS_HASH, PACK_ZIPMAP, NOFIELD, 2, false, "HSET", true, NULL},
    [10] = {BLOB, CLASS_LIST, PACK_ZIPLIST, NOFIELD, 1, false, "RPUSH", false, NULL},
    [11] = {BLOB, CLASS_SET, PACK_INTSET, NOFIELD, 1, false, "SADD", true, NULL},
    [12] = {BLOB, CLASS_ZSET, PACK_ZIPLIST, NOFIELD, 2, false, "ZADD", true, NULL},
    [13] = {BLOB, CLASS_HASH, PACK_ZIPLIST, NOFIELD, 2, false, "HSET", true, NULL},
    [14] = {NODES, CLASS_LIST, PACK_ZIPLIST, NOFIELD, 1, false, "RPUSH", false, NULL},
    [15] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, NOFIELD, 0, false, NULL, false, NULL},
    [16] = {BLOB, CLASS_HASH, PACK_LISTPACK, NOFIELD, 2, false, "HSET", true, NULL},
    [17] = {BLOB, CLASS_ZSET, PACK_LISTPACK, NOFIELD, 2, false, "ZADD", true, NULL},
    [18] = {NODES, CLASS_LIST, PACK_QUICKLIST2, NOFIELD, 1, false, "RPUSH", false, NULL},
    [19] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, NOFIELD, 0, false, NULL, false, NULL},
    [20] = {BLOB, CLASS_SET, PACK_LISTPACK, NOFIELD, 1, false, "SADD", true, NULL},
    [21] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, NOFIELD, 0, false, NULL, false, NULL},
    [30] = {STR, CLASS_JSON, PACK_NONE, NOFIELD, 0, false, NULL, true, NULL},
    [31] = {ELEMS, CLASS_HASH, PACK_NONE, {F_STR, F_STR, F_TTL}, 2, false, "HSET", true, NULL},
    [32] = {ELEMS, CLASS_SET, PACK_NONE, {F_STR, F_TTL}, 1, false, "SADD", true, NULL},
    [33] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "bloom-filter"},
    [34] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "bloom-filter"},
    [35] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "count-min-sketch"},
    [36] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "top-k"},
    [37] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "cuckoo-filter"},
};

/* Redis 7.4 and later, from 22 on. */
static const struct shape redis_shapes[] = {
    [0] = {ELEMS, CLASS_HASH, PACK_NONE, {F_TTL_ABS, F_STR, F_STR}, 2, false, "HSET", true, NULL},
    [1] = {BLOB, CLASS_HASH, PACK_LISTPACK, NOFIELD, 3, false, "HSET", true, NULL},
    [2] = {ELEMS, CLASS_HASH, PACK_NONE, {F_TTL_REL, F_STR, F_STR}, 2, true, "HSET", true, NULL},
    [3] = {BLOB, CLASS_HASH, PACK_LISTPACK, NOFIELD, 3, true, "HSET", true, NULL},
    [4] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, NOFIELD, 0, false, NULL, false, NULL},
    [5] = {LAYOUT_STREAM, CLASS_STREAM, PACK_NONE, NOFIELD, 0, false, NULL, false, NULL},
    [6] = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "array"},
    [7] = {LAYOUT_REFUSED, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "dumped-hash-template"},
    [8] = {LAYOUT_TEMPLATE, CLASS_HASH, PACK_LISTPACK, NOFIELD, 2, false, "HSET", true, NULL},
    [9] = {LAYOUT_REFUSED, CLASS_OTHER, PACK_NONE, NOFIELD, 0, false, NULL, true, "dumped-hash-template"},
    [10] = {LAYOUT_TEMPLATE, CLASS_HASH, PACK_NONE, NOFIELD, 2, false, "HSET", true, NULL},
};

/* Valkey 9: 22. */
static const struct shape valkey_hash = {ELEMS,  CLASS_HASH, PACK_NONE, {F_STR, F_STR, F_TTL_I64}, 2, false,
                                         "HSET", true,       NULL};

/* KeyDB: a script that the server runs at times. */
static const struct shape keydb_cron = {LAYOUT_SKIP, CLASS_OTHER, PACK_NONE, NOFIELD,     0,
                                        false,       NULL,        true,      "keydb-cron"};

const struct shape *shape_of(unsigned type)
{
    if (type < sizeof shapes / sizeof shapes[0])
        return shapes[type].vclass != 0 ? &shapes[type] : NULL;
    if (type >= T_REDIS + 22 && type < T_REDIS + 22 + sizeof redis_shapes / sizeof redis_shapes[0])
        return &redis_shapes[type - T_REDIS - 22];
    if (type == T_REDIS + 64)
        return &keydb_cron;
    return type == T_VALKEY + 22 ? &valkey_hash : NULL;
}

unsigned value_class(unsigned type)
{
    const struct shape *sh = shape_of(type);
    return sh != NULL && sh->layout != LAYOUT_REFUSED ? sh->vclass : 0;
}

bool value_stale(unsigned type, const struct slice *v, uint64_t now_ms)
{
    const struct shape *sh = shape_of(type);
    uint64_t least = sh->base ? le64(v->p) : 0;
    if (type != T_VALKEY + 22)
        return least != 0 && least <= now_ms;
    struct cur c = {v->p, v->p + v->n, 0, NULL};
    struct pstr ps;
    uint64_t n;
    const uint8_t *at;
    enum got g = cur_plen(&c, &n);
    for (; g == GOT && n > 0; n--) {
        g = cur_pstr(&c, &ps);
        if (g == GOT)
            g = cur_pstr(&c, &ps);
        if (g == GOT)
            g = cur_raw(&c, 8, &at);
        if (g == GOT && (int64_t)le64(at) >= 0 && le64(at) <= now_ms)
            return true;
    }
    return false;
}

bool value_unfit(unsigned type, const struct slice *v, const struct scratch *s, uint64_t now_ms)
{
    unsigned vclass = value_class(type);
    if (vclass == CLASS_STREAM || vclass == CLASS_OTHER)
        return s->odd.form;
    /* An empty container is no key; commands leave none. */
    return s->elements == 0 || s->odd.form || s->odd.why != NULL || value_stale(type, v, now_ms);
}

unsigned value_type(enum family family, unsigned byte)
{
    if (byte < 22 || family == FAMILY_DRAGONFLY)
        return byte;
    return (family == FAMILY_REDIS ? T_REDIS : T_VALKEY) + byte;
}

long packed_check(enum packing pack, const struct slice *t)
{
    switch (pack) {
    case PACK_LISTPACK: return listpack_check(t->p, t->n);
    case PACK_ZIPLIST: return ziplist_check(t->p, t->n);
    case PACK_INTSET: return intset_check(t->p, t->n);
    case PACK_ZIPMAP: return zipmap_check(t->p, t->n);
    default: return -1;
    }
}

int packed_next(enum packing pack, const struct slice *t, const uint8_t **it, unsigned turn, struct elem *el)
{
    switch (pack) {
    case PACK_LISTPACK: return listpack_next(t->p, t->n, it, el);
    case PACK_ZIPLIST: return ziplist_next(t->p, t->n, it, el);
    case PACK_ZIPMAP: return zipmap_next(t->p, t->n, it, turn == 1, el);
    default: return -1;
    }
}
