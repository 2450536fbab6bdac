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
#include "../writer.h"

#define FIELD "m"
#define ROOM  512u /* bytes of a request, at most */

static_assert(CNODES_MAX == POSITION_MASTERS, "a position file has room for every master");

void marks_free(struct marks *m)
{
    free(m->v);
    free(m->master);
    *m = (struct marks){0};
}

/* ---- which slots ---- */

static struct mark_key *add(struct marks *m, unsigned slot)
{
    m->v = xrealloc(m->v, (m->n + 1) * sizeof *m->v);
    m->v[m->n] = (struct mark_key){.slot = (uint16_t)slot};
    return &m->v[m->n++];
}

/* One a master: of two that have come together the second goes, a new master gets one. */
static void choose(struct cluster *cl)
{
    struct marks *m = &cl->w->marks;
    bool has[CNODES_MAX] = {false};
    unsigned n = 0;
    for (unsigned i = 0; i < m->n; i++) {
        unsigned owner = cl->owner[m->v[i].slot];
        if (owner != NO_NODE && has[owner] && !m->v[i].listed)
            continue;
        if (owner != NO_NODE)
            has[owner] = true;
        m->v[n++] = m->v[i];
    }
    m->n = n;
    for (unsigned s = 0; s < (cl->slots ? SLOTS : 1); s++)
        if (cl->owner[s] != NO_NODE && !has[cl->owner[s]]) {
            has[cl->owner[s]] = true;
            (void)add(m, s);
        }
}

static void start(struct writer *w, enum marks_doing what)
{
    struct marks *m = &w->marks;
    choose(w->cluster);
    m->doing = what;
    for (unsigned i = 0; i < m->n; i++) {
        m->v[i].sent = m->v[i].told = false;
        m->v[i].due = 0;
        m->v[i].ask = NULL;
    }
    w->cluster->stir = true;
}

/* ---- replies ---- */

/* types: REPLY_BIT()s of the answer. False: it has to be asked again, or the writer has failed. */
static bool answered(struct conn *c, struct mark_key *m, const redisReply *r, unsigned types,
                     const char *what)
{
    struct cluster *cl = c->w->cluster;
    cl->stir = true;
    m->ask = NULL;
    if (r != NULL && !conn_expects(c, r, types, what))
        r = NULL;
    if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        m->plight = (struct plight){0};
        return true;
    }
    c->w->marks.flying--;
    m->sent = false;
    if (r == NULL)
        return false;
    if (cluster_detour(c, 3, NULL, r->str, r->len, &m->due, &m->ask) != DETOUR_NONE) {
        plight_refused(c->w, &m->plight, NULL, r->str, r->len);
        return false;
    }
    if (cl->w->outcome.dead)
        return false;
    outcome_give_up(&c->w->outcome, EXIT_CANNOT, "event=position_refused slot=%u node=%s reply=%s", m->slot,
                    cnode_name(c->node), log_quote(r->str, r->len));
    return false;
}

static void on_safe(struct conn *c, void *arg, bool ok)
{
    struct mark_key *m = arg;
    c->w->marks.flying--;
    c->w->cluster->stir = true;
    m->told = ok;
    m->sent = ok;
}

static void on_written(struct conn *c, void *arg, const redisReply *r)
{
    struct mark_key *m = arg;
    struct writer *w = c->w;
    if (!answered(c, m, r, REPLY_BIT(REDIS_REPLY_INTEGER), "HSET"))
        return;
    if (m->there && r->integer > 0)
        watch_vanished(w, c->node,
                       "a position key had vanished: somebody flushed the target or removed the key");
    m->there = true;
    if (!w->outcome.dead)
        cluster_accepted(c);
    cluster_safe(c, on_safe, m);
}

