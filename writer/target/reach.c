#include "reach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "buf.h"
#include "nodes.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "../signals.h"
#include "tls.h"
#include "../options.h"
#include "../outcome.h"

#define SENTINEL_RING  ((size_t)64 << 10)
#define SENTINEL_UNITS 64u

void reach_free(struct nodes *ns)
{
    struct reach *x = &ns->reach;
    for (unsigned i = 0; x->asked_at != NULL && i < ns->opt->url.seeds; i++)
        free(x->asked_at[i]);
    free(x->asked_at);
    free(x->sentinel);
}

/* Is this the node that is looked for? */
static bool is_target(const struct conn *c)
{
    const struct nodes *ns = c->all;
    return c->line.node == ns->node[0] && (!ns->slots || !ns->opened);
}

/* ---- a round over all hosts ---- */

/* Of several failures, which tells more about what to do? */
static unsigned weight(enum loss v)
{
    switch (v) {
    case LOSS_RIVAL: return 5;
    case LOSS_LATER:
    case LOSS_AGAIN: return 4;
    case LOSS_UNKNOWN: return 3;
    case LOSS_GONE: return 2;
    case LOSS_FATAL: return 1;
    }
    return 0;
}

static void fails(struct nodes *ns, int status)
{
    const struct reach *x = &ns->reach;
    outcome_give_up(ns->outcome, status, "event=%s target=%s error=%s",
                    ns->opened ? "target_lost" : "cannot_use_target", ns->opt->shown,
                    log_quote(x->why, strlen(x->why)));
}

/* The first connection. One that does not answer at all, or whose name is not known, is not waited for:
 * whoever started us sees it at once, and may try again. Nor is a master that no sentinel knows: that is a
 * mistake in its name, unless it has been there before. */
static void judge_first(struct nodes *ns)
{
    struct reach *x = &ns->reach;
    uint64_t now = mono_us(), limit = (uint64_t)ns->opt->reconnect_timeout * 1000000;
    if (x->give_up == 0 || (x->worst == LOSS_LATER && limit > 0))
        x->give_up = now + limit;
    bool there = (x->reached || ns->opt->expect_saved) && x->worst != LOSS_UNKNOWN;
    if (x->worst == LOSS_RIVAL)
        return; /* policy_rival has its own time */
    if (!there || now >= x->give_up)
        fails(ns, x->worst == LOSS_UNKNOWN ? EXIT_CANNOT : EXIT_RETRY);
}

/* Servers that expect TLS, or do not know it, do not say so. */
static void explain(struct conn *c)
{
    struct reach *x = &c->all->reach;
    struct endpoint at = {.host = ""};
    bool tls = c->all->opt->url.tls != NULL;
    if (c->all->opened || c->line.spoke || c->line.state != CONN_HELLO || c->line.wire.t.hopeless)
        return;
    strlcpy(at.host, c->line.node->host, sizeof at.host);
    strlcpy(at.port, c->line.node->port, sizeof at.port);
    if (tls ? !tls_not_spoken(&at) : !tls_spoken(&at))
        return;
    snprintf(x->why, sizeof x->why,
             tls ? "server does not speak TLS" : "the server expects TLS: name it as rediss://");
    x->worst = LOSS_FATAL;
}

void reach_missed(struct conn *c)
{
    struct nodes *ns = c->all;
    struct reach *x = &ns->reach;
    bool sentinel = c->line.node->sentinel;
    if ((!sentinel && !is_target(c)) || (sentinel && x->named))
        return;
    x->named = false;
    x->reached |= !sentinel && (c->line.state != CONN_CONNECTING || ns->opt->url.sentinel);
    if (x->tried == 0 || weight(c->line.loss) > weight(x->worst)) {
        x->worst = c->line.loss;
        memcpy(x->why, c->line.why, sizeof x->why);
        explain(c);
    }
    x->host = (x->host + 1) % ns->opt->url.seeds;
    if (++x->tried < ns->opt->url.seeds) {
        c->next_try = 0;
        return;
    }
    x->tried = 0;
    if (ns->outcome->failed)
        return;
    if (x->worst == LOSS_FATAL)
        fails(ns, EXIT_CANNOT);
    else if (!ns->opened)
        judge_first(ns);
}

