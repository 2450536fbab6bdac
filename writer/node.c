#include "node.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "seek.h"
#include "suspect.h"
#include "together.h"
#include "writer.h"

#define CHUNK ((size_t)256 << 10)

static const struct wire_calls calls;

void node_init(struct node *n, struct writer *w)
{
    memset(n, 0, sizeof *n);
    n->w = w;
    n->since_select = SELECT_AFTER;
    wire_init(&n->wire, RING_SIZE, &calls, n, &w->stats.bytes_out);
    n->unit = xcalloc(UNITS_MAX, sizeof *n->unit);
    pipeline_init(&n->a);
    groups_init(&n->b);
}

void node_free(struct node *n)
{
    wire_free(&n->wire);
    free(n->unit);
    free(n->chunk);
    free(n->dbs.known);
    free(n->dbs.bad);
    pipeline_free(&n->a);
    groups_free(&n->b);
}

void node_lose(struct node *n, const char *fmt, ...)
{
    if (n->lost)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(n->lost_why, sizeof n->lost_why, fmt, ap);
    va_end(ap);
    n->lost = true;
}

bool node_room(const struct node *n, size_t len)
{
    size_t flying = (size_t)(n->wire.ring.tail - n->wire.ring.acked);
    if (flying > 0 && flying + n->a.mset.len + n->a.parts.req.len + len > n->w->opt.window)
        return false;
    size_t need = len + pipeline_gathered(&n->a) + 64 + group_room(n->b.building);
    if (n->b.resend) /* path A must not crowd out the group that is to be sent again */
        need += group_room(n->b.flying);
    return n->un + 4 < UNITS_MAX && ring_room(&n->wire.ring) >= need;
}

void node_unit(struct node *n, enum unit_kind kind, size_t len, unsigned keys, unsigned keyarg)
{
    n->unit[(n->uhead + n->un++) & (UNITS_MAX - 1)] = (struct unit){
        .len = (uint32_t)len, .keys = (uint16_t)keys, .kind = (uint8_t)kind, .keyarg = (uint8_t)keyarg};
}

bool node_quiet(const struct node *n)
{
    return n->un == 0 && !n->selecting && pipeline_quiet(n) && groups_quiet(n);
}

/* ---- refusals ---- */

void node_fatal(struct node *n, const char *event, const char *text, size_t len)
{
    n->dead = true;
    writer_fail(n->w, EXIT_CANNOT, "event=%s target=%s reply=%s", event, n->w->opt.shown,
                log_quote(text, len));
}

void node_refused(struct node *n, const struct named *what, const char *text, size_t len)
{
    uint64_t now = mono_us();
    error_count(&n->w->stats.refusals, text, len);
    bool replica = len >= 9 && memcmp(text, "READONLY ", 9) == 0;
    if (replica && n->w->opt.url.sentinel) { /* they may know the master by now */
        n->blameless = true;
        node_lose(n, "the server has become a replica");
        return;
    }
    if (replica && patience_says(&n->patience, now))
        n->replica = true;
    patience_refused(&n->patience, NULL, named_text(what), text, len, now);
}

void node_succeeded(struct node *n)
{
    patience_over(&n->patience, NULL);
}

/* ---- databases ---- */

int node_db_state(const struct node *n, uint32_t db)
{
    for (unsigned i = 0; i < n->dbs.n; i++)
        if (n->dbs.known[i] == db)
            return n->dbs.bad[i] ? -1 : 1;
    return db == 0;
}

void node_db_learn(struct node *n, uint32_t db, bool has)
{
    struct dbs *d = &n->dbs;
    if (node_db_state(n, db) != 0)
        return;
    unsigned at = d->next++ % DBS_MAX; /* the oldest is forgotten: it is asked for again when it is needed */
    if (at == d->n) {
        d->n++;
        d->known = xrealloc(d->known, d->n * sizeof *d->known);
        d->bad = xrealloc(d->bad, d->n * sizeof *d->bad);
    }
    d->known[at] = db;
    d->bad[at] = !has;
}

/* A SELECT that is refused (BUSY while a script runs) must never be followed by requests that then run in the
 * old database: nothing is sent behind it before its reply. */
