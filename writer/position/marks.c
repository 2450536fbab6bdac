#include "marks.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../target/cluster.h"
#include "crc64.h"
#include "exits.h"
#include "log.h"
#include "position_file.h"
#include "../options.h"
#include "../outcome.h"
#include "../session.h"
#include "../summary.h"
#include "../target/watch.h"
#include "positions.h"

#define FIELD "m"
#define ROOM  512u /* bytes of a request, at most */

static_assert(CNODES_MAX == POSITION_MASTERS, "a position file has room for every master");

/* One more request is on its way, or one less. */
static void flies(struct marks *m, int more)
{
    m->flying += (unsigned)more;
    m->cl->errands += (unsigned)more;
}

void marks_free(struct marks *m)
{
    m->cl->errands -= m->flying;
    free(m->v);
    free(m->master);
    m->v = NULL;
    m->master = NULL;
    m->n = m->masters = m->flying = 0;
    m->doing = MARKS_IDLE;
    m->history[0] = '\0';
    m->number = m->done = m->stamp = m->done_stamp = 0;
    m->covered = m->checked = false;
    m->lost = NULL;
}

/* ---- which slots ---- */

static struct mark_key *add(struct marks *m, unsigned slot)
{
    m->v = xrealloc(m->v, (m->n + 1) * sizeof *m->v);
    m->v[m->n] = (struct mark_key){.all = m, .slot = (uint16_t)slot};
    return &m->v[m->n++];
}

/* One a master: of two that have come together the second goes, a new master gets one. */
static void choose(struct marks *m)
{
    const struct cluster *cl = m->cl;
    bool has[CNODES_MAX] = {false};
    unsigned n = 0;
    for (unsigned i = 0; i < m->n; i++) {
        unsigned owner = cl->nodes.owner[m->v[i].slot];
        if (owner != NO_NODE && has[owner] && !m->v[i].listed)
            continue;
        if (owner != NO_NODE)
            has[owner] = true;
        m->v[n++] = m->v[i];
    }
    m->n = n;
    for (unsigned s = 0; s < (cl->nodes.slots ? SLOTS : 1); s++)
        if (cl->nodes.owner[s] != NO_NODE && !has[cl->nodes.owner[s]]) {
            has[cl->nodes.owner[s]] = true;
            (void)add(m, s);
        }
}

static void start(struct marks *m, enum marks_doing what)
{
    choose(m);
    m->doing = what;
    for (unsigned i = 0; i < m->n; i++) {
        m->v[i].sent = m->v[i].told = false;
        m->v[i].due = 0;
        m->v[i].ask = NULL;
    }
    m->cl->nodes.stir = true;
}

/* ---- replies ---- */

/* types: REPLY_BIT()s of the answer. False: it has to be asked again, or the run has failed. */
static bool answered(struct line *l, struct mark_key *k, const redisReply *r, unsigned types,
                     const char *what)
{
    struct marks *m = k->all;
    m->cl->nodes.stir = true;
    k->ask = NULL;
    if (r != NULL && !line_expects(l, r, types, what))
        r = NULL;
    if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        k->plight = (struct plight){0};
        return true;
    }
    flies(m, -1);
    k->sent = false;
    if (r == NULL)
        return false;
    if (cluster_detour(m->cl, l, 3, NULL, r->str, r->len, &k->due, &k->ask) != DETOUR_NONE)
        plight_refused(m->cl, &k->plight, NULL, r->str, r->len);
    else if (!m->outcome->dead)
        outcome_give_up(m->outcome, EXIT_CANNOT, "event=position_refused slot=%u node=%s reply=%s", k->slot,
                        cnode_name(l->node), log_quote(r->str, r->len));
    return false;
}

static void on_safe(struct line *l, void *arg, bool ok)
{
    struct mark_key *k = arg;
    (void)l;
    flies(k->all, -1);
    k->all->cl->nodes.stir = true;
    k->told = ok;
    k->sent = ok;
}

