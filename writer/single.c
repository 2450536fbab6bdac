/* A single server: its replies by what they are to, and what is due. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "node.h"
#include "seek.h"
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

bool node_quiet(const struct node *n)
{
    return n->un == 0 && !n->selecting && pipeline_quiet(n) && groups_quiet(n);
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
        node_select_reply(n);
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
    if (n->un == 0 || (n->alone > 0 && n->patience.until != 0)) /* nothing is sent in a pause */
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
    if (n->flush)
        pipeline_flush(n);
    n->flush = false;
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
