/* The connection of verifying: which databases there are, and their keys, with the flow that each belongs to.
 *
 * A Dragonfly scans one shard after the other, and the lowest ten bits of a cursor are the shard's number. So
 * all keys of a reply are of one flow when the cursor before and behind it have the same shard. Where a reply
 * crosses into the next shard it is asked for once more with COUNT 1, which ends with the first bucket that
 * has a key: its keys are of the shard of the new cursor, or, where that stands at a beginning, of the one
 * before. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handshake.h"
#include "io.h"
#include "log.h"
#include "owner.h"
#include "resp.h"
#include "verify.h"

#define SHARD_BITS 10
#define READ_STEP  ((size_t)64 << 10)
#define FED_MAX    ((size_t)64 << 20) /* bytes of one reply */
#define PATIENCE   (30 * US)
#define PAUSE      US /* after the connection was lost */
#define LOSSES     30u
#define DBS_MAX    1024u

void verify_scan_reset(struct verify *v)
{
    link_close(&v->link);
    if (v->reader != NULL)
        redisReaderFree(v->reader);
    if (v->scan != NULL)
        freeReplyObject(v->scan);
    free(v->db);
    v->reader = NULL;
    v->scan = NULL;
    v->db = NULL;
    v->ndbs = v->at_db = 0;
    v->await = VA_NONE;
}

/* The cursor stays: it goes on from there over a new connection. */
static void lose(struct owner *w, const char *why)
{
    struct verify *v = &w->verify;
    link_close(&v->link);
    if (v->scan != NULL)
        freeReplyObject(v->scan);
    v->scan = NULL;
    v->await = VA_NONE;
    v->selected = false;
    v->next_at = mono_us() + PAUSE;
    log_event(LOG_INFO, NO_FLOW, "event=verify-connection-lost reason=%s", log_quote(why, strlen(why)));
    if (++v->losses >= LOSSES)
        verify_fail(w, why);
}

/* ---- requests ---- */

static void await(struct verify *v, enum verify_await what)
{
    v->await = what;
    v->await_since = mono_us();
}

static void request(struct owner *w, enum verify_await what, int n, const char *const *args)
{
    struct verify *v = &w->verify;
    if (link_request(&v->link, n, args) < 0)
        lose(w, "the master closed the connection");
    else
        await(v, what);
}

static void ask_scan(struct owner *w)
{
    static const char *const offsets[] = {"DFLY", "REPLICAOFFSET"};
    char cursor[24], count[16];
    snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)w->verify.cursor);
    snprintf(count, sizeof count, "%u", w->verify.by_one ? 1 : VERIFY_COUNT);
    const char *const scan[] = {"SCAN", cursor, "COUNT", count};
    request(w, VA_SCAN, 4, scan);
    if (w->verify.await == VA_SCAN && link_request(&w->verify.link, 2, offsets) < 0)
        lose(w, "the master closed the connection");
}

static void ask(struct owner *w)
{
    static const char *const stats[] = {"INFO", "stats"}, *const keyspace[] = {"INFO", "keyspace"};
    struct verify *v = &w->verify;
    char db[16];
    if (!v->looked) {
        request(w, VA_STATS, 2, stats);
    } else if (!v->listed) {
        request(w, VA_KEYSPACE, 2, keyspace);
    } else if (!v->selected) {
        snprintf(db, sizeof db, "%u", v->db[v->at_db]);
        const char *const select[] = {"SELECT", db};
        request(w, VA_SELECT, 2, select);
    } else {
        ask_scan(w);
    }
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct owner *w = watch->ctx;
    if (link_events(&w->verify.link, events) < 0)
        lose(w, errno != 0 ? strerror(errno) : "the master closed the connection");
}

static void open_link(struct owner *w)
{
    struct verify *v = &w->verify;
    struct fault f;
    v->link.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = w};
    if (!w->control.open || link_open_like(&v->link, &w->loop, &w->control, 0, &f) < 0) {
        lose(w, w->control.open ? f.text : "no connection to the master");
        return;
    }
    (void)link_raw(&v->link, NULL, 0); /* replies may be longer than others */
    if (v->reader != NULL)
        redisReaderFree(v->reader);
    v->reader = redisReaderCreate();
    v->fed = 0;
    int rc = v->reader != NULL ? send_auth(&v->link, &w->o->url) : -1;
    if (rc < 0)
        lose(w, "the master closed the connection");
    else if (rc > 0)
        await(v, VA_AUTH);
}

/* ---- replies ---- */

static void take_keyspace(struct owner *w, const redisReply *r)
{
    struct verify *v = &w->verify;
    unsigned db, keys;
    char why[80];
    free(v->db);
    v->db = xcalloc(DBS_MAX, sizeof *v->db);
    v->ndbs = v->at_db = 0;
    for (const char *p = r->str; p != NULL; p = strchr(p, '\n'), p += p != NULL) {
        if (sscanf(p, "db%u:keys=%u", &db, &keys) != 2 || keys == 0)
            continue;
        if (v->ndbs == DBS_MAX) {
            snprintf(why, sizeof why, "more than %u databases hold keys, db%u is one too many", DBS_MAX, db);
            verify_fail(w, why);
            return;
        }
        v->db[v->ndbs++] = db;
    }
    v->listed = true;
}

/* The shard that all keys of the reply are of, which led from one cursor to another. -1: there are several.
 */
static int shard_of(const struct owner *w, uint64_t from, uint64_t to, bool by_one)
{
    unsigned n = w->info.flows, before = from & ((1u << SHARD_BITS) - 1),
             behind = to & ((1u << SHARD_BITS) - 1);
    if (n == 1)
        return 0;
    if (to != 0 && before == behind)
        return (int)before;
    if (!by_one)
        return -1;
    if (to == 0)
        return (int)n - 1;
    return (int)behind - (to >> SHARD_BITS == 0 ? 1 : 0);
}

