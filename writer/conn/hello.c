/* The handshake. It ends the connections that a dead writer of this task, or our own lost one, may have left:
 * their bytes must not be executed after ours. */
#include "hello.h"

#include <stdio.h>
#include <string.h>

#include "../target/nodes.h"
#include "../engine/errors.h"
#include "exits.h"
#include "../target/info.h"
#include "io.h"
#include "log.h"
#include "../target/policy.h"
#include "../target/target.h"
#include "../options.h"
#include "../outcome.h"
#include "../summary.h"

/* It answers: it is not lost, however long it loads. */
static void not_ready(struct nodes *ns, struct line *l, const redisReply *r, const char *what)
{
    uint64_t now = mono_us();
    error_count(&ns->stats->refusals, r->str, r->len);
    ns->needed_since = now;
    if (us_since(now, l->said_not) < SAY_EVERY)
        return;
    l->said_not = now;
    char why[200];
    snprintf(why, sizeof why, "%s: %.150s", what, r->str);
    log_event(LOG_WARN, NO_FLOW, "event=target_not_ready target=%s node=%s error=%s action=waiting",
              ns->opt->shown, cnode_name(l->node), log_quote(why, strlen(why)));
}

void hello_refused(struct nodes *ns, struct line *l, const redisReply *r, const char *what)
{
    enum err_class class = error_class(r->str, r->len);
    l->loss = class == ERR_RETRY ? LOSS_LATER : l->wire.in.cut ? LOSS_AGAIN : LOSS_FATAL;
    if (class == ERR_FATAL && strncmp(r->str, "ERR", 3) != 0 && ns->opened) {
        outcome_give_up(ns->outcome, EXIT_CANNOT, "event=cannot_use_target target=%s node=%s error=%s",
                        ns->opt->shown, cnode_name(l->node), log_quote(r->str, r->len));
    }
    if (class == ERR_RETRY)
        not_ready(ns, l, r, what);
    line_lose(l, "%s: %s", what, r->str);
}

/* Is it a reply of that type, and no refusal? */
static bool fine(struct hello *h, const redisReply *r, int type, const char *what)
{
    if (r == NULL)
        return false;
    if (r->type != REDIS_REPLY_ERROR)
        return line_expects(h->line, r, REPLY_BIT(type), what);
    hello_refused(h->all, h->line, r, what);
    return false;
}

static void go_on(struct hello *h);

static void on_auth(struct hello *h, const redisReply *r)
{
    bool unneeded =
        r != NULL && r->type == REDIS_REPLY_ERROR && h->all->opt->url.user[0] == '\0' &&
        (strstr(r->str, "without any password") != NULL || strstr(r->str, "no password is set") != NULL);
    if (unneeded)
        log_event(LOG_WARN, NO_FLOW, "event=password_not_needed target=%s", h->all->opt->shown);
    else
        (void)fine(h, r, REDIS_REPLY_STATUS, "AUTH");
}

static void on_setname(struct hello *h, const redisReply *r)
{
    (void)fine(h, r, REDIS_REPLY_STATUS, "CLIENT SETNAME");
}

static void on_id(struct hello *h, const redisReply *r)
{
    bool old = r != NULL && r->type == REDIS_REPLY_ERROR && version_less(h->all->target->info.compat, "5.0");
    if (!old && fine(h, r, REDIS_REPLY_INTEGER, "CLIENT ID"))
        h->id = r->integer; /* before 5.0 there is none: CLIENT KILL leaves out whoever asks */
}

static void on_info(struct hello *h, const redisReply *r)
{
    if (!fine(h, r, REDIS_REPLY_STRING, "INFO"))
        return;
    identity_learn(&h->now, r->str);
    target_learn(&h->all->target->info, r->str);
}

/* The same server, started anew, may have lost what it confirmed. */
static void on_replication(struct hello *h, const redisReply *r)
{
    struct target_info *info = &h->all->target->info;
    on_info(h, r);
    if (r == NULL || h->line->lost)
        return;
    if (h->all->opt->url.sentinel && strcmp(info->role, "master") != 0) {
        line_lose(h->line, "sentinels name a server as the master that says it is a %s", info->role);
        return;
    }
    if (h->known && !identity_same(&h->who, &h->now)) {
        h->line->restarted = h->line->done > 0;
        if (!h->all->slots)
            h->line->node->evicted = (struct evictions){0}; /* its counters say nothing of ours */
    }
    h->known = true;
    h->who = h->line->node->who = h->now;
    h->calls->met(h);
    if (!h->all->outcome->failed)
        go_on(h);
}

