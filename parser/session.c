#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <sys/stat.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "lineage.h"
#include "log.h"
#include "masters_share.h"
#include "meta.h"
#include "psync.h"
#include "render.h"
#include "reread/slots.h"

#define ANSWER_US                                                                                            \
    ((uint64_t)10000000) /* for rediswriter to say what the target is, once it has read SESSION */
#define LOOK_US ((uint64_t)50000)

/* ---- target ---- */

static void write_target(struct parser *p)
{
    struct origin o = {.epoch = p->epoch};
    struct buf text = {0};
    target_meta(&p->e.target, &text);
    emit_meta(&p->e, &o, REC_TARGET, text.p, text.len);
    buf_free(&text);
    p->target_written = true;
}

static bool take_target(struct parser *p, const char *line)
{
    struct target t;
    if (!ctl_is(line, "target") || p->opt->have_target || p->opt->mode != EMIT_RECORDS || p->target_written)
        return false;
    if (!target_read(&t, line, strlen(line))) {
        log_event(LOG_WARN, NO_FLOW, "event=target error=\"announcement not understood\" line=%s",
                  log_quote(line, strlen(line)));
        return false;
    }
    if (p->opt->have_existing)
        t.existing = p->opt->target.existing;
    p->e.target = t;
    p->e.slots = t.cluster;
    p->rereads.writer = true;
    return true;
}

/* Somebody may read the output now: it is a pipe or a socket. */
static bool has_reader(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* The announcement, if it is there already; it may have come together with the welcome. */
static bool target_said(struct parser *p)
{
    for (const char *line; (line = ctl_line(&p->ctl)) != NULL;)
        if (take_target(p, line))
            return true;
    return false;
}

/* Wait for rediswriter to say what the target is. It reads its input once it is connected to the target,
 * finds the control socket in SESSION and answers at once: where that was read and no answer comes, the
 * reader is something else, or cannot reach the socket. With a session before this one it may still be busy
 * with that. */
static void await_target(struct parser *p, bool first)
{
    uint64_t deadline = mono_us() + (uint64_t)p->opt->target_timeout * 1000000, taken = 0;
    int out = p->e.out.fd;
    for (uint64_t now = mono_us(); now < deadline && p->ctl.fd >= 0; now = mono_us()) {
        if (target_said(p))
            return;
        if (first && taken == 0 && io_unread(out) == 0) {
            taken = now;
            deadline = now + ANSWER_US < deadline ? now + ANSWER_US : deadline;
        }
        uint64_t left = deadline - now;
        if (io_wait(p->ctl.fd, out,
                    (int)((first && taken == 0 && left > LOOK_US ? LOOK_US : left) / 1000) + 1) < 0) {
            p->e.failed = true;
            p->e.fault = EPIPE;
            return;
        }
        if (ctl_fill(&p->ctl) >= 0)
            continue;
        if (target_said(p))
            return;
        ctl_close(&p->ctl);
    }
    log_event(LOG_WARN, NO_FLOW,
              "event=target note=\"no rediswriter said what the target is: writing portable "
              "commands, which are slower (--target-version says it)\"");
}

void parser_control(struct parser *p)
{
    if (p->ctl.fd < 0)
        return;
    if (ctl_fill(&p->ctl) < 0) {
        log_event(LOG_INFO, NO_FLOW, "event=control_closed");
        ctl_close(&p->ctl);
        parser_poll(p); /* nobody is there to answer */
        return;
    }
    while (ctl_line(&p->ctl) != NULL)
        ; /* nothing that is said after the target concerns a parser */
}

/* ---- sessions ---- */

static void join_control(struct parser *p, const char *path, uint64_t started)
{
    char hello[128], answer[CTL_LINE_MAX];
    snprintf(hello, sizeof hello, "role=parser nonce=%s", p->nonce);
    if (ctl_hello(&p->ctl, path, hello, 5000, answer, sizeof answer) < 0) {
        p->was_live = ctl_just_died(path, started);
        log_event(LOG_INFO, NO_FLOW, "event=offline note=\"the session of this stream is over\"");
        return;
    }
    p->was_live = true;
}

static int end_flows(struct parser *p, bool requested)
{
    for (unsigned i = 0; i < REC_FLOWS_MAX; i++)
        if (p->flows[i] != NULL && flow_end(p->flows[i], requested) < 0)
            return parser_flow_fault(p, i, p->flows[i]->cannot ? EXIT_CANNOT : EXIT_DAMAGED,
                                     p->flows[i]->error);
    return 0;
}

/* ---- the end of a stream ---- */

static void write_end(struct parser *p)
{
    const struct stats *s = &p->e.stats;
    struct origin o = {.epoch = p->epoch > 0 ? p->epoch : 1, .time = now_us()};
    struct buf text = {0};
    meta_adds(&text, "reason", p->reason);
    meta_addu(&text, "status", (uint64_t)p->status);
    if (p->message[0] != '\0')
        meta_adds(&text, "message", p->message);
    for (unsigned i = CLASS_STRING; i < CLASS_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "n.keys.%s", rec_class_name(i));
        if (s->keys[i] > 0)
            meta_addu(&text, name, s->keys[i]);
    }
    meta_addu(&text, "n.commands", s->commands);
    meta_addu(&text, "n.requests", s->requests);
    meta_addu(&text, "n.bytes", s->bytes_in);
    meta_addu(&text, "n.expired", s->expired);
    meta_addu(&text, "n.extended", s->extended);
    meta_addu(&text, "n.lost", s->lost);
    meta_addu(&text, "n.remarks", s->remarks);
    meta_addu(&text, "n.filtered", s->filtered);
    meta_addu(&text, "n.ignored", s->ignored);
    meta_addu(&text, "n.moved", s->moved);
    meta_addu(&text, "n.messages", s->messages);
    meta_addu(&text, "n.reread", s->reread);
    emit_meta(&p->e, &o, REC_END, text.p, text.len);
    if (p->opt->stats)
        fprintf(stderr, "%.*s", (int)text.len, (const char *)text.p);
    buf_free(&text);
}