void node_select(struct node *n, uint32_t db)
{
    uint8_t num[20], req[64];
    uint8_t *p = resp_len(req, '*', 2);
    p = resp_bulk(p, "SELECT", 6);
    p = resp_bulk(p, num, dec_u64(num, db));
    ring_add(&n->wire.ring, req, (size_t)(p - req));
    node_unit(n, U_SELECT, (size_t)(p - req), 0, 0);
    n->selecting = true;
    n->select_db = db;
}

enum put node_want_db(struct node *n, uint32_t db)
{
    if (db == n->db && !n->selecting)
        return PUT_DONE;
    if (node_db_state(n, db) < 0)
        return PUT_FAIL;
    if (n->lost || n->selecting || n->patience.until != 0 || n->a.again_unit.len > 0 || !node_room(n, 64))
        return PUT_WAIT;
    if (n->since_select < SELECT_AFTER && !n->allow_select)
        return PUT_WAIT;
    pipeline_flush(n);
    if (n->a.parts.n > 0) /* it waits for a reply, and belongs to this database */
        return PUT_WAIT;
    node_select(n, db);
    n->since_select = 0;
    n->allow_select = false;
    return PUT_WAIT;
}

static void select_reply(struct node *n)
{
    n->selecting = false;
    if (n->wire.reply_type != REDIS_REPLY_ERROR && n->wire.reply_type != REDIS_REPLY_STATUS) {
        node_lose(n, "unexpected reply to SELECT");
        return;
    }
    if (n->wire.reply_type != REDIS_REPLY_ERROR) {
        n->db = n->select_db;
        node_db_learn(n, n->db, true);
        return;
    }
    n->since_select = SELECT_AFTER;
    switch (error_class(n->wire.err, n->wire.errlen)) {
    case ERR_RETRY: node_refused(n, NULL, n->wire.err, n->wire.errlen); break;
    case ERR_FATAL: node_fatal(n, "select_failed", n->wire.err, n->wire.errlen); break;
    default:
        log_event(LOG_WARN, NO_FLOW, "event=no_such_db db=%u reply=%s", n->select_db,
                  log_quote(n->wire.err, n->wire.errlen));
        node_db_learn(n, n->select_db, false);
    }
}

/* ---- requests that the connection may be lost for ---- */

bool suspect_in_flight(const struct node *n)
{
    return n->un > 0 && n->wire.ring.sent > n->wire.ring.acked && n->unit[n->uhead].kind != U_SELECT &&
           n->unit[n->uhead].kind != U_INFO;
}

size_t suspect_sendable(const struct node *n)
{
    size_t all = ring_unsent(&n->wire.ring);
    if (n->alone == 0 || n->un == 0)
        return all;
    uint64_t end = n->wire.ring.acked + n->unit[n->uhead].len;
    size_t first = end > n->wire.ring.sent ? (size_t)(end - n->wire.ring.sent) : 0;
    return first < all ? first : all;
}

void suspect_cleared(struct node *n)
{
    n->losses = n->alone_losses = n->given_up = 0;
    if (n->alone > 0)
        n->alone--;
}

/* ---- bytes out ---- */

/* The file of a big request, behind the bytes in the ring. */
static bool send_big(struct node *n, struct big *big)
{
    size_t done;
    if (n->chunk == NULL)
        n->chunk = xmalloc(CHUNK);
    while (big->sent < big->size) {
        if (n->chunk_at == n->chunk_n) {
            long got = big_read(big, big->sent, n->chunk, CHUNK);
            if (got < 0) {
                writer_fail(n->w, EXIT_CANNOT, "event=spill_read_failed error=%s",
                            log_quote(strerror(errno), strlen(strerror(errno))));
                node_lose(n, "a large request could not be read back");
                return false;
            }
            n->chunk_at = 0;
            n->chunk_n = (size_t)got;
        }
        if (!wire_write(&n->wire, n->chunk + n->chunk_at, n->chunk_n - n->chunk_at, &done))
            return false;
        n->chunk_at += done;
        big->sent += done;
    }
    n->chunk_at = n->chunk_n = 0;
    free(n->chunk);
    n->chunk = NULL;
    group_big_sent(n);
    return true;
}

static bool send_ring(struct node *n)
{
    return wire_send(&n->wire, suspect_sendable(n));
}

void node_send(struct node *n)
{
    if (n->lost || n->dead || n->wire.t.fd < 0)
        return;
    n->wire.want_out = false;
    if (!send_ring(n))
        return;
    struct group *g = n->b.flying;
    bool first = n->un > 0 && n->unit[n->uhead].kind == U_GROUP;
    if (g != NULL && g->big != NULL && !n->b.resend && (first || n->alone == 0) &&
        g->big->sent < g->big->size && send_big(n, g->big))
        (void)send_ring(n);
}

