/* Which connection a request of a slot takes, and whether that can be used now. */
#include "../target/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "../options.h"
#include "../outcome.h"

#define LARGE ((size_t)16 << 10) /* a request for which smaller ones make room */

/* Something waits for a node that cannot be used; NULL: that is not known. */
static void needed(struct nodes *ns, struct conn *c)
{
    uint64_t now = mono_us();
    if (ns->needed_since == 0)
        ns->needed_since = now;
    ns->needed_last = now;
    if (c != NULL)
        conn_want(c, now);
    if (c == NULL || c->wait_ms > 0)
        topology_refresh(ns); /* it was tried: is it still the owner? */
}

static struct conn *conn_of(const struct cnode *n, unsigned slot)
{
    return n->conn[n->nconn == 1 ? 0 : slot % n->nconn];
}

bool cnode_missing(const struct cnode *n, unsigned slot)
{
    const struct conn *c = conn_of(n, slot);
    return c->line.state != CONN_READY && c->wait_ms > 0;
}

struct conn *cnode_conn(struct nodes *ns, struct cnode *n, unsigned slot, size_t len)
{
    struct conn *c = conn_of(n, slot);
    size_t flying = (size_t)(c->line.wire.ring.tail - c->line.wire.ring.acked);
    bool room = flying == 0 || (flying + len <= ns->opt->window && line_room(&c->line, len));
    if (flying == 0)
        c->large = 0;
    if (!room && len > c->large && len >= LARGE)
        c->large = len;
    if (room && len >= c->large && line_takes(&c->line, len)) {
        c->large = 0;
        return c;
    }
    if (c->line.state != CONN_READY)
        needed(ns, c);
    return NULL;
}

bool cluster_question_all(struct nodes *ns, question_fn *question, void *arg)
{
    bool left = false;
    for (unsigned i = 0; i < ns->n; i++) {
        struct cnode *n = ns->node[i];
        if (!n->master || n->swept)
            continue;
        left = true;
        struct conn *c = cnode_conn(ns, n, 0, 256);
        if (c != NULL)
            question(arg, c);
    }
    return left;
}

struct conn *cluster_conn(struct nodes *ns, unsigned slot, size_t len)
{
    unsigned at = ns->owner[slot];
    if (at == NO_NODE) {
        needed(ns, NULL);
        return NULL;
    }
    return cnode_conn(ns, ns->node[at], slot, len);
}

struct conn *cluster_way(struct nodes *ns, struct cnode *ask, unsigned slot, size_t len, bool alone)
{
    unsigned at = ns->owner[slot];
    struct cnode *n = ask != NULL || at == NO_NODE ? ask : ns->node[at];
    if (!alone || n == NULL)
        return ask != NULL ? cnode_conn(ns, ask, slot, len) : cluster_conn(ns, slot, len);
    struct conn *c = conn_of(n, slot);
    c->line.awaited = false;
    if (c->line.un == 0 && (c = cnode_conn(ns, n, slot, len)) != NULL) {
        c->line.probing = true;
        return c;
    }
    c = conn_of(n, slot);
    c->line.awaited = c->line.un > 0;
    return NULL;
}

/* ---- databases of a single server ---- */

static void on_select(struct line *l, void *arg, const redisReply *r)
{
    struct nodes *ns = arg;
    uint32_t db = l->select_db;
    struct node *n = ns->target;
    l->selecting = false;
    l->since_select = 0;
    l->stay = l->wire.heard + SELECT_PART * us_since(l->wire.heard, l->select_at);
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STATUS), "SELECT"))
        return;
    ns->stir = true;
    if (r->type != REDIS_REPLY_ERROR) {
        l->db = db;
        node_db_learn(n, db, true);
        return;
    }
    if (error_class(r->str, r->len) == ERR_RETRY) {
        line_pause(l, NULL, r->str, r->len);
        return;
    }
    if (node_db_state(n, db) > 0) { /* it was there */
        outcome_give_up(ns->outcome, EXIT_CANNOT, "event=target_lost target=%s error=%s", ns->opt->shown,
                        log_quote(r->str, r->len));
    }
    node_db_refused(n, db, r->str, r->len);
}

void cluster_take_dbs(struct nodes *ns, const char *info)
{
    ns->ndbs = ns->at_db = 0;
    for (const char *p = strstr(info, "\ndb"); p != NULL && ns->ndbs < 1024; p = strstr(p + 1, "\ndb"))
        ns->dbs[ns->ndbs++] = (uint32_t)strtoul(p + 3, NULL, 10);
}

enum put cluster_want_db(struct conn *c, uint32_t db, bool in_turn)
{
    char num[16];
    if (c->line.db == db)
        return PUT_DONE;
    if (node_db_state(c->all->target, db) < 0)
        return PUT_FAIL;
    bool idle = c->line.un == c->line.replied, long_enough = c->line.since_select >= SELECT_AFTER;
    if (in_turn && (c->line.since_select == 0 || !(idle || long_enough || c->all->allow_select)))
        return PUT_WAIT;
    c->cl->hurry(c->cl);           /* MSETs are of the connection's database */
    if (!line_takes(&c->line, 64)) /* any more */
        return PUT_WAIT;
    snprintf(num, sizeof num, "%u", db);
    c->line.selecting = true;
    c->line.select_db = db;
    c->line.select_at = mono_us();
    line_call(&c->line, on_select, c->all, "SELECT", num, NULL);
    return PUT_WAIT;
}

