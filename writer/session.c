#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "target/claim.h"
#include "engine/doubt.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "target/policy.h"
#include "meta.h"
#include "engine/router.h"
#include "start.h"
#include "target/target.h"
#include "writer.h"

#define LANE_MEMORY ((size_t)256 << 10)
#define JUST_NOW    60 /* seconds */

/* ---- what a SESSION record says ---- */

struct facts {
    char nonce[33];
    char source[16], address[280], run_id[64];
    struct lineage lineage;
    struct masters_share share;
    char control[1024];
    char refused[32];
    uint64_t flows, epoch, journal, resume, started;
};

/* They become words of a line in the position key. */
static void one_word(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            *p = '?';
}

static void read_lineage(struct lineage *l, const uint8_t *payload, size_t n)
{
    (void)lineage_get(l, payload, n);
    one_word(l->replid);
    one_word(l->top);
}

static const char *read_facts(struct facts *f, const struct input *in)
{
    const struct rec *r = &in->rec;
    const uint8_t *payload = in->payload;
    memset(f, 0, sizeof *f);
    if (meta_get(payload, r->len, "nonce", f->nonce, sizeof f->nonce) != 32 ||
        strspn(f->nonce, "0123456789abcdefABCDEF") != 32)
        return "SESSION record without a nonce";
    if (!meta_getu(payload, r->len, "flows", &f->flows) || f->flows < 1 || f->flows > REC_FLOWS_MAX)
        return "SESSION record with a wrong number of flows";
    if (!meta_getu(payload, r->len, "epoch", &f->epoch))
        f->epoch = r->epoch;
    if (f->epoch != r->epoch)
        return "SESSION record with two epochs";
    (void)meta_getu(payload, r->len, "journal", &f->journal);
    (void)meta_getu(payload, r->len, "started", &f->started);
    (void)meta_get(payload, r->len, "source", f->source, sizeof f->source);
    (void)meta_get(payload, r->len, "address", f->address, sizeof f->address);
    (void)meta_get(payload, r->len, "run_id", f->run_id, sizeof f->run_id);
    read_lineage(&f->lineage, payload, r->len);
    (void)meta_get(payload, r->len, "control", f->control, sizeof f->control);
    (void)meta_get(payload, r->len, "refused", f->refused, sizeof f->refused);
    char share[MASTERS_SHARE_TEXT];
    if (meta_get(payload, r->len, "masters", share, sizeof share) >= 0 &&
        !masters_share_parse(&f->share, share))
        return "SESSION record with a malformed share of masters";
    (void)meta_getu(payload, r->len, "resume", &f->resume);
    return NULL;
}

static enum put damaged(struct outcome *o, const struct input *in, const char *what)
{
    outcome_fail(o, EXIT_DAMAGED, "event=input_damaged input=%s flow=%u offset=%llu error=%s",
                 log_quote(in->name, strlen(in->name)), in->rec.flow, (unsigned long long)in->at,
                 log_quote(what, strlen(what)));
    return PUT_FAIL;
}

/* ---- beginning, beginning anew ---- */

static void forget_flows(struct session *s)
{
    for (unsigned i = 0; i < s->flows && s->flow != NULL; i++)
        big_free(s->flow[i].big);
    free(s->flow);
    s->flow = NULL;
}

void session_free(struct session *s)
{
    forget_flows(s);
    buf_free(&s->void_flush);
}

/* Everything that counts within one epoch starts from nothing. */
static void begin_epoch(struct writer *w, const struct facts *f)
{
    struct session *s = &w->session;
    forget_flows(s);
    if (s->stage != ST_NONE) {
        positions_free(&w->positions);
        lanes_free(&w->lanes);
    }
    s->flows = (unsigned)f->flows;
    s->epoch = (unsigned)f->epoch;
    s->up = s->going_on = 0;
    strlcpy(s->refused, f->refused, sizeof s->refused);
    s->partial_ok = false;
    s->flow = xcalloc(s->flows, sizeof *s->flow);
    strlcpy(s->run_id, f->run_id, sizeof s->run_id);
    s->lineage = f->lineage;
    if (s->lineage.replid[0] == '\0')
        memcpy(s->lineage.replid, "-", 2);
    if (s->lineage.top[0] == '\0')
        memcpy(s->lineage.top, "-", 2);
    struct position_id id = {.epoch = s->epoch, .flows = s->flows, .lineage = s->lineage};
    memcpy(id.nonce, s->nonce, sizeof s->nonce);
    position_id_print(&id, s->identity);
    positions_init(&w->positions, s->flows);
    lanes_init(&w->lanes, s->flows, LANE_MEMORY, w->opt.barrier_spill, w->opt.spill_dir);
    whole_epoch(&w->whole, s->flows);
    holds_epoch(&w->holds, s->flows);
    listing_free(&w->listing);
    probes_begin(&w->probes, s->flows); /* where it goes on, the FLOW records say so */
    splits_free(&w->splits);
    w->watch.ending = 0; /* each session looks at the counters once more at its end */
    s->stage = ST_FLOWS;
    log_event(LOG_INFO, NO_FLOW, "event=session nonce=%s epoch=%u flows=%u source=%s live=%d", s->nonce,
              s->epoch, s->flows, s->source, s->live);
}

