/* One record of a flow whose turn it is: which way it goes, and whether it may go now. */
#include "apply.h"

#include <errno.h>
#include <string.h>

#include "big.h"
#include "bundle.h"
#include "exits.h"
#include "gather.h"
#include "log.h"
#include "program.h"
#include "request.h"
#include "resp.h"
#include "../session.h"
#include "../writer.h"

static const char alters[] = "a request that changes the connection instead of data";

#define COLLECT_MEMORY ((size_t)4 << 20) /* for requests in several records, all flows together */

enum put record_damaged(struct writer *w, const struct input *in, const struct rec *r, const char *what)
{
    if (in != NULL)
        outcome_fail(&w->outcome, EXIT_DAMAGED,
                     "event=input_damaged input=%s flow=%u offset=%llu seq=%llu error=%s",
                     log_quote(in->name, strlen(in->name)), r->flow, (unsigned long long)in->at,
                     (unsigned long long)r->seq, log_quote(what, strlen(what)));
    else
        outcome_fail(&w->outcome, EXIT_DAMAGED, "event=input_damaged flow=%u seq=%llu error=%s", r->flow,
                     (unsigned long long)r->seq, log_quote(what, strlen(what)));
    return PUT_FAIL;
}

/* ---- one record of a flow whose turn it is ---- */

/* Before a position of a flow counts, its snapshot records must be confirmed. */
static bool snapshot_pending(struct writer *w, const struct rec *r)
{
    if (w->positions.flow[r->flow].snapshot == 0)
        return false;
    if (r->pos == 0 && r->type != REC_SYNCED)
        return false;
    w->cluster->hurry(w->cluster);
    return true;
}

static enum put take_position(struct writer *w, const struct rec *r)
{
    if (snapshot_pending(w, r))
        return PUT_WAIT;
    if (r->type == REC_SYNCED)
        w->positions.flow[r->flow].synced_seq = r->seq;
    if (w->cluster->nodes.whole)
        whole_take(&w->whole, r);
    else
        cluster_position(w->cluster, r);
    if (r->type == REC_POSITION)
        splits_note(&w->splits, r, NULL, 0);
    return PUT_DONE;
}

/* A request that is not sent, because it cannot be: an error with its key, and its place in the order. */
static enum put take_error(struct writer *w, const struct rec *r, const char *text, const uint8_t *payload,
                           const struct big *big)
{
    enum put got = take_position(w, r);
    if (got != PUT_DONE)
        return got;
    struct failure f = {
        .text = text, .len = strlen(text), .r = *r, .request = payload, .n = r->len, .big = big};
    if (big != NULL) {
        f.request = big->mem.p;
        f.n = big->mem.len;
        f.gone = big->too_large;
    } else if (r->type == REC_PROGRAM) {
        f.payload = payload;
        f.payload_n = r->len;
        f.n = 0;
    }
    f.split = w->splits.ticket >= TICKET_BEHIND;
    failures_add(&w->failures, &f);
    splits_note(&w->splits, r, f.request, f.n);
    guard_reply(&w->splits, w->splits.ticket, SPLIT_FAILED);
    return got;
}

/* With --on-existing skip or fail: of a key of which the first request came to nothing, or found it there.
 * Returns false when this one is not of that kind; *got: what became of it. */
static bool goes_with_first(struct writer *w, const struct input *in, const struct rec *r,
                            const uint8_t *payload, const struct big *big, enum put *got)
{
    const uint8_t *request = big != NULL ? big->mem.p : payload;
    size_t n = big != NULL ? big->mem.len : r->len;
    const char *wrong;
    switch (guard_look(&w->splits, r, request, n, &wrong)) {
    case GUARD_SEND: return false;
    case GUARD_WAIT: *got = PUT_WAIT; break;
    case GUARD_DROP:
        *got = take_position(w, r);
        if (*got == PUT_DONE)
            splits_note(&w->splits, r, request, n);
        break;
    case GUARD_FAIL: *got = take_error(w, r, "ERR the first request of the key failed", payload, big); break;
    case GUARD_WRONG: *got = record_damaged(w, in, r, wrong); break;
    }
    return true;
}

