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
#include "../writer.h"

#define TRY_MS     10u
#define TRY_MAX_MS 500u

/* ---- confirmations ---- */

void cluster_count_at(struct writer *w, bool live, uint8_t vclass, uint64_t time, uint64_t now)
{
    w->stats.requests++;
    if (vclass != 0)
        w->stats.keys[vclass]++;
    if (!live)
        return;
    w->stats.live++;
    if (w->session.live) /* a replayed record came to dfreader long ago */
        stats_latency(&w->stats, time, now);
}

void cluster_count(struct writer *w, const struct cunit *u)
{
    bool live = (u->flags & CF_LIVE) != 0;
    cluster_count_at(w, live, u->vclass, u->time, live && w->session.live ? now_us() : 0);
}

void cluster_finish(struct writer *w, const struct cunit *u, bool counted)
{
    struct cluster *cl = w->cluster;
    hashset_remove(&cl->keys, u->key);
    cluster_leave_slot(cl, u->slot, (u->flags & CF_ALONE) != 0);
    if ((u->flags & CF_ALONE) != 0)
        cl->exclusive = false;
    if ((u->flags & CF_OWN) != 0) {
        cluster_own_done(w, u);
        return;
    }
    cluster_passed(w, (u->flags & CF_LIVE) != 0, u->flow, u->mark);
    if (u->probe != 0)
        probe_done(w, u->probe);
    else if (counted && !cl->w->outcome.dead)
        cluster_count(w, u);
}

void cluster_lost_data(struct conn *c, const char *reason)
{
    struct writer *w = c->w;
    w->outcome.lost_data = true;
    outcome_give_up(&w->outcome, EXIT_RETRY, "event=target_has_lost_data node=%s error=%s",
                    cnode_name(c->node), log_quote(reason, strlen(reason)));
}

void cluster_slot_written(struct conn *c, unsigned slot, unsigned fields, long long added)
{
    if (!exact_written(c->w, slot, fields, added) && !c->w->outcome.dead)
        watch_vanished(c->w, c->node,
                       "the position key of a slot had vanished: somebody flushed it or removed the key");
}

/* A server that was started anew, and takes writes for the slots that it had: what it had confirmed may be
 * gone, and its replicas have followed it. */
static void restarted(struct conn *c)
{
    c->restarted = false;
    if (!c->w->outcome.dead && !c->w->opt.durable)
        cluster_lost_data(c, "the server was started anew: what it had confirmed may be gone");
}

void cluster_accepted(struct conn *c)
{
    if (c->restarted)
        restarted(c);
    c->done++;
    c->fruitful = true;
    c->w->cluster->given_up = 0;
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c);
    if ((u->flags & CF_GUARDED) != 0)
        guard_reply(c->w, (uint32_t)u->mark, SPLIT_OPEN);
    cluster_finish(c->w, u, true);
}

void cluster_doubtful(struct writer *w, const struct cunit *u, const uint8_t *bytes)
{
    doubt_name(w, u->flow, bytes, u->len, u->keyarg);
}

/* ---- refusals ---- */

static uint64_t later(unsigned tries)
{
    unsigned ms = tries < 3 ? 0 : tries > 9 ? TRY_MAX_MS : TRY_MS << (tries - 3);
    return mono_us() + (uint64_t)(ms < TRY_MAX_MS ? ms : TRY_MAX_MS) * 1000;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK ...": an empty host is that of the node that answered. */
static struct cnode *named_node(struct conn *c, const char *text, unsigned *slot)
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
    const char *at_host = host[0] != '\0' && strcmp(host, "?") != 0 ? host : c->node->host;
    if (*slot >= SLOTS || !endpoint_ok(at_host, port))
        return NULL;
    return topology_node(c->w->cluster, at_host, port);
}

enum detour cluster_detour(struct conn *c, unsigned tries, const struct named *what, const char *text,
                           size_t len, uint64_t *due, struct cnode **ask)
{
    struct cluster *cl = c->w->cluster;
    struct cnode *n;
    unsigned slot;
    *due = later(tries);
    *ask = NULL;
    switch (error_class(text, len)) {
    case ERR_REDIRECT:
        n = named_node(c, text, &slot);
        if (n == NULL)
            return DETOUR_NONE;
        c->w->stats.redirects++;
        log_event(LOG_DEBUG, NO_FLOW, "event=redirected node=%s reply=%s", cnode_name(c->node),
                  log_quote(text, len));
        error_count(&c->w->stats.refusals, text, len);
        if (text[0] == 'A') {
            *ask = n;
            return DETOUR_ASK;
        }
        c->restarted = false; /* another one has taken over */
        topology_moved(cl, slot, n);
        return DETOUR_AGAIN;
    case ERR_RETRY:
        c->w->stats.retries++;
        if (strncmp(text, "TRYAGAIN", 8) == 0) {
            error_count(&c->w->stats.refusals, text, len);
            *due = later(tries + 3);
            return DETOUR_AGAIN;
        }
        conn_pause(c, what, text, len);
        *due = c->patience.until;
        topology_refresh(cl);
        return DETOUR_AGAIN;
    case ERR_FATAL:
        outcome_give_up(&c->w->outcome, EXIT_CANNOT, "event=target_refuses node=%s reply=%s",
                        cnode_name(c->node), log_quote(text, len));
        return DETOUR_NONE;
    default: return DETOUR_NONE;
    }
}

void cluster_question_refused(struct conn *c, const redisReply *r, const char *command)
{
    struct cluster *cl = c->w->cluster;
    struct cnode *ask;
    uint64_t due;
    if (error_class(r->str, r->len) != ERR_FATAL &&
        cluster_detour(c, 3, NULL, r->str, r->len, &due, &ask) != DETOUR_NONE) {
        plight_refused(c->w, &c->node->plight, NULL, r->str, r->len);
        return;
    }
    if (!cl->w->outcome.dead)
        outcome_give_up(&c->w->outcome, EXIT_CANNOT, "event=command_refused command=%s node=%s reply=%s",
                        command, cnode_name(c->node), log_quote(r->str, r->len));
}