static void check_end(struct parser *p)
{
    /* Where a stage before us failed or a stop was asked for, a last item in part is no damage of its own. */
    parser_end_rereads(p);
    bool requested = strcmp(p->reason, "complete") != 0 || p->partial;
    if (end_flows(p, requested) < 0)
        return;
    uint64_t waiting = render_end(&p->e);
    if (waiting > 0) {
        log_event(LOG_WARN, NO_FLOW,
                  "event=barrier error=\"a FLUSH did not arrive on every flow: what follows it on "
                  "%llu flows was not written\"",
                  (unsigned long long)waiting);
        p->status = exit_worse(p->status, EXIT_DAMAGED);
    }
}

/* What had to wait for the end of a flow, also where that is damage. */
static void settle(struct parser *p)
{
    for (unsigned i = 0; i < REC_FLOWS_MAX && !p->e.refused; i++)
        if (p->flows[i] != NULL && flow_settle(p->flows[i]) < 0)
            (void)parser_flow_fault(p, i, EXIT_CANNOT, p->flows[i]->error);
}

/* Write the END record of the stream being written, if there is one. */
static void finish_stream(struct parser *p)
{
    if (!p->in_stream || p->e.failed)
        return;
    if (p->status != EXIT_DAMAGED)
        check_end(p);
    settle(p);
    if (p->e.stats.lost > 0)
        p->status = exit_worse(p->status, EXIT_DATA);
    write_end(p);
    p->in_stream = false;
}

/* Begin a stream, unless one is being written. */
static void begin_stream(struct parser *p)
{
    if (!p->in_stream && p->opt->mode == EMIT_RECORDS && !p->e.failed)
        (void)recout_stream(&p->e.out, KIND_COMMAND);
    p->in_stream = true;
}

/* Another session follows in the input: it gets a stream of its own. */
static int next_session(struct parser *p)
{
    int before = p->status;
    finish_stream(p);
    if (p->status != before && p->status == EXIT_DAMAGED)
        return -1;
    strlcpy(p->reason, "complete", sizeof p->reason);
    p->message[0] = '\0';
    return 0;
}

