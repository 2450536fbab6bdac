#include "router.h"

#include <errno.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "request.h"
#include "session.h"
#include "target.h"
#include "writer.h"

#define QUANTUM 512 /* records of one input or lane before the next has its turn */

static enum put damaged(struct writer *w, const struct input *in, const struct rec *r, const char *what)
{
    if (in != NULL)
        writer_fail(w, EXIT_DAMAGED, "event=input_damaged input=%s flow=%u offset=%llu seq=%llu error=%s",
                    log_quote(in->name, strlen(in->name)), r->flow, (unsigned long long)in->at,
                    (unsigned long long)r->seq, log_quote(what, strlen(what)));
    else
        writer_fail(w, EXIT_DAMAGED, "event=input_damaged flow=%u seq=%llu error=%s", r->flow,
                    (unsigned long long)r->seq, log_quote(what, strlen(what)));
    return PUT_FAIL;
}

/* ---- keys that are written in several requests count once ---- */

static int find_split(const struct writer *w, const struct rec *r)
{
    uint32_t key = hashset_key(r->hash, r->db);
    for (unsigned i = 0; i < w->nsplits; i++)
        if (w->split[i].key == key && w->split[i].flow == r->flow)
            return (int)i;
    return -1;
}

/* Class under which this request counts as a key; 0: it does not. */
static uint8_t counted_class(const struct writer *w, const struct rec *r)
{
    if ((r->flags & RF_LIVE) != 0)
        return 0;
    if ((r->flags & RF_FIRST) != 0)
        return r->vclass;
    if ((r->flags & RF_LAST) != 0 || (w->nsplits > 0 && find_split(w, r) >= 0))
        return 0;
    return r->vclass;
}

static void note_split(struct writer *w, const struct rec *r)
{
    if ((r->flags & (RF_FIRST | RF_LAST)) == 0 || (r->flags & RF_LIVE) != 0)
        return;
    int at = find_split(w, r);
    if ((r->flags & RF_LAST) != 0) {
        if (at >= 0)
            w->split[at] = w->split[--w->nsplits];
    } else if (at < 0 && w->nsplits < SPLITS_MAX) {
        w->split[w->nsplits++] = (struct split){.key = hashset_key(r->hash, r->db), .flow = r->flow};
    }
}

/* ---- one record of a flow whose turn it is ---- */

/* Before a position of a flow counts, its snapshot records must be confirmed. */
static bool snapshot_pending(struct writer *w, const struct rec *r)
{
    if (w->positions.flow[r->flow].snapshot == 0)
        return false;
    if (r->pos == 0 && r->type != REC_SYNCED)
        return false;
    pipeline_flush(&w->node);
    return true;
}

static enum put take_position(struct writer *w, const struct rec *r)
{
    if (snapshot_pending(w, r))
        return PUT_WAIT;
    uint64_t *synced = &w->positions.flow[r->flow].synced_seq;
    uint64_t before = *synced;
    if (r->type == REC_SYNCED)
        *synced = r->seq;
    enum put got = group_position(&w->node, r);
    if (got != PUT_DONE)
        *synced = before;
    return got;
}

/* A request that is not sent, because it cannot be: an error with its key, and its place in the order. */
static enum put take_error(struct writer *w, const struct rec *r, const char *text, const uint8_t *request,
                           size_t n)
{
    enum put got = take_position(w, r);
    if (got == PUT_DONE)
        writer_data_error(w, text, strlen(text), r->flow, r->db, request, n, r->keyarg);
    return got;
}

/* Wait until nothing else is in flight: other flows stop meanwhile. */
static bool alone(struct writer *w, unsigned flow)
{
    if (node_quiet(&w->node)) {
        w->quiet_for = -1;
        return true;
    }
    w->quiet_for = (int)flow;
    pipeline_flush(&w->node);
    return false;
}