static struct rec unit_rec(const struct cluster *cl, const struct cunit *u)
{
    unsigned flags = ((u->flags & CF_IDEMPOTENT) != 0 ? RF_IDEMPOTENT : 0) |
                     ((u->flags & CF_ALONE) != 0 ? RF_MULTIKEY : 0) |
                     ((u->flags & CF_FIRST) != 0 ? RF_FIRST : 0);
    return (struct rec){.flow = u->flow,
                        .db = u->db,
                        .slot = cl->slots ? u->slot : REC_NO_SLOT,
                        .hash = hashset_hash(u->key, u->db),
                        .keyarg = u->keyarg,
                        .vclass = u->vclass,
                        .flags = (uint16_t)flags,
                        .time = u->time};
}

void cluster_unit_error(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                        size_t len)
{
    bool first = (u->flags & CF_GUARDED) != 0 && u->mark >= TICKET_FIRST;
    struct failure f = {.text = text,
                        .len = len,
                        .r = unit_rec(w->cluster, u),
                        .request = bytes,
                        .n = u->len,
                        .split = first};
    if (first)
        guard_reply(w, (uint32_t)u->mark, SPLIT_FAILED);
    writer_data_error(w, &f);
}

/* Did a request of --on-existing skip or fail find its key? */
static bool unit_there(struct writer *w, const struct conn *c, const struct cunit *u, const uint8_t *bytes)
{
    bool error = c->wire.reply_type == REDIS_REPLY_ERROR;
    if ((u->flags & CF_GUARDED) == 0 || (error ? error_class(c->wire.err, c->wire.errlen) != ERR_CONFLICT
                                               : c->wire.reply_type != REDIS_REPLY_NIL))
        return false;
    guard_reply(w, (uint32_t)u->mark, SPLIT_THERE);
    if ((u->flags & CF_AGAIN) != 0 && u->mark < TICKET_FIRST) {
        guard_unsure(w, u->flow, bytes, u->len, u->keyarg);
    } else {
        struct rec r = unit_rec(w->cluster, u);
        guard_there(w, &r, bytes, u->len);
    }
    return true;
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    struct writer *w = c->w;
    struct cnode *ask;
    uint64_t due;
    if (unit_there(w, c, u, bytes)) {
        cluster_finish(w, u, false);
        u->kind = CU_GONE;
        return false;
    }
    if (u->probe != 0 && c->wire.reply_type == REDIS_REPLY_INTEGER)
        probe_answer(w, u->probe, c->wire.number);
    if (c->wire.reply_type != REDIS_REPLY_ERROR) {
        if (!reply_fits(bytes, u->len, c->wire.reply_type))
            conn_lose(c, "unexpected reply to a request");
        return true;
    }
    if (u->probe != 0 && probe_fails(c->wire.err, c->wire.errlen)) {
        probe_refused(w, u->probe, c->wire.err, c->wire.errlen);
        cluster_finish(w, u, false);
        u->kind = CU_GONE;
        return false;
    }
    if ((u->flags & CF_RESENT) != 0 && request_shows_repeat(bytes, u->len) &&
        error_of_repeat(c->wire.err, c->wire.errlen))
        return true; /* so it had been carried out */
    struct named what = {bytes, u->len, u->keyarg, u->len};
    if (cluster_detour(c, u->tries, &what, c->wire.err, c->wire.errlen, &due, &ask) != DETOUR_NONE) {
        plight_refused(w, &u->plight, &what, c->wire.err, c->wire.errlen);
        cluster_displace(w, u, bytes, due, ask);
    } else {
        if (!w->outcome.dead)
            cluster_unit_error(w, u, bytes, c->wire.err, c->wire.errlen);
        cluster_finish(w, u, false);
    }
    u->kind = CU_GONE;
    return false;
}

/* ---- the connection is lost ---- */

/* Requests that may have been carried out although no reply came: sent again, they may count twice. */
static void note_doubtful(struct conn *c, struct cunit *u, bool sent, const uint8_t *bytes)
{
    if (!sent || (u->flags & CF_IDEMPOTENT) != 0)
        return;
    u->flags |= CF_RESENT;
    if (!request_shows_repeat(bytes, u->len))
        cluster_doubtful(c->w, u, bytes);
}

/* One that was lost on its way, and shows to be the reason, is a data error. */
static void displace(struct conn *c, struct cunit *u, const uint8_t *bytes, bool sent)
{
    struct writer *w = c->w;
    if (sent && c->state == CONN_READY)
        plight_lost(&u->plight, c);
    if (sent && plight_hopeless(&u->plight) && suspect_found(w, &w->cluster->given_up)) {
        const char *text = suspect_text(c->why);
        cluster_unit_error(w, u, bytes, text, strlen(text));
        cluster_finish(w, u, false);
        return;
    }
    cluster_displace(w, u, bytes, 0, NULL);
}

static void on_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    note_doubtful(c, u, how->sent, bytes);
    if (how->sent)
        u->flags |= CF_AGAIN;
    displace(c, u, bytes, how->sent && !how->answered);
}

static void on_drop(struct writer *w, const struct cunit *u)
{
    cluster_finish(w, u, false);
}

static void on_fail(struct writer *w, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    cluster_unit_error(w, u, bytes, text, len);
    cluster_finish(w, u, false);
}

const struct unit_calls cluster_request = {
    .reply = on_reply, .confirmed = on_confirmed, .lost = on_lost, .drop = on_drop, .fail = on_fail};
