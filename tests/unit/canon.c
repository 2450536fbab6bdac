#include "canon.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../../common/program.h"
#include "../../common/record.h"
#include "../../common/resp.h"
#include "../../common/slot.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* What happens to one key (or, for the first log, to none). */
struct keylog {
    uint32_t db;
    struct buf key, main, ttls;
    char joined[8];                /* command to which more arguments may be added */
    size_t first_main, first_ttls; /* length of both before the value that is being written */
    bool guarded;                  /* it is written only where no key was */
};

struct state {
    struct keylog *logs;
    size_t nlogs;
    struct buf chain;
    bool open;
    struct rec first;
    uint64_t seq[64]; /* of flows 0 to 63 */
    uint16_t epoch[64];
    struct slice *argv;
    size_t argc, cap;
};

static struct keylog *log_of(struct state *s, uint32_t db, const uint8_t *key, size_t n)
{
    for (size_t i = 1; i < s->nlogs; i++)
        if (s->logs[i].db == db && s->logs[i].key.len == n &&
            (n == 0 || memcmp(s->logs[i].key.p, key, n) == 0))
            return &s->logs[i];
    s->logs = xrealloc(s->logs, (s->nlogs + 1) * sizeof *s->logs);
    struct keylog *l = &s->logs[s->nlogs++];
    memset(l, 0, sizeof *l);
    l->db = db;
    (void)buf_add(&l->key, key, n);
    return l;
}

