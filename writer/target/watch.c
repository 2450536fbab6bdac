#include "watch.h"

#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "info.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "../engine/live.h"
#include "../options.h"
#include "../outcome.h"
#include "../session.h"
#include "../summary.h"
#include "nodes.h"

#define ASK_EVERY  ((uint64_t)5000000)  /* us between two looks at a server's counters */
#define SAY_ANYWAY ((uint64_t)15000000) /* us: then what is known already, as long as something goes on */
#define SAY_AGAIN  ((uint64_t)1000000)  /* us between two messages to dfreader */
#define LAST_WAIT  ((uint64_t)1000000)  /* us for the last look */
#define SILENT     ((uint64_t)5000000)  /* us without a reply before a target is called silent */

/* ---- what INFO says ---- */

static bool watch_evicted(const char *info, size_t n, uint64_t *keys)
{
    return info_number(info, n, "evicted_keys", keys);
}

static const char *watch_policy(const char *info, size_t n, uint64_t *maxmemory, char policy[32])
{
    size_t len = 0;
    const char *p = info_value(info, n, "maxmemory_policy", &len);
    if (!info_number(info, n, "maxmemory", maxmemory) || *maxmemory == 0 || p == NULL || len > 31)
        return NULL;
    memcpy(policy, p, len);
    policy[len] = '\0';
    return strcmp(policy, "noeviction") == 0 || policy[0] == '\0' ? NULL : policy;
}

/* ---- evictions ---- */

/* A server's counter is at keys: what came since the last look counts. One that was started again counts
 * from 0. */
static void count_evicted(struct watch *x, struct evictions *e, uint64_t keys)
{
    uint64_t more = !e->known ? 0 : keys >= e->last ? keys - e->last : keys;
    e->known = true;
    e->last = keys;
    if (more == 0)
        return;
    e->counted += more;
    x->stats->evicted += more;
    log_event(x->told_evicted ? LOG_DEBUG : LOG_WARN, NO_FLOW,
              "event=target_evicts target=%s keys=%llu note=%s", x->opt->shown, (unsigned long long)more,
              "\"it is full, and removes keys: raise its maxmemory, or set maxmemory-policy noeviction\"");
    x->told_evicted = true;
}

/* Said once, whatever the number of nodes. */
static void look_at_policy(struct watch *x, const char *info, size_t n)
{
    char policy[32];
    uint64_t most;
    if (x->told_policy || watch_policy(info, n, &most, policy) == NULL)
        return;
    x->told_policy = true;
    log_event(LOG_WARN, NO_FLOW, "event=target_may_evict target=%s maxmemory=%llu policy=%s note=%s",
              x->opt->shown, (unsigned long long)most, log_quote(policy, strlen(policy)),
              "\"where the data do not fit keys are lost: set maxmemory-policy noeviction\"");
}

/* A position key had vanished: was it evicted with others of its server? Then that is what is wrong, and
 * already counted; nothing can be resumed from. Else somebody has flushed the target, and what was confirmed
 * is gone. */
static void settle_vanished(struct watch *x, const struct evictions *server)
{
    if (x->vanished == NULL || x->vanished_at != server)
        return;
    if (server->counted > 0) {
        log_event(LOG_WARN, NO_FLOW, "event=position_key_evicted target=%s note=%s", x->opt->shown,
                  "\"this session cannot be resumed from it\"");
    } else {
        outcome_give_up(x->outcome, EXIT_RETRY, "event=target_has_lost_data target=%s error=%s",
                        x->opt->shown, log_quote(x->vanished, strlen(x->vanished)));
    }
    x->outcome->lost_data = true;
    x->vanished = NULL;
}

/* INFO memory, or INFO stats. */
static void look(struct watch *x, struct evictions *server, const char *info, size_t n)
{
    uint64_t keys, used, most;
    look_at_policy(x, info, n);
    if (info_number(info, n, "used_memory", &used) && info_number(info, n, "maxmemory", &most)) {
        server->memory = used;
        server->limit = most;
    }
    if (!watch_evicted(info, n, &keys))
        return;
    count_evicted(x, server, keys);
    settle_vanished(x, server);
}

void watch_vanished(struct watch *x, const struct cnode *node, const char *reason)
{
    const struct evictions *server = &node->evicted;
    if (x->vanished != NULL || x->outcome->failed || (x->outcome->lost_data && server->counted > 0))
        return;
    x->vanished = reason;
    x->vanished_at = server;
    x->next = 0; /* ask now */
}

static void node_reply(struct line *l, void *arg, const redisReply *r)
{
    struct watch *x = arg;
    l->node->watching--;
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STRING), "INFO") ||
        r->type != REDIS_REPLY_STRING)
        return;
    if (x->nodes->whole && r->len > 0 && r->str[0] != '#') /* the end of something else */
        line_lose(l, "INFO: unexpected reply");
    else
        look(x, &l->node->evicted, r->str, r->len);
}

/* INFO replication, with --wait. */
static void replicas_reply(struct line *l, void *arg, const redisReply *r)
{
    const struct watch *x = arg;
    uint64_t n;
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STRING), "INFO") ||
        r->type != REDIS_REPLY_STRING || !info_number(r->str, r->len, "connected_slaves", &n) ||
        n >= (uint64_t)x->opt->wait)
        return;
    log_event(LOG_WARN, NO_FLOW, "event=too_few_replicas node=%s replicas=%llu wait=%d note=%s",
              cnode_name(l->node), (unsigned long long)n, x->opt->wait,
              "\"nothing counts as applied before so many confirm it\"");
}

