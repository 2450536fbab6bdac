/* Commands as dfparse writes them for a snapshot, turned into digests that depend neither on the order of
 * what has none nor on how a value was cut into requests. */
#include "making.h"

#include <stdlib.h>
#include <string.h>

#define NOT_UNDERSTOOD "a request that is not understood"

void making_begin(struct making *m, const struct rec *r, struct slice name)
{
    m->flow = r->flow;
    m->hash = r->hash;
    m->parted = m->hashing = false;
    m->name.len = 0;
    buf_trim(&m->name, (size_t)64 << 10);
    (void)buf_add(&m->name, name.p, name.n);
    m->head = (struct entry){.db = r->db, .type = VALUE_NONE, .ttl = -1};
    memset(m->part, 0, sizeof m->part);
}

void making_end(struct making *m)
{
    if (!m->hashing)
        return;
    XXH128_hash_t h = XXH3_128bits_digest(m->state);
    m->part[0] = (struct part){h.low64, h.high64};
}

void making_free_all(struct making *m)
{
    while (m != NULL) {
        struct making *next = m->next;
        XXH3_freeState(m->state);
        buf_free(&m->name);
        free(m);
        m = next;
    }
}

/* ---- arguments ---- */

/* The words of a request. */
struct args {
    const struct reply *q;
    size_t n;
};

static const struct elem *arg(const struct args *a, size_t i)
{
    return &a->q->e[1 + i];
}

static bool is(const struct args *a, size_t i, const char *word)
{
    return i < a->n && elem_is(a->q, arg(a, i), word);
}

/* Decimal digits. */
static bool number(const struct args *a, size_t i, uint64_t *out)
{
    const struct elem *e = arg(a, i);
    const uint8_t *p = elem_text(a->q, e);
    if (i >= a->n || !elem_whole(e) || e->n == 0 || e->n > 20)
        return false;
    *out = 0;
    for (size_t k = 0; k < e->n; k++) {
        if (p[k] < '0' || p[k] > '9')
            return false;
        *out = *out * 10 + (uint64_t)(p[k] - '0');
    }
    return true;
}

static bool expiry(struct making *m, const struct args *a, size_t i)
{
    uint64_t ms;
    if (!number(a, i, &ms) || ms > INT64_MAX)
        return false;
    m->head.ttl = (int64_t)ms;
    return true;
}

/* ---- digests ---- */

/* One of several texts, so that their borders count. */
static XXH128_hash_t together(const struct args *a, size_t first, size_t n)
{
    uint64_t words[8] = {0};
    for (size_t i = 0; i < n && i < 4; i++) {
        words[2 * i] = arg(a, first + i)->hash[0];
        words[2 * i + 1] = arg(a, first + i)->hash[1];
    }
    return XXH3_128bits(words, 2 * n * sizeof *words);
}

static void sum(struct part *p, XXH128_hash_t h)
{
    p->lo += h.low64;
    p->hi += h.high64;
}

static XXH128_hash_t mixed(XXH128_hash_t h, uint64_t with)
{
    uint64_t words[3] = {h.low64, h.high64, with};
    return XXH3_128bits(words, sizeof words);
}

/* ---- strings ---- */

static bool add_bytes(struct making *m, const struct args *a, size_t i)
{
    const struct elem *e = arg(a, i);
    if (!elem_whole(e))
        return false;
    if (!m->hashing) {
        if (m->state == NULL && (m->state = XXH3_createState()) == NULL)
            return false;
        (void)XXH3_128bits_reset(m->state);
        m->hashing = true;
    }
    (void)XXH3_128bits_update(m->state, elem_text(a->q, e), e->n);
    m->head.n += e->n;
    return true;
}

static bool take_set(struct making *m, const struct args *a)
{
    m->head.type = VALUE_STRING;
    m->head.n = 0;
    m->hashing = false;
    return add_bytes(m, a, 2) && (a->n == 3 || (a->n == 5 && is(a, 3, "PXAT") && expiry(m, a, 4)));
}