static void on_kill(struct hello *h, const redisReply *r)
{
    if (r != NULL && r->type == REDIS_REPLY_ERROR && strstr(r->str, "No such client") != NULL)
        return; /* it went by itself */
    if (r == NULL || r->type != REDIS_REPLY_STATUS)
        (void)fine(h, r, REDIS_REPLY_INTEGER, "CLIENT KILL");
}

static void on_ready(struct hello *h, const redisReply *r)
{
    if (fine(h, r, REDIS_REPLY_STRING, "ECHO"))
        h->line->calls->greeted(h->line->conn);
}

/* Is this one of our own living connections to the same server? Nodes may know it by different names. */
static bool is_ours(const struct hello *h, long long id)
{
    const struct nodes *ns = h->all;
    for (unsigned i = 0; i < ns->nconn; i++) {
        const struct conn *o = ns->conn[i];
        if (o->line.state >= CONN_HELLO && o->hello.id == id &&
            (o->line.node == h->line->node || identity_same(&o->hello.who, &h->who)))
            return true;
    }
    return false;
}

/* Another writer of the task: the connection is given up, and tried again for a while. */
static bool is_rival(struct hello *h, const char *who)
{
    char why[400];
    if (policy_may_take_over(h->all->policy))
        return false;
    if (policy_rival(h->all->policy, who, why, sizeof why)) {
        outcome_give_up(h->all->outcome, EXIT_CANNOT, "event=task_in_use target=%s node=%s error=%s",
                        h->all->opt->shown, cnode_name(h->line->node), log_quote(why, strlen(why)));
    }
    h->line->loss = LOSS_RIVAL;
    line_lose(h->line, "%s", why);
    return true;
}

static void on_list(struct hello *h, const redisReply *r)
{
    char num[24], who[RIVAL_NAME];
    long long id;
    if (!fine(h, r, REDIS_REPLY_STRING, "CLIENT LIST"))
        return;
    bool rivals = false;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0')
        if (rival_of(&h->all->policy->self, line, strcspn(line, "\n"), &id, who) == RIVAL_ALIVE) {
            rivals = true;
            if (is_rival(h, who))
                return;
        }
    h->all->policy->took_over |= rivals;
    if (!rivals)
        h->all->policy->rival_since = 0;
    for (const char *line = r->str; *line != '\0'; line += strcspn(line, "\n"), line += *line != '\0') {
        if (rival_of(&h->all->policy->self, line, strcspn(line, "\n"), &id, who) == RIVAL_NONE ||
            is_ours(h, id) || h->line->un + 4 >= h->line->cap)
            continue;
        snprintf(num, sizeof num, "%lld", id);
        log_event(LOG_INFO, NO_FLOW, "event=ends_old_connection node=%s id=%lld writer=%s",
                  cnode_name(h->line->node), id, log_quote(who, strlen(who)));
        line_ask(h->line, on_kill, "CLIENT", "KILL", "ID", num, NULL);
    }
    h->calls->last(h);
    line_ask(h->line, on_ready, "ECHO", "ready", NULL);
}

/* A MULTI that is refused later would let the requests behind it run one by one: find out now. */
static void on_multi(struct hello *h, const redisReply *r)
{
    (void)fine(h, r, REDIS_REPLY_STATUS, "MULTI");
}

static void on_exec(struct hello *h, const redisReply *r)
{
    if (fine(h, r, REDIS_REPLY_ARRAY, "EXEC") && r->elements > 0)
        line_lose(h->line, "EXEC: unexpected reply");
}

/* The second part of the handshake: it is known what the server is. */
static void go_on(struct hello *h)
{
    line_ask(h->line, on_id, "CLIENT", "ID", NULL);
    if (h->all->whole || (!h->all->opened && !h->all->opt->at_least_once)) {
        line_ask(h->line, on_multi, "MULTI", NULL);
        line_ask(h->line, on_exec, "EXEC", NULL);
    }
    h->calls->hello(h);
    line_ask(h->line, on_list, "CLIENT", "LIST", NULL);
}

void hello_begin(struct hello *h)
{
    const struct url *u = &h->all->opt->url;
    char name[RIVAL_NAME];
    rival_name(&h->all->policy->self, name);
    h->line->state = CONN_HELLO;
    if (h->calls->greet != NULL) {
        h->calls->greet(h);
        line_send(h->line);
        return;
    }
    if (u->user[0] != '\0')
        line_ask(h->line, on_auth, "AUTH", u->user, u->password, NULL);
    else if (u->password[0] != '\0')
        line_ask(h->line, on_auth, "AUTH", u->password, NULL);
    line_ask(h->line, on_setname, "CLIENT", "SETNAME", name, NULL);
    h->now = (struct identity){0};
    line_ask(h->line, on_info, "INFO", "server", NULL);
    line_ask(h->line, on_replication, "INFO", "replication", NULL);
    line_send(h->line);
}