int parser_next_stream(struct parser *p)
{
    if (p->begun && next_session(p) < 0)
        return -1;
    p->begun = true;
    begin_stream(p);
    return 0;
}

/* A cluster takes what can be put into database 0; where the source says which databases it has this is known
 * at once. */
static int check_databases(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    char list[1024], which[256], what[512];
    const struct filter *filter = p->opt->filter.active ? &p->opt->filter : NULL;
    if (!p->e.target.cluster || meta_get(payload, r->len, "dbs", list, sizeof list) <= 0 ||
        filter_dbs_fit(filter, list, which, sizeof which) == NULL)
        return 0;
    snprintf(what, sizeof what,
             "the source holds keys in database %s, and the target is a cluster, which has database 0 only: "
             "--db-map FROM=0 puts them there, --exclude db:FROM leaves them out",
             which);
    parser_fault(p, EXIT_USAGE, "error", what);
    return -1;
}

static bool is_later_share(const struct rec *r, const uint8_t *payload)
{
    char text[MASTERS_SHARE_TEXT];
    struct masters_share share;
    return meta_get(payload, r->len, "masters", text, sizeof text) > 0 && masters_share_parse(&share, text) &&
           share.number > 1;
}

static int on_session(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    char nonce[40], source[24], control[256];
    uint64_t flows, journal, started = 0;
    if (meta_get(payload, r->len, "nonce", nonce, sizeof nonce) <= 0 ||
        meta_get(payload, r->len, "source", source, sizeof source) <= 0 ||
        !meta_getu(payload, r->len, "flows", &flows) || flows < 1 || flows > REC_FLOWS_MAX ||
        !meta_getu(payload, r->len, "journal", &journal)) {
        parser_fault(p, EXIT_DAMAGED, "error", "a SESSION record without nonce, source, flows or journal");
        return -1;
    }
    bool first = !p->begun;
    bool same = p->begun && p->in_stream && strcmp(nonce, p->nonce) == 0;
    if (p->begun && !same && p->opt->mode == EMIT_OUTLET) {
        parser_fault(p, EXIT_USAGE, "error",
                     "a file takes one session, and another one follows in the input");
        return -1;
    }
    if (same && r->epoch == p->epoch)
        return 0; /* another stream of the same session */
    if (same && r->epoch < p->epoch) {
        parser_fault(p, EXIT_DAMAGED, "error", "a SESSION record of an earlier epoch");
        return -1;
    }
    if (p->begun && !same && next_session(p) < 0)
        return -1;
    parser_drop_flows(p);
    rereads_reset(&p->rereads, r->epoch);
    keyset_free(&p->e.not_carried); /* what an earlier full sync did not bring */
    p->e.verifying = false;
    if (outlets_begin(p, journal != 0) < 0)
        return -1;
    begin_stream(p);
    p->snapshot_id[0] = '\0';
    if (!same) {
        ctl_close(&p->ctl);
        p->target_written = false;
        p->was_live = false;
        p->rereads.writer = false;
        source_commands_free(&p->commands);
    }
    p->begun = true;
    p->epoch = r->epoch;
    p->nflows = (unsigned)flows;
    p->journal = journal != 0;
    p->file = strcmp(source, "file") == 0;
    p->redis = strcmp(source, "redis") == 0;
    p->scan = strcmp(source, "scan") == 0;
    p->later_share = is_later_share(r, payload);
    if (meta_get(payload, r->len, "version", p->version, sizeof p->version) < 0)
        p->version[0] = '\0';
    strlcpy(p->nonce, nonce, sizeof p->nonce);
    render_session(&p->e, p->nflows);
    struct origin o = {.epoch = r->epoch, .time = r->time};
    emit_meta(&p->e, &o, REC_SESSION, payload, r->len);
    (void)emit_flush(&p->e); /* the writer finds the control socket in it */
    (void)meta_getu(payload, r->len, "started", &started);
    if (!same && meta_get(payload, r->len, "control", control, sizeof control) > 0)
        join_control(p, control, started);
    if (!p->target_written && p->opt->mode == EMIT_RECORDS && !p->opt->have_target && p->ctl.fd >= 0 &&
        has_reader(p->e.out.fd))
        await_target(p, first);
    if (!p->target_written)
        write_target(p);
    return check_databases(p, r, payload);
}

