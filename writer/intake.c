/* Records as they come from an input: what is checked once, and who takes them. */
#include "intake.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/apply.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "session.h"
#include "target/target.h"
#include "writer.h"

#define END_WAIT ((uint64_t)1500000) /* us */

/* Checks that are made once. Returns NULL or what is wrong; sets in->drop. */
static const char *check_record(struct writer *w, struct input *in)
{
    const struct rec *r = &in->rec;
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
    if (r->pos != 0 && r->pos < f->last_pos)
        return "position before that of the record before";
    if (f->more && r->type != REC_REQUEST)
        return "a request of several records is not finished";
    if (r->type == REC_REQUEST && !in->target_seen)
        return "request before a TARGET record";
    if ((r->type == REC_POSITION || r->type == REC_SYNCED) && r->len > 0)
        return "position record with a payload";
    f->last_seq = r->seq;
    if (r->pos != 0 && (r->flags & RF_HELD) == 0)
        f->last_pos = r->pos;
    f->more = r->type == REC_REQUEST && (r->flags & RF_MORE) != 0;
    return NULL;
}

/* The lane waits at a barrier, or has records from then. */
static enum put queue_record(struct writer *w, const struct input *in)
{
    const struct rec *r = &in->rec;
    if (lanes_queue(&w->lanes, r, in->payload) == 0)
        return PUT_DONE;
    if (errno != EFBIG) {
        outcome_fail(&w->outcome, EXIT_CANNOT, "event=spill_failed flow=%u error=%s", r->flow,
                     log_quote(strerror(errno), strlen(strerror(errno))));
        return PUT_FAIL;
    }
    /* Reading stops here: hopeless when a flow that the others wait for comes through the same input. */
    unsigned self = (unsigned)(in - w->inputs.v);
    for (int k = lanes_missing(&w->lanes, 0); lanes_at_barrier(&w->lanes) && k >= 0;
         k = lanes_missing(&w->lanes, (unsigned)k + 1))
        if (w->session.flow[k].input == self) {
            outcome_fail(&w->outcome, EXIT_RETRY, "event=barrier_spill_full flow=%u waits_for=%d note=%s",
                         r->flow, k, "\"raise --barrier-spill-max\"");
            return PUT_FAIL;
        }
    return PUT_WAIT;
}

static enum put flow_record(struct writer *w, struct input *in, bool first)
{
    const struct rec *r = &in->rec;
    if (first) {
        const char *fault = check_record(w, in);
        if (fault != NULL)
            return record_damaged(w, in, r, fault);
    } else if (!in->drop && (r->epoch < w->session.epoch || w->session.stage == ST_VOID)) {
        in->drop = true; /* it became void while it waited */
        w->stats.dropped++;
    }
    if (in->drop)
        return PUT_DONE;
    if (w->session.stage != ST_RUN)
        return PUT_WAIT;
    if (lanes_blocked(&w->lanes, r->flow))
        return queue_record(w, in);
    return apply_record(w, in, r, in->payload);
}

static enum put target_record(struct writer *w, struct input *in)
{
    const char *fault =
        target_unfit(&w->node.info, existing_policy(w->opt.on_existing), in->payload, in->rec.len);
    if (fault != NULL) {
        /* dfparse writes for nobody in particular when dfreader ends before the target was announced */
        bool ended = in->pollable && (w->session.left || live_ended(&w->live));
        outcome_fail(&w->outcome, ended ? EXIT_RETRY : EXIT_USAGE, "event=target_mismatch input=%s %s",
                     log_quote(in->name, strlen(in->name)), fault);
        return PUT_FAIL;
    }
    in->target_seen = true;
    failures_target(&w->failures, in->payload, in->rec.len);
    return PUT_DONE;
}