static enum put send_big(struct writer *w, const struct input *in, struct flow *f, const struct rec *last)
{
    struct rec r = f->big->first;
    r.seq = last->seq;
    r.pos = last->pos;
    r.flags = (uint16_t)(r.flags | (last->flags & RF_LAST));
    const char *fault = f->big->too_large ? "ERR request larger than 1 GiB"
                        : f->big->check.longest > w->node.info.maxbulk
                            ? "ERR argument above proto-max-bulk-len"
                            : NULL;
    enum put got = PUT_DONE;
    if (existing_guards(w->opt.on_existing) && goes_with_first(w, in, &r, NULL, f->big, &got)) {
        if (got == PUT_DONE) {
            big_free(f->big);
            f->big = NULL;
        }
        return got;
    }
    if (fault == NULL) {
        uint8_t vclass = splits_class(&w->splits, &r);
        if ((r.flags & RF_LIVE) != 0 && snapshot_pending(w, &r))
            return PUT_WAIT;
        got = bigjob_put(w->cluster, &r, f->big, vclass);
        if (got == PUT_DONE) {
            splits_note(&w->splits, &r, f->big->mem.p, f->big->mem.len);
            f->big = NULL;
            return PUT_DONE;
        }
    }
    if (got == PUT_WAIT)
        return got;
    if (got == PUT_FAIL)
        fault = "ERR the target has no such database";
    if (fault != NULL) {
        got = take_error(w, &r, fault, NULL, f->big);
        if (got != PUT_DONE)
            return got;
        big_free(f->big);
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
        f->big =
            big_new(r, COLLECT_MEMORY / w->session.flows < REC_PAYLOAD_MAX ? COLLECT_MEMORY / w->session.flows
                                                                           : REC_PAYLOAD_MAX);
        f->big_whole = false;
    }
    if (!f->big_whole) {
        struct reqcheck ahead = f->big->check;
        if (w->sweep.state != SWEEP_OFF && reqcheck_feed(&ahead, payload, r->len)) {
            enum put got = sweep_before_part(&w->sweep, f->big, r, payload);
            if (got != PUT_DONE)
                return got;
        }
        const char *fault = big_add(f->big, payload, r->len, w->opt.spill_dir, &io);
        if (fault != NULL && !io)
            return record_damaged(w, in, r, fault);
        if (fault != NULL) {
            outcome_fail(&w->outcome, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", r->flow,
                         log_quote(strerror(errno), strlen(strerror(errno))));
            return PUT_FAIL;
        }
        if ((r->flags & RF_MORE) != 0)
            return PUT_DONE;
        if (!reqcheck_whole(&f->big->check))
            return record_damaged(w, in, r, "request in several records that is not complete");
        if (request_alters_connection(f->big->mem.p, f->big->mem.len))
            return record_damaged(w, in, r, alters);
        f->big_whole = true;
    }
    return send_big(w, in, f, r);
}

static bool request_is_whole(const struct rec *r, const uint8_t *payload)
{
    static const char prefix[] = "*3\r\n$3\r\nSET\r\n";
    if ((r->flags & RF_PLAINSET) == 0)
        return request_ok(payload, r->len);
    return memcmp(payload, prefix, PLAINSET_PREFIX) == 0 &&
           request_pair_ok(payload + PLAINSET_PREFIX, r->len - PLAINSET_PREFIX);
}

/* A key is looked for in a database that the target does not have: it is not there. */
static enum put probe_nowhere(struct writer *w, const struct rec *r)
{
    enum put got = take_position(w, r);
    if (got == PUT_DONE)
        probe_done(&w->probes, w->probes.now);
    return got;
}