static const uint8_t *number(const uint8_t *p, const uint8_t *end, char type, uint64_t *v)
{
    if (p >= end || *p++ != (uint8_t)type)
        return NULL;
    const uint8_t *digits = p;
    for (*v = 0; p < end && *p >= '0' && *p <= '9' && p - digits < 19; p++)
        *v = *v * 10 + (uint64_t)(*p - '0');
    if (p == digits || (*digits == '0' && p - digits > 1) || end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    return p + 2;
}

static const char *split(struct state *s, const uint8_t *p, size_t n)
{
    const uint8_t *end = p + n;
    uint64_t argc, len;
    p = number(p, end, '*', &argc);
    s->argc = 0;
    if (p == NULL || argc == 0)
        return "RESP: no array";
    for (uint64_t i = 0; i < argc; i++) {
        p = number(p, end, '$', &len);
        if (p == NULL || (uint64_t)(end - p) < 2 || (uint64_t)(end - p) - 2 < len || p[len] != '\r' ||
            p[len + 1] != '\n')
            return "RESP: no bulk string";
        if (s->argc == s->cap) {
            s->cap = s->cap > 0 ? 2 * s->cap : 64;
            s->argv = xrealloc(s->argv, s->cap * sizeof *s->argv);
        }
        s->argv[s->argc++] = (struct slice){p, len};
        p += len + 2;
    }
    return p == end ? NULL : "RESP: bytes behind the request";
}

static bool is(const struct slice *a, const char *word)
{
    return a->n == strlen(word) && memcmp(a->p, word, a->n) == 0;
}

static void put_args(struct state *s, struct buf *b, size_t from)
{
    for (size_t i = from; i < s->argc; i++) {
        (void)buf_addf(b, " %zu:", s->argv[i].n);
        (void)buf_add(b, s->argv[i].p, s->argv[i].n);
    }
}

static const char *joinable(const struct state *s, const struct rec *r)
{
    static const char *const names[] = {"RPUSH", "SADD", "HSET", "ZADD"};
    if ((r->flags & (RF_LIVE | RF_FIRST | RF_LAST)) != 0)
        return NULL;
    for (size_t i = 0; i < 4; i++)
        if (is(&s->argv[0], names[i]))
            return names[i];
    return NULL;
}

/* A value found damaged after parts of it were written: a DEL ends it, and leaves what the same value leaves
 * when the damage is found before the first part. */
static bool taken_back(const struct state *s, const struct rec *r)
{
    return (r->flags & (RF_LIVE | RF_LAST)) == RF_LAST && is(&s->argv[0], "DEL");
}

static const char *request(struct state *s, const struct rec *r, const uint8_t *p, size_t n)
{
    const char *fault = split(s, p, n);
    if (fault != NULL)
        return fault;
    struct keylog *l = &s->logs[0];
    if (r->keyarg != 0) {
        if (r->keyarg >= s->argc)
            return "key argument beyond the request";
        const struct slice *k = &s->argv[r->keyarg];
        if (r->hash != (uint32_t)XXH3_64bits(k->p, k->n))
            return "hash";
        if (r->slot != REC_NO_SLOT && r->slot != key_slot(k->p, k->n))
            return "slot";
        l = log_of(s, r->db, k->p, k->n);
    }
    const char *join = joinable(s, r);
    if (join != NULL) {
        if (strcmp(l->joined, join) != 0)
            (void)buf_addf(&l->main, "\n%x %u %s", r->flags, r->vclass, join);
        strcpy(l->joined, join);
        put_args(s, &l->main, 2);
        return NULL;
    }
    bool dragonfly = is(&s->argv[0], "FIELDEXPIRE");
    if ((r->flags & (RF_LIVE | RF_LAST)) == 0 && (is(&s->argv[0], "HPEXPIREAT") || dragonfly)) {
        for (size_t i = dragonfly ? 3 : 5; i < s->argc; i++) {
            (void)buf_addstr(&l->ttls, "\n");
            (void)buf_add(&l->ttls, s->argv[2].p, s->argv[2].n);
            (void)buf_addf(&l->ttls, " %zu:", s->argv[i].n);
            (void)buf_add(&l->ttls, s->argv[i].p, s->argv[i].n);
        }
        return NULL;
    }
    l->joined[0] = '\0';
    unsigned flags = r->flags;
    if ((flags & RF_FIRST) != 0) {
        l->first_main = l->main.len;
        l->first_ttls = l->ttls.len;
        l->guarded = is(&s->argv[0], "EVAL");
    }
    if (taken_back(s, r)) {
        l->main.len = l->first_main;
        l->ttls.len = l->first_ttls;
        if (l->guarded)
            return NULL;
        flags &= ~(unsigned)RF_LAST;
    }
    (void)buf_addf(&l->main, "\n%x %u %u pos=%llu:", flags, r->vclass, r->keyarg, (unsigned long long)r->pos);
    put_args(s, &l->main, 0);
    if ((r->flags & RF_FIRST) != 0)
        (void)buf_addstr(&l->ttls, "\nFIRST");
    return NULL;
}

static const char *part(struct state *s, const struct rec *r, const uint8_t *p)
{
    if (s->open && (r->type != REC_REQUEST || r->seq != s->first.seq || r->flow != s->first.flow ||
                    r->hash != s->first.hash || r->pos != s->first.pos))
        return "a chain that is broken into";
    if (!s->open) {
        s->first = *r;
        s->chain.len = 0;
        s->chain.max = (size_t)1 << 30;
    }
    (void)buf_add(&s->chain, p, r->len);
    s->open = (r->flags & RF_MORE) != 0;
    if (s->open)
        return NULL;
    return request(s, r, s->chain.p, s->chain.len);
}

static const char *sequence(struct state *s, const struct rec *r)
{
    bool counts = r->type == REC_REQUEST || r->type == REC_POSITION || r->type == REC_BARRIER ||
                  r->type == REC_SYNCED || r->type == REC_PROGRAM;
    if (!counts || r->flow >= 64)
        return NULL;
    if (s->epoch[r->flow] != r->epoch) {
        s->epoch[r->flow] = r->epoch;
        s->seq[r->flow] = 0;
    }
    if (s->open && r->seq == s->first.seq)
        return NULL;
    return r->seq == ++s->seq[r->flow] ? NULL : "a gap in the sequence numbers";
}

static const char *record(struct state *s, const struct rec *r, const uint8_t *p)
{
    const char *fault = sequence(s, r);
    if (fault != NULL)
        return fault;
    if (r->type == REC_REQUEST || s->open)
        return part(s, r, p);
    if (r->type == REC_END)
        return NULL;
    if (r->type == REC_PROGRAM && (fault = program_check(p, r->len)) != NULL)
        return fault;
    struct buf *b = &s->logs[0].main;
    (void)buf_addf(b, "\n%s flow=%u %x pos=%llu db=%u ", rec_type_name(r->type), r->flow, r->flags,
                   (unsigned long long)r->pos, r->db);
    (void)buf_add(b, p, r->len);
    return NULL;
}

const char *canon(const uint8_t *p, size_t n, struct buf *out)
{
    struct state s = {.nlogs = 1};
    const char *fault = NULL;
    s.logs = xcalloc(1, sizeof *s.logs);
    s.logs[0].main.max = (size_t)1 << 30;
    while (n > 0 && fault == NULL) {
        struct rec r;
        if (n < REC_HEADER) {
            fault = "a record header cut short";
            break;
        }
        memcpy(&r, p, sizeof r);
        if (r.len > REC_PAYLOAD_MAX || n - REC_HEADER < r.len || r.zero != 0 || rec_type_name(r.type) == NULL)
            fault = "a malformed record";
        else
            fault = record(&s, &r, p + REC_HEADER);
        if (fault == NULL) {
            p += REC_HEADER + r.len;
            n -= REC_HEADER + r.len;
        }
    }
    if (fault == NULL && s.open)
        fault = "a chain without end";
    out->len = 0;
    out->max = (size_t)1 << 30;
    for (size_t i = 0; i < s.nlogs; i++) {
        struct keylog *l = &s.logs[i];
        if (i == 0 || l->main.len + l->ttls.len > 0) {
            (void)buf_addf(out, "\n== %u ", l->db);
            (void)buf_add(out, l->key.p, l->key.len);
            (void)buf_add(out, l->main.p, l->main.len);
            (void)buf_add(out, l->ttls.p, l->ttls.len);
        }
        buf_free(&l->key);
        buf_free(&l->main);
        buf_free(&l->ttls);
    }
    free(s.logs);
    free(s.argv);
    buf_free(&s.chain);
    return fault;
}
