/* A Dragonfly scans one shard after the other, and the lowest ten bits of a cursor are the shard's number. So
 * all keys of a reply are of one flow when the cursor before and behind it have the same shard. Where a reply
 * crosses into the next shard it is asked for once more with half the COUNT, down to 1, which ends with the
 * first bucket that has a key: its keys are of the shard of the new cursor, or, where that stands at a
 * beginning, of the one before. So the end of a shard costs some twenty round trips, not one for each key. */
#include "scan.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "handshake.h"
#include "io.h"
#include "log.h"
#include "../stream.h"

#define SHARD_BITS  10
#define REPLY_BYTES ((size_t)64 << 20)
#define ANSWER_MAX  (30 * US)
#define PAUSE       US /* after the connection was lost */
#define LOSSES      30u
#define DBS_MAX     1024u

void scan_reset(struct scan *sc)
{
    conn_close(&sc->conn);
    if (sc->reply != NULL)
        freeReplyObject(sc->reply);
    free(sc->db);
    sc->reply = NULL;
    sc->db = NULL;
    sc->ndbs = sc->at_db = 0;
    sc->await = SCAN_NONE;
}

static void refuse(struct scan *sc, const char *why)
{
    strlcpy(sc->error, why, sizeof sc->error);
}

static bool runs(const struct scan *sc)
{
    return sc->error[0] == '\0' && !sc->needless;
}

void scan_begin(struct scan *sc)
{
    sc->listed = sc->selected = false;
    sc->count = SCAN_COUNT;
    sc->at_db = sc->ndbs = 0;
    sc->cursor = 0;
}

/* The cursor stays: it goes on from there over a new connection. */
static void lose(struct scan *sc, const char *why)
{
    conn_close(&sc->conn);
    if (sc->reply != NULL)
        freeReplyObject(sc->reply);
    sc->reply = NULL;
    sc->await = SCAN_NONE;
    sc->selected = false;
    sc->next_at = mono_us() + PAUSE;
    log_event(LOG_INFO, NO_FLOW, "event=verify_connection_lost error=%s", log_quote(why, strlen(why)));
    if (++sc->losses >= LOSSES)
        refuse(sc, why);
}

/* ---- requests ---- */

static void await(struct scan *sc, enum scan_await what)
{
    sc->await = what;
    sc->await_since = mono_us();
}

static void request(struct scan *sc, enum scan_await what, int n, const char *const *args)
{
    if (conn_request(&sc->conn, n, args) < 0)
        lose(sc, "the master closed the connection");
    else
        await(sc, what);
}

static void ask_scan(struct scan *sc)
{
    static const char *const offsets[] = {"DFLY", "REPLICAOFFSET"};
    char cursor[24], count[16];
    snprintf(cursor, sizeof cursor, "%llu", (unsigned long long)sc->cursor);
    snprintf(count, sizeof count, "%u", sc->count);
    const char *const scan[] = {"SCAN", cursor, "COUNT", count};
    request(sc, SCAN_KEYS, 4, scan);
    if (sc->await == SCAN_KEYS && conn_request(&sc->conn, 2, offsets) < 0)
        lose(sc, "the master closed the connection");
}

static void ask(struct scan *sc)
{
    static const char *const stats[] = {"INFO", "stats"}, *const keyspace[] = {"INFO", "keyspace"};
    char db[16];
    if (!sc->looked) {
        request(sc, SCAN_STATS, 2, stats);
    } else if (!sc->listed) {
        request(sc, SCAN_KEYSPACE, 2, keyspace);
    } else if (!sc->selected) {
        snprintf(db, sizeof db, "%u", sc->db[sc->at_db]);
        const char *const select[] = {"SELECT", db};
        request(sc, SCAN_SELECT, 2, select);
    } else {
        ask_scan(sc);
    }
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct scan *sc = watch->ctx;
    if (conn_events(&sc->conn, events) < 0)
        lose(sc, errno != 0 ? strerror(errno) : "the master closed the connection");
}

static void connect_again(struct scan *sc)
{
    struct fault f;
    sc->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = sc};
    int rc = conn_another(&sc->conn, sc->loop, sc->like, &sc->o->url, &f);
    if (rc < 0) {
        lose(sc, f.text);
        return;
    }
    conn_keep_objects(&sc->conn, REPLY_BYTES);
    if (rc > 0)
        await(sc, SCAN_AUTH);
}

/* ---- replies ---- */

static void take_keyspace(struct scan *sc, const redisReply *r)
{
    unsigned db, keys;
    char why[80];
    free(sc->db);
    sc->db = xcalloc(DBS_MAX, sizeof *sc->db);
    sc->ndbs = sc->at_db = 0;
    for (const char *p = r->str; p != NULL; p = strchr(p, '\n'), p += p != NULL) {
        if (sscanf(p, "db%u:keys=%u", &db, &keys) != 2 || keys == 0)
            continue;
        if (sc->ndbs == DBS_MAX) {
            snprintf(why, sizeof why, "more than %u databases hold keys, db%u is one too many", DBS_MAX, db);
            refuse(sc, why);
            return;
        }
        sc->db[sc->ndbs++] = db;
    }
    sc->listed = true;
}