void watch_conn(struct watch *x, struct line *l)
{
    struct cnode *node = l->node;
    if (l != &node->conn[0]->line)
        return;
    if (x->opt->wait > 0)
        line_call(l, replicas_reply, x, "INFO", "replication", NULL);
    node->watching += 2;
    line_call(l, node_reply, x, "INFO", "memory", NULL);
    line_call(l, node_reply, x, "INFO", "stats", NULL);
}

static void ask_nodes(struct watch *x)
{
    for (unsigned i = 0; i < x->nodes->n; i++) {
        struct cnode *node = x->nodes->node[i];
        struct conn *c = node->nconn > 0 ? node->conn[0] : NULL;
        if (!node->master || node->watching > 0 || c == NULL || !line_takes(&c->line, 64))
            continue;
        node->watching += 2;
        line_call(&c->line, node_reply, x, "INFO", "stats", NULL);
        line_call(&c->line, node_reply, x, "INFO", "memory", NULL);
    }
}

static bool answered(const struct watch *x)
{
    for (unsigned i = 0; i < x->nodes->n; i++)
        if (x->nodes->node[i]->watching > 0 || x->nodes->node[i]->conn[0]->line.lost)
            return false;
    return true;
}

/* ---- how the target is ---- */

struct state {
    const char *name;
    const char *why; /* the server's words, or ours; "" */
};

static const char *refusal_name(const char *why)
{
    static const struct {
        const char *words, *name;
    } list[] = {
        {"OOM", "full"}, {"LOADING", "loading"}, {"READONLY", "readonly"}, {"WAIT", "replicas-missing"}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (strncmp(why, list[i].words, strlen(list[i].words)) == 0)
            return list[i].name;
    return "refuses";
}

static struct state state_of(bool lost, const char *lost_why, const struct patience *p, bool waits,
                             uint64_t heard, uint64_t now)
{
    if (lost)
        return (struct state){"down", lost_why};
    if (p->since != 0)
        return (struct state){refusal_name(p->why), p->why};
    if (waits && us_since(now, heard) > SILENT)
        return (struct state){"silent", ""};
    return (struct state){"ok", ""};
}

static struct state conn_state(const struct conn *c, uint64_t now)
{
    bool ready = c->line.state == CONN_READY && !c->line.lost;
    /* One that is not there is no trouble before something waits for it. */
    bool lost = !ready && c->all->needed_since != 0 && c->line.why[0] != '\0';
    return state_of(lost, c->line.why, &c->line.patience, ready && c->line.un > c->line.replied,
                    c->line.wire.answered, now);
}

/* Of several connections, the first that is not well. */
static struct state target_state(const struct watch *x, uint64_t now)
{
    struct state s = {"ok", ""};
    for (unsigned i = 0; i < x->nodes->nconn && strcmp(s.name, "ok") == 0; i++)
        if (!x->nodes->conn[i]->line.node->sentinel)
            s = conn_state(x->nodes->conn[i], now);
    return s;
}

static void say(struct watch *x, uint64_t now)
{
    const struct stats *st = x->stats;
    struct state s = target_state(x, now);
    struct buf b = {.max = sizeof x->said};
    (void)buf_addf(&b, "health epoch=%u target=%s errors=%llu lost=%llu doubtful=%llu evicted=%llu ",
                   x->session->epoch, s.name, (unsigned long long)st->errors.total,
                   (unsigned long long)st->lost, (unsigned long long)st->doubtful.total,
                   (unsigned long long)st->evicted);
    meta_add(&b, "why", s.why, strnlen(s.why, 80), '\0');
    x->said_at = now;
    /* A dfreader at its end waits for writers as long as it hears of them. */
    bool goes_on = st->requests != x->requests || strcmp(s.name, "ok") != 0;
    bool anyway = goes_on && us_since(now, x->sent_at) >= SAY_ANYWAY;
    if (b.p != NULL && (anyway || strncmp((const char *)b.p, x->said, sizeof x->said) != 0)) {
        x->sent_at = now;
        x->requests = st->requests;
        strlcpy(x->said, (const char *)b.p, sizeof x->said);
        (void)ctl_send(&x->live->ctl, "%s", x->said);
    }
    buf_free(&b);
}

void watch_work(struct watch *x, uint64_t now)
{
    if (now >= x->next) {
        ask_nodes(x);
        x->next = now + ASK_EVERY;
    }
    if (x->live->ctl.fd >= 0 && now - x->said_at >= SAY_AGAIN)
        say(x, now);
}

bool watch_finished(struct watch *x)
{
    uint64_t now = mono_us();
    if (x->ending == 0) {
        x->ending = now;
        ask_nodes(x);
    }
    if ((!answered(x) || x->vanished != NULL) && us_since(now, x->ending) < LAST_WAIT)
        return false;
    settle_vanished(x, x->vanished_at); /* whatever the counters of a node that is gone would say */
    if (x->live->ctl.fd >= 0)
        say(x, now);
    return true;
}

int watch_timeout(const struct watch *x, uint64_t now)
{
    uint64_t at = x->next;
    if (x->live->ctl.fd >= 0 && x->said_at + SAY_AGAIN < at)
        at = x->said_at + SAY_AGAIN;
    return at <= now ? 0 : (int)((at - now) / 1000) + 1;
}