static enum put take_request(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    if ((r->flags & RF_MORE) != 0 || w->session.flow[r->flow].big != NULL)
        return take_big(w, in, r, payload);
    if (!request_is_whole(r, payload))
        return record_damaged(w, in, r, "payload is not one RESP request");
    if ((r->flags & RF_PLAINSET) == 0 && request_alters_connection(payload, r->len))
        return record_damaged(w, in, r, alters);
    uint8_t vclass = r->vclass != 0 ? splits_class(&w->splits, r) : 0;
    enum put got;
    if (existing_guards(w->opt.on_existing) && goes_with_first(w, in, r, payload, NULL, &got))
        return got;
    bool live = (r->flags & RF_LIVE) != 0;
    if (live && snapshot_pending(w, r))
        return PUT_WAIT;
    bool sweeps = w->sweep.state != SWEEP_OFF;
    if (live && sweeps && sweep_before(&w->sweep, r, payload) != PUT_DONE)
        return PUT_WAIT;
    got = cluster_put(w->cluster, r, payload, vclass);
    if (got == PUT_FAIL && (w->probes.now != 0 || w->opt.forget))
        return probe_nowhere(w, r);
    if (got == PUT_FAIL)
        return take_error(w, r, "ERR the target has no such database", payload, NULL);
    if (got != PUT_DONE)
        return got;
    splits_note(&w->splits, r, payload, r->len);
    if (sweeps)
        sweep_note(&w->sweep, r, payload);
    return got;
}

/* SWAPDB of database 0: made over in b, so that the position key stays in it. False: it is another request.
 */
static bool made_over(const uint8_t *request, size_t n, const char *position_key, struct buf *b)
{
    static const char text[] = "redis.call('SWAPDB',0,ARGV[1]) redis.call('SELECT',ARGV[1]) "
                               "return redis.call('MOVE',KEYS[1],0)";
    struct slice other;
    if (!request_swaps_first(request, n, &other))
        return false;
    (void)resp_add_array(b, 5);
    (void)resp_add_str(b, "EVAL");
    (void)resp_add_str(b, text);
    (void)resp_add_str(b, "1");
    (void)resp_add_str(b, position_key);
    (void)resp_add_bulk(b, other.p, other.n);
    return true;
}

/* Of one flow among several, where keys of the others would go, too. */
static enum put flush_too_wide(struct writer *w, unsigned flow)
{
    outcome_fail(&w->outcome, EXIT_CANNOT, "event=flush_of_one_flow flow=%u note=%s", flow,
                 "\"not supported: keys of other flows would be removed, too; see --on-source-flush\"");
    return PUT_FAIL;
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
        outcome_fail(&w->outcome, EXIT_DATA,
                     "event=source_flushed flow=%u db=%u note=\"refused by --on-source-flush\"", r->flow,
                     r->db);
        return PUT_FAIL;
    }
    if ((r->flags & RF_PRECUT) != 0)
        return session_void(w, r, payload);
    if (r->len <= 8 || !request_ok(payload + 8, r->len - 8))
        return record_damaged(w, in, r, "malformed BARRIER record");
    if (request_alters_connection(payload + 8, r->len - 8))
        return record_damaged(w, in, r, alters);
    bool several = (r->flags & RF_ONEFLOW) != 0 && w->session.flows > 1;
    if (several && w->cluster->nodes.slots) /* it has one database, for all flows */
        return flush_too_wide(w, r->flow);
    if (w->cluster->nodes.whole && exact_done(&w->exact, WHOLE_SCOPE, r->flow, &w->exact.now)) {
        enum put got =
            take_position(w, r); /* by an earlier process, when all flows of its scope stood at it */
        w->stats.already += got == PUT_DONE;
        return got;
    }
    if (!whole_reaches(&w->whole, r))
        return PUT_FAIL;
    switch (lanes_arrive(&w->lanes, r, payload)) {
    case LANES_WAIT:
    case LANES_COMPLETE:
    case LANES_ALONE: return PUT_DONE;
    case LANES_WIDE: return flush_too_wide(w, r->flow);
    case LANES_CONFLICT: return record_damaged(w, in, r, "two flows wait at different flushes");
    case LANES_BAD: break;
    }
    return record_damaged(w, in, r, "BARRIER records of one flush differ");
}

static enum put take_program(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    const char *fault = program_check(payload, r->len);
    if (fault == NULL && !w->cluster->nodes.slots)
        fault = "PROGRAM record for a target that is no cluster";
    if (fault != NULL)
        return record_damaged(w, in, r, fault);
    if (snapshot_pending(w, r) || sweep_before_program(&w->sweep, r, payload) != PUT_DONE)
        return PUT_WAIT;
    enum put got = span_put(w->cluster, r, payload);
    return got == PUT_FAIL ? take_error(w, r, "ERR a cluster has one database", payload, NULL) : got;
}