static void on_written(struct line *l, void *arg, const redisReply *r)
{
    struct mark_key *k = arg;
    struct marks *m = k->all;
    if (!answered(l, k, r, REPLY_BIT(REDIS_REPLY_INTEGER), "HSET"))
        return;
    if (k->there && r->integer > 0)
        watch_vanished(m->watch, l->node,
                       "a position key had vanished: somebody flushed the target or removed the key");
    k->there = true;
    if (!m->outcome->dead)
        cluster_accepted(m->cl, l);
    cluster_safe(l, on_safe, k);
}

static void on_read(struct line *l, void *arg, const redisReply *r)
{
    struct mark_key *k = arg;
    struct marks *m = k->all;
    char history[HISTORY_MAX];
    uint64_t number;
    if (!answered(l, k, r, REPLY_BIT(REDIS_REPLY_STRING) | REPLY_BIT(REDIS_REPLY_NIL), "HGET"))
        return;
    flies(m, -1);
    k->told = true;
    k->there = r->type == REDIS_REPLY_STRING && position_mark_parse(r->str, r->len, history, &number) &&
               strcmp(history, m->history) == 0 && number >= m->done;
}

/* ---- requests ---- */

static struct conn *conn_for(struct cluster *cl, struct mark_key *k)
{
    struct conn *c = cluster_way(&cl->nodes, k->ask, k->slot, ROOM, false);
    if (c == NULL && k->ask != NULL && cnode_missing(k->ask, k->slot))
        k->ask = NULL; /* it is not there: the owner will say where to go */
    if (c == NULL || cl->nodes.slots)
        return c;
    return cluster_want_db(c, 0, false) == PUT_DONE ? c : NULL;
}

static void send_mark(struct marks *m, struct mark_key *k)
{
    char slot_key[EXACT_KEY_MAX], value[POSITION_TEXT];
    const char *key = m->session->position_key;
    struct conn *c = conn_for(m->cl, k);
    if (c == NULL)
        return;
    if (m->cl->nodes.slots) {
        (void)exact_key(m->exact, k->slot, slot_key);
        key = slot_key;
    }
    if (k->ask != NULL)
        line_asking(&c->line);
    k->sent = true;
    flies(m, 1);
    (void)position_pair_print(m->history, m->number, value);
    if (m->doing == MARKS_READ)
        line_call(&c->line, on_read, k, "HGET", key, FIELD, NULL);
    else
        line_call(&c->line, on_written, k, "HSET", key, FIELD, value, NULL);
}

static void judge(struct marks *m);

void marks_work(struct marks *m, uint64_t now)
{
    bool all = true;
    if (m->doing == MARKS_IDLE || m->cl->flushing)
        return;
    for (unsigned i = 0; i < m->n && !m->outcome->dead; i++) {
        if (!m->v[i].sent && now >= m->v[i].due)
            send_mark(m, &m->v[i]);
        all &= m->v[i].told;
    }
    if (!all || m->outcome->dead)
        return;
    bool wrote = m->doing == MARKS_WRITE;
    m->doing = MARKS_IDLE;
    if (!wrote) {
        judge(m);
        return;
    }
    m->done = m->number;
    m->done_stamp = m->stamp;
    m->written(m->arg);
}

/* ---- writing ---- */

/* Of everything that was applied so far; never 0. */
static uint64_t stamp(const struct marks *m)
{
    uint64_t crc = crc64(1, (const uint8_t *)&m->stats->requests, sizeof m->stats->requests);
    for (unsigned i = 0; i < m->positions->n; i++) {
        const struct flowpos *f = &m->positions->flow[i];
        crc = crc64(crc, (const uint8_t *)&f->pos, sizeof f->pos);
        crc = crc64(crc, (const uint8_t *)&f->seq, sizeof f->seq);
    }
    return crc | 1;
}

void marks_begin(struct marks *m)
{
    if (m->cl->nodes.whole)
        return;
    m->checked = false;
    if (m->session->going_on > 0 && m->history[0] != '\0') {
        m->done_stamp = m->covered ? stamp(m) : 0; /* nothing was written since */
        return;
    }
    m->n = 0;
    m->number = m->done = m->done_stamp = 0;
    snprintf(m->history, sizeof m->history, "%s.%u", m->session->nonce + 16, m->session->epoch);
}

