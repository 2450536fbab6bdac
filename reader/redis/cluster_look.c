/* Looks at a master: what it has, at one exact offset (MULTI, INFO replication, CLUSTER NODES, EXEC). */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "cluster_source.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "psync.h"
#include "server.h"

#define LOOK_EVERY   (US / 4)
#define NODES_FEW    256u /* of larger clusters an answer is long: it is asked for less often, */
#define LOOK_RARELY  US   /* but so often at least */
#define LOOK_REPLY   ((size_t)8 << 20)
#define COUNTS_MAX   300u /* slots whose keys are counted in one look */
#define STRANGE      4u   /* looks that show a new master before it counts */
#define SILENT_AFTER (5 * US)
#define TRY_SECONDS  3        /* that a further try to connect may take, in which nothing else is done */
#define LASTS        (5 * US) /* a connection that lasts so long is none that is lost again and again */

/* It is made again, as long as the flows of the session are under way. Another master in its place ends the
 * session: the next one finds it. */
static bool again(struct master *m, const struct fault *f)
{
    const struct cluster_source *c = m->cluster;
    uint64_t limit = (uint64_t)c->stream->o->reconnect_timeout * US;
    if (c->session->phase < PHASE_FULL || !retry_failed(&m->retry, mono_us(), limit))
        return false;
    if (!m->away)
        log_event(LOG_WARN, NO_FLOW, "event=master_connection_lost address=%s error=%s", m->shown,
                  log_quote(f->text, strlen(f->text)));
    m->away = true;
    return true;
}

static void broke(struct master *m, const char *why)
{
    struct cluster_source *c = m->cluster;
    struct fault f;
    look_close(m);
    fault_set(&f, EXIT_RETRY, "connection to %s: %s", m->shown, why);
    if (session_ending(c->session))
        log_event(LOG_INFO, NO_FLOW, "event=look_closed error=%s", log_quote(why, strlen(why)));
    else if (!again(m, &f))
        session_fail_soon(c->session, &f);
}

static void ask(struct master *m, const struct slotset *count)
{
    static const char *const multi[] = {"MULTI"}, *const info[] = {"INFO", "replication", "keyspace"};
    static const char *const nodes[] = {"CLUSTER", "NODES"}, *const exec[] = {"EXEC"};
    char number[8];
    const char *const keys[] = {"CLUSTER", "COUNTKEYSINSLOT", number};
    m->asked_at = mono_us();
    m->expects = 4;
    m->counted = *count;
    int rc = conn_request(&m->conn, 1, multi);
    if (rc == 0)
        rc = conn_request(&m->conn, cluster_has_databases(m->version) ? 3 : 2, info);
    if (rc == 0)
        rc = conn_request(&m->conn, 2, nodes);
    for (unsigned i = slotset_next(count, 0); rc == 0 && i < SLOTS; i = slotset_next(count, i + 1)) {
        snprintf(number, sizeof number, "%u", i);
        rc = conn_request(&m->conn, 3, keys);
        m->expects++;
    }
    if (rc == 0)
        rc = conn_request(&m->conn, 1, exec);
    if (rc < 0)
        broke(m, "the master closed it");
}

/* ---- what it says ---- */

/* From Redis 7.2 on, and in Valkey, the removal of keys that a slot leaves behind is in the stream. */
static bool logs_removals(const char *text)
{
    enum server_kind kind;
    unsigned version;
    return server_parse(text, &kind, &version) && (kind == SERVER_VALKEY || version >= VERSION(7, 2));
}

static bool is_ours(const struct cluster_source *c, const char *id)
{
    for (unsigned i = 0; i < c->masters; i++)
        if (strcmp(c->master[i].id, id) == 0)
            return true;
    return false;
}

/* A master that this session does not read, and should: it has slots of our share, or there are no shares.
 * The full sync of a share is not broken off for one that got slots meanwhile. */
