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
    return c->state != CONN_READY && c->wait_ms > 0;
}

struct conn *cnode_conn(struct nodes *ns, struct cnode *n, unsigned slot, size_t len)
{
    struct conn *c = conn_of(n, slot);
    size_t flying = (size_t)(c->wire.ring.tail - c->wire.ring.acked);
    bool room = flying == 0 || (flying + len <= ns->opt->window && conn_room(c, len));
    if (flying == 0)
        c->large = 0;
    if (!room && len > c->large && len >= LARGE)
        c->large = len;
    if (room && len >= c->large && conn_takes(c, len)) {
        c->large = 0;
        return c;
    }
    if (c->state != CONN_READY)
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
    c->awaited = false;
    if (c->un == 0 && (c = cnode_conn(ns, n, slot, len)) != NULL) {
        c->probing = true;
        return c;
    }
    c = conn_of(n, slot);
    c->awaited = c->un > 0;
    return NULL;
}

/* ---- databases of a single server ---- */

static void on_select(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    uint32_t db = c->select_db;
    struct node *n = c->all->target;
    c->selecting = false;
    c->since_select = 0;
    c->stay = c->wire.heard + SELECT_PART * us_since(c->wire.heard, c->select_at);
    if (r == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STATUS), "SELECT"))
        return;
    c->all->stir = true;
    if (r->type != REDIS_REPLY_ERROR) {
        c->db = db;
        node_db_learn(n, db, true);
        return;
    }
    if (error_class(r->str, r->len) == ERR_RETRY) {
        conn_pause(c, NULL, r->str, r->len);
        return;
    }
    if (node_db_state(n, db) > 0) { /* it was there */
        outcome_give_up(c->all->outcome, EXIT_CANNOT, "event=target_lost target=%s error=%s",
                        c->all->opt->shown, log_quote(r->str, r->len));
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
    if (c->db == db)
        return PUT_DONE;
    if (node_db_state(c->all->target, db) < 0)
        return PUT_FAIL;
    bool idle = c->un == c->replied, long_enough = c->since_select >= SELECT_AFTER;
    if (in_turn && (c->since_select == 0 || !(idle || long_enough || c->all->allow_select)))
        return PUT_WAIT;
    c->cl->hurry(c->cl);    /* MSETs are of the connection's database */
    if (!conn_takes(c, 64)) /* any more */
        return PUT_WAIT;
    snprintf(num, sizeof num, "%u", db);
    c->selecting = true;
    c->select_db = db;
    c->select_at = mono_us();
    conn_call(c, on_select, NULL, "SELECT", num, NULL);
    return PUT_WAIT;
}

bool cluster_apart(const struct nodes *ns, unsigned slot, uint32_t db)
{
    const struct conn *c = conn_of(ns->node[ns->owner[slot]], slot);
    return ns->within && c->db != db && mono_us() < c->stay && node_db_state(ns->target, db) > 0;
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
static void on_there(struct conn *c, void *arg, const redisReply *r)
{
    struct elsewhere *e = arg;
    redisReply refusal = {.type = REDIS_REPLY_ERROR, .str = e->why, .len = strlen(e->why)};
    bool last = ++e->replies == ELSEWHERE;
    if (!last) {
        if (r != NULL && conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STATUS), "MULTI") &&
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
        conn_lose(c, "unexpected reply to EXEC");
        r = NULL;
    }
    e->fn(c, e->arg, r);
    free(e);
}

static void on_other_db(struct conn *c, void *arg, const redisReply *r)
{
    (void)arg;
    if (r != NULL && r->type != REDIS_REPLY_STATUS) /* what is behind it ran where it should not */
        conn_lose(c, "SELECT: %s", r->type == REDIS_REPLY_ERROR ? r->str : "unexpected reply");
}

void cluster_call_in_db(struct conn *c, uint32_t db, call_fn *fn, void *arg, const void *request, size_t len)
{
    char there[16], back[16];
    if (c->db == db) {
        conn_call_raw(c, fn, arg, request, len);
        return;
    }
    snprintf(there, sizeof there, "%u", db);
    snprintf(back, sizeof back, "%u", c->db);
    if (!c->all->within) {
        conn_call(c, on_other_db, NULL, "SELECT", there, NULL);
        conn_call_raw(c, fn, arg, request, len);
        conn_call(c, on_other_db, NULL, "SELECT", back, NULL);
        return;
    }
    struct elsewhere *e = xcalloc(1, sizeof *e);
    e->fn = fn;
    e->arg = arg;
    conn_call(c, on_there, e, "MULTI", NULL);
    conn_call(c, on_there, e, "SELECT", there, NULL);
    conn_call_raw(c, on_there, e, request, len);
    conn_call(c, on_there, e, "SELECT", back, NULL);
    conn_call(c, on_there, e, "EXEC", NULL);
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
static void on_asked(struct conn *c, void *arg, const redisReply *r)
{
    struct nodes *ns = c->all;
    uint32_t db = ns->asked_db;
    (void)arg;
    ns->asking_db = false;
    ns->stir = true;
    if (r == NULL || !conn_expects(c, r, REPLY_BIT(REDIS_REPLY_STATUS), "SELECT"))
        return;
    if (r->type != REDIS_REPLY_ERROR)
        node_db_learn(c->all->target, db, true);
    else if (error_class(r->str, r->len) == ERR_RETRY)
        conn_pause(c, NULL, r->str, r->len);
    else
        node_db_refused(c->all->target, db, r->str, r->len);
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
    conn_call(c, on_asked, NULL, "SELECT", num, NULL);
    snprintf(num, sizeof num, "%u", c->db);
    conn_call(c, on_other_db, NULL, "SELECT", num, NULL);
    return PUT_WAIT;
}