/* The shard that all keys of the reply are of, which led from one cursor to another. -1: there are several.
 */
static int shard_of(const struct scan *sc, uint64_t from, uint64_t to, bool by_one)
{
    unsigned n = sc->flows, before = from & ((1u << SHARD_BITS) - 1), behind = to & ((1u << SHARD_BITS) - 1);
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

static void advance(struct scan *sc, uint64_t to)
{
    uint64_t mask = (1u << SHARD_BITS) - 1;
    if ((sc->cursor & mask) != (to & mask))
        sc->count = SCAN_COUNT;
    sc->cursor = to;
    if (to != 0)
        return;
    sc->at_db++;
    sc->selected = false;
    sc->count = SCAN_COUNT;
}

/* SCAN and the offsets behind it. */
static void take_keys(struct scan *sc, const redisReply *offsets)
{
    redisReply *scan = sc->reply;
    const redisReply *keys = scan->element[1];
    uint64_t to = strtoull(scan->element[0]->str, NULL, 10);
    sc->reply = NULL;
    int flow = shard_of(sc, sc->cursor, to, sc->count == 1);
    if (keys->elements > 0 && flow < 0) {
        sc->count /= 2; /* of 1 there is always a flow */
    } else if (keys->elements > 0 &&
               ((unsigned)flow >= sc->flows || offset_of(offsets, (unsigned)flow) == 0)) {
        refuse(sc, "the cursor of SCAN, or DFLY REPLICAOFFSET, is not as it is known");
    } else {
        uint64_t now = mono_us(), from = sc->next_at > now - US ? sc->next_at : now;
        sc->next_at = from + keys->elements * US / sc->o->verify_rate;
        if (keys->elements > 0)
            sc->keys(sc->ctx, sc->db[sc->at_db], (unsigned)flow, offset_of(offsets, (unsigned)flow), keys);
        advance(sc, to);
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

static void take_stats(struct scan *sc, const redisReply *r)
{
    long long omits = r->type == REDIS_REPLY_STRING ? handshake_omits(r->str) : -1;
    sc->looked = true;
    if (omits >= 0 && omits == sc->omits)
        sc->needless = true;
}

/* Returns true when the reply was kept. */
static bool take_reply(struct scan *sc, redisReply *r)
{
    enum scan_await what = sc->await;
    sc->await = SCAN_NONE;
    if (r->type == REDIS_REPLY_ERROR && what != SCAN_STATS) {
        if (strncmp(r->str, "LOADING", 7) == 0 || strncmp(r->str, "BUSY", 4) == 0)
            lose(sc, r->str);
        else
            refuse(sc, r->str);
        return false;
    }
    switch (what) {
    case SCAN_STATS: take_stats(sc, r); return false;
    case SCAN_KEYSPACE:
        if (r->type == REDIS_REPLY_STRING)
            take_keyspace(sc, r);
        else
            refuse(sc, "INFO keyspace: malformed reply");
        return false;
    case SCAN_AUTH:
    case SCAN_SELECT:
        sc->selected = what == SCAN_SELECT;
        if (!is_ok(r))
            refuse(sc, what == SCAN_SELECT ? "SELECT: malformed reply" : "AUTH: malformed reply");
        return false;
    case SCAN_OFFSETS:
        sc->losses = 0;
        take_keys(sc, r);
        return false;
    case SCAN_KEYS:
        if (!is_scan(r)) {
            refuse(sc, "SCAN: malformed reply");
            return false;
        }
        sc->reply = r;
        await(sc, SCAN_OFFSETS);
        return true;
    default: return false;
    }
}

/* The next reply, if it is whole. False: there is none now. */
static bool next_reply(struct scan *sc)
{
    struct fault f;
    int rc = conn_reply(&sc->conn, &f);
    if (rc < 0)
        lose(sc, f.text);
    else if (rc > 0 && !take_reply(sc, sc->conn.object))
        freeReplyObject(sc->conn.object);
    return rc > 0 && runs(sc) && sc->conn.open;
}

void scan_step(struct scan *sc)
{
    if (!sc->conn.open) {
        if (mono_us() >= sc->next_at)
            connect_again(sc);
        return;
    }
    if (sc->await == SCAN_NONE)
        ask(sc);
    while (sc->await != SCAN_NONE && next_reply(sc))
        ;
    if (runs(sc) && sc->await != SCAN_NONE && mono_us() - sc->await_since >= ANSWER_MAX)
        lose(sc, "the master does not answer");
}
