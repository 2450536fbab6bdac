/* The stream of one flow, told by lines what flows.c tells those of the session's own process by calls.
 * dfrecord(5), CONTROL PROTOCOL. */
#include "flow_process.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "counting.h"
#include "ctl.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "resume.h"
#include "stream.h"

#define REPORT_EVERY US
#define HELLO_EVERY  100 /* ms between two tries to reach the session */

/* What was reported last. */
struct report {
    uint64_t bytes, queued;
    bool blocked, full, away;
    unsigned reconnects;
};

struct process {
    const struct options *o;
    struct stream stream;
    struct ctl ctl;       /* to the session's process */
    struct watch w;       /* of ctl */
    struct resume resume; /* where the flow is to go on, for "open" */
    bool told;            /* by the session that it is over */
    struct report reported;
    uint64_t reported_at, counted_at;
};

static struct flow *flow_of(struct process *p)
{
    return p->stream.flows;
}

static bool is_up(const struct process *p)
{
    return p->stream.n > 0 && p->stream.flows[0].state == FLOW_UP;
}

/* ---- to the session ---- */

static void tell(struct process *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct process *p, const char *fmt, ...)
{
    char line[CTL_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    /* A session that has gone is noticed when reading: there may be lines of it left. */
    if (p->ctl.fd >= 0 && n > 0 && (size_t)n < sizeof line)
        (void)ctl_send(&p->ctl, "%s", line);
}

static void tell_lost(struct process *p, int status, const char *text, bool refused)
{
    struct buf b = {.max = CTL_LINE_MAX};
    meta_escape(&b, text, strlen(text), 380);
    (void)buf_add(&b, "", 1);
    tell(p, "lost flow=%u epoch=%u status=%d refused=%d reason=%s", p->o->flow,
         (unsigned)p->stream.info.epoch, status, (int)refused, (const char *)b.p);
    buf_free(&b);
}

/* Once a second, where the session takes them. */
static void count(struct process *p, uint64_t now)
{
    struct buf b = {.max = CTL_LINE_MAX};
    if (p->ctl.fd < 0 || now - p->counted_at < COUNTERS_EVERY || !ctl_idle(&p->ctl))
        return;
    p->counted_at = now;
    counting_line(&p->stream, (int)p->o->flow, &b);
    tell(p, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
}

/* The id of its master, where each flow has a master of its own; it may be another one after a reconnect. */
static const char *own_replid(const struct flow *f)
{
    const struct source_kind *kind = f->stream->source->kind;
    return kind->flow_lineage != NULL ? kind->flow_lineage(f)->replid : "";
}

/* At most once a second, and only news. */
static void report(struct process *p, uint64_t now)
{
    if (!is_up(p) || now - p->reported_at < REPORT_EVERY || !ctl_idle(&p->ctl))
        return;
    const struct output *out = &p->stream.out;
    struct report r = {.bytes = flow_of(p)->bytes,
                       .queued = spool_len(&out->q),
                       .blocked = output_behind(out),
                       .full = output_spool_full(out),
                       .away = flow_of(p)->away,
                       .reconnects = flow_of(p)->reconnects};
    const struct report *was = &p->reported;
    if (r.bytes == was->bytes && r.queued == was->queued && r.blocked == was->blocked &&
        r.full == was->full && r.away == was->away && r.reconnects == was->reconnects)
        return;
    p->reported_at = now;
    p->reported = r;
    tell(p,
         "moved flow=%u epoch=%u bytes=%llu blocked=%d queued=%llu full=%d away=%d reconnects=%u replid=%s",
         p->o->flow, (unsigned)p->stream.info.epoch, (unsigned long long)r.bytes, (int)r.blocked,
         (unsigned long long)r.queued, (int)r.full, (int)r.away, r.reconnects, own_replid(flow_of(p)));
    if (!p->o->no_progress)
        log_progress("flow %u  %.1f MB%s", p->o->flow, (double)r.bytes / 1e6,
                     r.blocked ? "  (output full)" : "");
}

/* ---- what the stream reports ---- */

static void on_up(void *ctx, struct flow *f)
{
    struct process *p = ctx;
    const char *mode = f->partial ? "PARTIAL" : "FULL";
    log_event(LOG_INFO, (int)f->id, "event=flow_up mode=%s epoch=%u", mode, (unsigned)p->stream.info.epoch);
    tell(p, "flowup flow=%u epoch=%u mode=%s lsn=%llu anew=%d replid=%s", f->id,
         (unsigned)p->stream.info.epoch, mode, (unsigned long long)f->from.pos,
         (int)(f->partial && f->begins > 0), own_replid(f));
}

/* Where the full sync is still to be verified, that begins in front of the first entry, as this may already
 * be one that has to find its key: what the session has checked comes later. */
static int announce(struct process *p, struct flow *f, enum flow_form form)
{
    struct buf b = {.max = 64};
    bool verify = p->resume.verify && f->early && !f->announced;
    int rc = stream_announce_flow(f, form);
    meta_adds(&b, "state", "begin");
    if (rc == 0 && verify)
        rc = stream_check(f->stream, f->id, &b);
    buf_free(&b);
    return rc;
}

static void on_bytes(void *ctx, struct flow *f)
{
    (void)announce(ctx, f, FORM_JOURNAL); /* a failure is noticed in the next turn */
}

/* What becomes of the session is for its process to say: stop, or the start of another epoch. */
static void on_lost(void *ctx, struct flow *f, const struct fault *why)
{
    struct process *p = ctx;
    log_event(LOG_INFO, (int)f->id, "event=flow_lost error=%s", log_quote(why->text, strlen(why->text)));
    if (!stream_ending(&p->stream))
        tell_lost(p, why->status, why->text, f->refused);
}

/* The session is ended in order by its own process. */
static void on_signal(void *ctx)
{
    tell(ctx, "stop");
}

static void on_failed(void *ctx, int status, const char *why)
{
    tell_lost(ctx, status, why, false);
}

static void on_say(void *ctx, const char *line)
{
    tell(ctx, "%s", line);
}

/* ---- from the session ---- */

static bool orderly(const char *reason)
{
    return strcmp(reason, "stop") == 0 || strcmp(reason, "complete") == 0;
}

static void end(struct process *p, const char *reason, int status, const char *message)
{
    char text[FAULT_TEXT];
    strlcpy(text, message, sizeof text);
    if (orderly(reason))
        stream_stop(&p->stream, reason, status);
    else /* what the session's process says it has logged itself */
        stream_fail(&p->stream, p->told ? LOG_DEBUG : LOG_ERROR, reason, status, text);
}

static void open_flow(struct process *p)
{
    struct flow_from from = {.pos = 0};
    if (p->resume.state == RESUME_SAVED && p->o->flow < p->resume.flows) {
        (void)resume_vector(&p->resume);
        from = resume_from(&p->resume, p->o->flow);
    }
    stream_open_flow(&p->stream, flow_of(p), &from);
}

static void start(struct process *p, const char *line)
{
    struct sessinfo info;
    struct stream *st = &p->stream;
    if (stream_ending(st))
        return;
    bool good = sessinfo_parse(&info, line) && info.flows > p->o->flow;
    if (!good || strcmp(info.source, st->source->kind->name) != 0) {
        end(p, "error", good ? EXIT_RETRY : EXIT_CANNOT,
            good ? "the source is another kind of server now"
                 : "the owner of the session sent a malformed start");
        stream_finish(st);
        return;
    }
    stream_set_flows(st, p->o->flow, 1);
    st->info = info;
    if (st->source->kind->drop_rereads != NULL)
        st->source->kind->drop_rereads(st->source);
    st->out.read_on = false;
    p->reported.bytes = 0;
    int rc = stream_announce(st);
    resume_free(&p->resume);
    if (rc == 0 && !info.resume)
        open_flow(p);
}

/* Of a session that goes on where an earlier one ended: open the flow. Its FLOW record is to be written. */
static void go_on(struct process *p, const char *line)
{
    char text[16];
    struct flow *f = flow_of(p);
    if (f == NULL)
        return;
    if (ctl_is(line, "open")) {
        if (f->state == FLOW_DOWN && p->stream.info.resume)
            open_flow(p);
    } else if (f->state == FLOW_UP && (f->partial || f->member)) {
        (void)ctl_get(line, "form", text, sizeof text);
        if (announce(p, f,
                     strcmp(text, "journal") == 0 ? FORM_JOURNAL
                     : strcmp(text, "full") == 0  ? FORM_FULL
                                                  : FORM_SNAPSHOT) == 0)
            tell(p, "announced flow=%u epoch=%u", p->o->flow, (unsigned)p->stream.info.epoch);
    }
}

static void stop(struct process *p, const char *line)
{
    char reason[32], message[600];
    uint64_t number;
    p->told = true;
    if (ctl_get(line, "reason", reason, sizeof reason) > 0) {
        (void)ctl_get(line, "message", message, sizeof message);
        end(p, reason, ctl_getu(line, "status", &number) && number < 256 ? (int)number : EXIT_RETRY, message);
    }
    if (ctl_getu(line, "final", &number) && number != 0) {
        if (p->stream.state == STREAM_RUNS)
            end(p, "stop", EXIT_PARTIAL, "");
        stream_finish(&p->stream);
    }
}

/* What is to be checked at the target, from "state=" on: a CHECK record of the flow. */
static void check(struct process *p, const char *line)
{
    const char *text = strstr(line, " state=");
    struct buf b = {.max = CTL_LINE_MAX + 1};
    if (text == NULL)
        return;
    (void)buf_addstr(&b, text + 1);
    for (size_t i = 0; i < b.len; i++)
        b.p[i] = b.p[i] == ' ' ? '\n' : b.p[i];
    if (b.p[b.len - 1] != '\n')
        (void)buf_addstr(&b, "\n");
    (void)stream_check(&p->stream, p->o->flow, &b); /* a failure is noticed in the next turn */
    buf_free(&b);
}

/* Lines of one epoch, which the session may have begun anew since. */
static void take_epoch_line(struct process *p, const char *line)
{
    uint64_t pos, epoch;
    struct stream *st = &p->stream;
    if (!ctl_getu(line, "epoch", &epoch) || epoch != st->info.epoch || st->n == 0)
        return;
    if (ctl_is(line, "ack")) {
        if (ctl_getu(line, "pos", &pos) && pos > flow_of(p)->applied)
            flow_of(p)->applied = pos;
    } else if (stream_ending(st)) {
        return;
    } else if (ctl_is(line, "open") || ctl_is(line, "announce")) {
        go_on(p, line);
    } else if (ctl_is(line, "reread") && st->source->kind->reread != NULL) {
        st->source->kind->reread(st->source, p->o->flow, line);
    } else if (ctl_is(line, "check")) {
        check(p, line);
    } else if (st->source->kind->told != NULL) {
        st->source->kind->told(st->source, line);
    }
}

static void take_line(struct process *p, const char *line)
{
    uint64_t number;
    if (ctl_is(line, "start"))
        start(p, line);
    else if (ctl_is(line, "resume") || ctl_is(line, "from"))
        (void)resume_line(&p->resume, line);
    else if (ctl_is(line, "readon"))
        p->stream.out.read_on = ctl_getu(line, "on", &number) && number != 0;
    else if (ctl_is(line, "stop"))
        stop(p, line);
    else if (ctl_is(line, "master") && p->stream.source->kind->told != NULL)
        p->stream.source->kind->told(p->stream.source, line); /* before the epoch that it is of */
    else
        take_epoch_line(p, line);
}

static void take_lines(struct process *p)
{
    char *line;
    while (p->stream.state != STREAM_DONE && (line = ctl_line(&p->ctl)) != NULL)
        take_line(p, line);
}

static void on_session(struct watch *w, uint32_t events)
{
    struct process *p = w->ctx;
    bool lost = (events & EPOLLOUT) != 0 && ctl_flush(&p->ctl) < 0;
    int rc = 1;
    while (rc > 0 && (rc = ctl_fill(&p->ctl)) > 0)
        take_lines(p);
    if (rc == 0 && !lost)
        return;
    loop_del(&p->stream.loop, &p->w);
    ctl_close(&p->ctl);
    end(p, "lost", EXIT_RETRY, "the process that owns the session has gone");
    stream_finish(&p->stream);
}

/* ---- the beginning ---- */

/* The session's process may still be on its way to its socket. */
static int connect_session(struct process *p, char answer[static CTL_LINE_MAX])
{
    char hello[32];
    int limit = p->o->connect_timeout * 1000;
    snprintf(hello, sizeof hello, "role=flow flow=%u", p->o->flow);
    uint64_t deadline = mono_us() + (uint64_t)limit * 1000;
    while (ctl_hello(&p->ctl, p->o->session, hello, limit, answer, CTL_LINE_MAX) < 0) {
        if (answer[0] == '\0' && mono_us() < deadline && signals_seen() == 0) {
            (void)io_wait(-1, -1, HELLO_EVERY);
            continue;
        }
        log_event(signals_seen() > 0 ? LOG_INFO : LOG_WARN, (int)p->o->flow,
                  "event=not_joined session=%s error=%s", p->o->session,
                  answer[0] != '\0' ? log_quote(answer, strlen(answer)) : "\"nobody listens there\"");
        return -1;
    }
    p->w = (struct watch){.fd = -1, .ready = on_session, .ctx = p};
    return loop_add(&p->stream.loop, &p->w, p->ctl.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* A session that was stopped before we came to it has stopped us, too, and so has a signal while we waited.
 * One that has failed says itself why. */
static void not_joined(struct process *p, const char *answer)
{
    char reason[40] = "";
    if (answer[0] != '\0')
        (void)ctl_get(answer, "reason", reason, sizeof reason);
    if (strcmp(reason, "session-is-ending") == 0 || signals_seen() > 0)
        end(p, "stop", EXIT_PARTIAL, "");
    else if (strcmp(reason, "session-has-failed") == 0)
        end(p, "lost", EXIT_RETRY, "the session has failed");
    else
        end(p, "error", EXIT_CANNOT, "the owner of the session was not reached");
    stream_finish(&p->stream);
}

int flow_process_run(const struct options *o, const struct source_kind *kind)
{
    struct process p = {.o = o, .ctl.fd = -1, .w.fd = -1};
    struct stream_events events = {.ctx = &p,
                                   .up = on_up,
                                   .lost = on_lost,
                                   .bytes = on_bytes,
                                   .asked_to_stop = on_signal,
                                   .failed = on_failed,
                                   .say = on_say};
    char answer[CTL_LINE_MAX] = "";
    p.stream.one_flow = true;
    p.stream.first = o->flow;
    p.stream.signals_free = 1; /* the session gets it, too, and its word may come first */
    stream_open(&p.stream, o, kind, NULL, &events, false);
    if (p.stream.state != STREAM_DONE && connect_session(&p, answer) < 0)
        not_joined(&p, answer);
    take_lines(&p); /* those that came with the welcome */
    while (p.stream.state != STREAM_DONE) {
        stream_turn(&p.stream, stream_ending(&p.stream) ? LOOP_TICK / 10 : LOOP_TICK);
        uint64_t now = mono_us();
        stream_acknowledge(&p.stream, now, p.stream.last);
        report(&p, now);
        count(&p, now);
    }
    loop_del(&p.stream.loop, &p.w);
    ctl_close(&p.ctl);
    int status = stream_close(&p.stream);
    resume_free(&p.resume);
    stream_free(&p.stream);
    return status;
}
