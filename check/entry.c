#include "entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a difference in a part is called. */
static const struct {
    uint8_t n, kind[ENTRY_PARTS];
} shapes[] = {
    [VALUE_STRING] = {1, {FOUND_VALUE}},
    [VALUE_LIST] = {1, {FOUND_ELEMENT}},
    [VALUE_SET] = {1, {FOUND_MEMBER}},
    [VALUE_ZSET] = {2, {FOUND_MEMBER, FOUND_SCORE}},
    [VALUE_HASH] = {2, {FOUND_FIELD, FOUND_FIELD_TTL}},
    [VALUE_STREAM] = {7,
                      {FOUND_ENTRY, FOUND_STREAM_ID, FOUND_COUNTER, FOUND_GROUP, FOUND_COUNTER,
                       FOUND_CONSUMER, FOUND_PENDING}},
    [VALUE_JSON] = {1, {FOUND_VALUE}},
    [VALUE_OTHER] = {1, {FOUND_VALUE}},
};

unsigned entry_parts(enum value_type type)
{
    return type < sizeof shapes / sizeof *shapes ? shapes[type].n : 0;
}

uint64_t entry_hash(uint32_t db, const void *name, size_t n)
{
    return XXH3_64bits_withSeed(name, n, db);
}

int entry_put(struct buf *b, const struct entry *head, const struct part *part, struct slice name,
              struct slice source_name)
{
    size_t n = sizeof *head + head->parts * sizeof *part + name.n + source_name.n;
    size_t size = (n + 7) & ~(size_t)7;
    uint8_t *to = buf_room(b, size);
    if (to == NULL || name.n > KEY_MAX || source_name.n > KEY_MAX)
        return -1;
    struct entry e = *head;
    e.size = (uint32_t)size;
    e.len = (uint32_t)name.n;
    e.source_len = (uint32_t)source_name.n;
    e.zero = 0;
    memcpy(to, &e, sizeof e);
    to += sizeof e;
    if (e.parts > 0)
        memcpy(to, part, e.parts * sizeof *part);
    to += e.parts * sizeof *part;
    memcpy(to, name.p, name.n);
    if (source_name.n > 0)
        memcpy(to + name.n, source_name.p, source_name.n);
    memset(to + name.n + source_name.n, 0, size - n);
    b->len += size;
    return 0;
}

/* ---- comparing ---- */

static const char *type_of(const struct entry *e)
{
    return value_type_name((enum value_type)e->type);
}

static bool lone(struct finding *f, const struct entry *const e[2])
{
    unsigned there = e[0] == NULL;
    finding_begin(f, there == 0 ? FOUND_MISSING : FOUND_EXTRA, type_of(e[there]));
    excerpt_str(&f->side[there], type_of(e[there]));
    return true;
}

static bool unknown(struct finding *f, const struct entry *const e[2])
{
    finding_begin(f, FOUND_UNKNOWN, type_of(e[0]));
    for (unsigned i = 0; i < 2; i++)
        excerpt_str(&f->side[i], (e[i]->flags & ENTRY_UNKNOWN) != 0 ? "not told" : type_of(e[i]));
    return true;
}

static bool types_differ(struct finding *f, const struct entry *const e[2])
{
    if (e[0]->type == e[1]->type)
        return false;
    finding_begin(f, FOUND_TYPE, type_of(e[0]));
    for (unsigned i = 0; i < 2; i++)
        excerpt_str(&f->side[i], type_of(e[i]));
    return true;
}

static bool lengths_differ(struct finding *f, const struct entry *const e[2])
{
    if (e[0]->n == e[1]->n)
        return false;
    finding_begin(f, FOUND_LENGTH, type_of(e[0]));
    for (unsigned i = 0; i < 2; i++)
        excerpt_num(&f->side[i], (int64_t)e[i]->n);
    return true;
}

static bool expiries_differ(const struct depth *d, struct finding *f, const struct entry *const e[2])
{
    int64_t a = e[0]->ttl, b = e[1]->ttl;
    if (!d->ttl || ((a < 0) == (b < 0) && (a > b ? a - b : b - a) <= d->tolerance))
        return false;
    finding_begin(f, FOUND_TTL, type_of(e[0]));
    for (unsigned i = 0; i < 2; i++) {
        excerpt_num(&f->side[i], e[i]->ttl);
        f->side[i].there = e[i]->ttl >= 0;
    }
    return true;
}

/* Some parts of streams count only where both sides tell them. */
static bool same_part(const struct entry *e, unsigned k, const struct part *a, const struct part *b)
{
    if (e->type == VALUE_STREAM && k == PART_ADDED)
        return a->lo == b->lo || a->lo == 0 || b->lo == 0;
    if (e->type == VALUE_STREAM && k == PART_IDS)
        return a->lo == b->lo && (a->hi == b->hi || a->hi == 0 || b->hi == 0);
    if (e->type == VALUE_STREAM && k == PART_READ)
        return a->lo == b->lo || a->hi != b->hi;
    return a->lo == b->lo && a->hi == b->hi;
}

/* What there is to show of a part are its size and its digest. */
static void show_part(struct excerpt *x, const struct entry *e, unsigned k)
{
    char text[REPLY_PREFIX + 1];
    const struct part *p = &entry_part(e)[k];
    if (e->type == VALUE_STREAM && k == PART_ADDED) {
        excerpt_num(x, (int64_t)p->lo - 1);
        return;
    }
    const char *unit =
        e->type == VALUE_STRING || e->type == VALUE_JSON || e->type == VALUE_OTHER ? "bytes" : "elements";
    snprintf(text, sizeof text, "%" PRIu64 " %s, digest %08" PRIx32, e->n, unit, (uint32_t)p->lo);
    excerpt_str(x, text);
}

static bool values_differ(const struct depth *d, struct finding *f, const struct entry *const e[2])
{
    for (unsigned k = 0; k < e[0]->parts; k++) {
        enum finding_kind kind = (enum finding_kind)shapes[e[0]->type].kind[k];
        if ((kind == FOUND_FIELD_TTL && !d->field_ttl) ||
            same_part(e[0], k, &entry_part(e[0])[k], &entry_part(e[1])[k]))
            continue;
        finding_begin(f, kind, type_of(e[0]));
        for (unsigned i = 0; i < 2; i++)
            show_part(&f->side[i], e[i], k);
        return true;
    }
    return false;
}

bool entry_differs(const struct depth *d, const struct entry *source, const struct entry *target,
                   struct finding *f)
{
    const struct entry *const e[2] = {source, target};
    if (source == NULL || target == NULL)
        return lone(f, e);
    if (d->mode == MODE_EXISTS)
        return false;
    if (((source->flags | target->flags) & ENTRY_UNKNOWN) != 0)
        return unknown(f, e);
    if (types_differ(f, e) || (d->mode == MODE_LENGTH && lengths_differ(f, e)) ||
        (d->mode == MODE_FULL && values_differ(d, f, e)))
        return true;
    return expiries_differ(d, f, e);
}