static enum put send_big(struct writer *w, struct flow *f, const struct rec *last)
{
    struct node *n = &w->node;
    struct rec r = f->big->first;
    r.seq = last->seq;
    r.pos = last->pos;
    r.flags = (uint16_t)(r.flags | (last->flags & RF_LAST));
    const char *fault = f->big->too_large                         ? "ERR request larger than 1 GiB"
                        : f->big->check.longest > n->info.maxbulk ? "ERR argument above proto-max-bulk-len"
                                                                  : NULL;
    enum put got = PUT_DONE;
    if (fault == NULL && node_db_state(n, r.db) <= 0)
        got = node_want_db(n, r.db);
    if (got == PUT_WAIT)
        return got;
    if (got == PUT_FAIL)
        fault = "ERR the target has no such database";
    if (fault != NULL) {
        got = take_error(w, &r, fault, f->big->mem.p, f->big->mem.len);
        if (got != PUT_DONE)
            return got;
        big_free(f->big);
    } else {
        if (!alone(w, r.flow))
            return PUT_WAIT;
        uint8_t vclass = counted_class(w, &r);
        note_split(w, &r);
        group_put_big(n, &r, f->big, vclass);
    }
    f->big = NULL;
    return PUT_DONE;
}

static enum put take_big(struct writer *w, const struct input *in, const struct rec *r,
                         const uint8_t *payload)
{
    struct flow *f = &w->session.flow[r->flow];
    bool io;
    if (f->big == NULL) {
        f->big = big_new(r);
        f->big_whole = false;
    }
    if (!f->big_whole) {
        const char *fault = big_add(f->big, payload, r->len, w->opt.spill_dir, &io);
        if (fault != NULL && !io)
            return damaged(w, in, r, fault);
        if (fault != NULL) {
            writer_fail(w, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", r->flow,
                        log_quote(strerror(errno), strlen(strerror(errno))));
            return PUT_FAIL;
        }
        if ((r->flags & RF_MORE) != 0)
            return PUT_DONE;
        if (!reqcheck_whole(&f->big->check))
            return damaged(w, in, r, "request in several records that is not complete");
        f->big_whole = true;
    }
    return send_big(w, f, r);
}

static bool request_is_whole(const struct rec *r, const uint8_t *payload)
{
    static const char prefix[] = "*3\r\n$3\r\nSET\r\n";
    if ((r->flags & RF_PLAINSET) == 0)
        return request_ok(payload, r->len);
    return memcmp(payload, prefix, PLAINSET_PREFIX) == 0 &&
           request_pair_ok(payload + PLAINSET_PREFIX, r->len - PLAINSET_PREFIX);
}

static enum put take_request(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    if ((r->flags & RF_MORE) != 0 || w->session.flow[r->flow].big != NULL)
        return take_big(w, in, r, payload);
    if (!request_is_whole(r, payload))
        return damaged(w, in, r, "payload is not one RESP request");
    uint8_t vclass = r->vclass != 0 ? counted_class(w, r) : 0;
    enum put got;
    if ((r->flags & (RF_LIVE | RF_MULTIKEY)) == 0 && (r->flags & RF_IDEMPOTENT) != 0)
        got = pipeline_put(&w->node, r, payload, vclass);
    else if (snapshot_pending(w, r))
        return PUT_WAIT;
    else
        got = group_put(&w->node, r, payload, vclass);
    if (got == PUT_FAIL)
        return take_error(w, r, "ERR the target has no such database", payload, r->len);
    if (got == PUT_DONE)
        note_split(w, r);
    return got;
}