static enum put report_record(struct writer *w, const struct input *in)
{
    char kind[KIND_NAME], key[256], detail[256];
    uint64_t lost = 0;
    const struct rec *r = &in->rec;
    if (r->epoch < w->session.epoch || w->session.stage == ST_VOID)
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
    /* dfparse, which has written it to a pipe, warns of it itself; a stream kept in a file was parsed at
     * another time. */
    if (k->count == 1)
        log_event(lost != 0 && !in->pollable ? LOG_WARN : LOG_INFO, r->flow,
                  "event=report kind=%s key=%s detail=%s lost=%d", k->name,
                  log_quote(key, keylen >= 0 ? (size_t)keylen : 0), log_quote(detail, strlen(detail)),
                  lost != 0);
    if (lost != 0 && w->opt.strict) {
        outcome_fail(&w->outcome, EXIT_DATA,
                     "event=strict note=\"stopped at the first thing that was not carried over\"");
        return PUT_FAIL;
    }
    return PUT_DONE;
}

/* An input ended with an error. The others end for the same reason: what they have sent before is applied
 * first, as long as that does not take long. */
static bool others_go_on(struct writer *w, const struct input *in)
{
    struct inputs *all = &w->inputs;
    bool any = false;
    for (unsigned i = 0; i < all->n; i++) {
        const struct input *o = &all->v[i];
        bool ends = o->closed || (o->have && o->rec.type == REC_END);
        any |= o != in && o->open && !o->finished && !ends;
    }
    uint64_t now = mono_us();
    if (any && all->end_at == 0)
        all->end_at = now + END_WAIT;
    return any && now < all->end_at;
}

static enum put end_record(struct writer *w, struct input *in)
{
    char reason[16], message[512];
    uint64_t status = 0;
    const struct rec *r = &in->rec;
    if (meta_get(in->payload, r->len, "reason", reason, sizeof reason) <= 0 ||
        !meta_getu(in->payload, r->len, "status", &status) || status > 255)
        return record_damaged(w, in, r, "END record without reason or status");
    bool failed = strcmp(reason, "lost") == 0 || strcmp(reason, "error") == 0;
    if (!failed && strcmp(reason, "complete") != 0 && strcmp(reason, "stop") != 0)
        return record_damaged(w, in, r, "END record with an unknown reason");
    if (failed && others_go_on(w, in))
        return PUT_WAIT;
    w->inputs.end_at = 0;
    in->closed = true;
    if (meta_get(in->payload, r->len, "message", message, sizeof message) < 0)
        message[0] = '\0';
    log_event(LOG_INFO, NO_FLOW, "event=end input=%s reason=%s status=%u message=%s",
              log_quote(in->name, strlen(in->name)), reason, (unsigned)status,
              log_quote(message, strlen(message)));
    session_input_ended(w, (unsigned)(in - w->inputs.v));
    w->ends++;
    w->outcome.stopped |= strcmp(reason, "stop") == 0;
    if (failed) {
        /* Whoever is at the other end of a pipe has said it. Of a file only we can. */
        struct stat st;
        bool file = fstat(in->in.fd, &st) == 0 && S_ISREG(st.st_mode);
        log_event(file ? LOG_ERROR : LOG_DEBUG, NO_FLOW,
                  "event=upstream_failed input=%s reason=%s message=%s",
                  log_quote(in->name, strlen(in->name)), reason, log_quote(message, strlen(message)));
        outcome_failed(&w->outcome, status != 0 ? (int)status : EXIT_RETRY);
        return PUT_DONE;
    }
    w->outcome.status = exit_worse(w->outcome.status, (int)status);
    return PUT_DONE;
}

enum put intake_offer(struct writer *w, struct input *in, bool first)
{
    switch (in->rec.type) {
    case REC_SESSION: return session_record(w, in);
    case REC_FLOW: return session_flow(w, in);
    case REC_TARGET: return target_record(w, in);
    case REC_REPORT: return report_record(w, in);
    case REC_END: return end_record(w, in);
    default: return flow_record(w, in, first);
    }
}
