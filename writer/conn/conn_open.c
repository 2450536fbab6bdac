/* Connecting, the handshake, and how a connection is lost. The handshake ends the connections that a dead
 * writer of this task, or our own lost one, may have left: their bytes must not be executed after ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <bsd/string.h>

#include "../target/nodes.h"
#include "conn.h"
#include "../engine/errors.h"
#include "exits.h"
#include "../target/info.h"
#include "io.h"
#include "log.h"
#include "../target/policy.h"
#include "../events.h"
#include "../target/target.h"
#include "tls.h"
#include "../options.h"
#include "../outcome.h"
#include "../summary.h"

#define HELLO_LIMIT    ((uint64_t)20000000) /* us for the handshake */
#define SENTINEL_LIMIT ((uint64_t)3000000)

static void ready(struct conn *c)
{
    uint64_t now = mono_us();
    c->state = CONN_READY;
    c->opened = now;
    c->wait_ms = 0;
    c->fruitful = false;
    c->all->stir = true;
    log_event(LOG_INFO, NO_FLOW, "event=node_ready node=%s", cnode_name(c->node));
    if (c->all->whole && c->was_ready)
        log_event(LOG_WARN, NO_FLOW, "event=target_connected_again target=%s", c->all->opt->shown);
    c->was_ready = true;
    c->calls->ready(c);
}

/* ---- handshake ---- */

/* It answers: it is not lost, however long it loads. */
static void not_ready(struct conn *c, const redisReply *r, const char *what)
{
    uint64_t now = mono_us();
    error_count(&c->all->stats->refusals, r->str, r->len);
    c->all->needed_since = now;
    if (us_since(now, c->said_not) < SAY_EVERY)
        return;
    c->said_not = now;
    char why[200];
    snprintf(why, sizeof why, "%s: %.150s", what, r->str);
    log_event(LOG_WARN, NO_FLOW, "event=target_not_ready target=%s node=%s error=%s action=waiting",
              c->all->opt->shown, cnode_name(c->node), log_quote(why, strlen(why)));
}

void conn_refused(struct conn *c, const redisReply *r, const char *what)
{
    enum err_class class = error_class(r->str, r->len);
    c->loss = class == ERR_RETRY ? LOSS_LATER : c->wire.in.cut ? LOSS_AGAIN : LOSS_FATAL;
    if (class == ERR_FATAL && strncmp(r->str, "ERR", 3) != 0 && c->all->opened) {
        outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=cannot_use_target target=%s node=%s error=%s",
                        c->all->opt->shown, cnode_name(c->node), log_quote(r->str, r->len));
    }
    if (class == ERR_RETRY)
        not_ready(c, r, what);
    conn_lose(c, "%s: %s", what, r->str);
}

/* Is it a reply of that type, and no refusal? */
static bool fine(struct conn *c, const redisReply *r, int type, const char *what)
{
    if (r == NULL)
        return false;
    if (r->type != REDIS_REPLY_ERROR)
        return conn_expects(c, r, REPLY_BIT(type), what);
    conn_refused(c, r, what);
    return false;
}

static void go_on(struct conn *c);

static void on_auth(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    bool unneeded =
        r != NULL && r->type == REDIS_REPLY_ERROR && c->all->opt->url.user[0] == '\0' &&
        (strstr(r->str, "without any password") != NULL || strstr(r->str, "no password is set") != NULL);
    if (unneeded)
        log_event(LOG_WARN, NO_FLOW, "event=password_not_needed target=%s", c->all->opt->shown);
    else
        (void)fine(c, r, REDIS_REPLY_STATUS, "AUTH");
}

static void on_setname(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    (void)fine(c, r, REDIS_REPLY_STATUS, "CLIENT SETNAME");
}

static void on_id(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    bool old = r != NULL && r->type == REDIS_REPLY_ERROR && version_less(c->all->target->info.compat, "5.0");
    if (!old && fine(c, r, REDIS_REPLY_INTEGER, "CLIENT ID"))
        c->id = r->integer; /* before 5.0 there is none: CLIENT KILL leaves out whoever asks */
}

static void on_info(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (!fine(c, r, REDIS_REPLY_STRING, "INFO"))
        return;
    identity_learn(&c->now, r->str);
    target_learn(&c->all->target->info, r->str);
}

/* The same server, started anew, may have lost what it confirmed. */
static void on_replication(struct conn *c, void *arg, const redisReply *r)
{
    struct target_info *info = &c->all->target->info;
    on_info(c, arg, r);
    if (r == NULL || c->lost)
        return;
    if (c->all->opt->url.sentinel && strcmp(info->role, "master") != 0) {
        conn_lose(c, "sentinels name a server as the master that says it is a %s", info->role);
        return;
    }
    if (c->known && !identity_same(&c->who, &c->now)) {
        c->restarted = c->done > 0;
        if (!c->all->slots)
            c->node->evicted = (struct evictions){0}; /* its counters say nothing of ours */
    }
    c->known = true;
    c->who = c->node->who = c->now;
    c->calls->met(c);
    if (!c->all->outcome->failed)
        go_on(c);
}

