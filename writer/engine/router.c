#include "router.h"

#include <errno.h>
#include <string.h>

#include "apply.h"
#include "exits.h"
#include "../intake.h"
#include "io.h"
#include "log.h"
#include "../session.h"
#include "../writer.h"

#define QUANTUM 512 /* records of one input or lane before the next has its turn */

/* Take records of one input. Returns whether any was taken. */
static bool pump_input(struct writer *w, struct input *in)
{
    bool any = false;
    for (unsigned k = 0; k < QUANTUM && !w->outcome.failed; k++) {
        bool first = !in->have;
        if (first && !input_next(&w->inputs, in))
            return any || in->finished;
        if (first) {
            w->stats.records++;
            w->stats.bytes_in += in->rec.len;
        }
        if (intake_offer(w, in, first) != PUT_DONE)
            return any;
        input_taken(in);
        any = true;
    }
    return any;
}

/* ---- lanes that go on after a barrier ---- */

static bool pump_lane(struct writer *w, unsigned flow)
{
    bool any = false;
    struct rec r;
    const uint8_t *payload;
    for (unsigned k = 0; k < QUANTUM && !w->outcome.failed && !w->lanes.lane[flow].waiting; k++) {
        int got = lanes_peek(&w->lanes, flow, &r, &payload);
        if (got < 0)
            outcome_fail(&w->outcome, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", flow,
                         log_quote(strerror(errno), strlen(strerror(errno))));
        if (got <= 0 || apply_record(w, NULL, &r, payload) != PUT_DONE)
            return any;
        if (w->session.stage != ST_RUN)
            return true; /* the record made the session void, and its queue with it */
        lanes_drop(&w->lanes, flow, &r);
        any = true;
    }
    return any;
}

static bool pump_lanes(struct writer *w)
{
    bool any = false;
    if (w->session.stage != ST_RUN)
        return false;
    for (unsigned i = 0; i < w->lanes.n && w->lanes.queued > 0 && !w->outcome.failed; i++) {
        unsigned k = (w->next_lane + i) % w->lanes.n;
        if (!w->lanes.lane[k].waiting && spool_len(&w->lanes.lane[k].q) > 0)
            any |= pump_lane(w, k);
        if (w->session.stage != ST_RUN)
            return true;
    }
    w->next_lane++;
    return any;
}

/* All lanes wait at a barrier, or one at its own: once nothing of them is in flight, its request is a
 * transaction of its own. */
static bool pump_barrier(struct writer *w)
{
    struct cluster *cl = w->cluster;
    int scope;
    if (w->session.stage != ST_RUN || !lanes_ready(&w->lanes, w->next_lane, &scope))
        return false;
    if (!cl->nodes.whole)
        return flushes_barrier(&w->flushes, scope);
    /* One is under way already? */
    if (cl->exclusive || cluster_db_known(&cl->nodes, lanes_db(&w->lanes, scope), WHOLE_SCOPE) == PUT_WAIT)
        return false;
    /* Without one flow the others do not become quiet by themselves. */
    if (scope == LANES_ALL ? !cluster_quiet(w->cluster) : !cluster_alone(cl, (unsigned)scope)) {
        cl->hurry(cl);
        return false;
    }
    whole_barrier(&w->whole, scope);
    return true;
}

static bool pump_start(struct writer *w)
{
    struct session *s = &w->session;
    if (s->stage != ST_FLOWS || (s->up < s->flows && !s->partial_ok))
        return false;
    return session_start(w) == PUT_DONE;
}

static bool pump_once(struct writer *w)
{
    struct inputs *in = &w->inputs;
    bool any = pump_start(w);
    any |= pump_barrier(w);
    any |= pump_lanes(w);
    for (unsigned i = 0; i < in->n && !w->outcome.failed; i++) {
        struct input *one = &in->v[(w->next_input + i) % in->n];
        if (!one->open || (one->hungry && !one->have))
            continue;
        any |= pump_input(w, one);
        cluster_push(w->cluster);
    }
    w->next_input++;
    return any;
}

bool router_pump(struct writer *w)
{
    bool any = false;
    while (!w->outcome.failed && pump_once(w))
        any = true;
    if (!any && !w->outcome.failed) {
        w->cluster->nodes.allow_select = true;
        any = pump_once(w);
        w->cluster->nodes.allow_select = false;
    }
    return any;
}

bool router_stalled(const struct writer *w)
{
    for (unsigned i = 0; i < w->inputs.n; i++)
        if (w->inputs.v[i].have)
            return true;
    return w->lanes.queued > 0;
}

bool router_waits(const struct writer *w)
{
    if (w->session.stage == ST_FLOWS)
        return w->session.up == w->session.flows; /* it can begin as soon as the target lets it */
    if (w->session.stage != ST_RUN)
        return false;
    int scope;
    if (lanes_ready(&w->lanes, 0, &scope))
        return true;
    return lanes_pick(&w->lanes, 0) >= 0;
}

/* The input that waits with a record, for messages; NULL: none. */
static struct input *stalled_input(const struct writer *w)
{
    for (unsigned i = 0; i < w->inputs.n; i++)
        if (w->inputs.v[i].have)
            return &w->inputs.v[i];
    return NULL;
}

bool router_stuck(struct writer *w)
{
    struct session *s = &w->session;
    if (w->outcome.failed || w->inputs.end_at > mono_us() || w->limit.waiting || probes_wait(&w->probes) ||
        sweep_runs(&w->sweep) || !cluster_quiet(w->cluster) || w->whole.dirty)
        return false;
    if (w->whole.read == WHOLE_ASKED ||
        (w->flushes.start != START_NONE || w->cluster->nodes.needed_since != 0 || w->cluster->nodes.stir ||
         w->marks.doing != MARKS_IDLE || nodes_expect(&w->cluster->nodes)))
        return false;
    for (unsigned i = 0; i < w->inputs.n; i++)
        if (!w->inputs.v[i].finished && !w->inputs.v[i].have)
            return false;
    struct input *in = stalled_input(w);
    if (in == NULL)
        return false;
    if (s->stage == ST_FLOWS && !s->live && s->up > 0 && !s->partial_ok) {
        /* Flows one after the other in one input: the rest comes later. */
        log_event(LOG_INFO, NO_FLOW, "event=flows_in_a_row up=%u flows=%u", s->up, s->flows);
        s->partial_ok = true;
        return true;
    }
    if (s->stage == ST_FLOWS)
        (void)record_damaged(w, in, &in->rec, "records before the FLOW records of all flows");
    else if (in->rec.type == REC_SESSION)
        (void)record_damaged(w, in, &in->rec,
                             "another session begins before all flows of this one have ended");
    else if (lanes_at_barrier(&w->lanes))
        outcome_fail(&w->outcome, EXIT_RETRY,
                     "event=barrier_spill_full flow=%u note=\"raise --barrier-spill-max\"", in->rec.flow);
    else
        (void)record_damaged(w, in, &in->rec, "this record can never be applied");
    return true;
}
