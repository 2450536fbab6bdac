/* What the replies to records' requests say: done, to be sent another way, there already, or an error. */
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "../target/cluster.h"
#include "doubt.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "../target/suspect.h"
#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../summary.h"
#include "exact.h"
#include "failures.h"
#include "probes.h"
#include "splits.h"

#define TRY_MS     10u
#define TRY_MAX_MS 500u

/* ---- confirmations ---- */

static void count(struct stats *s, uint8_t vclass)
{
    s->requests++;
    if (vclass != 0)
        s->keys[vclass]++;
}

void cluster_count_at(struct cluster *cl, bool live, uint8_t vclass, uint64_t time, uint64_t now)
{
    count(cl->stats, vclass);
    if (!live)
        return;
    cl->stats->live++;
    if (cl->session->live) /* a replayed record came to dfreader long ago */
        stats_latency(cl->stats, time, now);
}

void cluster_count(struct cluster *cl, const struct cunit *u)
{
    bool live = (u->flags & CF_LIVE) != 0;
    cluster_count_at(cl, live, u->vclass, u->time, live && cl->session->live ? now_us() : 0);
}

/* One of the snapshot, as nearly all are. */
static void finish_snapshot(struct cluster *cl, const struct cunit *u, bool counted)
{
    cluster_leave_slot(cl, u->slot, false);
    positions_snapshot_done(cl->positions, u->flow);
    if (counted)
        count(cl->stats, u->vclass);
}

/* A request is done with; counted: it was carried out. */
static void finish(struct cluster *cl, const struct cunit *u, bool counted)
{
    hashset_remove(&cl->keys, u->key);
    if ((u->flags & (CF_LIVE | CF_ALONE | CF_OWN)) == 0 && u->probe == 0 && !cl->outcome->dead) {
        finish_snapshot(cl, u, counted);
        return;
    }
    cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    if ((u->flags & CF_ALONE) != 0)
        cl->exclusive = false;
    if ((u->flags & CF_OWN) != 0) {
        cluster_own_done(cl, u);
        return;
    }
    cluster_passed(cl, (u->flags & CF_LIVE) != 0, u->flow, u->mark);
    if (u->probe != 0)
        probe_done(cl->probes, u->probe);
    else if (counted && !cl->outcome->dead)
        cluster_count(cl, u);
}

void cluster_lost_data(struct cluster *cl, const struct cnode *node, const char *reason)
{
    cl->outcome->lost_data = true;
    outcome_give_up(cl->outcome, EXIT_RETRY, "event=target_has_lost_data node=%s error=%s", cnode_name(node),
                    log_quote(reason, strlen(reason)));
}

void cluster_slot_written(struct cluster *cl, const struct cnode *node, unsigned slot, unsigned fields,
                          long long added)
{
    if (!exact_written(cl->exact, slot, fields, added) && !cl->outcome->dead)
        watch_vanished(cl->watch, node,
                       "the position key of a slot had vanished: somebody flushed it or removed the key");
}

/* A server that was started anew, and takes writes for the slots that it had: what it had confirmed may be
 * gone, and its replicas have followed it. */
void cluster_accepted(struct cluster *cl, struct line *l)
{
    if (l->restarted && !cl->outcome->dead && !cl->opt->durable)
        cluster_lost_data(cl, l->node, "the server was started anew: what it had confirmed may be gone");
    l->restarted = false;
    l->done++;
    l->fruitful = true;
    cl->given_up = 0;
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c->cl, &c->line);
    if ((u->flags & CF_GUARDED) != 0)
        guard_reply(c->cl->splits, (uint32_t)u->mark, SPLIT_OPEN);
    finish(c->cl, u, true);
}

void cluster_doubtful(struct cluster *cl, const struct cunit *u, const uint8_t *bytes)
{
    doubt_name(cl->stats, u->flow, bytes, u->len, u->keyarg);
}

/* ---- refusals ---- */