static bool is_wanted(const struct cluster_source *c, const struct node_line *line)
{
    if (!line->master || line->away)
        return false;
    if (c->stream->o->masters.of > 0) {
        struct slotset ours = line->slots;
        slotset_meet(&ours, &c->share);
        if (c->session->phase < PHASE_STABLE || slotset_next(&ours, 0) == SLOTS)
            return false;
    }
    return !is_ours(c, line->id);
}

/* Another master has come: it joined, a replica took over, or it got slots of our share. The next session has
 * it. */
static void check_strangers(struct master *m, const struct node_line *stranger)
{
    m->strangers = stranger->id[0] != '\0' ? m->strangers + 1 : 0;
    if (m->strangers >= STRANGE)
        session_fail(m->cluster->session, EXIT_RETRY,
                     "the cluster has another master, %s:%s: it is read from the next start on",
                     stranger->host, stranger->port);
}

static void take_nodes(struct master *m, const char *text, struct slotset *owned)
{
    struct node_line line, stranger = {.id = ""};
    memset(owned, 0, sizeof *owned);
    m->nodes = 0;
    for (const char *p = text; nodes_next(&p, &line); m->nodes++) {
        if (line.myself)
            *owned = line.slots;
        if (is_wanted(m->cluster, &line))
            stranger = line;
    }
    check_strangers(m, &stranger);
}

static void take_head(struct master *m, uint64_t offset)
{
    struct session *s = m->cluster->session;
    if (m->flow < s->flows.n)
        s->flows.flow[m->flow].head = psync_position(offset, PSYNC_DB_MAX);
}

/* What the flow of the master holds, and the master does not have. */
static void lost_slots(const struct master *m, const struct slotset *owned, struct slotset *lost)
{
    handover_set(m->cluster->slots, m->flow, lost);
    slotset_drop(lost, owned);
}

/* Only keys of database 0 are counted: where there are others, nothing is known. */
static bool counts_all(const redisReply *r)
{
    uint32_t db[2];
    unsigned n = info_databases(r->element[0]->str, db, 2);
    return n == 0 || (n == 1 && db[0] == 0);
}

static void take_counts(const struct master *m, const redisReply *r, struct slotset *empty)
{
    size_t k = 2;
    if (!counts_all(r))
        return;
    for (unsigned i = slotset_next(&m->counted, 0); i < SLOTS; i = slotset_next(&m->counted, i + 1), k++)
        if (k < r->elements && r->element[k]->type == REDIS_REPLY_INTEGER && r->element[k]->integer == 0)
            slotset_add(empty, i);
}

static void take_look(struct master *m, const redisReply *r)
{
    struct cluster_source *c = m->cluster;
    struct ho_look look = {.at = 0};
    struct ho_order order;
    struct slotset lost;
    uint64_t offset;
    char role[16] = "";
    const char *info = r->element[0]->str, *nodes = r->element[1]->str;
    (void)info_field(info, "role", role, sizeof role);
    if (strcmp(role, "master") != 0) {
        session_fail(c->session, EXIT_RETRY, "%s is no longer a master", m->shown);
        return;
    }
    take_nodes(m, nodes, &look.owned);
    if (session_ending(c->session) || m->flow == HO_NOBODY ||
        !info_number(info, "master_repl_offset", &offset) || offset > PSYNC_OFFSET_MAX)
        return;
    take_head(m, offset);
    m->looked_at = mono_us();
    lost_slots(m, &look.owned, &lost);
    unsigned n = slotset_count(&lost);
    if (n > 0 && n <= COUNTS_MAX && logs_removals(m->version) && slotset_next(&m->counted, 0) == SLOTS) {
        ask(m, &lost); /* once more, with the number of their keys */
        return;
    }
    take_counts(m, r, &look.empty);
    look.at = psync_position(offset, 0);
    if (handover_look(c->slots, m->flow, &look, &order))
        cluster_give(c, &order);
}

static bool is_look(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements >= 2 && r->element[0]->str != NULL &&
           r->element[1]->str != NULL && r->element[0]->type != REDIS_REPLY_ERROR &&
           r->element[1]->type != REDIS_REPLY_ERROR;
}