/* A full sync of the same source that began on an empty target, and broke: it may begin anew without being
 * asked, where the target is this task's alone (--on-existing overwrite and the like expect keys of others).
 * Where flows are masters of their own, their ids come later: there the task's source, which was compared,
 * says enough. To dfreader it is the first. */
static void repeat_own(struct writer *w, const struct facts *f, struct saved_vector *v)
{
    struct session *s = &w->session;
    const struct lineage *was = &v->lineage, *is = &f->lineage;
    bool same = is->replid[0] == '\0' || strcmp(was->replid, is->replid) == 0 ||
                (is->top[0] != '\0' && strcmp(was->top, is->top) == 0);
    bool alone = w->opt.on_existing == EXISTING_REFUSE || w->opt.on_existing == EXISTING_FLUSH;
    s->repeats = alone && v->state == SAVED_INCOMPLETE && v->began_empty && same &&
                 w->opt.on_full_resync == FULL_FAIL && !w->opt.expect_saved;
    if (!s->repeats)
        return;
    log_event(LOG_WARN, NO_FLOW, "event=full_sync_repeated action=flush target=%s note=%s", w->opt.shown,
              "\"the one before was not complete; it began on an empty target\"");
    *v = (struct saved_vector){.state = SAVED_NONE};
}

/* dfreader waits for what the target says of earlier sessions. */
static enum put say_saved(struct writer *w, const struct facts *f)
{
    struct saved_vector v;
    if (!saved_read(&w->saved, &v))
        return PUT_FAIL;
    repeat_own(w, f, &v);
    w->session.unverified = v.verify;
    strlcpy(w->exact.saved, v.state == SAVED_WHOLE ? v.history : "", sizeof w->exact.saved);
    int rc = saved_tell(&w->saved, &v);
    if (!w->cluster->nodes.whole) { /* what flows hold is needed when they go on */
        saved_vector_free(&w->whole.saved);
        memcpy(w->whole.saved.own, v.own, sizeof v.own);
        memcpy(w->whole.saved.slots, v.slots, sizeof v.slots);
    }
    if (rc == 0)
        return PUT_DONE;
    outcome_fail(&w->outcome, EXIT_RETRY,
                 "event=control_gone note=\"before it was told where the target stands\"");
    return PUT_FAIL;
}

static enum put begin_session(struct writer *w, const struct facts *f)
{
    char announce[1500];
    struct session *s = &w->session;
    if (f->resume != 0 && f->control[0] != '\0' && !saved_check(&w->saved))
        return w->outcome.failed ? PUT_FAIL : PUT_WAIT;
    memcpy(s->nonce, f->nonce, sizeof s->nonce);
    strlcpy(s->source, f->source[0] != '\0' ? f->source : "?", sizeof s->source);
    strlcpy(s->address, f->address[0] != '\0' ? f->address : "-", sizeof s->address);
    s->journal = f->journal != 0;
    s->scans = strcmp(f->source, "scan") == 0;
    s->share = f->share;
    s->wrote = s->claimed = false;
    w->outcome.stopped = false;
    target_announce(&w->node.info, existing_policy(w->opt.on_existing), announce, sizeof announce);
    s->live = f->control[0] != '\0' && live_connect(&w->live, f->control, announce) == 0;
    uint64_t now = now_us() / 1000000;
    s->left = !s->live && f->control[0] != '\0' && f->started <= now && now - f->started < JUST_NOW;
    s->died = !s->live && f->control[0] != '\0' && ctl_just_died(f->control, f->started);
    if (w->opt.live && !s->live) {
        outcome_fail(&w->outcome, EXIT_CANNOT,
                     "event=not_live note=\"--live was given, and no session listens\" control=%s",
                     log_quote(f->control, strlen(f->control)));
        return PUT_FAIL;
    }
    if (s->live && s->journal && w->opt.exactly_once && w->exact.on && w->opt.position_file == NULL) {
        outcome_fail(&w->outcome, EXIT_USAGE,
                     "event=no_position_file note=\"--exactly-once needs --position-file\"");
        return PUT_FAIL;
    }
    if (s->live && f->resume != 0 && !w->cluster->nodes.whole && w->opt.position_file == NULL)
        log_event(LOG_WARN, NO_FLOW, "event=no_position_file note=%s",
                  "\"nothing is kept to go on from: a restart needs a full sync; see --position-file\"");
    if (s->live && s->journal && w->cluster->confined)
        log_event(LOG_WARN, NO_FLOW, "event=position_key_confines target=%s note=%s", w->opt.shown,
                  "\"to a Dragonfly, databases other than 0 and flushes cannot be written: " WHOLE_CONFINED
                  "\"");
    if (s->live && f->resume != 0) {
        s->epoch = (unsigned)f->epoch;
        enum put got = say_saved(w, f);
        if (got != PUT_DONE)
            return got;
    }
    begin_epoch(w, f);
    return PUT_DONE;
}