static uint64_t offset_of(const redisReply *r, unsigned flow)
{
    bool known =
        r->type == REDIS_REPLY_ARRAY && flow < r->elements && r->element[flow]->type == REDIS_REPLY_INTEGER;
    return known && r->element[flow]->integer > 0 ? (uint64_t)r->element[flow]->integer : 0;
}

static void advance(struct verify *v, uint64_t to)
{
    uint64_t mask = (1u << SHARD_BITS) - 1;
    if ((v->cursor & mask) != (to & mask))
        v->by_one = false;
    v->cursor = to;
    if (to != 0)
        return;
    v->at_db++;
    v->selected = v->by_one = false;
}

/* SCAN and the offsets behind it. */
static void take_keys(struct owner *w, const redisReply *offsets)
{
    struct verify *v = &w->verify;
    redisReply *scan = v->scan;
    const redisReply *keys = scan->element[1];
    uint64_t to = strtoull(scan->element[0]->str, NULL, 10);
    v->scan = NULL;
    int flow = shard_of(w, v->cursor, to, v->by_one);
    if (keys->elements > 0 && flow < 0) {
        v->by_one = true;
    } else if (keys->elements > 0 &&
               ((unsigned)flow >= w->info.flows || offset_of(offsets, (unsigned)flow) == 0)) {
        verify_fail(w, "the cursor of SCAN, or DFLY REPLICAOFFSET, is not as it is known");
    } else {
        uint64_t now = mono_us(), from = v->next_at > now - US ? v->next_at : now;
        v->next_at = from + keys->elements * US / w->o->verify_rate;
        if (keys->elements > 0)
            verify_keys(w, (unsigned)flow, offset_of(offsets, (unsigned)flow), keys);
        advance(v, to);
    }
    freeReplyObject(scan);
}

static bool is_ok(const redisReply *r)
{
    return r->type == REDIS_REPLY_STATUS && strcmp(r->str, "OK") == 0;
}

/* A cursor that is no number would be taken for 0, the end of the scan. */
static bool is_scan(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->type == REDIS_REPLY_STRING &&
           r->element[0]->len > 0 && r->element[0]->len <= 20 &&
           strspn(r->element[0]->str, "0123456789") == r->element[0]->len &&
           r->element[1]->type == REDIS_REPLY_ARRAY;
}

static void take_stats(struct owner *w, const redisReply *r)
{
    long long omits = r->type == REDIS_REPLY_STRING ? handshake_omits(r->str) : -1;
    w->verify.looked = true;
    if (omits >= 0 && omits == w->handshake.omits)
        verify_needless(w);
}

/* Returns true when the reply was kept. */
static bool take_reply(struct owner *w, redisReply *r)
{
    struct verify *v = &w->verify;
    enum verify_await what = v->await;
    v->await = VA_NONE;
    if (r->type == REDIS_REPLY_ERROR && what != VA_STATS) {
        if (strncmp(r->str, "LOADING", 7) == 0 || strncmp(r->str, "BUSY", 4) == 0)
            lose(w, r->str);
        else
            verify_fail(w, r->str);
        return false;
    }
    switch (what) {
    case VA_STATS: take_stats(w, r); return false;
    case VA_KEYSPACE:
        if (r->type == REDIS_REPLY_STRING)
            take_keyspace(w, r);
        else
            verify_fail(w, "INFO keyspace: malformed reply");
        return false;
    case VA_AUTH:
    case VA_SELECT:
        v->selected = what == VA_SELECT;
        if (!is_ok(r))
            verify_fail(w, what == VA_SELECT ? "SELECT: malformed reply" : "AUTH: malformed reply");
        return false;
    case VA_OFFSETS:
        v->losses = 0;
        take_keys(w, r);
        return false;
    case VA_SCAN:
        if (!is_scan(r)) {
            verify_fail(w, "SCAN: malformed reply");
            return false;
        }
        v->scan = r;
        await(v, VA_OFFSETS);
        return true;
    default: return false;
    }
}

/* The next reply, if it is whole. False: there is none now. */
static bool next_reply(struct owner *w)
{
    struct verify *v = &w->verify;
    static char piece[READ_STEP];
    void *reply = NULL;
    if (redisReaderGetReply(v->reader, &reply) != REDIS_OK || v->fed > FED_MAX) {
        lose(w, v->fed > FED_MAX ? "a reply is too long" : v->reader->errstr);
        return false;
    }
    if (reply != NULL) {
        v->fed = 0;
        if (!take_reply(w, reply))
            freeReplyObject(reply);
        return verify_runs(v) && v->link.open;
    }
    if (!v->link.readable)
        return false;
    long n = link_read(&v->link, (uint8_t *)piece, sizeof piece);
    if (n < 0) {
        lose(w, errno != 0 ? strerror(errno) : "the master closed the connection");
    } else if (n > 0) {
        v->fed += (size_t)n;
        v->await_since = mono_us();
        (void)redisReaderFeed(v->reader, piece, (size_t)n); /* a failure shows with the next reply */
    }
    return n > 0;
}

void verify_scan(struct owner *w)
{
    struct verify *v = &w->verify;
    if (!v->link.open) {
        if (mono_us() >= v->next_at)
            open_link(w);
        return;
    }
    if (v->await == VA_NONE)
        ask(w);
    while (v->await != VA_NONE && next_reply(w))
        ;
    if (verify_runs(v) && v->await != VA_NONE && mono_us() - v->await_since >= PATIENCE)
        lose(w, "the master does not answer");
}
