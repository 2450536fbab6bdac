#include "taken.h"

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "../engine/errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "../engine/exact.h"
#include "../options.h"
#include "../outcome.h"
#include "../summary.h"
#include "policy.h"

#define KEEP_MS   86400000LL
#define KEEP_TEXT "86400000"
#define KEY_MAX   (EXACT_KEY_MAX + 16)
#define ROOM      512u /* bytes of a request, at most */

/* The key in a slot of the node, the same one for all writers. False: it has none. */
static bool key_on(const struct cluster *cl, const struct cnode *n, char key[KEY_MAX])
{
    unsigned slot = 0;
    while (slot < SLOTS && cl->nodes.owner[slot] != n->index)
        slot++;
    if (slot == SLOTS)
        return false;
    size_t len = exact_key(cl->exact, slot, key);
    snprintf(key + len, KEY_MAX - len, ":taken");
    return true;
}

/* ---- who takes over ---- */

static void on_marked(struct line *l, void *arg, const redisReply *r)
{
    struct cnode *n = arg;
    n->taken = TAKEN_TO_DO;
    n->conn[0]->all->stir = true;
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STATUS), "SET"))
        return;
    n->taken = TAKEN_MARKED;
    if (r->type == REDIS_REPLY_ERROR)
        log_event(LOG_WARN, NO_FLOW, "event=takeover_not_marked node=%s reply=%s note=%s", cnode_name(n),
                  log_quote(r->str, r->len),
                  "\"the writer before would not notice if it came back after the end of this one\"");
}

static void mark(struct cluster *cl, struct cnode *n)
{
    char key[KEY_MAX];
    struct conn *c = cnode_conn(&cl->nodes, n, 0, ROOM);
    if (c == NULL || (!cl->nodes.slots && cluster_want_db(c, 0, true) != PUT_DONE))
        return;
    n->taken = TAKEN_MARKED;
    if (!key_on(cl, n, key))
        return;
    n->taken = TAKEN_ASKED;
    line_call(&c->line, on_marked, n, "SET", key, cl->run, "PX", KEEP_TEXT, NULL);
}

bool taken_marked(struct cluster *cl)
{
    bool all = true;
    for (unsigned i = 0; cl->policy->took_over && i < cl->nodes.n; i++) {
        struct cnode *n = cl->nodes.node[i];
        if (n->master && n->taken == TAKEN_TO_DO)
            mark(cl, n);
        all &= !n->master || n->taken == TAKEN_MARKED;
    }
    for (unsigned i = 0; all && i < cl->nodes.n; i++)
        cl->nodes.node[i]->taken = TAKEN_TO_DO; /* a flush before the next session would remove them */
    return all;
}

/* ---- whose task it was ---- */

static void on_value(struct hello *h, const redisReply *r)
{
    h->others = r != NULL &&
                line_expects(h->line, r, REPLY_BIT(REDIS_REPLY_STRING) | REPLY_BIT(REDIS_REPLY_NIL), "GET") &&
                r->type == REDIS_REPLY_STRING && strcmp(r->str, h->all->cl->run) != 0;
    if (r != NULL && r->type == REDIS_REPLY_ERROR)
        log_event(LOG_DEBUG, NO_FLOW, "event=takeover_not_looked_for node=%s reply=%s",
                  cnode_name(h->line->node), log_quote(r->str, r->len));
}

/* One that was written before this process began was for another. */
static void on_time(struct hello *h, const redisReply *r)
{
    struct cluster *cl = h->all->cl;
    if (r == NULL || !line_expects(h->line, r, REPLY_BIT(REDIS_REPLY_INTEGER), "PTTL") || !h->others ||
        r->type != REDIS_REPLY_INTEGER || r->integer <= 0 || r->integer > KEEP_MS)
        return;
    uint64_t age = (uint64_t)(KEEP_MS - r->integer) * 1000;
    if (age >= us_since(mono_us(), cl->stats->started) || cl->outcome->dead)
        return;
    outcome_give_up(cl->outcome, EXIT_CANNOT, "event=task_taken_over task=%s target=%s node=%s note=%s",
                    cl->opt->task, cl->opt->shown, cnode_name(h->line->node),
                    "\"another writer has taken over: give each its own --task\"");
    line_lose(h->line, "another writer has taken over task %s", cl->opt->task);
}

void taken_look(struct hello *h)
{
    char key[KEY_MAX];
    h->others = false;
    if (h->all->whole || !key_on(h->all->cl, h->line->node, key))
        return;
    line_ask(h->line, on_value, "GET", key, NULL);
    line_ask(h->line, on_time, "PTTL", key, NULL);
}