/* Nothing of this epoch counts any more. */
static void make_void(struct writer *w)
{
    struct session *s = &w->session;
    s->stage = ST_VOID;
    cluster_forget(w->cluster);
    w->flushes.start = START_NONE;
    w->marks.doing = MARKS_IDLE;
    lanes_free(&w->lanes);
    lanes_init(&w->lanes, s->flows, LANE_MEMORY, w->opt.barrier_spill, w->opt.spill_dir);
    for (unsigned i = 0; i < s->flows; i++) {
        big_free(s->flow[i].big);
        s->flow[i].big = NULL;
    }
}

static enum put later_epoch(struct writer *w, const struct facts *f)
{
    if (w->session.stage != ST_VOID) {
        log_event(LOG_WARN, NO_FLOW, "event=session_begins_anew epoch=%llu", (unsigned long long)f->epoch);
        make_void(w);
    }
    if (!cluster_quiet(w->cluster))
        return PUT_WAIT;
    begin_epoch(w, f);
    return PUT_DONE;
}

/* Every flow has come and ended, nothing waits. */
static bool is_over(const struct session *s, const struct lanes *lanes)
{
    if (s->stage == ST_NONE)
        return true;
    if (s->stage != ST_RUN || s->up < s->flows || lanes_stand(lanes) || lanes->queued > 0)
        return false;
    for (unsigned i = 0; i < s->flows; i++)
        if (!s->flow[i].ended || s->flow[i].big != NULL)
            return false;
    return true;
}

/* Another session behind one that is over: what that reached has to be saved first. */
static enum put next_session(struct writer *w, const struct facts *f)
{
    if (!is_over(&w->session, &w->lanes))
        return PUT_WAIT;
    if (!cluster_quiet(w->cluster) || w->whole.dirty) {
        w->cluster->hurry(w->cluster);
        w->whole.save_now |= w->whole.dirty;
        return PUT_WAIT;
    }
    live_report(&w->live, UINT64_MAX - 1000000, true);
    return begin_session(w, f);
}

enum put session_record(struct writer *w, struct input *in)
{
    struct session *s = &w->session;
    struct facts f;
    const char *fault = read_facts(&f, in);
    if (fault != NULL)
        return damaged(&w->outcome, in, fault);
    enum put got = PUT_DONE;
    if (s->stage == ST_NONE)
        got = begin_session(w, &f);
    else if (strcmp(f.nonce, s->nonce) != 0)
        got = next_session(w, &f);
    else if (f.epoch > s->epoch)
        got = later_epoch(w, &f);
    else if (f.epoch == s->epoch && f.flows != s->flows)
        return damaged(&w->outcome, in, "SESSION records of one session differ in their number of flows");
    if (got == PUT_DONE)
        in->session_seen = true;
    return got;
}

/* Where flows have an id that stays. One that is not known is "-" where it was saved. */
static bool same_stream(const struct lineage *is, const struct lineage *was)
{
    return strcmp(is->top, strcmp(was->top, "-") == 0 ? "" : was->top) == 0;
}