/* What a FLOW record says about where the flow's changes begin. False: it says nothing that could be. */
static bool flow_lsn(const struct parser *p, const struct rec *r, const uint8_t *payload, bool partial,
                     uint64_t *lsn)
{
    *lsn = 0;
    if (!partial && !p->redis)
        return true;
    return meta_getu(payload, r->len, "lsn", lsn) && *lsn > 0 && *lsn <= LSN_MAX &&
           (!p->redis || psync_is_position(*lsn));
}

/* A flow that is there has another lineage from here on, and the same positions. */
static int on_lineage(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    struct origin o = {.flow = r->flow, .epoch = r->epoch, .time = r->time};
    struct lineage own;
    const struct flow *f = p->flows[r->flow];
    if (f == NULL || f->to.o.epoch != r->epoch || !f->to.own_master || !lineage_get(&own, payload, r->len)) {
        parser_fault(p, EXIT_DAMAGED, "error", "a FLOW record of another lineage, of no flow that has one");
        return -1;
    }
    emit_meta(&p->e, &o, REC_FLOW, payload, r->len);
    return 0;
}

static int on_flow(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    char mode[16], form[16], token[48];
    struct lineage own;
    uint64_t lsn;
    if (!p->begun || r->flow >= p->nflows || meta_get(payload, r->len, "mode", mode, sizeof mode) <= 0) {
        parser_fault(p, EXIT_DAMAGED, "error", "a FLOW record that fits no session");
        return -1;
    }
    if (strcmp(mode, "LINEAGE") == 0)
        return on_lineage(p, r, payload);
    bool partial = strcmp(mode, "PARTIAL") == 0;
    if (partial && p->outlet != NULL) {
        parser_fault(p, EXIT_USAGE, "error", "a partial sync has no keys to be written into a file");
        return -1;
    }
    if (!flow_lsn(p, r, payload, partial, &lsn)) {
        parser_fault(p, EXIT_DAMAGED, "error",
                     p->redis ? "a FLOW of a Redis without a possible position"
                              : "a partial FLOW without a possible LSN");
        return -1;
    }
    bool has_token = meta_get(payload, r->len, "token", token, sizeof token) == 40;
    if (p->flows[r->flow] == NULL) {
        p->flows[r->flow] = xcalloc(1, sizeof *p->flows[r->flow]);
        flow_init(p->flows[r->flow], r->flow);
        p->flows[r->flow]->to.e = &p->e;
        if (p->opt->filter.active)
            p->flows[r->flow]->to.filter = &p->opt->filter;
        p->flows[r->flow]->to.outlet = p->outlet;
        if (p->opt->mode < EMIT_NULL && !p->opt->no_reread)
            p->flows[r->flow]->to.rereads = &p->rereads;
    }
    flow_begin(p->flows[r->flow], p->epoch, p->file, p->journal, p->nflows, partial ? lsn : 0,
               has_token ? token : NULL);
    if (p->redis)
        flow_of_redis(p->flows[r->flow], lsn);
    p->flows[r->flow]->to.source = p->redis ? &p->commands : NULL;
    p->flows[r->flow]->to.no_libraries = p->later_share;
    if (p->scan)
        scanned_begin(&p->flows[r->flow]->scanned, p->version, lsn);
    else if (partial && meta_get(payload, r->len, "form", form, sizeof form) > 0 &&
             strcmp(form, "snapshot") == 0)
        flow_as_snapshot(p->flows[r->flow]);
    p->flows[r->flow]->to.own_master = lineage_get(&own, payload, r->len);
    p->told_cut[r->flow] = p->told_synced[r->flow] = false;
    struct origin o = {.flow = r->flow, .epoch = r->epoch, .time = r->time};
    emit_meta(&p->e, &o, REC_FLOW, payload, r->len);
    return 0;
}

