#include "join.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "ctl.h"
#include "exits.h"
#include "fatal.h"
#include "flow.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "meta.h"
#include "output.h"
#include "reread.h"
#include "resume.h"
#include "sessinfo.h"

#define US           ((uint64_t)1000000)
#define REPORT_EVERY US
#define HELLO_EVERY  100000 /* µs between two tries to reach the owner */
#define LAST_ACK     (US / 10)
#define LAST_CLOSE   (US / 2)
#define REREAD_GRACE (10 * US)

struct joiner {
    const struct options *o;
    struct loop loop;
    struct output out;
    struct ctl ctl;
    struct watch w; /* of ctl */
    struct sessinfo info;
    struct flow flow;
    struct flow_observer observer;
    struct reread reread;
    struct resume resume; /* where the flow is to go on, for "open" */
    char last_master[REPLID_LEN + 1];
    char stop_reason[32]; /* stopping, but keys are still being read again; "" not */
    int stop_status;
    uint64_t stop_at;
    bool last_wanted; /* the owner has said its last meanwhile */
    bool told;        /* by the session that it is over */
    bool ending;      /* END is written or on its way; the flow is read and discarded */
    bool last;        /* the owner needs nothing more from us: close */
    uint64_t last_at;
    bool shut;
    bool asked_to_stop;
    bool done;
    int status;
    uint64_t reported_at;
    uint64_t reported_bytes;
    bool reported_blocked;
    uint64_t reported_queued;
    bool reported_full;
};

static void ending(struct joiner *j, const char *reason, int status, const char *message)
{
    if (j->ending)
        return;
    char clean[FAULT_TEXT];
    strlcpy(clean, message, sizeof clean);
    log_clean(clean);
    j->ending = true;
    j->status = status;
    reread_reset(&j->reread, j->info.epoch);
    if (strcmp(reason, "stop") != 0 && strcmp(reason, "complete") != 0) {
        /* What the session's process says it has logged itself. */
        log_event(j->told ? LOG_DEBUG : LOG_ERROR, (int)j->o->flow, "event=failed status=%d reason=\"%s\"",
                  status, clean);
        flow_stop(&j->flow);
    }
    struct buf b = {.max = 3072};
    meta_adds(&b, "reason", reason);
    meta_addu(&b, "status", (uint64_t)status);
    if (strcmp(reason, "complete") == 0)
        meta_addu(&b, "partial", 1); /* the flow was left where it happened to be read to */
    if (message[0] != '\0')
        meta_adds(&b, "message", message);
    meta_addu(&b, "n.bytes", j->out.bytes);
    meta_addu(&b, "n.records", j->out.records);
    if (!j->out.dead)
        (void)output_meta(&j->out, REC_END, j->o->flow, j->info.epoch, &b); /* noticed in the main loop */
    buf_free(&b);
}

/* The owner has gone, or said goodbye. */
static void last(struct joiner *j)
{
    if (j->last)
        return;
    j->last = true;
    j->last_at = mono_us();
}

/* An orderly end waits for the keys that the parser still waits for. */
static void stopping(struct joiner *j, const char *reason, int status, const char *message)
{
    bool orderly = strcmp(reason, "stop") == 0 || strcmp(reason, "complete") == 0;
    j->told = true;
    if (!orderly || !reread_busy(&j->reread)) {
        ending(j, reason, status, message);
        return;
    }
    strlcpy(j->stop_reason, reason, sizeof j->stop_reason);
    j->stop_status = status;
    j->stop_at = mono_us();
}

static void stop_now(struct joiner *j, uint64_t now)
{
    if (j->ending || j->stop_reason[0] == '\0')
        return;
    bool late = now - j->stop_at >= REREAD_GRACE;
    if (late && reread_busy(&j->reread))
        log_event(LOG_WARN, (int)j->o->flow, "event=rereads-given-up requests=%u", j->reread.queued);
    if (!late && reread_busy(&j->reread))
        return;
    ending(j, j->stop_reason, j->stop_status, "");
    if (j->last_wanted)
        last(j);
}