static enum put take_barrier(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    if (w->opt.on_source_flush == FLUSH_IGNORE) {
        enum put got = take_position(w, r);
        if (got == PUT_DONE &&
            kinds_count(&w->stats.reports, "source_flush_ignored", 20, NULL, 0)->count == 1)
            log_event(LOG_WARN, r->flow, "event=source_flush_ignored db=%u", r->db);
        return got;
    }
    if (w->opt.on_source_flush == FLUSH_REFUSE) {
        writer_fail(w, EXIT_DATA, "event=source_flushed flow=%u db=%u note=\"refused by --on-source-flush\"",
                    r->flow, r->db);
        return PUT_FAIL;
    }
    if ((r->flags & RF_PRECUT) != 0)
        return session_void(w, r, payload);
    if (r->len <= 8 || !request_ok(payload + 8, r->len - 8))
        return damaged(w, in, r, "malformed BARRIER record");
    switch (lanes_arrive(&w->lanes, r, payload)) {
    case LANES_WAIT:
    case LANES_COMPLETE: return PUT_DONE;
    case LANES_CONFLICT: return damaged(w, in, r, "two flows wait at different flushes");
    case LANES_BAD: break;
    }
    return damaged(w, in, r, "BARRIER records of one flush differ");
}

/* in: where it comes from; NULL: from its lane's queue. */
static enum put take(struct writer *w, const struct input *in, const struct rec *r, const uint8_t *payload)
{
    if (w->quiet_for >= 0 && w->quiet_for != r->flow)
        return PUT_WAIT;
    switch (r->type) {
    case REC_REQUEST: return take_request(w, in, r, payload);
    case REC_BARRIER: return take_barrier(w, in, r, payload);
    default: return take_position(w, r);
    }
}

/* ---- records as they come from an input ---- */

/* Checks that are made once. Returns NULL or what is wrong; sets in->drop. */
static const char *check_record(struct writer *w, struct input *in, const struct rec *r)
{
    struct session *s = &w->session;
    if (!in->session_seen)
        return "record before a SESSION record";
    if (r->epoch > s->epoch)
        return "record of an epoch that has not begun";
    if (r->epoch < s->epoch || s->stage == ST_VOID) {
        in->drop = true;
        w->stats.dropped++;
        return NULL;
    }
    if (r->flow >= s->flows || !s->flow[r->flow].up)
        return "record of a flow without a FLOW record";
    struct flow *f = &s->flow[r->flow];
    if (f->input != (unsigned)(in - w->inputs.v))
        return "record of a flow that comes through another input";
    if (r->seq != f->last_seq + (f->more ? 0 : 1))
        return "gap in the sequence numbers";
    if (f->more && r->type != REC_REQUEST)
        return "a request of several records is not finished";
    if (r->type == REC_REQUEST && !in->target_seen)
        return "request before a TARGET record";
    if ((r->type == REC_POSITION || r->type == REC_SYNCED) && r->len > 0)
        return "position record with a payload";
    f->last_seq = r->seq;
    f->more = r->type == REC_REQUEST && (r->flags & RF_MORE) != 0;
    return NULL;
}

/* The lane waits at a barrier, or has records from then. */
static enum put queue_record(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    if (lanes_queue(&w->lanes, r, payload) == 0)
        return PUT_DONE;
    if (errno != EFBIG) {
        writer_fail(w, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", r->flow,
                    log_quote(strerror(errno), strlen(strerror(errno))));
        return PUT_FAIL;
    }
    /* Reading stops here: hopeless when a flow that the others wait for comes through the same input. */
    unsigned self = (unsigned)(in - w->inputs.v);
    for (int k = lanes_missing(&w->lanes, 0); lanes_at_barrier(&w->lanes) && k >= 0;
         k = lanes_missing(&w->lanes, (unsigned)k + 1))
        if (w->session.flow[k].input == self) {
            writer_fail(w, EXIT_RETRY, "event=barrier_spill_full flow=%u waits_for=%d note=%s", r->flow, k,
                        "\"raise --barrier-spill-max\"");
            return PUT_FAIL;
        }
    return PUT_WAIT;
}

static enum put flow_record(struct writer *w, struct input *in, bool first)
{
    const struct rec *r = &in->rec;
    if (first) {
        const char *fault = check_record(w, in, r);
        if (fault != NULL)
            return damaged(w, in, r, fault);
    } else if (!in->drop && (r->epoch < w->session.epoch || w->session.stage == ST_VOID)) {
        in->drop = true; /* it became void while it waited */
        w->stats.dropped++;
    }
    if (in->drop)
        return PUT_DONE;
    if (w->session.stage != ST_RUN)
        return PUT_WAIT;
    if (lanes_blocked(&w->lanes, r->flow))
        return queue_record(w, in, r, in->payload);
    return take(w, in, r, in->payload);
}