static uint64_t later(unsigned tries)
{
    unsigned ms = tries < 3 ? 0 : tries > 9 ? TRY_MAX_MS : TRY_MS << (tries - 3);
    return mono_us() + (uint64_t)(ms < TRY_MAX_MS ? ms : TRY_MAX_MS) * 1000;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK ...": an empty host is that of the node that answered. */
static struct cnode *named_node(struct nodes *ns, const struct cnode *from, const char *text, unsigned *slot)
{
    char host[256], line[320];
    strlcpy(line, text, sizeof line);
    char *at = strchr(line, ' '), *where = at != NULL ? strchr(at + 1, ' ') : NULL;
    char *port = where != NULL ? strrchr(where + 1, ':') : NULL;
    if (port == NULL)
        return NULL;
    *slot = (unsigned)strtoul(at + 1, NULL, 10);
    *port++ = '\0';
    strlcpy(host, where + 1, sizeof host);
    const char *at_host = host[0] != '\0' && strcmp(host, "?") != 0 ? host : from->host;
    if (*slot >= SLOTS || !endpoint_ok(at_host, port))
        return NULL;
    return topology_node(ns, at_host, port);
}

enum detour cluster_detour(struct cluster *cl, struct line *l, unsigned tries, const struct named *what,
                           const char *text, size_t len, uint64_t *due, struct cnode **ask)
{
    struct cnode *n;
    unsigned slot;
    *due = later(tries);
    *ask = NULL;
    switch (error_class(text, len)) {
    case ERR_REDIRECT:
        n = named_node(&cl->nodes, l->node, text, &slot);
        if (n == NULL)
            return DETOUR_NONE;
        cl->stats->redirects++;
        log_event(LOG_DEBUG, NO_FLOW, "event=redirected node=%s reply=%s", cnode_name(l->node),
                  log_quote(text, len));
        error_count(&cl->stats->refusals, text, len);
        if (text[0] == 'A') {
            *ask = n;
            return DETOUR_ASK;
        }
        l->restarted = false; /* another one has taken over */
        topology_moved(&cl->nodes, slot, n);
        return DETOUR_AGAIN;
    case ERR_RETRY:
        cl->stats->retries++;
        if (strncmp(text, "TRYAGAIN", 8) == 0) {
            error_count(&cl->stats->refusals, text, len);
            *due = later(tries + 3);
            return DETOUR_AGAIN;
        }
        line_pause(l, what, text, len);
        *due = l->patience.until;
        topology_refresh(&cl->nodes);
        return DETOUR_AGAIN;
    case ERR_FATAL:
        outcome_give_up(cl->outcome, EXIT_CANNOT, "event=target_refuses node=%s reply=%s",
                        cnode_name(l->node), log_quote(text, len));
        return DETOUR_NONE;
    default: return DETOUR_NONE;
    }
}

void cluster_question_refused(struct cluster *cl, struct line *l, const redisReply *r, const char *command)
{
    struct cnode *ask;
    uint64_t due;
    if (error_class(r->str, r->len) != ERR_FATAL &&
        cluster_detour(cl, l, 3, NULL, r->str, r->len, &due, &ask) != DETOUR_NONE) {
        plight_refused(cl, &l->node->plight, NULL, r->str, r->len);
        return;
    }
    if (!cl->outcome->dead)
        outcome_give_up(cl->outcome, EXIT_CANNOT, "event=command_refused command=%s node=%s reply=%s",
                        command, cnode_name(l->node), log_quote(r->str, r->len));
}

static struct rec unit_rec(const struct cluster *cl, const struct cunit *u)
{
    unsigned flags = u->flags & (CF_IDEMPOTENT | CF_ALONE | CF_FIRST);
    return (struct rec){.flow = u->flow,
                        .db = u->db,
                        .slot = cl->nodes.slots ? u->slot : REC_NO_SLOT,
                        .hash = hashset_hash(u->key, u->db),
                        .keyarg = u->keyarg,
                        .vclass = u->vclass,
                        .flags = (uint16_t)flags,
                        .time = u->time};
}

void cluster_unit_error(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                        size_t len)
{
    bool first = (u->flags & CF_GUARDED) != 0 && u->mark >= TICKET_FIRST;
    struct failure f = {
        .text = text, .len = len, .r = unit_rec(cl, u), .request = bytes, .n = u->len, .split = first};
    if (first)
        guard_reply(cl->splits, (uint32_t)u->mark, SPLIT_FAILED);
    failures_add(cl->failures, &f);
}

/* Did a request of --on-existing skip or fail find its key? */
static bool unit_there(struct cluster *cl, const struct wire *x, const struct cunit *u, const uint8_t *bytes)
{
    bool error = x->reply_type == REDIS_REPLY_ERROR;
    if ((u->flags & CF_GUARDED) == 0 ||
        (error ? error_class(x->err, x->errlen) != ERR_CONFLICT : x->reply_type != REDIS_REPLY_NIL))
        return false;
    guard_reply(cl->splits, (uint32_t)u->mark, SPLIT_THERE);
    if ((u->flags & CF_AGAIN) != 0 && u->mark < TICKET_FIRST) {
        guard_unsure(cl->splits, u->flow, bytes, u->len, u->keyarg);
    } else {
        struct rec r = unit_rec(cl, u);
        guard_there(cl->splits, &r, bytes, u->len);
    }
    return true;
}

static bool judge(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    struct cluster *cl = c->cl;
    struct cnode *ask;
    uint64_t due;
    if (unit_there(cl, &c->line.wire, u, bytes)) {
        finish(cl, u, false);
        u->kind = CU_GONE;
        return false;
    }
    if (u->probe != 0 && c->line.wire.reply_type == REDIS_REPLY_INTEGER)
        probe_answer(cl->probes, u->probe, c->line.wire.number);
    if (c->line.wire.reply_type != REDIS_REPLY_ERROR) {
        if (!reply_fits(bytes, u->len, c->line.wire.reply_type))
            line_lose(&c->line, "unexpected reply to a request");
        return true;
    }
    if (u->probe != 0 && probe_fails(c->line.wire.err, c->line.wire.errlen)) {
        probe_refused(cl->probes, u->probe, c->line.wire.err, c->line.wire.errlen);
        finish(cl, u, false);
        u->kind = CU_GONE;
        return false;
    }
    if ((u->flags & CF_RESENT) != 0 && request_shows_repeat(bytes, u->len) &&
        error_of_repeat(c->line.wire.err, c->line.wire.errlen))
        return true; /* so it had been carried out */
    struct named what = {bytes, u->len, u->keyarg, u->len};
    if (cluster_detour(cl, &c->line, u->tries, &what, c->line.wire.err, c->line.wire.errlen, &due, &ask) !=
        DETOUR_NONE) {
        plight_refused(cl, &u->plight, &what, c->line.wire.err, c->line.wire.errlen);
        cluster_displace(cl, u, bytes, due, ask);
    } else {
        if (!cl->outcome->dead)
            cluster_unit_error(cl, u, bytes, c->line.wire.err, c->line.wire.errlen);
        finish(cl, u, false);
    }
    u->kind = CU_GONE;
    return false;
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    bool done = c->line.wire.reply_type == REDIS_REPLY_STATUS &&
                (u->flags & (CF_PLAINSET | CF_GUARDED)) == CF_PLAINSET;
    return done || judge(c, u, bytes);
}

/* ---- the connection is lost ---- */

/* Requests that may have been carried out although no reply came: sent again, they may count twice. */
static void note_doubtful(struct stats *s, struct cunit *u, bool sent, const uint8_t *bytes)
{
    if (!sent || (u->flags & CF_IDEMPOTENT) != 0)
        return;
    u->flags |= CF_RESENT;
    if (!request_shows_repeat(bytes, u->len))
        doubt_name(s, u->flow, bytes, u->len, u->keyarg);
}

/* One that was lost on its way, and shows to be the reason, is a data error. */
static void displace(struct conn *c, struct cunit *u, const uint8_t *bytes, bool sent)
{
    struct cluster *cl = c->cl;
    if (sent && c->line.state == CONN_READY)
        plight_lost(&u->plight, &c->line);
    if (sent && plight_hopeless(&u->plight) && suspect_found(cl)) {
        const char *text = suspect_text(c->line.why);
        cluster_unit_error(cl, u, bytes, text, strlen(text));
        finish(cl, u, false);
        return;
    }
    cluster_displace(cl, u, bytes, 0, NULL);
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    note_doubtful(c->cl->stats, u, how->sent, bytes);
    if (how->sent)
        u->flags |= CF_AGAIN;
    displace(c, u, bytes, how->sent && !how->answered);
}

static void on_drop(struct cluster *cl, const struct cunit *u)
{
    finish(cl, u, false);
}

static void on_fail(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    cluster_unit_error(cl, u, bytes, text, len);
    finish(cl, u, false);
}

const struct unit_calls cluster_request = {
    .reply = on_reply, .confirmed = on_confirmed, .lost = on_lost, .drop = on_drop, .fail = on_fail};
