/* AUX fields of snapshots: what they say of the source, and the few that carry data. rdb(5), AUX fields,
 * OPCODES. */
#include "rdb.h"

#include <stdio.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../command/aof.h"
#include "../command/args.h"
#include "log.h"
#include "shape.h"

#define NAMES_TOLD 32 /* unknown fields that are named */

static bool named(const struct slice *s, const char *name)
{
    return s->n == strlen(name) && memcmp(s->p, name, s->n) == 0;
}

/* "df-v1.40.1". */
static unsigned source_version(const struct slice *s)
{
    char text[32] = "";
    unsigned v[3] = {0, 0, 0};
    memcpy(text, s->p, s->n < sizeof text - 1 ? s->n : sizeof text - 1);
    if (sscanf(text, "df-v%3u.%3u.%3u", &v[0], &v[1], &v[2]) < 2)
        return 0;
    return v[0] << 16 | (v[1] & 255) << 8 | (v[2] & 255);
}

/* Whose numbers the types above 21 and some opcodes are. Without a word Dragonfly's: it alone writes version
 * 9 files that may lack redis-ver. */
static void set_family(struct rdb *r)
{
    if (!rdb_of_redis(r))
        r->family = FAMILY_DRAGONFLY;
    else if (r->valkey)
        r->family = FAMILY_VALKEY;
    else if (r->redis_ver || r->version != 9 || r->psync != NULL)
        r->family = FAMILY_REDIS;
}

/* The summary of a .dfs set, its last file, says how many others there are. */
static bool shards_missing(const struct rdb *r, const struct slice *said)
{
    uint8_t num[20];
    if (!r->file || r->to->flows < 2) /* read alone */
        return false;
    size_t n = dec_u64(num, r->to->flows - 1);
    return said->n != n || memcmp(said->p, num, n) != 0;
}

/* Nothing of these is of use to the target. */
static bool informs(const struct slice *name)
{
    static const char *const list[] = {
        "redis-bits",          "ctime",       "used-mem",         "aof-preamble", "aof-base", "repl-id",
        "repl-offset",         "slot-info",   "cluster-asm-task", "table-mem",    "shard-id", "shard-count",
        "hnsw-index-metadata", "mvcc-tstamp", "repl-masters"}; /* the last two: KeyDB */
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (named(name, list[i]))
            return true;
    return false;
}

/* A field that nobody here knows: named once. */
static void unknown_field(struct rdb *r, const struct slice *name)
{
    uint64_t h = XXH3_64bits(name->p, name->n);
    for (size_t i = 0; i + 8 <= r->aux_told.len; i += 8)
        if (le64(r->aux_told.p + i) == h)
            return;
    if (r->aux_told.len >= NAMES_TOLD * 8 || buf_add(&r->aux_told, &h, 8) < 0)
        return;
    emit_report(r->to->e, &r->to->o, false, "aux-field", name->p, name->n < 80 ? name->n : 80,
                "an AUX field that is unknown here is left out");
}

/* A replica says so in front of its master's commands, which do not select it again. */
static void stream_database(struct rdb *r, const struct slice *value)
{
    int64_t db;
    if (r->psync != NULL && arg_number(value, &db) && db >= 0)
        psync_select(r->psync, (uint64_t)db);
}

/* Masters up to 4.0 propagate EVALSHA of scripts that they have. */
static void load_script(struct rdb *r, const struct slice *text)
{
    struct slice argv[3] = {SLICE("SCRIPT"), SLICE("LOAD"), *text};
    r->to->o.live = false;
    emit_argv(r->to->e, &r->to->o, NULL, 0, CLASS_NONE, RF_IDEMPOTENT | RF_MULTIKEY, argv, 3);
}

/* ---- KeyDB: expiries of fields and members, which stand behind their key ---- */

void keep_last_key(struct rdb *r, unsigned type, const struct key *k)
{
    struct last_key *l = &r->last;
    l->name.len = 0;
    l->name.max = (size_t)1 << 30;
    l->key = *k;
    l->key.p = buf_add(&l->name, k->p, k->n) < 0 ? NULL : l->name.p;
    l->type = type;
    l->db = r->to->o.db;
    l->reported = l->field_known = false;
}

static void sub_lost(struct rdb *r, unsigned vclass, const char *why)
{
    struct last_key *l = &r->last;
    if (!l->reported)
        emit_report(r->to->e, &r->to->o, true, vclass == CLASS_HASH ? "field-ttl" : "member-ttl", l->key.p,
                    l->key.n, why);
    l->reported = true;
}

/* The field or member has expired by now: it is taken away again. */
static void sub_remove(struct rdb *r, unsigned vclass, const struct slice *field)
{
    const struct key *k = &r->last.key;
    struct slice argv[3] = {vclass == CLASS_HASH  ? SLICE("HDEL")
                            : vclass == CLASS_SET ? SLICE("SREM")
                                                  : SLICE("ZREM"),
                            {k->p, k->n},
                            *field};
    emit_argv(r->to->e, &r->to->o, k, 1, vclass, RF_IDEMPOTENT, argv, 3);
}