static int on_commands(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    if (source_commands_take(&p->commands, payload, r->len))
        return 0;
    parser_fault(p, EXIT_DAMAGED, "error", "a malformed COMMANDS record");
    return -1;
}

static bool same_snapshot(struct parser *p, const struct flow *f)
{
    if (p->snapshot_id[0] == '\0')
        strlcpy(p->snapshot_id, f->rdb.snapshot_id, sizeof p->snapshot_id);
    return strcmp(p->snapshot_id, f->rdb.snapshot_id) == 0;
}

static int on_data(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    struct flow *f = parser_flow(p, r, "DATA", &rc);
    if (f == NULL)
        return rc;
    p->e.now_ms = now_us() / 1000;
    p->e.stats.bytes_in += r->len;
    rc = flow_feed(f, &p->e, payload, r->len, r->pos, r->time);
    if (p->e.failed)
        return -1;
    if (rc < 0)
        return parser_flow_fault(p, r->flow, f->cannot ? EXIT_CANNOT : EXIT_DAMAGED, f->error);
    if (p->e.refused) {
        return parser_refused(p);
    }
    if (f->rdb.snapshot_id[0] != '\0' && !same_snapshot(p, f))
        return parser_flow_fault(p, r->flow, EXIT_DAMAGED,
                                 "a file of another snapshot than the first: their ids differ");
    slots_tick(&f->to);
    if (parser_waits(p))
        parser_poll(p);
    else
        parser_tell(p, f);
    return 0;
}

/* In a live session everybody waits for the END, and something may hold the input open behind it. */
static void on_end(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    uint64_t status;
    char reason[16];
    if (meta_getu(payload, r->len, "status", &status))
        p->status = exit_worse(p->status, status <= 255 ? (int)status : EXIT_CANNOT);
    if (meta_get(payload, r->len, "reason", reason, sizeof reason) > 0 && strcmp(reason, "complete") != 0)
        strlcpy(p->reason, reason, sizeof p->reason);
    (void)meta_get(payload, r->len, "message", p->message, sizeof p->message);
    p->partial = meta_getu(payload, r->len, "partial", &status) && status != 0;
    if (p->ctl.fd >= 0) {
        finish_stream(p);
        (void)emit_flush(&p->e);
    }
}

int parser_record(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    switch (r->type) {
    case REC_SESSION: return on_session(p, r, payload);
    case REC_FLOW: return on_flow(p, r, payload);
    case REC_DATA: return on_data(p, r, payload);
    case REC_KEY: return parser_key(p, r, payload);
    case REC_CHECK: return parser_check(p, r, payload);
    case REC_SLOTS: return parser_slots(p, r, payload);
    case REC_FILE: return parser_file(p, r, payload);
    case REC_COMMANDS: return on_commands(p, r, payload);
    case REC_SCAN: return parser_scan(p, r, payload);
    default: on_end(p, r, payload); return 0;
    }
}

/* ---- the whole ---- */

int parser_end(struct parser *p)
{
    bool retry = p->was_live || !p->begun; /* then nobody knows of a session, but that its writer has gone */
    if (!p->begun)
        begin_stream(p); /* an input that failed before its session still has a stream that says so */
    finish_stream(p);
    outlets_end(p);
    if (emit_flush(&p->e) < 0) {
        const char *why = p->e.fault == EPIPE ? "the reader of the output has gone" : strerror(p->e.fault);
        int status = retry && p->e.fault == EPIPE ? EXIT_RETRY : EXIT_CANNOT;
        if (p->e.fault == EPROTO) /* said already: with --resp, the flows disagree on a FLUSH */
            status = EXIT_DAMAGED;
        else
            log_event(p->e.fault == EPIPE ? LOG_DEBUG : LOG_ERROR, NO_FLOW, "event=output error=%s",
                      log_quote(why, strlen(why))); /* a reader that has gone says itself why */
        p->status = exit_worse(p->status, status);
    }
    emit_report_counts(&p->e);
    if (p->e.stats.expired > 0)
        log_event(LOG_WARN, NO_FLOW, "event=expired keys=%llu note=\"had expired and were left out\"",
                  (unsigned long long)p->e.stats.expired);
    return p->status;
}