static enum put target_record(struct writer *w, struct input *in)
{
    const char *fault = target_unfit(&w->node.info, in->payload, in->rec.len);
    if (fault != NULL) {
        writer_fail(w, EXIT_USAGE, "event=target_mismatch input=%s %s", log_quote(in->name, strlen(in->name)),
                    fault);
        return PUT_FAIL;
    }
    in->target_seen = true;
    return PUT_DONE;
}

static enum put report_record(struct writer *w, const struct input *in)
{
    char kind[KIND_NAME], key[256], detail[256];
    uint64_t lost = 0;
    const struct rec *r = &in->rec;
    if (r->epoch < w->session.epoch)
        return PUT_DONE;
    if (meta_get(in->payload, r->len, "kind", kind, sizeof kind) <= 0)
        memcpy(kind, "unnamed", sizeof "unnamed");
    long keylen = meta_get(in->payload, r->len, "key", key, sizeof key);
    if (meta_get(in->payload, r->len, "detail", detail, sizeof detail) < 0)
        detail[0] = '\0';
    (void)meta_getu(in->payload, r->len, "lost", &lost);
    const struct kind *k = kinds_count(&w->stats.reports, kind, strlen(kind), keylen >= 0 ? key : NULL,
                                       keylen >= 0 ? (size_t)keylen : 0);
    if (lost != 0)
        w->stats.lost++;
    if (k->count == 1)
        log_event(lost != 0 ? LOG_WARN : LOG_INFO, r->flow, "event=report kind=%s key=%s detail=%s lost=%d",
                  kind, log_quote(key, keylen >= 0 ? (size_t)keylen : 0), log_quote(detail, strlen(detail)),
                  lost != 0);
    if (lost != 0 && w->opt.strict) {
        writer_fail(w, EXIT_DATA,
                    "event=strict note=\"stopped at the first thing that was not carried over\"");
        return PUT_FAIL;
    }
    return PUT_DONE;
}

static enum put end_record(struct writer *w, const struct input *in)
{
    char reason[16], message[512];
    uint64_t status = 0;
    const struct rec *r = &in->rec;
    if (meta_get(in->payload, r->len, "reason", reason, sizeof reason) <= 0 ||
        !meta_getu(in->payload, r->len, "status", &status) || status > 255)
        return damaged(w, in, r, "END record without reason or status");
    if (meta_get(in->payload, r->len, "message", message, sizeof message) < 0)
        message[0] = '\0';
    log_event(LOG_INFO, NO_FLOW, "event=end input=%s reason=%s status=%u message=%s",
              log_quote(in->name, strlen(in->name)), reason, (unsigned)status,
              log_quote(message, strlen(message)));
    session_input_ended(w, (unsigned)(in - w->inputs.v));
    w->ends++;
    w->stopped |= strcmp(reason, "stop") == 0;
    if (strcmp(reason, "lost") == 0 || strcmp(reason, "error") == 0) {
        writer_fail(w, status != 0 ? (int)status : EXIT_RETRY,
                    "event=upstream_failed input=%s reason=%s message=%s",
                    log_quote(in->name, strlen(in->name)), reason, log_quote(message, strlen(message)));
        return PUT_DONE;
    }
    w->status = exit_worse(w->status, (int)status);
    return PUT_DONE;
}

static enum put offer(struct writer *w, struct input *in, bool first)
{
    switch (in->rec.type) {
    case REC_SESSION: return session_record(w, in, &in->rec, in->payload);
    case REC_FLOW: return session_flow(w, in, &in->rec, in->payload);
    case REC_TARGET: return target_record(w, in);
    case REC_REPORT: return report_record(w, in);
    case REC_END: return end_record(w, in);
    default: return flow_record(w, in, first);
    }
}