static void on_read(struct conn *c, void *arg, const redisReply *r)
{
    struct mark_key *m = arg;
    struct marks *all = &c->w->marks;
    char history[HISTORY_MAX];
    uint64_t number;
    if (!answered(c, m, r, REPLY_BIT(REDIS_REPLY_STRING) | REPLY_BIT(REDIS_REPLY_NIL), "HGET"))
        return;
    all->flying--;
    m->told = true;
    m->there = r->type == REDIS_REPLY_STRING && position_mark_parse(r->str, r->len, history, &number) &&
               strcmp(history, all->history) == 0 && number >= all->done;
}

/* ---- requests ---- */

static struct conn *conn_for(struct cluster *cl, struct mark_key *m)
{
    struct conn *c = cluster_way(cl, m->ask, m->slot, ROOM, false);
    if (c == NULL && m->ask != NULL && cnode_missing(m->ask, m->slot))
        m->ask = NULL; /* it is not there: the owner will say where to go */
    if (c == NULL || cl->slots)
        return c;
    return cluster_want_db(c, 0, false) == PUT_DONE ? c : NULL;
}

static void send_mark(struct cluster *cl, struct mark_key *m)
{
    struct writer *w = cl->w;
    struct marks *all = &w->marks;
    char slot_key[EXACT_KEY_MAX], value[POSITION_TEXT];
    const char *key = w->session.position_key;
    struct conn *c = conn_for(cl, m);
    if (c == NULL)
        return;
    if (cl->slots) {
        (void)exact_key(w, m->slot, slot_key);
        key = slot_key;
    }
    if (m->ask != NULL)
        conn_asking(c);
    m->sent = true;
    all->flying++;
    (void)position_pair_print(all->history, all->number, value);
    if (all->doing == MARKS_READ)
        conn_call(c, on_read, m, "HGET", key, FIELD, NULL);
    else
        conn_call(c, on_written, m, "HSET", key, FIELD, value, NULL);
}

static void judge(struct writer *w);

void marks_work(struct cluster *cl, uint64_t now)
{
    struct marks *m = &cl->w->marks;
    bool all = true;
    if (m->doing == MARKS_IDLE || cl->flushing)
        return;
    for (unsigned i = 0; i < m->n && !cl->w->outcome.dead; i++) {
        if (!m->v[i].sent && now >= m->v[i].due)
            send_mark(cl, &m->v[i]);
        all &= m->v[i].told;
    }
    if (!all || cl->w->outcome.dead)
        return;
    bool wrote = m->doing == MARKS_WRITE;
    m->doing = MARKS_IDLE;
    if (!wrote) {
        judge(cl->w);
        return;
    }
    m->done = m->number;
    m->done_stamp = m->stamp;
    m->written(cl->w);
}

/* ---- writing ---- */

/* Of everything that was applied so far; never 0. */
static uint64_t stamp(const struct writer *w)
{
    uint64_t crc = crc64(1, (const uint8_t *)&w->stats.requests, sizeof w->stats.requests);
    for (unsigned i = 0; i < w->positions.n; i++) {
        const struct flowpos *f = &w->positions.flow[i];
        crc = crc64(crc, (const uint8_t *)&f->pos, sizeof f->pos);
        crc = crc64(crc, (const uint8_t *)&f->seq, sizeof f->seq);
    }
    return crc | 1;
}

void marks_begin(struct writer *w)
{
    struct marks *m = &w->marks;
    if (w->cluster->whole)
        return;
    m->checked = false;
    if (w->session.going_on > 0 && m->history[0] != '\0') {
        m->done_stamp = m->covered ? stamp(w) : 0; /* nothing was written since */
        return;
    }
    m->n = 0;
    m->number = m->done = m->done_stamp = 0;
    snprintf(m->history, sizeof m->history, "%s.%u", w->session.nonce + 16, w->session.epoch);
}

bool marks_cover(const struct writer *w)
{
    return w->cluster->whole || (w->marks.doing == MARKS_IDLE && w->marks.done_stamp == stamp(w));
}