/* The parts follow each other; one far behind only makes room. */
static bool take_setrange(struct making *m, const struct args *a)
{
    uint64_t at;
    if (m->head.type != VALUE_STRING || a->n != 4 || !number(a, 2, &at))
        return false;
    if (at > m->head.n)
        return arg(a, 3)->n == 1;
    return at == m->head.n && add_bytes(m, a, 3);
}

/* A value that is one text. */
static bool take_whole(struct making *m, const struct args *a, enum value_type type, size_t i)
{
    const struct elem *e = arg(a, i);
    m->head.type = (uint8_t)type;
    m->head.n = e->n;
    m->part[0] = (struct part){e->hash[0], e->hash[1]};
    return true;
}

static bool take_json(struct making *m, const struct args *a)
{
    return a->n == 4 && is(a, 2, "$") && take_whole(m, a, VALUE_JSON, 3);
}

/* Of a module: RESTORE key ttl payload [REPLACE] [ABSTTL]. */
static bool take_restore(struct making *m, const struct args *a)
{
    uint64_t ms;
    bool absolute = false;
    if (a->n < 4 || !number(a, 2, &ms) || ms > INT64_MAX)
        return false;
    for (size_t i = 4; i < a->n; i++)
        absolute = absolute || is(a, i, "ABSTTL");
    if (ms > 0 && !absolute)
        return false;
    m->head.ttl = ms > 0 ? (int64_t)ms : -1;
    return take_whole(m, a, VALUE_OTHER, 3);
}

/* ---- containers ---- */

static bool begins(struct making *m, enum value_type type)
{
    if (m->head.type == VALUE_NONE)
        m->head.type = (uint8_t)type;
    return m->head.type == type;
}

static bool take_push(struct making *m, const struct args *a)
{
    for (size_t i = 2; i < a->n; i++, m->head.n++) {
        uint64_t words[4] = {m->part[0].lo, m->part[0].hi, arg(a, i)->hash[0], arg(a, i)->hash[1]};
        XXH128_hash_t h = XXH3_128bits(words, sizeof words);
        m->part[0] = (struct part){h.low64, h.high64};
    }
    return begins(m, VALUE_LIST);
}

static bool take_sadd(struct making *m, const struct args *a)
{
    for (size_t i = 2; i < a->n; i++, m->head.n++)
        sum(&m->part[0], together(a, i, 1));
    return begins(m, VALUE_SET);
}

/* Scores count bit by bit. */
static bool take_zadd(struct making *m, const struct args *a)
{
    char text[REPLY_PREFIX + 1], *stop;
    uint64_t bits;
    for (size_t i = 2; i + 1 < a->n; i += 2, m->head.n++) {
        const struct elem *e = arg(a, i);
        if (!elem_whole(e) || e->n == 0 || e->n > REPLY_PREFIX)
            return false;
        memcpy(text, elem_text(a->q, e), e->n);
        text[e->n] = '\0';
        double d = strtod(text, &stop);
        if (*stop != '\0')
            return false;
        memcpy(&bits, &d, sizeof bits);
        sum(&m->part[0], together(a, i + 1, 1));
        sum(&m->part[1], mixed(together(a, i + 1, 1), bits));
    }
    return begins(m, VALUE_ZSET) && a->n % 2 == 0;
}

static bool take_hset(struct making *m, const struct args *a)
{
    for (size_t i = 2; i + 1 < a->n; i += 2, m->head.n++)
        sum(&m->part[0], together(a, i, 2));
    return begins(m, VALUE_HASH) && a->n % 2 == 0;
}

/* HPEXPIREAT key ms FIELDS n field … */
static bool take_hpexpireat(struct making *m, const struct args *a)
{
    uint64_t ms;
    if (a->n < 6 || !number(a, 2, &ms) || !is(a, 3, "FIELDS"))
        return false;
    for (size_t i = 5; i < a->n; i++)
        sum(&m->part[1], mixed(together(a, i, 1), ms));
    return begins(m, VALUE_HASH);
}

/* ---- streams ---- */

