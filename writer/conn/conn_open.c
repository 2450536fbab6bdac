/* Connecting, and how a connection is lost. */
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

void conn_ready(struct conn *c)
{
    uint64_t now = mono_us();
    c->line.state = CONN_READY;
    c->opened = now;
    c->wait_ms = 0;
    c->line.fruitful = false;
    c->all->stir = true;
    log_event(LOG_INFO, NO_FLOW, "event=node_ready node=%s", cnode_name(c->line.node));
    if (c->all->whole && c->was_ready)
        log_event(LOG_WARN, NO_FLOW, "event=target_connected_again target=%s", c->all->opt->shown);
    c->was_ready = true;
    c->calls->ready(c);
}

/* ---- connecting ---- */

void conn_want(struct conn *c, uint64_t now)
{
    if (c->line.state != CONN_DOWN || c->line.lost || now < c->next_try)
        return;
    if (c->calls->known != NULL && !c->calls->known(c, now))
        return;
    c->opened = now;
    c->line.loss = LOSS_AGAIN;
    c->line.spoke = false;
    c->hello.id = 0;
    c->line.db = 0;
    c->line.selecting = false;
    if (!wire_begin(&c->line.wire)) {
        outcome_fail(c->all->outcome, EXIT_CANNOT, "event=out_of_memory");
        return;
    }
    char why[sizeof c->line.why];
    int fd = sock_tcp_start(c->line.node->host, c->line.node->port, c->turn, why, sizeof why);
    if (fd < 0) {
        c->line.state = CONN_CONNECTING;
        line_lose(&c->line, "%s", why);
        return;
    }
    if (transport_open(&c->line.wire.t, fd, c->all->tls, c->line.node->host) < 0) {
        close(fd);
        outcome_fail(c->all->outcome, EXIT_CANNOT, "event=out_of_memory");
        return;
    }
    c->line.state = CONN_CONNECTING;
    c->line.wire.want_out = c->watched_out = true;
    events_watch(c->all->events, fd, TAG_CONN + c->index, EPOLLIN | EPOLLOUT);
}

void conn_opening(struct conn *c)
{
    if (sock_tcp_done(c->line.wire.t.fd) == 0)
        hello_begin(&c->hello);
    else
        line_lose(&c->line, "cannot connect to %s: %s", cnode_name(c->line.node), strerror(errno));
}

/* ---- losing ---- */

/* A connection on which our own questions are lost again and again is no better than none. */
static void barren(struct conn *c, uint64_t now)
{
    unsigned ours, n = line_sent(&c->line, &ours);
    const struct nodes *ns = c->all;
    n += c->line.misled;
    ours += c->line.misled;
    c->line.lost_alone = c->line.probing || n == 1;
    if (c->line.state != CONN_READY)
        return;
    if (c->line.fruitful || n == 0) {
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
                    cnode_name(c->line.node), log_quote(c->line.why, strlen(c->line.why)));
}

/* How it was lost: for whoever looks for the target, and for the log. */
static void say_lost(struct conn *c, bool was_up, uint64_t now)
{
    bool opened = c->all->opened;
    if (c->line.state == CONN_CONNECTING && c->line.loss == LOSS_AGAIN)
        c->line.loss = LOSS_GONE;
    if (c->line.wire.t.fd >= 0 && c->line.wire.t.hopeless)
        c->line.loss = LOSS_FATAL;
    bool told = opened || (c->line.state == CONN_HELLO && c->line.loss == LOSS_AGAIN);
    if (was_up || (told && !c->line.node->sentinel && us_since(now, c->said) >= SAY_EVERY)) {
        c->said = now;
        log_event(LOG_WARN, NO_FLOW, "event=target_connection_lost target=%s node=%s error=%s in_flight=%u",
                  c->all->opt->shown, cnode_name(c->line.node), log_quote(c->line.why, strlen(c->line.why)),
                  c->line.un - c->line.replied);
    }
    if (was_up || !opened || !c->all->slots || !c->line.node->master || c->line.wire.t.fd < 0 ||
        !c->line.wire.t.hopeless)
        return;
    outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=cannot_use_target target=%s node=%s error=%s",
                    c->all->opt->shown, cnode_name(c->line.node),
                    log_quote(c->line.why, strlen(c->line.why)));
}

/* Nothing is on its way over it any more. */
static void tidy(struct conn *c)
{
    line_reset(&c->line);
    if (c->calls->lost != NULL)
        c->calls->lost(c);
    c->line.lost = c->explain = false; /* what came of it is known to all */
}

void conn_settle(struct conn *c, uint64_t now)
{
    if (!c->line.lost)
        return;
    bool was_up = c->line.state == CONN_READY;
    c->lost_at = now;
    c->all->stats->reconnects += was_up;
    say_lost(c, was_up, now);
    if (c->line.wire.t.fd >= 0) {
        events_drop(c->all->events, c->line.wire.t.fd);
        c->line.wire.t.close(&c->line.wire.t);
    }
    barren(c, now);
    line_give_back(&c->line);
    c->next_try = UINT64_MAX;
    c->turn += c->line.state == CONN_CONNECTING;
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
    bool connects = c->line.state == CONN_CONNECTING || (c->all->tls != NULL && !c->line.spoke);
    uint64_t us = connects ? (uint64_t)c->all->opt->connect_timeout * 1000000 : HELLO_LIMIT;
    return c->line.node->sentinel && us > SENTINEL_LIMIT ? SENTINEL_LIMIT
                                                         : us; /* the next one may know better */
}

/* It refuses writes as a replica. */
static void on_whose(struct line *l, void *arg, const redisReply *r)
{
    char role[16], host[256], port[16];
    const struct nodes *ns = arg;
    (void)l;
    if (r == NULL || r->type != REDIS_REPLY_STRING)
        return;
    info_field(r->str, "role", role, sizeof role);
    info_field(r->str, "master_host", host, sizeof host);
    info_field(r->str, "master_port", port, sizeof port);
    if ((strcmp(role, "slave") == 0 || strcmp(role, "replica") == 0) && endpoint_ok(host, port))
        log_event(LOG_WARN, NO_FLOW, "event=target_is_a_replica target=%s master=\"%s\":%s note=%s",
                  ns->opt->shown, host, port, "\"it refuses writes: if it stays so, name its master\"");
}

void conn_tick(struct conn *c, uint64_t now)
{
    if (c->line.patience.until != 0 && now >= c->line.patience.until) {
        c->line.patience.until = 0;
        if (c->explain && line_takes(&c->line, 64))
            line_call(&c->line, on_whose, c->all, "INFO", "replication", NULL);
        c->explain = false;
        line_release(&c->line);
    }
    bool opening = c->line.state == CONN_CONNECTING || c->line.state == CONN_HELLO;
    if (opening && us_since(now, c->opened) > hello_limit(c) && c->line.state == CONN_CONNECTING)
        line_lose(&c->line, "cannot connect to %s: Connection timed out", cnode_name(c->line.node));
    else if (opening && us_since(now, c->opened) > hello_limit(c))
        line_lose(&c->line, "no answer of %s within %u s", cnode_name(c->line.node),
                  (unsigned)(hello_limit(c) / 1000000));
    else if (c->line.state == CONN_READY && c->line.un > c->line.replied && c->all->opt->reply_timeout > 0 &&
             us_since(now, c->line.wire.heard) > (uint64_t)c->all->opt->reply_timeout * 1000000)
        line_lose(&c->line, "no reply for %d s", c->all->opt->reply_timeout);
}