void marks_round(struct writer *w, marks_fn *written)
{
    struct marks *m = &w->marks;
    m->written = written;
    m->number++;
    m->stamp = stamp(w);
    start(w, MARKS_WRITE);
}

void marks_flushed(struct writer *w)
{
    struct marks *m = &w->marks;
    m->done_stamp = 0;
    m->doing = MARKS_IDLE;
    m->n = 0;
}

/* ---- the file ---- */

void marks_print(const struct writer *w, struct buf *b, bool covered)
{
    const struct marks *m = &w->marks;
    const struct cluster *cl = w->cluster;
    struct position_marks p = {.number = m->done, .covered = covered};
    unsigned masters = 0;
    memcpy(p.history, m->history, sizeof p.history);
    for (unsigned i = 0; i < m->n && p.slots < POSITION_MASTERS; i++)
        if (m->v[i].there)
            p.slot[p.slots++] = m->v[i].slot;
    position_marks_print(&p, b);
    for (unsigned i = 0; i < cl->nnodes; i++)
        if (cl->node[i]->master)
            position_master_print(masters++, cl->node[i]->name, &cl->node[i]->who, b);
}

bool marks_parse(struct writer *w, const char *text, size_t n)
{
    struct marks *m = &w->marks;
    struct position_marks p;
    marks_free(m);
    if (!position_marks_parse(&p, text, n))
        return false;
    memcpy(m->history, p.history, sizeof m->history);
    m->number = m->done = p.number;
    m->covered = p.covered;
    for (unsigned i = 0; i < p.slots; i++)
        add(m, p.slot[i])->listed = true;
    m->master = p.master;
    m->masters = p.masters;
    return true;
}

/* ---- is it the target that was written to, and has it everything? ---- */

void marks_check(struct writer *w)
{
    if (w->marks.doing == MARKS_IDLE)
        start(w, MARKS_READ);
}

static bool holds_mark(const struct cluster *cl, unsigned node)
{
    const struct marks *m = &cl->w->marks;
    for (unsigned i = 0; i < m->n; i++)
        if (m->v[i].listed && m->v[i].there && cl->owner[m->v[i].slot] == node)
            return true;
    return false;
}

/* Has this master what the one before it had? The same run has, as long as its mark is there. So has a
 * replica that took over. One that was started anew has it, if its mark was written after all that counts as
 * applied. */
static bool trusted(const struct cluster *cl, const struct cnode *n)
{
    const struct marks *m = &cl->w->marks;
    for (unsigned i = 0; i < m->masters; i++) {
        const struct mark_master *old = &m->master[i];
        if (identity_same(&old->who, &n->who))
            return true;
        if (strcmp(old->name, n->name) != 0 && identity_follows(&old->who, &n->who))
            return true;
    }
    return (m->covered || cl->w->opt.durable) && holds_mark(cl, n->index);
}

static void say_lost(struct writer *w, const char *node, unsigned slot, const char *why)
{
    log_event(LOG_WARN, NO_FLOW, "event=target_has_lost_data node=%s slot=%u error=%s", node, slot,
              log_quote(why, strlen(why)));
    w->marks.lost = why;
}

static void judge(struct writer *w)
{
    struct marks *m = &w->marks;
    struct cluster *cl = w->cluster;
    m->lost = NULL;
    for (unsigned i = 0; i < m->n; i++) {
        const struct mark_key *k = &m->v[i];
        unsigned owner = cl->owner[k->slot];
        if (k->listed && !k->there)
            say_lost(w, owner != NO_NODE ? cnode_name(cl->node[owner]) : "?", k->slot,
                     "what was written is not there, or not all of it");
        else if (owner != NO_NODE && !trusted(cl, cl->node[owner]))
            say_lost(w, cnode_name(cl->node[owner]), k->slot,
                     "it is another server, or was started anew and may lack what it confirmed");
    }
    for (unsigned i = 0; i < m->n; i++)
        m->v[i].listed = false;
    m->checked = true;
}