/* Take records of one input. Returns whether any was taken. */
static bool pump_input(struct writer *w, struct input *in)
{
    bool any = false;
    for (unsigned k = 0; k < QUANTUM && !w->failed; k++) {
        bool first = !in->have;
        if (first && !input_next(w, in))
            return any || in->finished;
        if (first) {
            w->stats.records++;
            w->stats.bytes_in += in->rec.len;
        }
        if (offer(w, in, first) != PUT_DONE)
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
    for (unsigned k = 0; k < QUANTUM && !w->failed && !w->lanes.lane[flow].waiting; k++) {
        int got = lanes_peek(&w->lanes, flow, &r, &payload);
        if (got < 0)
            writer_fail(w, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", flow,
                        log_quote(strerror(errno), strlen(strerror(errno))));
        if (got <= 0 || take(w, NULL, &r, payload) != PUT_DONE)
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
    for (unsigned i = 0; i < w->lanes.n && w->lanes.queued > 0 && !w->failed; i++) {
        unsigned k = (w->next_lane + i) % w->lanes.n;
        if (!w->lanes.lane[k].waiting && spillq_len(&w->lanes.lane[k].q) > 0)
            any |= pump_lane(w, k);
        if (w->session.stage != ST_RUN)
            return true;
    }
    w->next_lane++;
    return any;
}

/* All lanes stand at a barrier: once nothing else is in flight, its request is a group of its own. */
static bool pump_barrier(struct writer *w)
{
    struct node *n = &w->node;
    if (w->session.stage != ST_RUN || w->lanes.arrived < w->lanes.n || w->lanes.n == 0)
        return false;
    if (n->b.building->barrier || (n->b.flying != NULL && n->b.flying->barrier))
        return false;
    enum put got =
        node_db_state(n, lanes_db(&w->lanes)) > 0 ? PUT_DONE : node_want_db(n, lanes_db(&w->lanes));
    if (got == PUT_WAIT || !node_quiet(n)) {
        pipeline_flush(n);
        return false;
    }
    if (got == PUT_DONE) {
        group_put_barrier(n);
        return true;
    }
    /* The target has no such database, so there is nothing in it to be flushed. */
    for (unsigned i = 0; i < w->lanes.n; i++)
        (void)group_position(n, &w->lanes.lane[i].at);
    lanes_release(&w->lanes);
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
    for (unsigned i = 0; i < in->n && !w->failed; i++) {
        struct input *one = &in->v[(w->next_input + i) % in->n];
        if (!one->open || (one->hungry && !one->have))
            continue;
        any |= pump_input(w, one);
        if (ring_unsent(&w->node.ring) >= SEND_STEP ||
            (w->node.b.building->n > 0 && w->node.b.flying == NULL))
            node_work(&w->node, mono_us());
    }
    w->next_input++;
    return any;
}

bool router_pump(struct writer *w)
{
    bool any = false;
    while (!w->failed && pump_once(w))
        any = true;
    if (!any && !w->failed) {
        w->node.allow_select = true;
        any = pump_once(w);
        w->node.allow_select = false;
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
    if (w->session.stage != ST_RUN)
        return false;
    if (w->lanes.n > 0 && w->lanes.arrived == w->lanes.n)
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
    struct node *n = &w->node;
    if (w->failed || n->lost || n->pause_until != 0 || !node_quiet(n) || n->b.dirty)
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
        (void)damaged(w, in, &in->rec, "records before the FLOW records of all flows");
    else if (in->rec.type == REC_SESSION)
        (void)damaged(w, in, &in->rec, "another session begins before all flows of this one have ended");
    else if (lanes_at_barrier(&w->lanes))
        writer_fail(w, EXIT_RETRY, "event=barrier_spill_full flow=%u note=\"raise --barrier-spill-max\"",
                    in->rec.flow);
    else
        (void)damaged(w, in, &in->rec, "this record can never be applied");
    return true;
}