static void sub_expiry(struct rdb *r, const struct slice *when)
{
    struct last_key *l = &r->last;
    const struct shape *shape = l->key.p != NULL ? shape_of(l->type) : NULL;
    unsigned vclass = shape != NULL ? shape->vclass : 0;
    struct slice field = {l->field.p, l->field.len};
    char text[24] = "", *end = text;
    if (l->key.excluded || r->to->gone)
        return;
    r->to->o.live = false;
    r->to->o.db = l->db;
    if (when->n > 0 && when->n < sizeof text)
        memcpy(text, when->p, when->n);
    long long ms = strtoll(text, &end, 10);
    if (shape == NULL || end == text || *end != '\0' || !l->field_known)
        sub_lost(r, vclass, "an expiry of a field or member that fits no key or is no time");
    else if (vclass != CLASS_HASH && vclass != CLASS_SET && vclass != CLASS_ZSET)
        sub_lost(r, vclass, "an expiry of a part of a value that has none");
    else if (r->to->outlet != NULL)
        sub_lost(r, vclass, "expiries that stand behind their key are left out of a file");
    else if (emit_guarded(r->to->e, &r->to->o))
        sub_lost(r, vclass,
                 "expiries of fields and members are left out where keys that the target holds stay");
    else if (ms <= 0 || (uint64_t)ms <= r->to->e->now_ms)
        sub_remove(r, vclass, &field);
    else if (vclass == CLASS_ZSET)
        sub_lost(r, vclass, "elements were written without their expiries: the target has none");
    else {
        struct value v = {.e = r->to->e,
                          .o = &r->to->o,
                          .s = &r->to->s,
                          .type = l->type,
                          .vclass = vclass,
                          .shape = shape,
                          .key = l->key,
                          .reported = l->reported};
        value_add_ttl(&v, &field, (uint64_t)ms);
        value_flush(&v);
        l->reported = v.reported;
    }
}

/* "keydb-subexpire-key" and then "-when". False: it is another field. */
static bool keydb_field(struct rdb *r, const struct slice *name, const struct slice *value)
{
    struct last_key *l = &r->last;
    if (named(name, "keydb-subexpire-key")) {
        l->field.len = 0;
        l->field.max = (size_t)1 << 30;
        l->field_known = buf_add(&l->field, value->p, value->n) == 0;
        return true;
    }
    if (!named(name, "keydb-subexpire-when"))
        return false;
    sub_expiry(r, value);
    return true;
}

/* The snapshot at the beginning of an append-only file: the commands behind it, or in other files, are the
 * newer part of the data set. */
static enum got of_append_only(struct rdb *r, struct cur *c, const struct slice *name,
                               const struct slice *value)
{
    int64_t time;
    bool described = r->aof != NULL && r->aof->known;
    if (!r->file || r->dragonfly)
        return GOT;
    if (described && named(name, "ctime") && arg_number(value, &time) && time >= 0 &&
        !aof_made_at(r->aof, (uint64_t)time))
        return rdb_not_supported(r, c, "the snapshot was made later than the time of --until-time");
    if (named(name, "aof-preamble") && named(value, "1")) {
        if (!described)
            return rdb_not_supported(r, c, AOF_TEXT);
        rdb_append_only(r);
        set_family(r);
    }
    if (named(name, "aof-base") && named(value, "1") && !(described && r->aof->on))
        emit_report(
            r->to->e, &r->to->o, true, "aof-base", (const uint8_t *)"", 0,
            "this is the base of an append-only file: the changes since are in its other files, and are "
            "not carried over");
    return GOT;
}

enum got aux_field(struct rdb *r, struct cur *c)
{
    struct pstr a, b;
    struct slice name, value;
    enum got g = cur_pstr(c, &a);
    if (g == GOT)
        g = cur_pstr(c, &b);
    if (g != GOT)
        return g;
    if (!value_text(&r->to->s, 0, &a, &name) || !value_text(&r->to->s, 1, &b, &value))
        return cur_bad(c, "an AUX field that unpacks");
    r->to->o.db = 0;
    log_event(LOG_DEBUG, r->to->o.flow, "event=aux name=%s value=%s", log_quote(name.p, name.n),
              log_quote(value.p, value.n));
    if (name.n > 5 && (memcmp(name.p, "keydb-", 6) == 0 || named(&name, "mvcc-tstamp")))
        r->redis_ver = true; /* KeyDB's files may lack it */
    set_family(r);
    if (named(&name, "df-ver"))
        r->to->dialect = dialect_dragonfly(source_version(&value));
    if (named(&name, "df-ver") || named(&name, "snapshot-id"))
        r->dragonfly = true; /* before v1.27 only the snapshot-id tells, which comes first */
    else if (named(&name, "redis-ver"))
        r->redis_ver = true; /* Dragonfly says so, too */
    else if (named(&name, "valkey-ver"))
        r->valkey = true;
    else if (named(&name, "shard-count") && shards_missing(r, &value))
        return cur_bad(c, "as many shards as the summary of the set counts: files are missing");
    else if (named(&name, "repl-stream-db"))
        stream_database(r, &value);
    else if (named(&name, "lua") && r->psync != NULL && r->to->outlet == NULL)
        load_script(r, &value);
    else if (named(&name, "lua"))
        change_once(r->to->e, &r->to->o, &r->told_script, "script",
                    "cached Lua scripts are left out: clients load them again");
    else if (named(&name, "search-index") || named(&name, "search-synonyms"))
        emit_report(r->to->e, &r->to->o, true, "search-index", value.p, value.n < 80 ? value.n : 80,
                    "index definitions are not carried over");
    else if (!informs(&name) && !keydb_field(r, &name, &value))
        unknown_field(r, &name);
    if (named(&name, "snapshot-id") && value.n < sizeof r->snapshot_id) {
        memcpy(r->snapshot_id, value.p, value.n);
        r->snapshot_id[value.n] = '\0';
    }
    set_family(r);
    return of_append_only(r, c, &name, &value);
}