/* ---- replies in ---- */

static void reply_done(struct node *n)
{
    const struct unit u = n->unit[n->uhead];
    if (u.kind == U_GROUP) {
        group_reply(n);
        return;
    }
    if (u.kind == U_PARTS) {
        parts_reply(n);
        return;
    }
    if (n->wire.ring.sent < n->wire.ring.acked + u.len && n->wire.reply_type != REDIS_REPLY_ERROR) {
        node_lose(n, "a reply to half a request");
        return;
    }
    if (u.kind == U_SELECT)
        select_reply(n);
    else if (u.kind == U_INFO && n->wire.reply_type != REDIS_REPLY_STRING &&
             n->wire.reply_type != REDIS_REPLY_ERROR)
        node_lose(n, "unexpected reply to INFO");
    else if (u.kind == U_INFO)
        watch_replied(n->w);
    else if (!pipeline_reply(n, &u))
        return;
    n->uhead = (n->uhead + 1) & (UNITS_MAX - 1);
    n->un--;
    ring_ack(&n->wire.ring, u.len);
    suspect_cleared(n);
}

static bool on_due(void *owner, bool *build, size_t *most)
{
    const struct node *n = owner;
    (void)most;
    if (n->un == 0 || n->wire.ring.sent == n->wire.ring.acked)
        return false;
    *build = n->unit[n->uhead].kind == U_INFO;
    return true;
}

/* Of the reply to EXEC. */
static void on_element(void *owner, int at, int type, const char *text, size_t len, long long number)
{
    struct node *n = owner;
    if (n->un > 0 && n->unit[n->uhead].kind == U_PARTS)
        parts_element(n, at, type, text, len);
    else if (type == REDIS_REPLY_ERROR)
        group_exec_error(n, at, text, len);
    else
        group_exec_reply(n, at, type, number);
}

static bool on_reply(void *owner, redisReply *built)
{
    struct node *n = owner;
    if (built != NULL) {
        n->wire.reply_type = built->type;
        if (built->type == REDIS_REPLY_STRING)
            watch_reply(n->w, built->str, built->len);
    }
    reply_done(n);
    return !n->lost;
}

static void on_lose(void *owner, const char *why)
{
    node_lose(owner, "%s", why);
}

static const struct wire_calls calls = {on_due, on_element, on_reply, on_lose};

void node_receive(struct node *n)
{
    wire_receive(&n->wire);
}

/* ---- what is due ---- */

/* Requests are in flight, and nothing has moved for too long. */
static bool check_silence(struct node *n, uint64_t now)
{
    n->now = now;
    if (n->un == 0)
        n->wire.heard = now;
    int limit = n->w->opt.reply_timeout;
    if (limit == 0 || us_since(now, n->wire.heard) < (uint64_t)limit * 1000000)
        return false;
    node_lose(n, "no reply for %d s", limit);
    return true;
}

void node_work(struct node *n, uint64_t now)
{
    if (n->lost || n->dead)
        return;
    if (check_silence(n, now))
        return;
    if (n->patience.until != 0 && now >= n->patience.until) {
        n->patience.until = 0;
        if (n->replica)
            seek_explain_replica(&n->w->opt);
        n->replica = false;
    }
    if (n->patience.until == 0 && !n->selecting) {
        pipeline_again(n);
        if (!n->selecting)
            group_work(n, now);
    }
    node_send(n);
}

int node_timeout(const struct node *n, uint64_t now)
{
    uint64_t at = n->patience.until;
    if (at == 0 && n->b.dirty && n->b.flying == NULL && !n->selecting && n->w->session.stage == ST_RUN)
        at = n->b.saved_at + POSITION_EVERY;
    uint64_t held = together_until(n, now);
    if (held != 0 && (at == 0 || held < at))
        at = held;
    uint64_t silence = n->wire.heard + (uint64_t)n->w->opt.reply_timeout * 1000000;
    if (n->un > 0 && n->w->opt.reply_timeout > 0 && (at == 0 || silence < at))
        at = silence;
    if (at == 0)
        return -1;
    return at <= now ? 0 : (int)((at - now) / 1000) + 1;
}