static void take_reply(struct master *m, redisReply *r)
{
    struct cluster_source *c = m->cluster;
    bool last = m->expects == 1 && !m->auth;
    m->expects -= m->expects > 0 && !m->auth;
    m->auth = false;
    if (m->silent)
        log_event(LOG_WARN, NO_FLOW, "event=master_answers address=%s", m->shown);
    if (m->away && last && is_look(r)) {
        log_event(LOG_WARN, NO_FLOW, "event=master_reconnected address=%s tries=%u", m->shown,
                  m->retry.tries + 1);
        m->away = false;
        m->back_at = mono_us();
    }
    m->silent = false;
    if (r->type == REDIS_REPLY_ERROR) {
        struct fault f;
        psync_refused(&f, "CLUSTER NODES, INFO", r->str);
        if (m->away && f.status == EXIT_RETRY) {
            broke(m, f.text);
            return;
        }
        session_fail(c->session, f.status, "%s: %s", m->shown, f.text);
    } else if (last && is_look(r)) {
        take_look(m, r);
    } else if (last || r->type != REDIS_REPLY_STATUS) {
        session_fail(c->session, EXIT_RETRY, "%s: unexpected reply", m->shown);
    }
}

static void on_reply(void *ctx)
{
    struct master *m = ctx;
    redisReply *r = m->conn.object;
    take_reply(m, r);
    freeReplyObject(r);
}

static void on_lost(void *ctx, const struct fault *f)
{
    broke(ctx, f->text);
}

static const struct conn_user user = {.reply = on_reply, .lost = on_lost};

static void on_ready(struct watch *w, uint32_t events)
{
    struct master *m = w->ctx;
    conn_serve(&m->conn, events, &user, m);
}

/* ---- all ---- */

int look_open(struct master *m, int seconds, struct fault *f)
{
    struct stream *st = m->cluster->stream;
    m->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = m};
    if (conn_open(&m->conn, &st->loop, &m->at, seconds * 1000, 0, f) < 0)
        return -1;
    conn_keep_objects(&m->conn, LOOK_REPLY);
    m->expects = 0;
    m->asked_at = 0;
    int rc = conn_auth(&m->conn, &m->at);
    if (rc < 0) {
        conn_fault(&m->conn, f);
        return -1;
    }
    m->auth = rc > 0;
    return 0;
}

static void try_again(struct master *m)
{
    const struct options *o = m->cluster->stream->o;
    struct fault f;
    if (look_open(m, o->connect_timeout < TRY_SECONDS ? o->connect_timeout : TRY_SECONDS, &f) < 0)
        broke(m, f.text);
}

void look_close(struct master *m)
{
    conn_close(&m->conn);
    m->expects = 0;
}

static uint64_t look_every(const struct master *m)
{
    uint64_t us = LOOK_EVERY * m->nodes / NODES_FEW;
    return us < LOOK_EVERY ? LOOK_EVERY : us < LOOK_RARELY ? us : LOOK_RARELY;
}

void look_tick(struct master *m, uint64_t now)
{
    static const struct slotset none;
    const struct cluster_source *c = m->cluster;
    uint64_t silent = us_since(now, m->asked_at), limit = (uint64_t)c->stream->o->ping_timeout * US;
    if (m->away && !m->conn.open && retry_due(&m->retry, now))
        try_again(m);
    else if (!m->away && m->retry.since != 0 && us_since(now, m->back_at) >= LASTS)
        m->retry = (struct retry){.since = 0};
    if (!m->conn.open || m->auth)
        return;
    if (m->expects == 0) {
        if (silent >= look_every(m))
            ask(m, &none);
    } else if (silent >= limit) {
        session_fail(c->session, EXIT_RETRY, "%s: no answer for %llu seconds", m->shown,
                     (unsigned long long)(limit / US));
    } else if (silent >= SILENT_AFTER && !m->silent) {
        m->silent = true;
        log_event(LOG_WARN, NO_FLOW, "event=master_silent address=%s seconds=%llu", m->shown,
                  (unsigned long long)(silent / US));
    }
}