bool cluster_apart(const struct nodes *ns, unsigned slot, uint32_t db)
{
    const struct conn *c = conn_of(ns->node[ns->owner[slot]], slot);
    return ns->within && c->line.db != db && mono_us() < c->line.stay && node_db_state(ns->target, db) > 0;
}

/* ---- a request of ours in another database ---- */

#define ELSEWHERE 5u /* replies: to MULTI, SELECT, the request, SELECT, EXEC */

struct elsewhere {
    call_fn *fn;
    void *arg;
    unsigned replies; /* so far */
    char why[256];    /* what was said before EXEC */
};

/* The replies to MULTI, to what is queued, and to EXEC. */
static void on_there(struct line *l, void *arg, const redisReply *r)
{
    struct elsewhere *e = arg;
    redisReply refusal = {.type = REDIS_REPLY_ERROR, .str = e->why, .len = strlen(e->why)};
    bool last = ++e->replies == ELSEWHERE;
    if (!last) {
        if (r != NULL && line_expects(l, r, REPLY_BIT(REDIS_REPLY_STATUS), "MULTI") &&
            r->type == REDIS_REPLY_ERROR && e->why[0] == '\0')
            strlcpy(e->why, r->str, sizeof e->why);
        return;
    }
    if (r != NULL && r->type == REDIS_REPLY_ERROR && e->why[0] != '\0') {
        r = &refusal;
    } else if (r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
               r->element[0]->type == REDIS_REPLY_STATUS && r->element[2]->type == REDIS_REPLY_STATUS) {
        r = r->element[1];
    } else if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        line_lose(l, "unexpected reply to EXEC");
        r = NULL;
    }
    e->fn(l, e->arg, r);
    free(e);
}

static void on_other_db(struct line *l, void *arg, const redisReply *r)
{
    (void)arg;
    if (r != NULL && r->type != REDIS_REPLY_STATUS) /* what is behind it ran where it should not */
        line_lose(l, "SELECT: %s", r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply");
}

void cluster_call_in_db(struct conn *c, uint32_t db, call_fn *fn, void *arg, const void *request, size_t len)
{
    char there[16], back[16];
    if (c->line.db == db) {
        line_call_raw(&c->line, fn, arg, request, len);
        return;
    }
    snprintf(there, sizeof there, "%u", db);
    snprintf(back, sizeof back, "%u", c->line.db);
    if (!c->all->within) {
        line_call(&c->line, on_other_db, NULL, "SELECT", there, NULL);
        line_call_raw(&c->line, fn, arg, request, len);
        line_call(&c->line, on_other_db, NULL, "SELECT", back, NULL);
        return;
    }
    struct elsewhere *e = xcalloc(1, sizeof *e);
    e->fn = fn;
    e->arg = arg;
    line_call(&c->line, on_there, e, "MULTI", NULL);
    line_call(&c->line, on_there, e, "SELECT", there, NULL);
    line_call_raw(&c->line, on_there, e, request, len);
    line_call(&c->line, on_there, e, "SELECT", back, NULL);
    line_call(&c->line, on_there, e, "EXEC", NULL);
}

void cluster_scan(struct conn *c, uint32_t db, call_fn *fn, void *arg, const char *cursor, const char *count)
{
    const char *const words[] = {"SCAN", cursor, "COUNT", count};
    struct buf b = {.max = 128};
    (void)resp_add_array(&b, 4);
    for (unsigned i = 0; i < 4; i++)
        (void)resp_add_str(&b, words[i]);
    cluster_call_in_db(c, db, fn, arg, b.p, b.len);
    buf_free(&b);
}

/* The question is followed by a SELECT of the connection's own database, so that it needs not wait for a
 * pause. */
static void on_asked(struct line *l, void *arg, const redisReply *r)
{
    struct nodes *ns = arg;
    uint32_t db = ns->asked_db;
    ns->asking_db = false;
    ns->stir = true;
    if (r == NULL || !line_expects(l, r, REPLY_BIT(REDIS_REPLY_STATUS), "SELECT"))
        return;
    if (r->type != REDIS_REPLY_ERROR)
        node_db_learn(ns->target, db, true);
    else if (error_class(r->str, r->len) == ERR_RETRY)
        line_pause(l, NULL, r->str, r->len);
    else
        node_db_refused(ns->target, db, r->str, r->len);
}

enum put cluster_db_known(struct nodes *ns, uint32_t db, unsigned slot)
{
    char num[16];
    int state = node_db_state(ns->target, db);
    struct conn *c = state == 0 && !ns->asking_db ? cluster_conn(ns, slot, 64) : NULL;
    if (state != 0)
        return state > 0 ? PUT_DONE : PUT_FAIL;
    if (c == NULL)
        return PUT_WAIT;
    snprintf(num, sizeof num, "%u", db);
    ns->asking_db = true;
    ns->asked_db = db;
    line_call(&c->line, on_asked, ns, "SELECT", num, NULL);
    snprintf(num, sizeof num, "%u", c->line.db);
    line_call(&c->line, on_other_db, NULL, "SELECT", num, NULL);
    return PUT_WAIT;
}