static void on_kill(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (r != NULL && r->type == REDIS_REPLY_ERROR && strstr(r->str, "No such client") != NULL)
        return; /* it went by itself */
    if (r == NULL || r->type != REDIS_REPLY_STATUS)
        (void)fine(c, r, REDIS_REPLY_INTEGER, "CLIENT KILL");
}

static void on_ready(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (fine(c, r, REDIS_REPLY_STRING, "ECHO"))
        ready(c);
}

/* Is this one of our own living connections to the same server? Nodes may know it by different names. */
static bool is_ours(const struct conn *c, long long id)
{
    const struct nodes *ns = c->all;
    for (unsigned i = 0; i < ns->nconn; i++) {
        const struct conn *o = ns->conn[i];
        if (o->state >= CONN_HELLO && o->id == id && (o->node == c->node || identity_same(&o->who, &c->who)))
            return true;
    }
    return false;
}

/* Another writer of the task: the connection is given up, and tried again for a while. */
static bool is_rival(struct conn *c, const char *who)
{
    char why[400];
    if (policy_may_take_over(c->all->policy))
        return false;
    if (policy_rival(c->all->policy, who, why, sizeof why)) {
        outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=task_in_use target=%s node=%s error=%s",
                        c->all->opt->shown, cnode_name(c->node), log_quote(why, strlen(why)));
    }
    c->loss = LOSS_RIVAL;
    conn_lose(c, "%s", why);
    return true;
}

static void on_list(struct conn *c, void *arg, const redisReply *r)
{
    char num[24], who[RIVAL_NAME];
    long long id;
    (void)arg;
    if (!fine(c, r, REDIS_REPLY_STRING, "CLIENT LIST"))
        return;
    bool rivals = false;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0')
        if (rival_of(&c->all->policy->self, line, strcspn(line, "\n"), &id, who) == RIVAL_ALIVE) {
            rivals = true;
            if (is_rival(c, who))
                return;
        }
    c->all->policy->took_over |= rivals;
    if (!rivals)
        c->all->policy->rival_since = 0;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        if (rival_of(&c->all->policy->self, line, strcspn(line, "\n"), &id, who) == RIVAL_NONE ||
            is_ours(c, id) || c->un + 4 >= c->cap)
            continue;
        snprintf(num, sizeof num, "%lld", id);
        log_event(LOG_INFO, NO_FLOW, "event=ends_old_connection node=%s id=%lld writer=%s",
                  cnode_name(c->node), id, log_quote(who, strlen(who)));
        conn_call(c, on_kill, NULL, "CLIENT", "KILL", "ID", num, NULL);
    }
    c->calls->last(c);
    conn_call(c, on_ready, NULL, "ECHO", "ready", NULL);
}

/* A MULTI that is refused later would let the requests behind it run one by one: find out now. */
static void on_multi(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    (void)fine(c, r, REDIS_REPLY_STATUS, "MULTI");
}

static void on_exec(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (fine(c, r, REDIS_REPLY_ARRAY, "EXEC") && r->elements > 0)
        conn_lose(c, "EXEC: unexpected reply");
}

/* The second part of the handshake: it is known what the server is. */
static void go_on(struct conn *c)
{
    conn_call(c, on_id, NULL, "CLIENT", "ID", NULL);
    if (c->all->whole || (!c->all->opened && !c->all->opt->at_least_once)) {
        conn_call(c, on_multi, NULL, "MULTI", NULL);
        conn_call(c, on_exec, NULL, "EXEC", NULL);
    }
    c->calls->hello(c);
    conn_call(c, on_list, NULL, "CLIENT", "LIST", NULL);
}

static void hello(struct conn *c)
{
    const struct url *u = &c->all->opt->url;
    char name[RIVAL_NAME];
    rival_name(&c->all->policy->self, name);
    c->state = CONN_HELLO;
    if (c->calls->greet != NULL) {
        c->calls->greet(c);
        conn_send(c);
        return;
    }
    if (u->user[0] != '\0')
        conn_call(c, on_auth, NULL, "AUTH", u->user, u->password, NULL);
    else if (u->password[0] != '\0')
        conn_call(c, on_auth, NULL, "AUTH", u->password, NULL);
    conn_call(c, on_setname, NULL, "CLIENT", "SETNAME", name, NULL);
    c->now = (struct identity){0};
    conn_call(c, on_info, NULL, "INFO", "server", NULL);
    conn_call(c, on_replication, NULL, "INFO", "replication", NULL);
    conn_send(c);
}