void reach_lost(struct conn *c)
{
    struct reach *x = &c->all->reach;
    if (c->all->opt->url.sentinel && is_target(c))
        x->named = false; /* they may know another one by now */
    x->tried = 0;
}

/* ---- sentinels ---- */

static void refused(struct hello *h, const redisReply *r, const char *what)
{
    h->line->loss = LOSS_FATAL;
    line_lose(h->line, "sentinel %s: %s: %s", cnode_name(h->line->node), what,
              r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply");
}

static void on_auth(struct hello *h, const redisReply *r)
{
    if (r != NULL && r->type != REDIS_REPLY_STATUS)
        refused(h, r, "AUTH");
}

static bool take_master(struct hello *h, const redisReply *r)
{
    struct nodes *ns = h->all;
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || r->element[0]->type != REDIS_REPLY_STRING ||
        r->element[1]->type != REDIS_REPLY_STRING || r->element[0]->len >= sizeof ns->node[0]->host ||
        r->element[1]->len >= sizeof ns->node[0]->port) {
        refused(h, r, "SENTINEL get-master-addr-by-name");
        return false;
    }
    if (!endpoint_ok(r->element[0]->str, r->element[1]->str)) {
        h->line->loss = LOSS_FATAL;
        line_lose(h->line, "sentinel %s: what it names is no host and port", cnode_name(h->line->node));
        return false;
    }
    topology_address(ns->node[0], r->element[0]->str, r->element[1]->str);
    return true;
}

static void on_master(struct hello *h, const redisReply *r)
{
    struct nodes *ns = h->all;
    if (r == NULL || h->line->lost)
        return;
    if (r->type == REDIS_REPLY_NIL || (r->type == REDIS_REPLY_ARRAY && r->elements == 0)) {
        h->line->loss = LOSS_UNKNOWN;
        line_lose(h->line, "sentinel %s knows no master by the name of %s", cnode_name(h->line->node),
                  ns->opt->url.name);
        return;
    }
    if (!take_master(h, r))
        return;
    log_event(LOG_INFO, NO_FLOW, "event=sentinel_says sentinel=%s master=%s", cnode_name(h->line->node),
              cnode_name(ns->node[0]));
    ns->reach.named = true;
    ns->node[0]->conn[0]->next_try = 0;
    line_lose(h->line, "it has said what it was asked");
}

static void greet(struct hello *h)
{
    const struct options *o = h->all->opt;
    if (o->sentinel_user[0] != '\0')
        line_ask(h->line, on_auth, "AUTH", o->sentinel_user, o->sentinel_password, NULL);
    else if (o->sentinel_password[0] != '\0')
        line_ask(h->line, on_auth, "AUTH", o->sentinel_password, NULL);
    line_ask(h->line, on_master, "SENTINEL", "get-master-addr-by-name", o->url.name, NULL);
}

static const struct conn_calls calls = {.greet = greet, .missed = reach_missed};

static struct conn *sentinel_of(struct nodes *ns, unsigned i)
{
    struct reach *x = &ns->reach;
    const struct url *u = &ns->opt->url;
    if (x->sentinel == NULL) {
        x->sentinel = xcalloc(u->seeds, sizeof(struct conn *));
        x->asked_at = xcalloc(u->seeds, sizeof(struct cnode *));
    }
    if (x->sentinel[i] != NULL)
        return x->sentinel[i];
    struct cnode *n = xcalloc(1, sizeof *n);
    n->sentinel = true;
    topology_address(n, u->seed[i].host, u->seed[i].port);
    x->asked_at[i] = n;
    x->sentinel[i] = topology_conn(ns, n, &calls, SENTINEL_RING, SENTINEL_UNITS);
    return x->sentinel[i];
}

bool reach_known(struct conn *c, uint64_t now)
{
    struct nodes *ns = c->all;
    struct reach *x = &ns->reach;
    const struct url *u = &c->all->opt->url;
    if (x->named || !is_target(c))
        return true;
    if (u->sentinel) {
        conn_want(sentinel_of(ns, x->host), now);
        return false;
    }
    topology_address(c->line.node, u->seed[x->host].host, u->seed[x->host].port);
    return x->named = true;
}