/* Mode PARTIAL: everything before lsn is applied. */
static bool flow_goes_on(struct writer *w, const struct input *in)
{
    const struct rec *r = &in->rec;
    const uint8_t *payload = in->payload;
    char form[16];
    uint64_t lsn;
    if (!w->session.live || !meta_getu(payload, r->len, "lsn", &lsn) || lsn == 0)
        return false;
    struct flowpos *p = &w->positions.flow[r->flow];
    const struct saved_vector *v = &w->whole.saved;
    uint64_t quiet = w->cluster->nodes.whole && v->pos[r->flow] == lsn ? v->quiet[r->flow] : 0;
    p->pos = p->reported = lsn;
    p->quiet = quiet > 0 ? quiet : lsn;
    p->synced = meta_get(payload, r->len, "form", form, sizeof form) < 0 || strcmp(form, "snapshot") != 0;
    w->session.going_on++;
    w->probes.owed = w->session.unverified;
    return true;
}

/* The flow has another lineage from here on, and the same positions. It is saved before any position behind
 * it: under the one before, those may be unknown, or another history. */
static enum put flow_renamed(struct writer *w, struct input *in)
{
    const struct rec *r = &in->rec;
    struct flow *f = &w->session.flow[r->flow];
    struct lineage own;
    read_lineage(&own, in->payload, r->len);
    if (!f->up || f->own.replid[0] == '\0' || own.replid[0] == '\0' || strcmp(own.top, f->own.top) != 0)
        return damaged(&w->outcome, in, "FLOW record of another lineage, of a flow that has none");
    if (w->session.stage == ST_FLOWS && w->session.up == w->session.flows)
        return PUT_WAIT; /* what it begins with is being written */
    if (w->session.stage == ST_FLOWS)
        f->own = own;
    if (lineage_same(&f->own, &own))
        return PUT_DONE;
    enum put got = w->cluster->nodes.whole ? whole_rename(&w->whole, r->flow, &own) : PUT_DONE;
    if (got != PUT_DONE)
        return got;
    f->own = own;
    log_event(LOG_INFO, r->flow, "event=lineage replid=%s", own.replid);
    return PUT_DONE;
}

enum put session_flow(struct writer *w, struct input *in)
{
    const struct rec *r = &in->rec;
    const uint8_t *payload = in->payload;
    struct session *s = &w->session;
    char mode[16];
    if (!in->session_seen)
        return damaged(&w->outcome, in, "FLOW record before a SESSION record");
    if (r->epoch < s->epoch || (s->stage == ST_VOID && r->epoch == s->epoch))
        return PUT_DONE;
    if (r->epoch > s->epoch)
        return damaged(&w->outcome, in, "record of an epoch that has not begun");
    if (r->flow >= s->flows)
        return damaged(&w->outcome, in, "FLOW record with a flow that the session does not have");
    struct flow *f = &s->flow[r->flow];
    if (meta_get(payload, r->len, "mode", mode, sizeof mode) <= 0)
        return damaged(&w->outcome, in, "FLOW record without a mode");
    if (strcmp(mode, "LINEAGE") == 0)
        return flow_renamed(w, in);
    if (f->up)
        return damaged(&w->outcome, in, "a second FLOW record of the same flow");
    if (strcmp(mode, "PARTIAL") == 0) {
        if (!flow_goes_on(w, in))
            return damaged(&w->outcome, in, "FLOW record of mode PARTIAL without lsn, or in a file");
    } else if (strcmp(mode, "FULL") != 0 && strcmp(mode, "FILE") != 0) {
        return damaged(&w->outcome, in, "FLOW record with an unknown mode");
    }
    read_lineage(&f->own, payload, r->len);
    if (!same_stream(&f->own, &w->whole.saved.own[r->flow])) /* it has begun anew */
        w->whole.saved.place[r->flow] = (struct exact_id){.pos = 0};
    else if (strcmp(mode, "PARTIAL") == 0)
        holds_restore(&w->holds, r->flow, w->whole.saved.slots[r->flow]);
    f->up = true;
    f->input = (unsigned)(in - w->inputs.v);
    s->up++;
    return PUT_DONE;
}

void session_input_ended(struct writer *w, unsigned input)
{
    struct session *s = &w->session;
    for (unsigned i = 0; i < s->flows; i++)
        if (s->flow[i].up && s->flow[i].input == input)
            s->flow[i].ended = true;
}

/* ---- before the first request ---- */