static enum put take_holds(struct writer *w, const struct input *in, const struct rec *r,
                           const uint8_t *payload)
{
    if (snapshot_pending(w, r))
        return PUT_WAIT;
    if (!holds_take(&w->holds, r, payload))
        return record_damaged(w, in, r, "malformed HOLDS record");
    return take_position(w, r);
}

/* A request that names no key: it may be one that would take the position key away. */
static enum put take_keyless(struct writer *w, const struct input *in, const struct rec *r,
                             const uint8_t *payload)
{
    struct buf b = {0};
    struct rec made = *r;
    if ((!w->cluster->nodes.whole && !w->exact.on) ||
        !made_over(payload, r->len, w->session.position_key, &b))
        return take_request(w, in, r, payload);
    made.len = (uint32_t)b.len;
    enum put got =
        w->cluster->nodes.whole
            ? take_request(w, in, &made, b.p)
            : take_error(w, r, "ERR not supported: SWAPDB over several connections", payload, NULL);
    buf_free(&b);
    return got;
}

static enum put dispatch(struct writer *w, const struct input *in, const struct rec *r,
                         const uint8_t *payload)
{
    switch (r->type) {
    case REC_REQUEST:
        return r->keyarg == 0 && (r->flags & RF_MORE) == 0 ? take_keyless(w, in, r, payload)
                                                           : take_request(w, in, r, payload);
    case REC_BARRIER: return take_barrier(w, in, r, payload);
    case REC_PROGRAM: return take_program(w, in, r, payload);
    case REC_HOLDS: return take_holds(w, in, r, payload);
    default: return take_position(w, r);
    }
}

/* given: r as it came. */
static enum put apply_plain(struct writer *w, const struct input *in, const struct rec *given,
                            const struct rec *r, const uint8_t *payload)
{
    if (!gather_next(w->cluster->bundles, r))
        return PUT_WAIT;
    w->splits.ticket = TICKET_NONE;
    bool placed = exact_counts(&w->exact) && (given->flags & RF_LIVE) != 0;
    if (placed)
        exact_offer(&w->exact, given);
    else
        exact_offer_none(&w->exact);
    bool limited = w->limit.on && (r->type == REC_REQUEST || r->type == REC_PROGRAM);
    bool awaited = limited && bundle_awaits(w->cluster->bundles, r->flow);
    if (limited && !awaited && !limit_open(&w->limit))
        return PUT_WAIT;
    enum put got = dispatch(w, in, r, payload);
    if (got != PUT_DONE && w->session.stage == ST_RUN)
        gather_blocked(w->cluster->bundles, r->flow);
    if (placed && got == PUT_DONE)
        exact_taken(&w->exact, given);
    if (limited && got == PUT_DONE)
        limit_spend(&w->limit, r);
    return got;
}

/* One whose place is not what is reached (HELD), or a PROBE: what that asks goes as any request of its key
 * does; without a question it is a position. Not inlined: the others need no room for a copy. */
static __attribute__((noinline)) enum put apply_special(struct writer *w, const struct input *in,
                                                        const struct rec *given, const uint8_t *payload)
{
    const uint8_t *request;
    bool wait;
    struct rec r = *given;
    if ((given->flags & RF_HELD) != 0)
        r.pos = 0;
    if (given->type != REC_PROBE)
        return apply_plain(w, in, given, &r, payload);
    const char *fault = probes_take(&w->probes, given, payload, &request, &r.len, &wait);
    if (fault != NULL)
        return record_damaged(w, in, given, fault);
    if (wait)
        return PUT_WAIT;
    r.type = r.len > 0 ? REC_REQUEST : REC_POSITION;
    enum put got = apply_plain(w, in, given, &r, request);
    if (probes_taken(&w->probes, given, payload, got == PUT_DONE))
        w->whole.dirty |= w->cluster->nodes.whole;
    return got;
}

enum put apply_record(struct writer *w, const struct input *in, const struct rec *given,
                      const uint8_t *payload)
{
    if ((given->flags & RF_HELD) != 0 || given->type == REC_PROBE)
        return apply_special(w, in, given, payload);
    return apply_plain(w, in, given, given, payload);
}
