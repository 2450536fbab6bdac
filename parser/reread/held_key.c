#include "held_key.h"

#include <string.h>

#include <bsd/string.h>

#include "../command/command.h"
#include "../export/put.h"

#define NO_ROOM     "room for a temporary file"
#define STRING_TYPE 0u
#define ZSET_TYPE   3u
#define HASH_TYPE   4u
#define SMALL       ((size_t)64 << 10) /* strings up to this are handed over in one piece */

void held_init(struct held_key *h)
{
    *h = (struct held_key){.to = h->to};
    carry_init(&h->value);
}

void held_free(struct held_key *h)
{
    buf_free(&h->name);
    buf_free(&h->raw);
    carry_free(&h->value);
    repeats_free(&h->keys);
    repeats_free(&h->elements);
    held_init(h);
}

unsigned held_dump_type(const struct dialect *d, const uint8_t *p, size_t n)
{
    unsigned version = le16(p + n - DUMP_FOOTER);
    if (d->old_json && p[0] == 20 && version < 10)
        return 30;
    return value_type(d->native ? FAMILY_DRAGONFLY : version >= 80 ? FAMILY_VALKEY : FAMILY_REDIS, p[0]);
}

static bool passes(const struct held_key *h)
{
    struct sink *to = h->to;
    return to->filter != NULL ? filter_passes(to->filter, h->name.p, h->name.len, 0, h->head.db)
                              : !key_is_ours(h->name.p, h->name.len);
}

static void report(const struct held_key *h, bool lost, const char *kind, const char *why)
{
    struct sink *to = h->to;
    if (passes(h))
        emit_report(to->e, &to->o, lost, kind, h->name.p, h->name.len, why);
}

static bool is_waiting(const struct held_key *h, uint32_t db, const struct slice *name)
{
    return h->waits && h->head.db == db && h->name.len == name->n && memcmp(h->name.p, name->p, name->n) == 0;
}

static void drop(struct held_key *h)
{
    h->waits = false;
    carry_free(&h->value);
}

const char *held_begin(struct held_key *h, const struct held_head *head, const struct slice *name)
{
    bool same = is_waiting(h, head->db, name);
    h->skips = true;
    if (head->form == HELD_FIELDS) { /* they expire with the hash, or not at all */
        if (same)
            report(h, true, "scan-key", "its fields are written without their expiries");
        return NULL;
    }
    if (head->live && !same)
        return NULL;
    if (same && head->live)
        drop(h);
    const char *fault = held_write(h);
    if (fault != NULL || head->form == HELD_GONE)
        return fault;
    h->head = *head;
    h->name.len = 0;
    h->name.max = SIZE_MAX / 2;
    if (buf_add(&h->name, name->p, name->n) < 0)
        return "a shorter name";
    if (repeats_has(&h->keys, khash_of(head->db, name->p, name->n))) {
        report(h, false, "duplicate-key", "SCAN returned this key twice: the first value is written");
        return NULL;
    }
    strlcpy(h->why, head->why != NULL ? head->why : "", sizeof h->why);
    h->skips = head->form == HELD_REPORT;
    h->waits = true;
    h->value.need = 0;
    return NULL;
}

const char *held_add(struct held_key *h, const uint8_t *p, size_t n)
{
    if (h->skips || n == 0)
        return NULL;
    h->value.need = h->value.len + n; /* more than memory goes to a file */
    return carry_add(&h->value, p, n) < 0 ? NO_ROOM : NULL;
}

/* ---- to the outlet ---- */

static void open_change(struct held_key *h, unsigned type)
{
    struct change *ch = &h->change;
    change_clear(ch);
    ch->db = h->head.db;
    ch->type = type;
    ch->prefixed = h->head.expire_ms != 0;
    ch->expire_ms = h->head.expire_ms;
    ch->templates = NULL;
    ch->at = AT_UNKNOWN;
}

static void write_whole(struct held_key *h, unsigned type, const uint8_t *p, size_t n, const char *damage)
{
    struct sink *to = h->to;
    struct cur value = {p, p + n, 0, NULL}, c = value;
    const struct site at = SITE_OF(to);
    open_change(h, type);
    key_set(to->e, &h->change.key, h->name.p, h->name.len);
    change_open(to, &h->change, value_class(type));
    enum got g = change_key(to, &h->change, &c, &value);
    if (to->in_value)
        outlet_end(&at, &to->value);
    if (to->in_value || g != GOT)
        report(h, true, "scan-key", damage);
    to->in_value = false;
}

static void write_dump(struct held_key *h, const uint8_t *p, size_t n)
{
    struct sink *to = h->to;
    struct slice payload = {p, n};
    if (n < DUMP_FOOTER + 2 || !restore_footer_fits(to->e, &payload)) {
        report(h, true, "scan-key", "a DUMP with a wrong checksum");
        return;
    }
    unsigned type = held_dump_type(&to->dialect, p, n);
    if (type != STRING_TYPE && value_class(type) == 0)
        report(h, true, "scan-key", "a value of an unknown type");
    else
        write_whole(h, type, p + 1, n - 1 - DUMP_FOOTER, "a DUMP that is no whole value");
}