/* XADD key id field value … */
static bool take_xadd(struct making *m, const struct args *a)
{
    XXH128_hash_t h = together(a, 2, 1);
    for (size_t i = 3; i < a->n; i++) {
        uint64_t words[4] = {h.low64, h.high64, arg(a, i)->hash[0], arg(a, i)->hash[1]};
        h = XXH3_128bits(words, sizeof words);
    }
    sum(&m->part[PART_ENTRIES], h);
    m->head.n++;
    return begins(m, VALUE_STREAM);
}

/* XSETID key id [ENTRIESADDED n MAXDELETEDID id] */
static bool take_xsetid(struct making *m, const struct args *a)
{
    uint64_t added;
    m->part[PART_IDS].lo = arg(a, 2)->hash[0];
    if (is(a, 3, "ENTRIESADDED") && number(a, 4, &added))
        m->part[PART_ADDED].lo = added + 1;
    if (is(a, 5, "MAXDELETEDID"))
        m->part[PART_IDS].hi = arg(a, 6)->hash[0];
    return begins(m, VALUE_STREAM);
}

/* XGROUP CREATE key group id [ENTRIESREAD n | MKSTREAM], CREATECONSUMER key group consumer. One with MKSTREAM
 * is destroyed at once: it makes a stream without entries. */
static bool take_xgroup(struct making *m, const struct args *a)
{
    uint64_t read;
    if (is(a, 1, "CREATE") && a->n >= 5 && !is(a, 5, "MKSTREAM")) {
        sum(&m->part[PART_GROUPS], together(a, 3, 2));
        if (is(a, 5, "ENTRIESREAD") && number(a, 6, &read)) {
            m->part[PART_READ].lo += mixed(together(a, 3, 1), read).low64;
            m->part[PART_READ].hi += together(a, 3, 1).low64;
        }
    } else if (is(a, 1, "CREATECONSUMER") && a->n == 5)
        sum(&m->part[PART_CONSUMERS], together(a, 3, 2));
    else if (!is(a, 1, "DESTROY") && !is(a, 5, "MKSTREAM"))
        return false;
    return begins(m, VALUE_STREAM);
}

/* XCLAIM key group consumer 0 id TIME ms RETRYCOUNT n FORCE JUSTID */
static bool take_xclaim(struct making *m, const struct args *a)
{
    uint64_t deliveries;
    if (a->n < 10 || !is(a, 8, "RETRYCOUNT") || !number(a, 9, &deliveries))
        return false;
    XXH128_hash_t h = together(a, 2, 2);
    sum(&m->part[PART_PENDING], mixed(mixed(h, arg(a, 5)->hash[0]), deliveries));
    return begins(m, VALUE_STREAM);
}

/* ---- all ---- */

static bool take_del(struct making *m, const struct args *a)
{
    (void)m;
    return a->n == 2;
}

static bool take_pexpireat(struct making *m, const struct args *a)
{
    return a->n == 3 && expiry(m, a, 2);
}

static const struct {
    const char *name;
    size_t least;
    bool (*take)(struct making *m, const struct args *a);
} commands[] = {
    {"SET", 3, take_set},           {"HSET", 4, take_hset},
    {"SADD", 3, take_sadd},         {"ZADD", 4, take_zadd},
    {"RPUSH", 3, take_push},        {"DEL", 2, take_del},
    {"XADD", 5, take_xadd},         {"PEXPIREAT", 3, take_pexpireat},
    {"SETRANGE", 4, take_setrange}, {"HPEXPIREAT", 6, take_hpexpireat},
    {"XSETID", 3, take_xsetid},     {"XGROUP", 4, take_xgroup},
    {"XCLAIM", 10, take_xclaim},    {"JSON.SET", 4, take_json},
    {"RESTORE", 4, take_restore},
};

const char *making_request(struct making *m, const struct reply *q)
{
    const struct args a = {q, q->n - 1};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (is(&a, 0, commands[i].name))
            return a.n >= commands[i].least && commands[i].take(m, &a) ? NULL : NOT_UNDERSTOOD;
    return NOT_UNDERSTOOD;
}
