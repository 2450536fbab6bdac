/* The connection of a transaction was lost: was it carried out? */
#include "bundle_parts.h"

#include <string.h>
#include <bsd/string.h>

#include "../options.h"
#include "../outcome.h"
#include "../summary.h"
#include "errors.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"

/* What follows a step depends on its reply: one that comes to the same twice is repeated to hear it. */
static bool harmless_step(const struct bundle *t)
{
    static const char *const names[] = {"DEL", "RESTORE", "SADD", "SREM"};
    struct slice name;
    if (t->fn == NULL || !request_arg(t->req.p, t->e[0].r.len, 0, &name))
        return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == name.n && memcmp(names[i], name.p, name.n) == 0)
            return true;
    return false;
}

/* A connection on which our own requests are lost again and again is no better than none. */
static void not_for_ever(const struct bundle *t, const char *why)
{
    const struct bundle_uses *use = &t->all->use;
    if (use->outcome->failed ||
        us_since(mono_us(), t->since) < (uint64_t)use->opt->reconnect_timeout * 1000000)
        return;
    outcome_give_up(use->outcome, EXIT_RETRY, "event=target_lost target=%s error=%s", use->opt->shown,
                    log_quote(why, strlen(why)));
}

void bundle_lost(struct conn *c, struct cunit *u, const uint8_t *bytes, const struct unit_loss *how)
{
    struct bundle *t = u->arg;
    (void)bytes;
    if (how->begun && !how->answered && c->line.state == CONN_READY) {
        plight_lost(&t->plight, &c->line);
        strlcpy(t->lost, c->line.why, sizeof t->lost);
    }
    bundle_back(t);
    if (bundle_is_ours(t))
        not_for_ever(t, c->line.why);
    t->doubt |= t->saves && how->sent && !harmless_step(t);
    bundle_again(u, 0, NULL);
}

/* It was executed, and its replies are lost. Returns how many of its requests have to be sent again: those
 * that only ask whether a key is there. */
static unsigned settle_elements(struct bundle *t)
{
    const struct bundle_uses *use = &t->all->use;
    unsigned left = 0;
    uint64_t now = now_us();
    for (unsigned i = 0; i < t->n; i++) {
        struct element *e = &t->e[i];
        if (e->out)
            continue;
        if (e->odd) {
            bundle_element_error(t, e, ODD_REPLY, sizeof ODD_REPLY - 1);
            continue;
        }
        if (e->ticket >= TICKET_FIRST) {
            left++;
            continue;
        }
        if (e->ticket == TICKET_WHOLE && use->opt->on_existing == EXISTING_FAIL)
            guard_unsure(use->splits, e->r.flow, t->req.p + e->off, e->r.len, e->r.keyarg);
        use->stats->uncertain += e->probe == 0 && !e->own;
        if (e->probe == 0 && !e->own && t->fn == NULL)
            cluster_count_at(use->cl, (e->r.flags & RF_LIVE) != 0, e->vclass, e->r.time, now);
        e->out = true;
    }
    return left;
}

/* The same where only one of its requests was under way. */
static void settle_step(struct bundle *t)
{
    struct element *e = &t->e[t->step];
    if (e->odd && !e->out)
        bundle_element_error(t, e, ODD_REPLY, sizeof ODD_REPLY - 1);
    t->all->use.stats->uncertain += !e->out && !e->own;
    bundle_stepped(t);
}

/* It had been carried out, and (with --wait) has reached the replicas. What its requests answered is lost. */
void bundle_safe(struct line *l, void *arg, bool ok)
{
    struct bundle *t = arg;
    const struct bundles *b = t->all;
    struct cunit u = bundle_unit(t);
    if (!ok) {
        bundle_again(&u, 0, NULL);
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=replies_lost requests=%u applied=yes", t->step < 0 ? t->n : 1);
    if (b->store != NULL)
        b->store->written(b->key, l->node, t->fields, 0);
    if (t->step >= 0) {
        settle_step(t);
        cluster_accepted(b->use.cl, l);
        u = bundle_unit(t);
        bundle_again(&u, 0, NULL);
        return;
    }
    cluster_accepted(b->use.cl, l);
    if (settle_elements(t) == 0) {
        bundle_finish(&u, true);
        return;
    }
    b->use.stats->retries++; /* the questions alone, with the same positions */
    t->doubt = false;
    bundle_again(&u, 0, NULL);
}

/* What stands in the slot: of earlier processes, and whether the bundle itself was carried out. */
void bundle_learned(struct line *l, void *arg, const redisReply *r)
{
    struct bundle *t = arg;
    const struct bundle_uses *use = &t->all->use;
    struct cunit u = bundle_unit(t);
    struct cnode *ask = NULL;
    uint64_t due = 0;
    if (r != NULL && r->type == REDIS_REPLY_ERROR &&
        cluster_detour(use->cl, l, t->tries, NULL, r->str, r->len, &due, &ask) == DETOUR_NONE) {
        if (!use->outcome->dead)
            bundle_no_position(t, r->str, r->len);
        bundle_finish(&u, false);
        return;
    }
    if (r != NULL && r->type == REDIS_REPLY_ERROR)
        bundle_still_refused(t, r->str, r->len);
    if (r != NULL && r->type != REDIS_REPLY_ERROR && !reply_is_hash(r)) {
        line_lose(l, "HGETALL: unexpected reply");
    } else if (r != NULL && r->type != REDIS_REPLY_ERROR) {
        if (exact_learn(use->exact, t->slot, r, t->doubt ? t->token : 0)) {
            cluster_safe(l, bundle_safe, t);
            return;
        }
        t->doubt = false;
    }
    bundle_again(&u, due, ask);
}
