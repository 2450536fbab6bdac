#include "node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "group.h"
#include "io.h"
#include "log.h"
#include "resp.h"
#include "suspect.h"
#include "writer.h"

void node_lose(struct node *n, const char *fmt, ...)
{
    if (n->lost)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(n->lost_why, sizeof n->lost_why, fmt, ap);
    va_end(ap);
    n->lost = true;
}

size_t group_room(const struct group *g)
{
    return g->req.len + g->n * ITEM_EXTRA + (g->npos + REC_FLOWS_MAX) * POS_EXTRA + GROUP_EXTRA;
}

static bool group_holds(const struct group *g, uint32_t key)
{
    return g->multikey || (g->set.count > 0 && hashset_has(&g->set, key));
}

bool groups_hold(const struct node *n, uint32_t key)
{
    return group_holds(n->b.building, key) || (n->b.flying != NULL && group_holds(n->b.flying, key));
}

bool node_room(const struct node *n, size_t len)
{
    size_t flying = (size_t)(n->wire.ring.tail - n->wire.ring.acked);
    if (flying > 0 && flying + n->a.mset.len + n->a.parts.req.len + len > n->w->opt.window)
        return false;
    size_t need = len + pipeline_gathered(&n->a) + 64 + group_room(n->b.building);
    if (n->b.resend) /* path A must not crowd out the group that is to be sent again */
        need += group_room(n->b.flying);
    return n->un + 4 < UNITS_MAX && ring_room(&n->wire.ring) >= need;
}

void node_unit(struct node *n, enum unit_kind kind, size_t len, unsigned keys, unsigned keyarg)
{
    n->unit[(n->uhead + n->un++) & (UNITS_MAX - 1)] = (struct unit){
        .len = (uint32_t)len, .keys = (uint16_t)keys, .kind = (uint8_t)kind, .keyarg = (uint8_t)keyarg};
}

/* ---- refusals ---- */

void node_fatal(struct node *n, const char *event, const char *text, size_t len)
{
    n->dead = true;
    writer_fail(n->w, EXIT_CANNOT, "event=%s target=%s reply=%s", event, n->w->opt.shown,
                log_quote(text, len));
}

void node_refused(struct node *n, const struct named *what, const char *text, size_t len)
{
    uint64_t now = mono_us();
    error_count(&n->w->stats.refusals, text, len);
    bool replica = len >= 9 && memcmp(text, "READONLY ", 9) == 0;
    if (replica && n->w->opt.url.sentinel) { /* they may know the master by now */
        n->blameless = true;
        node_lose(n, "the server has become a replica");
        return;
    }
    if (replica && patience_says(&n->patience, now))
        n->replica = true;
    patience_refused(&n->patience, NULL, named_text(what), text, len, now);
}

void node_succeeded(struct node *n)
{
    patience_over(&n->patience, NULL);
}

/* ---- databases ---- */

int node_db_state(const struct node *n, uint32_t db)
{
    for (unsigned i = 0; i < n->dbs.n; i++)
        if (n->dbs.known[i] == db)
            return n->dbs.bad[i] ? -1 : 1;
    return db == 0;
}

void node_db_learn(struct node *n, uint32_t db, bool has)
{
    struct dbs *d = &n->dbs;
    if (node_db_state(n, db) != 0)
        return;
    unsigned at = d->next++ % DBS_MAX; /* the oldest is forgotten: it is asked for again when it is needed */
    if (at == d->n) {
        d->n++;
        d->known = xrealloc(d->known, d->n * sizeof *d->known);
        d->bad = xrealloc(d->bad, d->n * sizeof *d->bad);
    }
    d->known[at] = db;
    d->bad[at] = !has;
}

void node_db_refused(struct node *n, uint32_t db, const char *text, size_t len)
{
    if (!n->w->opt.forget) /* that looks wherever keys of ours could be */
        log_event(LOG_WARN, NO_FLOW, "event=no_such_db db=%u reply=%s", db, log_quote(text, len));
    node_db_learn(n, db, false);
}

/* A SELECT that is refused (BUSY while a script runs) must never be followed by requests that then run in the
 * old database: nothing is sent behind it before its reply. */
void node_select(struct node *n, uint32_t db)
{
    uint8_t num[20], req[64];
    uint8_t *p = resp_len(req, '*', 2);
    p = resp_bulk(p, "SELECT", 6);
    p = resp_bulk(p, num, dec_u64(num, db));
    ring_add(&n->wire.ring, req, (size_t)(p - req));
    node_unit(n, U_SELECT, (size_t)(p - req), 0, 0);
    n->selecting = true;
    n->select_db = db;
}

enum put node_want_db(struct node *n, uint32_t db)
{
    if (db == n->db && !n->selecting)
        return PUT_DONE;
    if (node_db_state(n, db) < 0)
        return PUT_FAIL;
    if (n->lost || n->selecting || n->patience.until != 0 || n->a.again_unit.len > 0 || !node_room(n, 64))
        return PUT_WAIT;
    if (n->since_select < SELECT_AFTER && !n->allow_select)
        return PUT_WAIT;
    n->flush = n->a.mset_n + n->a.parts.n > 0; /* what is gathered belongs to the database before */
    if (n->flush)
        return PUT_WAIT;
    node_select(n, db);
    n->since_select = 0;
    n->allow_select = false;
    return PUT_WAIT;
}

void node_select_reply(struct node *n)
{
    n->selecting = false;
    if (n->wire.reply_type != REDIS_REPLY_ERROR && n->wire.reply_type != REDIS_REPLY_STATUS) {
        node_lose(n, "unexpected reply to SELECT");
        return;
    }
    if (n->wire.reply_type != REDIS_REPLY_ERROR) {
        n->db = n->select_db;
        node_db_learn(n, n->db, true);
        return;
    }
    n->since_select = SELECT_AFTER;
    switch (error_class(n->wire.err, n->wire.errlen)) {
    case ERR_RETRY: node_refused(n, NULL, n->wire.err, n->wire.errlen); break;
    case ERR_FATAL: node_fatal(n, "select_failed", n->wire.err, n->wire.errlen); break;
    default: node_db_refused(n, n->select_db, n->wire.err, n->wire.errlen);
    }
}

/* ---- requests that the connection may be lost for ---- */

bool suspect_in_flight(const struct node *n)
{
    return n->un > 0 && n->wire.ring.sent > n->wire.ring.acked && n->unit[n->uhead].kind != U_SELECT &&
           n->unit[n->uhead].kind != U_INFO;
}

size_t suspect_sendable(const struct node *n)
{
    size_t all = ring_unsent(&n->wire.ring);
    if (n->alone == 0 || n->un == 0)
        return all;
    if (n->patience.until != 0 && n->wire.ring.sent == n->wire.ring.acked)
        return 0;
    uint64_t end = n->wire.ring.acked + n->unit[n->uhead].len;
    size_t first = end > n->wire.ring.sent ? (size_t)(end - n->wire.ring.sent) : 0;
    return first < all ? first : all;
}

void suspect_cleared(struct node *n)
{
    n->losses = n->alone_losses = n->given_up = 0;
    if (n->alone > 0)
        n->alone--;
}