bool marks_cover(const struct marks *m)
{
    return m->cl->nodes.whole || (m->doing == MARKS_IDLE && m->done_stamp == stamp(m));
}

void marks_round(struct marks *m, marks_fn *written, void *arg)
{
    m->written = written;
    m->arg = arg;
    m->number++;
    m->stamp = stamp(m);
    start(m, MARKS_WRITE);
}

void marks_flushed(struct marks *m)
{
    m->done_stamp = 0;
    m->doing = MARKS_IDLE;
    m->n = 0;
}

/* ---- the file ---- */

void marks_print(const struct marks *m, struct buf *b, bool covered)
{
    const struct cluster *cl = m->cl;
    struct position_marks p = {.number = m->done, .covered = covered};
    unsigned masters = 0;
    memcpy(p.history, m->history, sizeof p.history);
    for (unsigned i = 0; i < m->n && p.slots < POSITION_MASTERS; i++)
        if (m->v[i].there)
            p.slot[p.slots++] = m->v[i].slot;
    position_marks_print(&p, b);
    for (unsigned i = 0; i < cl->nodes.n; i++)
        if (cl->nodes.node[i]->master)
            position_master_print(masters++, cl->nodes.node[i]->name, &cl->nodes.node[i]->who, b);
}

bool marks_parse(struct marks *m, const char *text, size_t n)
{
    struct position_marks p;
    marks_free(m);
    if (!position_marks_parse(&p, text, n))
        return false;
    for (unsigned i = 0; i < p.slots; i++)
        add(m, p.slot[i])->listed = true;
    memcpy(m->history, p.history, sizeof m->history);
    m->number = m->done = p.number;
    m->covered = p.covered;
    m->master = p.master;
    m->masters = p.masters;
    return true;
}

/* ---- is it the target that was written to, and has it everything? ---- */

void marks_check(struct marks *m)
{
    if (m->doing == MARKS_IDLE)
        start(m, MARKS_READ);
}

static bool holds_mark(const struct marks *m, unsigned node)
{
    for (unsigned i = 0; i < m->n; i++)
        if (m->v[i].listed && m->v[i].there && m->cl->nodes.owner[m->v[i].slot] == node)
            return true;
    return false;
}

/* Has this master what the one before it had? The same run has, as long as its mark is there. So has a
 * replica that took over. One that was started anew has it, if its mark was written after all that counts as
 * applied. */
static bool trusted(const struct marks *m, const struct cnode *n)
{
    for (unsigned i = 0; i < m->masters; i++) {
        const struct mark_master *old = &m->master[i];
        if (identity_same(&old->who, &n->who))
            return true;
        if (strcmp(old->name, n->name) != 0 && identity_follows(&old->who, &n->who))
            return true;
    }
    return (m->covered || m->opt->durable) && holds_mark(m, n->index);
}

static void say_lost(struct marks *m, const char *node, unsigned slot, const char *why)
{
    log_event(LOG_WARN, NO_FLOW, "event=target_has_lost_data node=%s slot=%u error=%s", node, slot,
              log_quote(why, strlen(why)));
    m->lost = why;
}

static void judge(struct marks *m)
{
    const struct cluster *cl = m->cl;
    m->lost = NULL;
    for (unsigned i = 0; i < m->n; i++) {
        const struct mark_key *k = &m->v[i];
        unsigned owner = cl->nodes.owner[k->slot];
        if (k->listed && !k->there)
            say_lost(m, owner != NO_NODE ? cnode_name(cl->nodes.node[owner]) : "?", k->slot,
                     "what was written is not there, or not all of it");
        else if (owner != NO_NODE && !trusted(m, cl->nodes.node[owner]))
            say_lost(m, cnode_name(cl->nodes.node[owner]), k->slot,
                     "it is another server, or was started anew and may lack what it confirmed");
    }
    for (unsigned i = 0; i < m->n; i++)
        m->v[i].listed = false;
    m->checked = true;
}
