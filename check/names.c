#include "names.h"

#include <string.h>

#include "record.h"

int names_to_target(const struct filter *f, const void *key, size_t len, struct buf *out)
{
    if (buf_room(out, len + filter_growth(f)) == NULL)
        return -1;
    size_t before = out->len;
    struct slice name = filter_name(f, key, len, out);
    if (out->len == before)
        (void)buf_add(out, name.p, name.n);
    return 1;
}

int names_to_source(const struct filter *f, unsigned i, const void *key, size_t len, struct buf *out)
{
    size_t begin = out->len;
    const char *from = i < f->renames.n ? f->renames.rule[i].from : "",
               *to = i < f->renames.n ? f->renames.rule[i].to : "";
    size_t cut = strlen(to);
    if (i > f->renames.n)
        return -1;
    if (len < cut || memcmp(key, to, cut) != 0)
        return 0;
    if (buf_add(out, from, strlen(from)) < 0 || buf_add(out, (const uint8_t *)key + cut, len - cut) < 0)
        return -1;
    if (renames_rule(&f->renames, out->p + begin, out->len - begin) == i)
        return 1;
    out->len = begin;
    return 0;
}

static bool from_any_db(const struct filter *f, const struct buf *name, unsigned vclass, uint32_t db)
{
    if (filter_db(f, db) == db && filter_passes(f, name->p, name->len, vclass, db))
        return true;
    for (uint32_t from = 0; f->active && from < NAMES_DBS; from++)
        if (from != db && filter_db(f, from) == db && filter_passes(f, name->p, name->len, vclass, from))
            return true;
    return false;
}

bool names_may_come(const struct filter *f, const void *key, size_t len, unsigned vclass, uint32_t db,
                    struct buf *scratch)
{
    bool any = false;
    if (!f->keys)
        return true;
    for (unsigned i = 0; i <= f->renames.n; i++) {
        scratch->len = 0;
        if (names_to_source(f, i, key, len, scratch) <= 0)
            continue;
        any = true;
        if (from_any_db(f, scratch, vclass, db))
            return true;
    }
    return !any;
}

unsigned names_class(enum value_type type)
{
    static const uint8_t classes[] = {
        [VALUE_STRING] = CLASS_STRING, [VALUE_LIST] = CLASS_LIST,  [VALUE_SET] = CLASS_SET,
        [VALUE_ZSET] = CLASS_ZSET,     [VALUE_HASH] = CLASS_HASH,  [VALUE_STREAM] = CLASS_STREAM,
        [VALUE_JSON] = CLASS_JSON,     [VALUE_OTHER] = CLASS_OTHER};
    return type < sizeof classes ? classes[type] : CLASS_NONE;
}