/* ---- connecting ---- */

void conn_want(struct conn *c, uint64_t now)
{
    if (c->state != CONN_DOWN || c->lost || now < c->next_try)
        return;
    if (c->calls->known != NULL && !c->calls->known(c, now))
        return;
    c->opened = now;
    c->loss = LOSS_AGAIN;
    c->spoke = false;
    c->id = 0;
    c->db = 0;
    c->selecting = false;
    if (!wire_begin(&c->wire)) {
        outcome_fail(c->all->outcome, EXIT_CANNOT, "event=out_of_memory");
        return;
    }
    char why[sizeof c->why];
    int fd = sock_tcp_start(c->node->host, c->node->port, c->turn, why, sizeof why);
    if (fd < 0) {
        c->state = CONN_CONNECTING;
        conn_lose(c, "%s", why);
        return;
    }
    if (transport_open(&c->wire.t, fd, c->all->tls, c->node->host) < 0) {
        close(fd);
        outcome_fail(c->all->outcome, EXIT_CANNOT, "event=out_of_memory");
        return;
    }
    c->state = CONN_CONNECTING;
    c->wire.want_out = c->watched_out = true;
    events_watch(c->all->events, fd, TAG_CONN + c->index, EPOLLIN | EPOLLOUT);
}

void conn_opening(struct conn *c)
{
    if (sock_tcp_done(c->wire.t.fd) == 0)
        hello(c);
    else
        conn_lose(c, "cannot connect to %s: %s", cnode_name(c->node), strerror(errno));
}

/* ---- losing ---- */

/* Requests in flight without a reply. *ours: of these, our own questions. */
static unsigned in_flight(const struct conn *c, unsigned *ours)
{
    uint64_t at = c->wire.ring.acked + c->replied_bytes;
    unsigned n = 0;
    bool begun = false;
    *ours = 0;
    for (uint32_t i = c->replied;
         i < c->un && (at < c->wire.ring.sent || c->unit[(c->uhead + i) & (c->cap - 1)].len == 0); i++) {
        const struct cunit *u = &c->unit[(c->uhead + i) & (c->cap - 1)];
        begun = u->kind == CU_QUEUED || (begun && u->kind != CU_EXEC);
        *ours += u->kind == CU_CALL;
        n += u->kind != CU_SKIP && u->kind != CU_QUEUED;
        at += u->len;
    }
    return n + begun;
}

/* A connection on which our own questions are lost again and again is no better than none. */
static void barren(struct conn *c, uint64_t now)
{
    unsigned ours, n = in_flight(c, &ours);
    const struct nodes *ns = c->all;
    n += c->misled;
    ours += c->misled;
    c->lost_alone = c->probing || n == 1;
    if (c->state != CONN_READY)
        return;
    if (c->fruitful || n == 0) {
        c->barren_since = 0;
        c->barren_ms = 0;
        return;
    }
    if (c->barren_since == 0)
        c->barren_since = now;
    c->wait_ms = c->barren_ms;
    c->barren_ms = patience_longer(c->barren_ms);
    if (n > ours || us_since(now, c->barren_since) < (uint64_t)ns->opt->reconnect_timeout * 1000000 ||
        ns->outcome->failed)
        return;
    outcome_give_up(ns->outcome, EXIT_RETRY, "event=target_lost target=%s node=%s error=%s", ns->opt->shown,
                    cnode_name(c->node), log_quote(c->why, strlen(c->why)));
}

static void give_back(struct conn *c)
{
    uint64_t at = c->wire.ring.acked;
    bool begun = false; /* MULTI of the bundle was sent */
    for (uint32_t i = 0; i < c->un; i++) {
        struct cunit *u = &c->unit[(c->uhead + i) & (c->cap - 1)];
        const uint8_t *bytes = ring_at(&c->wire.ring, at);
        struct unit_loss how = {.sent = at < c->wire.ring.sent, .answered = i < c->replied};
        how.begun = begun || how.sent; /* what stood before it may have been answered */
        begun = u->kind == CU_QUEUED && how.sent;
        if (u->kind == CU_CALL && !how.answered)
            u->fn(c, u->arg, NULL);
        else if (u->kind != CU_GONE && u->calls != NULL && u->calls->lost != NULL)
            u->calls->lost(c, u, bytes, &how);
        at += u->len;
    }
}