/* The next element, as an RDB has it; of a hash without the expiry that every field has here. */
static enum got take_element(unsigned type, struct cur *c, struct slice *raw, struct pstr *name)
{
    const uint8_t *from = c->p, *ttl;
    struct pstr second;
    enum got g = cur_pstr(c, name);
    if (g == GOT && type == ZSET_TYPE) {
        g = cur_raw(c, 1, &ttl);
        if (g == GOT && *ttl < 253)
            g = cur_raw(c, *ttl, &ttl);
    } else if (g == GOT && type == HASH_TYPE) {
        g = cur_pstr(c, &second);
    }
    *raw = (struct slice){from, (size_t)(c->p - from)};
    return g == GOT && type == HASH_TYPE ? cur_raw(c, 8, &ttl) : g;
}

/* Every element once: counted, or handed over. False: these are no elements. */
static bool each_element(struct held_key *h, unsigned type, struct cur c, uint64_t *count)
{
    struct sink *to = h->to;
    const struct site at = SITE_OF(to);
    bool hands_over = *count > 0;
    const uint8_t *from = c.p;
    struct slice raw;
    struct pstr name;
    repeats_clear(&h->elements);
    for (uint64_t n = 0; cur_left(&c) > 0;) {
        if (take_element(type, &c, &raw, &name) != GOT)
            return false;
        if (c.p - from > (ptrdiff_t)PAGES_STEP) {
            pages_drop(&to->e->pages);
            from = c.p;
        }
        if (type != 1 && !repeats_first(&h->elements, khash_of(0, name.p, name.n)))
            continue;
        if (!hands_over) {
            ++*count;
            continue;
        }
        struct cur one = {raw.p, raw.p + raw.n, 0, NULL};
        enum got g = outlet_feed(&at, &to->value, &one);
        if (++n == *count)
            return g == GOT;
        if (g != NEED)
            return false;
    }
    return h->elements.fault == 0;
}

/* A value whose elements, or bytes, come behind their number. */
static bool feed_head(struct held_key *h, uint64_t count)
{
    struct sink *to = h->to;
    const struct site at = SITE_OF(to);
    uint8_t head[PUT_LEN_MAX];
    struct cur c = {head, put_len(head, count), 0, NULL};
    return outlet_feed(&at, &to->value, &c) == NEED;
}

/* False: the outlet does not take it. */
static bool begin_parts(struct held_key *h, unsigned type)
{
    struct sink *to = h->to;
    const struct site at = SITE_OF(to);
    open_change(h, type);
    key_set(to->e, &h->change.key, h->name.p, h->name.len);
    change_begin(to, &h->change, &to->value);
    if (to->value.taken != NULL)
        return true;
    outlet_end(&at, &to->value);
    return false;
}

static bool write_string(struct held_key *h, const uint8_t *p, size_t n)
{
    struct sink *to = h->to;
    const struct site at = SITE_OF(to);
    if (n <= SMALL) {
        h->raw.len = 0;
        h->raw.max = 2 * SMALL;
        uint8_t *room = buf_room(&h->raw, n + PUT_LEN_MAX);
        if (room == NULL)
            return false;
        write_whole(h, STRING_TYPE, room, (size_t)(put_str(room, p, n) - room), "a string");
        return true;
    }
    if (!begin_parts(h, STRING_TYPE))
        return true;
    bool fine = feed_head(h, n);
    for (size_t step; fine && n > 0; p += step, n -= step) {
        step = n < PAGES_STEP ? n : PAGES_STEP;
        struct cur c = {p, p + step, 0, NULL};
        fine = outlet_feed(&at, &to->value, &c) == (step == n ? GOT : NEED);
        pages_drop(&to->e->pages);
    }
    outlet_end(&at, &to->value);
    return fine;
}

static bool write_container(struct held_key *h, const uint8_t *p, size_t n)
{
    struct sink *to = h->to;
    const struct site at = SITE_OF(to);
    unsigned type = value_class(h->head.type) == CLASS_HASH ? HASH_TYPE : h->head.type;
    uint64_t count = 0;
    struct cur c = {p, p + n, 0, NULL};
    if (!each_element(h, type, c, &count) || count == 0) /* without elements it is no key */
        return n == 0;
    if (!begin_parts(h, type))
        return true;
    bool fine = feed_head(h, count) && each_element(h, type, c, &count);
    outlet_end(&at, &to->value);
    return fine;
}

static void write_value(struct held_key *h, const uint8_t *p, size_t n)
{
    bool fine = true;
    if (h->head.form == HELD_REPORT)
        report(h, true, "scan-key", h->why);
    else if (h->head.form == HELD_DUMP)
        write_dump(h, p, n);
    else if (h->head.type == STRING_TYPE)
        fine = write_string(h, p, n);
    else
        fine = write_container(h, p, n);
    if (!fine && h->elements.fault == 0)
        report(h, true, "scan-key", "its elements are not whole");
}

const char *held_write(struct held_key *h)
{
    struct sink *to = h->to;
    if (!h->waits)
        return NULL;
    size_t n = (size_t)h->value.len;
    const uint8_t *p = n > 0 ? carry_bytes(&h->value) : (const uint8_t *)"";
    if (p == NULL)
        return "a temporary file that can be mapped";
    (void)repeats_first(&h->keys, khash_of(h->head.db, h->name.p, h->name.len));
    to->e->pages = (struct pages){h->value.map, h->value.mapped};
    to->s.pages = &to->e->pages;
    write_value(h, p, n);
    bool full = h->keys.fault != 0 || h->elements.fault != 0;
    to->e->pages.p = NULL;
    h->waits = false;
    if (carry_keep(&h->value, n, 0) < 0 || full)
        return NO_ROOM;
    return NULL;
}