static void tell(struct joiner *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct joiner *j, const char *fmt, ...)
{
    char line[CTL_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    /* A lost owner is noticed when reading: there may be lines of it left. */
    if (j->ctl.fd >= 0 && n > 0 && (size_t)n < sizeof line)
        (void)ctl_send(&j->ctl, "%s", line);
}

static void tell_lost(struct joiner *j, int status, const char *text, bool refused)
{
    struct buf b = {.max = CTL_LINE_MAX};
    meta_escape(&b, text, strlen(text), 380);
    (void)buf_add(&b, "", 1);
    tell(j, "lost flow=%u epoch=%u status=%d refused=%d reason=%s", j->o->flow, (unsigned)j->info.epoch,
         status, (int)refused, (const char *)b.p);
    buf_free(&b);
}

/* ---- the flow ---- */

static void on_up(void *ctx, struct flow *f)
{
    struct joiner *j = ctx;
    const char *mode = f->partial ? "PARTIAL" : "FULL";
    /* Where the flow was to go on, the owner decides when it knows the answers to all flows. */
    if (f->ask.lsn == 0 && flow_announce(f, &j->out, FORM_FULL) < 0) /* noticed in the main loop */
        return;
    log_event(LOG_INFO, (int)f->id, "event=flow-up mode=%s epoch=%u", mode, (unsigned)j->info.epoch);
    tell(j, "flowup flow=%u epoch=%u mode=%s lsn=%llu", f->id, (unsigned)j->info.epoch, mode,
         (unsigned long long)f->ask.lsn);
}

static void on_bytes(void *ctx, struct flow *f)
{
    struct joiner *j = ctx;
    (void)flow_announce(f, &j->out, FORM_JOURNAL); /* noticed in the main loop */
}

/* What becomes of the session is for the owner to say: stop, or the start of another epoch. */
static void on_lost(void *ctx, struct flow *f, const struct fault *why)
{
    struct joiner *j = ctx;
    log_event(LOG_INFO, (int)f->id, "event=flow-lost reason=%s", log_quote(why->text, strlen(why->text)));
    if (!j->ending)
        tell_lost(j, why->status, why->text, f->refused);
}

static void open_flow(struct joiner *j)
{
    struct flow_ask ask = {.lsn = 0};
    if (j->resume.state == RESUME_SAVED && j->o->flow < j->resume.flows) {
        ask.lsn = j->resume.pos[j->o->flow];
        ask.last = j->last_master[0] != '\0' ? j->last_master : NULL;
        ask.vector = resume_vector(&j->resume);
    }
    flow_start(&j->flow, j->o->flow, &j->loop, &j->o->url, NULL, &j->info, &ask, j->o->connect_timeout * 1000,
               &j->observer);
}

static void start(struct joiner *j, const char *line)
{
    struct sessinfo info;
    if (j->ending)
        return;
    if (!sessinfo_parse(&info, line) || info.flows <= j->o->flow) {
        ending(j, "error", EXIT_CANNOT, "the owner of the session sent a malformed start");
        last(j);
        return;
    }
    flow_stop(&j->flow);
    j->info = info;
    reread_reset(&j->reread, info.epoch);
    j->reported_bytes = 0;
    j->out.read_on = false;
    struct buf b = {.max = 4096};
    sessinfo_format(&j->info, &b, '\n');
    int rc = output_meta(&j->out, REC_SESSION, j->o->flow, j->info.epoch, &b);
    buf_free(&b);
    resume_free(&j->resume);
    if (rc == 0 && !info.resume)
        open_flow(j);
}

/* Of a session that goes on where an earlier one ended: open the flow; write its FLOW record. */
static void go_on(struct joiner *j, const char *line)
{
    char text[16];
    if (j->ending || !j->info.resume)
        return;
    if (ctl_is(line, "open")) {
        (void)ctl_get(line, "last", j->last_master, sizeof j->last_master);
        if (j->flow.state == FLOW_DOWN)
            open_flow(j);
    } else if (j->flow.state == FLOW_UP && j->flow.partial) {
        (void)ctl_get(line, "form", text, sizeof text);
        if (flow_announce(&j->flow, &j->out, strcmp(text, "journal") == 0 ? FORM_JOURNAL : FORM_SNAPSHOT) ==
            0)
            tell(j, "announced flow=%u epoch=%u", j->o->flow, (unsigned)j->info.epoch);
    }
}

/* ---- the owner ---- */

static void stop(struct joiner *j, const char *line)
{
    char reason[32], message[600];
    uint64_t number;
    if (ctl_get(line, "reason", reason, sizeof reason) > 0) {
        (void)ctl_get(line, "message", message, sizeof message);
        stopping(j, reason, ctl_getu(line, "status", &number) && number < 256 ? (int)number : EXIT_RETRY,
                 message);
    }
    if (ctl_getu(line, "final", &number) && number != 0) {
        j->last_wanted = true;
        if (j->ending || j->stop_reason[0] == '\0') {
            ending(j, "stop", EXIT_PARTIAL, "");
            last(j);
        }
    }
}

/* What is to be checked at the target, from "state=" on: a CHECK record of the flow. */
static void check(struct joiner *j, const char *line)
{
    const char *text = strstr(line, " state=");
    size_t n = text != NULL ? strlen(text + 1) : 0;
    uint8_t *to = output_room(&j->out);
    if (n == 0 || n >= DATA_MAX)
        return;
    memcpy(to, text + 1, n);
    for (size_t i = 0; i < n; i++)
        to[i] = to[i] == ' ' ? '\n' : to[i];
    if (to[n - 1] != '\n')
        to[n++] = '\n';
    (void)output_check(&j->out, j->o->flow, j->info.epoch, n); /* a failure is noticed in the main loop */
}

static void take_line(struct joiner *j, const char *line)
{
    uint64_t number, epoch;
    if (ctl_is(line, "start")) {
        start(j, line);
    } else if (ctl_is(line, "resume") || ctl_is(line, "from")) {
        (void)resume_line(&j->resume, line);
    } else if (ctl_is(line, "open") || ctl_is(line, "announce")) {
        if (ctl_getu(line, "epoch", &epoch) && epoch == j->info.epoch)
            go_on(j, line);
    } else if (ctl_is(line, "ack")) {
        if (ctl_getu(line, "epoch", &epoch) && epoch == j->info.epoch && ctl_getu(line, "pos", &number) &&
            number > j->flow.applied)
            j->flow.applied = number;
    } else if (ctl_is(line, "reread")) {
        if (ctl_getu(line, "epoch", &epoch) && epoch == j->info.epoch && !j->ending)
            reread_ask(&j->reread, j->o->flow, line);
    } else if (ctl_is(line, "check")) {
        if (ctl_getu(line, "epoch", &epoch) && epoch == j->info.epoch && !j->ending)
            check(j, line);
    } else if (ctl_is(line, "readon")) {
        j->out.read_on = ctl_getu(line, "on", &number) && number != 0;
    } else if (ctl_is(line, "stop")) {
        stop(j, line);
    }
}

static void take_lines(struct joiner *j)
{
    char *line;
    while (!j->done && (line = ctl_line(&j->ctl)) != NULL)
        take_line(j, line);
}

static void on_owner(struct watch *w, uint32_t events)
{
    struct joiner *j = w->ctx;
    bool lost = (events & EPOLLOUT) != 0 && ctl_flush(&j->ctl) < 0;
    int rc = 1;
    while (rc > 0 && (rc = ctl_fill(&j->ctl)) > 0)
        take_lines(j);
    if (rc == 0 && !lost)
        return;
    loop_del(&j->loop, &j->w);
    ctl_close(&j->ctl);
    ending(j, "lost", EXIT_RETRY, "the process that owns the session has gone");
    last(j);
}

/* The owner may still be on its way to its socket. */
static int connect_owner(struct joiner *j, char answer[static CTL_LINE_MAX])
{
    char hello[32];
    snprintf(hello, sizeof hello, "role=flow flow=%u", j->o->flow);
    uint64_t deadline = mono_us() + (uint64_t)j->o->connect_timeout * US;
    while (ctl_hello(&j->ctl, j->o->session, hello, j->o->connect_timeout * 1000, answer, CTL_LINE_MAX) < 0) {
        if (answer[0] == '\0' && mono_us() < deadline && signals_seen() == 0) {
            (void)io_wait(-1, -1, HELLO_EVERY / 1000);
            continue;
        }
        log_event(LOG_WARN, (int)j->o->flow, "event=not-joined session=%s reason=%s", j->o->session,
                  answer[0] != '\0' ? log_quote(answer, strlen(answer)) : "\"nobody listens there\"");
        return -1;
    }
    j->w = (struct watch){.fd = -1, .ready = on_owner, .ctx = j};
    return loop_add(&j->loop, &j->w, j->ctl.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Where the session is over before we came to it, it was stopped. */
static void not_joined(struct joiner *j, const char *answer)
{
    char reason[40] = "";
    if (answer[0] != '\0')
        (void)ctl_get(answer, "reason", reason, sizeof reason);
    if (strcmp(reason, "session-is-ending") == 0)
        ending(j, "stop", EXIT_PARTIAL, "");
    else
        ending(j, "error", EXIT_CANNOT, "the owner of the session was not reached");
    last(j);
}

/* ---- main loop ---- */

static bool pump(struct joiner *j)
{
    bool more = !j->ending && reread_pump(&j->reread, &j->flow.link, &j->out);
    if (j->stop_reason[0] != '\0' && !j->ending)
        return more; /* what was read last must not bring further requests */
    if (!flow_readable(&j->flow) || (!j->ending && output_full(&j->out)))
        return more;
    if (!flow_read(&j->flow, &j->out, j->ending))
        return false;
    return more || (flow_readable(&j->flow) && (j->ending || !output_full(&j->out)));
}

/* At most once a second, and only news. */
static void report(struct joiner *j, uint64_t now)
{
    bool blocked = output_behind(&j->out);
    bool full = output_spool_full(&j->out);
    uint64_t queued = spool_len(&j->out.q);
    if (j->flow.state != FLOW_UP || now - j->reported_at < REPORT_EVERY ||
        (j->flow.bytes == j->reported_bytes && blocked == j->reported_blocked &&
         queued == j->reported_queued && full == j->reported_full) ||
        !ctl_idle(&j->ctl))
        return;
    j->reported_at = now;
    j->reported_bytes = j->flow.bytes;
    j->reported_blocked = blocked;
    j->reported_queued = queued;
    j->reported_full = full;
    tell(j, "moved flow=%u epoch=%u bytes=%llu blocked=%d queued=%llu full=%d", j->o->flow,
         (unsigned)j->info.epoch, (unsigned long long)j->flow.bytes, (int)blocked, (unsigned long long)queued,
         (int)full);
    log_progress("flow %u  %.1f MB%s", j->o->flow, (double)j->flow.bytes / 1e6,
                 blocked ? "  (output full)" : "");
}

static void closing(struct joiner *j, uint64_t now)
{
    if (!j->ending || !output_flushed(&j->out))
        return;
    output_close(&j->out); /* the stages behind us end with the stream, not with this process */
    if (!j->last)
        return;
    if (j->flow.state != FLOW_UP || j->flow.acked == 0) {
        j->done = true;
        return;
    }
    if (us_since(now, j->last_at) >= LAST_ACK && !j->shut) {
        flow_shutdown(&j->flow);
        j->shut = true;
    }
    if (us_since(now, j->last_at) >= LAST_ACK + LAST_CLOSE)
        j->done = true;
}

static void take_signals(struct joiner *j)
{
    unsigned n = signals_seen();
    if (n >= 1 && !j->asked_to_stop) {
        j->asked_to_stop = true; /* the owner ends the session in order */
        tell(j, "stop");
    }
    if (n >= 2 && !j->done) {
        bool whole = j->ending && output_flushed(&j->out) && !j->out.lost;
        j->status = whole ? j->status : exit_worse(j->status, EXIT_RETRY);
        j->done = true;
    }
}

static void output_died(struct joiner *j)
{
    int status;
    if (j->done || (j->ending && !j->out.lost))
        return;
    const char *why = output_report(&j->out, (int)j->o->flow, &status);
    tell_lost(j, status, why, false);
    j->status = exit_worse(j->status, status);
    j->done = true;
}

static void spill_failed(struct joiner *j)
{
    int status;
    const char *why = output_fault(&j->out, &status);
    if (j->ending)
        return;
    tell_lost(j, status, why, false);
    ending(j, "error", status, why);
}

static void run(struct joiner *j)
{
    bool more = false;
    take_lines(j); /* those that came with the welcome */
    while (!j->done) {
        loop_wait(&j->loop, more ? 0 : j->ending ? LOOP_TICK / 10 : LOOP_TICK);
        more = pump(j);
        if (j->out.dead)
            output_died(j);
        else if (j->out.spill_error != 0)
            spill_failed(j);
        take_signals(j);
        uint64_t now = mono_us();
        flow_ack(&j->flow, now, j->last);
        report(j, now);
        stop_now(j, now);
        closing(j, now);
    }
}

int join_run(const struct options *o)
{
    struct joiner j = {.o = o, .status = EXIT_DONE, .info = {.epoch = 1}}; /* of an END before any session */
    char answer[CTL_LINE_MAX] = "";
    j.observer = (struct flow_observer){.ctx = &j, .up = on_up, .lost = on_lost, .bytes = on_bytes};
    j.ctl.fd = j.w.fd = -1;
    loop_init(&j.loop);
    reread_init(&j.reread, o, &j.loop);
    j.status = output_open(&j.out, &j.loop, o);
    fatal_stream(-1, KIND_RAW);
    if (j.status != EXIT_DONE)
        j.done = true;
    else if (output_stream(&j.out) < 0)
        output_died(&j);
    else if (connect_owner(&j, answer) < 0)
        not_joined(&j, answer);
    run(&j);
    flow_stop(&j.flow);
    reread_reset(&j.reread, 0);
    resume_free(&j.resume);
    loop_del(&j.loop, &j.w);
    ctl_close(&j.ctl);
    output_close(&j.out);
    if (j.out.dead)
        output_died(&j);
    output_free(&j.out);
    loop_free(&j.loop);
    return j.status;
}
