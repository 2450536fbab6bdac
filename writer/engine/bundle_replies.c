/* The replies to a transaction, which is all that its unit is told. */
#include "bundle_parts.h"

#include <string.h>

#include "../outcome.h"
#include "errors.h"
#include "io.h"
#include "log.h"
#include "probes.h"

#define WINDOW_MAX 65536u
#define QUEUED_US  ((uint64_t)2000) /* us that transactions may wait at the target */
#define LATELY_US  ((uint64_t)10000000)

/* The reply to an element inside EXEC's. */
static void on_result(struct bundle *t, struct element *e, int type, long long number)
{
    if (type == REDIS_REPLY_NIL && e->ticket != TICKET_NONE) {
        bundle_is_there(t, e);
        return;
    }
    e->odd = !reply_fits(t->req.p + e->off, e->r.len, type);
    t->strange |= e->odd;
    if (type == REDIS_REPLY_INTEGER && e->probe != 0)
        probe_answer(t->all->use.probes, e->probe, number);
}

static void on_element(const struct cunit *u, int element, int type, const char *text, size_t len,
                       long long number)
{
    struct bundle *t = u->arg;
    if (element < 0 || (unsigned)element >= t->ncmd) {
        t->strange = true;
        return;
    }
    int32_t cmd = t->cmd[element];
    if (type == REDIS_REPLY_ERROR)
        bundle_note_fault(t, cmd, text, len);
    else if (cmd >= 0)
        on_result(t, &t->e[cmd], type, number);
    else
        t->strange |= type != (cmd == CMD_POSITION ? REDIS_REPLY_INTEGER : REDIS_REPLY_STATUS);
    if (cmd == CMD_POSITION && type == REDIS_REPLY_INTEGER)
        t->added = number;
}

/* As many are under way at a node as keep it busy, and no more: what comes meanwhile gathers, so that
 * transactions grow where the target, or we, cannot keep up. Whether they queue shows in the time they take
 * beside that of the fastest one; that is looked for anew from time to time, with few under way. */
static void pace(struct cnode *n, uint64_t now, uint64_t took, unsigned records)
{
    if (n->window == 0 || us_since(now, n->lately) > LATELY_US) {
        n->window = WINDOW_MIN;
        n->fastest = took;
        n->lately = now;
    }
    if (took < n->fastest)
        n->fastest = took;
    if (took > 2 * n->fastest + QUEUED_US)
        n->window -= n->window / 16;
    else
        n->window += records;
    if (n->window < WINDOW_MIN)
        n->window = WINDOW_MIN;
    if (n->window > WINDOW_MAX)
        n->window = WINDOW_MAX;
}

static bool on_reply(struct conn *c, struct cunit *u, const uint8_t *bytes)
{
    (void)bytes;
    struct bundle *t = u->arg;
    const struct outcome *outcome = t->all->use.outcome;
    struct cnode *ask;
    uint64_t due;
    struct named what;
    char text[256];
    size_t len = c->line.wire.errlen;
    bundle_back(t);
    bool whole = c->line.wire.reply_type == REDIS_REPLY_ARRAY && c->line.wire.reply_elements == (int)t->ncmd;
    if (whole && !t->strange) {
        pace(c->line.node, c->line.wire.heard, us_since(c->line.wire.heard, t->sent_at), t->n);
        bundle_carried_out(t, c->line.node);
        if (t->step >= 0 && !c->line.lost && !outcome->dead) {
            bundle_stepped(t);
            cluster_accepted(c->cl, &c->line);
            bundle_again(u, 0, NULL);
            u->kind = CU_GONE;
        }
        return u->kind == CU_EXEC && !c->line.lost;
    }
    if (c->line.wire.reply_type != REDIS_REPLY_ERROR) {
        line_lose(&c->line, whole ? "unexpected reply to EXEC: a reply that its request cannot get"
                                  : "unexpected reply to EXEC");
        return false;
    }
    memcpy(text, c->line.wire.err, len + 1);
    bool queued = error_is_execabort(c->line.wire.err, len) &&
                  error_class(c->line.wire.err, len) != ERR_RETRY && t->faults.len > 0;
    bool refused = queued && bundle_queued_fault(t, text, &len);
    if (!refused && cluster_detour(c->cl, &c->line, u->tries, bundle_name_first(t, &what), text, len, &due,
                                   &ask) != DETOUR_NONE) {
        bundle_still_refused(t, text, len);
        bundle_again(u, due, ask);
    } else if (outcome->dead) {
        bundle_finish(u, false);
    } else if (queued) {
        bundle_take_out(t);
        if (bundle_first_left(t) < t->n && !outcome->dead) {
            if (!t->parts)
                bundle_saves(t); /* a part of what may be repeated as a whole may not */
            bundle_again(u, 0, NULL);
        } else {
            bundle_finish(u, false);
        }
    } else {
        line_lose(&c->line, "unexpected reply to EXEC: %s", log_quote(text, len));
        return false;
    }
    u->kind = CU_GONE;
    return false;
}

static void on_confirmed(struct conn *c, const struct cunit *u)
{
    cluster_accepted(c->cl, &c->line);
    bundle_finish(u, true);
}

static void on_fail(struct cluster *cl, const struct cunit *u, const uint8_t *bytes, const char *text,
                    size_t len)
{
    struct bundle *t = u->arg;
    (void)bytes;
    (void)cl;
    for (unsigned i = 0; i < t->n; i++)
        if (!t->e[i].out)
            bundle_element_error(t, &t->e[i], text, len);
    bundle_finish(u, false);
}

static void on_drop(struct cluster *cl, const struct cunit *u)
{
    (void)cl;
    bundle_finish(u, false);
}

const struct unit_calls bundle_calls = {.reply = on_reply,
                                        .element = on_element,
                                        .confirmed = on_confirmed,
                                        .lost = bundle_lost,
                                        .size = bundle_size,
                                        .transmit = bundle_transmit,
                                        .drop = on_drop,
                                        .fail = on_fail};