static void begins(struct writer *w)
{
    struct session *s = &w->session;
    w->policy.done = true;
    s->void_flush.len = 0;
    s->wrote = true;
    bool told = w->cluster->nodes.whole || w->exact.on; /* what was done is known */
    if (!told && s->going_on > 0 && w->opt.position_file != NULL && !w->saved.over)
        doubt_resumed(&w->stats);
    s->stage = ST_RUN;
    exact_begin(&w->exact, w->whole.saved.place);
    marks_begin(&w->marks);
    saved_write(&w->saved, mono_us(), true);
    log_event(LOG_INFO, NO_FLOW, "event=begins epoch=%u%s", s->epoch, s->going_on > 0 ? " goes_on=1" : "");
}

enum put session_start(struct writer *w)
{
    enum put got = claim_target(w);
    if (got == PUT_DONE)
        got = start_target(w);
    if (got == PUT_DONE)
        begins(w);
    return got;
}

/* ---- a flush before the cut ---- */

enum put session_void(struct writer *w, const struct rec *r, const uint8_t *payload)
{
    struct session *s = &w->session;
    if (r->len <= 8 || r->len > 8 + LANES_REQUEST_MAX || !request_ok(payload + 8, r->len - 8)) {
        outcome_fail(&w->outcome, EXIT_DAMAGED,
                     "event=input_damaged flow=%u error=\"malformed BARRIER record\"", r->flow);
        return PUT_FAIL;
    }
    if (!s->live) {
        outcome_fail(&w->outcome, EXIT_DAMAGED, "event=flush_before_cut flow=%u note=%s", r->flow,
                     "\"the source was flushed during its full sync: this recording cannot be applied\"");
        return PUT_FAIL;
    }
    if (live_restart(&w->live, "flush") < 0) {
        outcome_fail(&w->outcome, EXIT_RETRY, "event=flush_before_cut flow=%u note=%s", r->flow,
                     "\"the session has to be begun anew, and dfreader has gone\"");
        return PUT_FAIL;
    }
    log_event(LOG_WARN, r->flow, "event=flush_before_cut action=restart epoch=%u", s->epoch);
    s->void_flush.len = 0;
    (void)buf_add(&s->void_flush, payload + 8, r->len - 8);
    s->void_db = r->db;
    make_void(w);
    return PUT_DONE;
}

/* ---- the end ---- */

static void check_barrier(struct writer *w)
{
    struct session *s = &w->session;
    int missing = lanes_missing(&w->lanes, 0);
    if (missing < 0)
        return;
    if (s->live)
        log_event(LOG_WARN, missing, "event=barrier_incomplete waiting=%u note=%s", w->lanes.arrived,
                  "\"the others keep their position before the flush\"");
    else
        outcome_fail(&w->outcome, EXIT_DAMAGED, "event=barrier_incomplete flow=%d waiting=%u note=%s",
                     missing, w->lanes.arrived, "\"this flow ended while the others wait at a flush\"");
}

void session_check_end(struct writer *w, bool stopped)
{
    struct session *s = &w->session;
    if (s->stage == ST_NONE)
        return;
    if (s->stage == ST_VOID) {
        outcome_fail(&w->outcome, stopped ? EXIT_PARTIAL : EXIT_RETRY,
                     "event=ended_before_new_session epoch=%u", s->epoch);
        return;
    }
    for (unsigned i = 0; i < s->flows; i++) {
        const struct flow *f = &s->flow[i];
        if (!f->up) {
            outcome_fail(&w->outcome, stopped ? EXIT_PARTIAL : EXIT_DAMAGED,
                         "event=flow_missing flow=%u flows=%u", i, s->flows);
            return;
        }
        if (f->big != NULL && stopped)
            log_event(LOG_WARN, (int)i, "event=request_incomplete note=\"stopped within it\"");
        else if (f->big != NULL)
            outcome_fail(&w->outcome, EXIT_DAMAGED, "event=request_incomplete flow=%u", i);
    }
    if (s->stage != ST_RUN)
        return;
    if (lanes_at_barrier(&w->lanes))
        check_barrier(w);
    for (unsigned i = 0; i < s->flows && !stopped && !w->outcome.failed; i++)
        if (!w->positions.flow[i].synced)
            outcome_fail(&w->outcome, EXIT_PARTIAL, "event=flow_not_synced flow=%u note=%s", i,
                         "\"its stream ended before its full sync was complete\"");
    if (w->sweep.state != SWEEP_OFF && !w->outcome.failed)
        outcome_fail(&w->outcome, EXIT_PARTIAL, "event=sweep_incomplete note=%s",
                     "\"keys that the source does not have may be left: the next start begins anew\"");
}
