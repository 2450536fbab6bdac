/* What the position key of a single server says: before a session begins, and after a connection was lost. */
#include <string.h>
#include <bsd/string.h>

#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../target/cluster.h"
#include "exits.h"
#include "whole.h"

/* ---- before a session ---- */

static const char *text_of(const redisReply *r)
{
    return r->str != NULL && strlen(r->str) == r->len ? r->str : "";
}

static void on_read(struct line *l, void *arg, const redisReply *r)
{
    struct whole *x = arg;
    x->read = WHOLE_NOT_YET;
    x->cl->nodes.stir = true;
    if (r == NULL)
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        cluster_question_refused(x->cl, l, r, "HGETALL");
        return;
    }
    if (!reply_is_hash(r)) {
        line_lose(l, "HGETALL: unexpected reply");
        return;
    }
    l->node->plight = (struct plight){0};
    x->read = WHOLE_KNOWN;
    x->said_session[0] = x->said_source[0] = '\0';
    saved_vector_free(&x->saved);
    position_key_read(&x->saved, r);
    for (size_t i = 0; i < r->elements; i += 2) {
        if (strcmp(text_of(r->element[i]), "session") == 0)
            strlcpy(x->said_session, text_of(r->element[i + 1]), sizeof x->said_session);
        else if (strcmp(text_of(r->element[i]), "source") == 0)
            strlcpy(x->said_source, text_of(r->element[i + 1]), sizeof x->said_source);
    }
}

bool whole_read(struct whole *x)
{
    struct cluster *cl = x->cl;
    if (x->read == WHOLE_NOT_YET && !x->outcome->dead) {
        struct conn *c = cluster_conn(&cl->nodes, WHOLE_SCOPE, 256);
        if (c == NULL || cluster_want_db(c, 0, true) != PUT_DONE)
            return false;
        x->read = WHOLE_ASKED;
        line_call(&c->line, on_read, x, "HGETALL", x->session->position_key, NULL);
    }
    return x->read == WHOLE_KNOWN;
}

/* ---- after a loss ---- */

static bool session_begun(const struct whole *x)
{
    return x->session->stage == ST_RUN || (x->session->stage == ST_VOID && x->session->wrote);
}

static void take_field(struct whole *x, const char *name, const char *value, bool *session, bool *writer)
{
    const struct session *s = x->session;
    struct position_id id;
    struct position_flow f;
    if (strcmp(name, "session") == 0) {
        x->there = true;
        *session = position_id_parse(&id, value) && id.epoch == s->epoch && strcmp(id.nonce, s->nonce) == 0;
    } else if (strcmp(name, "writer") == 0) {
        *writer = strcmp(value, x->run) == 0;
    } else if (position_flow_parse(&f, x->flows, name, value) && f.epoch == s->epoch) {
        x->flow[f.flow].there = f.seq;
    }
}

static void take_key(struct whole *x, const redisReply *r)
{
    bool session = false, writer = false;
    x->there = false;
    for (unsigned i = 0; i < x->flows; i++)
        x->flow[i].there = 0;
    for (size_t i = 0; i < r->elements; i += 2)
        take_field(x, text_of(r->element[i]), text_of(r->element[i + 1]), &session, &writer);
    x->ours = session && writer;
}

/* Is what was confirmed still there? */
static const char *what_is_lost(const struct whole *x, bool restarted)
{
    if (!x->there)
        return "the position key is missing";
    for (unsigned i = 0; i < x->flows; i++)
        if (x->flow[i].there < x->positions->flow[i].saved_seq)
            return "the position key is behind what was confirmed";
    if (restarted && x->confirmed > 0 && !positions_all_saved_synced(x->positions))
        return "the server was started anew during the full sync";
    return NULL;
}

/* Is it a reply to be looked at? */
static bool counts(struct hello *h, const redisReply *r)
{
    if (r == NULL)
        return false;
    if (r->type == REDIS_REPLY_ERROR)
        hello_refused(h->all, h->line, r, "HGETALL");
    else if (!reply_is_hash(r))
        line_lose(h->line, "HGETALL: unexpected reply");
    return !h->line->lost;
}

static void on_before(struct hello *h, const redisReply *r)
{
    struct whole *x = h->all->cl->whole;
    if (!counts(h, r))
        return;
    take_key(x, r);
    if (!x->there || x->ours)
        return;
    h->line->loss = LOSS_FATAL;
    line_lose(h->line, "another writer has taken over task %s", x->opt->task);
}

static void on_behind(struct hello *h, const redisReply *r)
{
    struct whole *x = h->all->cl->whole;
    if (!counts(h, r))
        return;
    take_key(x, r);
    if (x->there && !x->ours) {
        outcome_give_up(x->outcome, EXIT_CANNOT, "event=task_taken_over task=%s target=%s note=%s",
                        x->opt->task, x->opt->shown,
                        "\"another writer uses the name: give each its own --task\"");
        line_lose(h->line, "another writer has taken over task %s", x->opt->task);
        return;
    }
    const char *lost = what_is_lost(x, h->line->restarted);
    h->line->restarted = false;
    if (lost != NULL)
        cluster_lost_data(x->cl, h->line->node, lost);
}

void whole_hello(struct whole *x, struct hello *h)
{
    if (session_begun(x))
        line_ask(h->line, on_before, "HGETALL", x->session->position_key, NULL);
}

void whole_last(struct whole *x, struct hello *h)
{
    if (session_begun(x)) /* again: the connections just ended may have written */
        line_ask(h->line, on_behind, "HGETALL", x->session->position_key, NULL);
    else
        h->line->restarted = false;
}

bool whole_has_record(const struct whole *x, unsigned flow, uint64_t seq)
{
    return x->flow[flow].there >= seq;
}