/* How it was lost: for whoever looks for the target, and for the log. */
static void say_lost(struct conn *c, bool was_up, uint64_t now)
{
    bool opened = c->all->opened;
    if (c->state == CONN_CONNECTING && c->loss == LOSS_AGAIN)
        c->loss = LOSS_GONE;
    if (c->wire.t.fd >= 0 && c->wire.t.hopeless)
        c->loss = LOSS_FATAL;
    bool told = opened || (c->state == CONN_HELLO && c->loss == LOSS_AGAIN);
    if (was_up || (told && !c->node->sentinel && us_since(now, c->said) >= SAY_EVERY)) {
        c->said = now;
        log_event(LOG_WARN, NO_FLOW, "event=target_connection_lost target=%s node=%s error=%s in_flight=%u",
                  c->all->opt->shown, cnode_name(c->node), log_quote(c->why, strlen(c->why)),
                  c->un - c->replied);
    }
    if (was_up || !opened || !c->all->slots || !c->node->master || c->wire.t.fd < 0 || !c->wire.t.hopeless)
        return;
    outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=cannot_use_target target=%s node=%s error=%s",
                    c->all->opt->shown, cnode_name(c->node), log_quote(c->why, strlen(c->why)));
}

/* Nothing is on its way over it any more. */
static void tidy(struct conn *c)
{
    c->state = CONN_DOWN;
    replies_close(&c->wire.in);
    c->wire.ring.acked = c->wire.ring.sent = c->wire.ring.tail = 0;
    c->uhead = c->un = c->replied = 0;
    c->replied_bytes = 0;
    if (c->calls->lost != NULL)
        c->calls->lost(c);
    c->selecting = c->lost = c->awaited = c->probing = c->misled = false;
    c->blameless = c->explain = false;
    c->big = (struct cunit){.kind = 0};
    c->patience = (struct patience){0};
}

void conn_settle(struct conn *c, uint64_t now)
{
    if (!c->lost)
        return;
    bool was_up = c->state == CONN_READY;
    c->lost_at = now;
    c->all->stats->reconnects += was_up;
    say_lost(c, was_up, now);
    if (c->wire.t.fd >= 0) {
        events_drop(c->all->events, c->wire.t.fd);
        c->wire.t.close(&c->wire.t);
    }
    barren(c, now);
    give_back(c);
    c->next_try = UINT64_MAX;
    c->turn += c->state == CONN_CONNECTING;
    if (!was_up)
        c->calls->missed(c);
    bool at_once = c->next_try == 0;
    tidy(c);
    c->wait_ms = patience_longer(c->wait_ms);
    c->next_try = at_once ? now : patience_end(c->wait_ms, now);
}

/* For connecting, TLS included, there is an option. */
static uint64_t hello_limit(const struct conn *c)
{
    bool connects = c->state == CONN_CONNECTING || (c->all->tls != NULL && !c->spoke);
    uint64_t us = connects ? (uint64_t)c->all->opt->connect_timeout * 1000000 : HELLO_LIMIT;
    return c->node->sentinel && us > SENTINEL_LIMIT ? SENTINEL_LIMIT : us; /* the next one may know better */
}

/* It refuses writes as a replica. */
static void on_whose(struct conn *c, void *arg, const redisReply *r)
{
    char role[16], host[256], port[16];
    (void)arg;
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        return;
    info_field(r->str, "role", role, sizeof role);
    info_field(r->str, "master_host", host, sizeof host);
    info_field(r->str, "master_port", port, sizeof port);
    if ((strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0) && endpoint_ok(host, port))
        log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s master=\"%s\":%s note=%s",
                  c->all->opt->shown, host, port, "\"it refuses writes: if it stays so, name its master\"");
}

void conn_tick(struct conn *c, uint64_t now)
{
    if (c->patience.until != 0 && now >= c->patience.until) {
        c->patience.until = 0;
        if (c->explain && conn_takes(c, 64))
            conn_call(c, on_whose, NULL, "INFO", "replication", NULL);
        c->explain = false;
        conn_release(c);
    }
    bool opening = c->state == CONN_CONNECTING || c->state == CONN_HELLO;
    if (opening && us_since(now, c->opened) > hello_limit(c) && c->state == CONN_CONNECTING)
        conn_lose(c, "cannot connect to %s: Connection timed out", cnode_name(c->node));
    else if (opening && us_since(now, c->opened) > hello_limit(c))
        conn_lose(c, "no answer of %s within %u s", cnode_name(c->node),
                  (unsigned)(hello_limit(c) / 1000000));
    else if (c->state == CONN_READY && c->un > c->replied && c->all->opt->reply_timeout > 0 &&
             us_since(now, c->wire.heard) > (uint64_t)c->all->opt->reply_timeout * 1000000)
        conn_lose(c, "no reply for %d s", c->all->opt->reply_timeout);
}
