/* What flows are told. Those of this process are called, those of others get lines; both do the same with it
 * (stream.h, flow_process.c). dfrecord(5), CONTROL PROTOCOL. */
#include <stdlib.h>
#include <string.h>

#include "exits.h"
#include "io.h"
#include "meta.h"
#include "session.h"

#define CHECKS_MAX ((size_t)65536) /* bytes that may wait for a process */

void flows_reset(struct session *s)
{
    unsigned n = s->stream.info.flows;
    session_flows_reset(&s->flows, n);
    stream_set_flows(&s->stream, 0, s->o->session_only ? 0 : n);
}

/* ---- opening ---- */

static void send_line(struct peer *p, struct buf *b)
{
    control_send(p, "%.*s", (int)b->len, (const char *)b->p);
    b->len = 0;
}

/* What the source has to say to it first. */
static void introduce(const struct source *src, struct peer *p)
{
    struct buf b = {.max = CTL_LINE_MAX};
    if (src->kind->flow_line == NULL)
        return;
    src->kind->flow_line(src, p->flow, &b);
    send_line(p, &b);
    buf_free(&b);
}

/* The positions that it needs, and then to open its flow. */
static void open_in_process(struct session *s, struct peer *p)
{
    if (s->resume.going_on) {
        struct buf b = {.max = CTL_LINE_MAX};
        resume_say(&s->resume, &b);
        send_line(p, &b);
        for (unsigned i = 0; i < s->resume.flows; i++) {
            resume_say_flow(&s->resume, i, &b);
            send_line(p, &b);
        }
        buf_free(&b);
    }
    if (p->flow < s->stream.info.flows)
        introduce(s->stream.source, p);
    control_send(p, "open epoch=%u", (unsigned)s->stream.info.epoch);
}

/* Tell it what the session is. Where that is not to go on, it opens its flow at once. */
static void start(struct session *s, struct peer *p)
{
    if (p->flow >= s->stream.info.flows) {
        control_send(p, "stop final=1 reason=error status=%d message=no%%20such%%20flow", EXIT_USAGE);
        return;
    }
    if (!s->stream.info.resume) /* it opens its flow at once */
        introduce(s->stream.source, p);
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addstr(&b, "start ");
    sessinfo_format(&s->stream.info, &b, ' ');
    (void)buf_add(&b, "", 1);
    s->flows.flow[p->flow].process = p;
    control_send(p, "%s", (const char *)b.p);
    buf_free(&b);
}

static void each_process(struct session *s, void (*call)(struct session *s, struct peer *p))
{
    struct peer *p;
    TAILQ_FOREACH(p, &s->control.peers, link)
    {
        if (p->role == ROLE_FLOW && !p->gone)
            call(s, p);
    }
}

void flows_start_processes(struct session *s)
{
    each_process(s, start);
}

void flows_start_process(struct session *s, struct peer *p)
{
    if (s->phase == PHASE_RESUME || s->phase == PHASE_FLOWS)
        start(s, p);
    if (s->stream.out.read_on)
        control_send(p, "readon on=1");
    if (s->phase == PHASE_FLOWS && s->stream.info.resume && s->flows.flow[p->flow].process == p)
        open_in_process(s, p);
}

void flows_open(struct session *s)
{
    if (s->o->session_only)
        each_process(s, s->stream.info.resume ? open_in_process : start);
    for (unsigned i = 0; i < s->stream.n && s->phase == PHASE_FLOWS && !session_ending(s); i++) {
        struct flow_from from = {.pos = 0};
        if (s->resume.going_on)
            from = resume_from(&s->resume, i);
        stream_open_flow(&s->stream, &s->stream.flows[i], &from);
    }
}

/* ---- later ---- */

void flows_announce(struct session *s, enum flow_form form)
{
    for (unsigned i = 0; i < s->stream.n; i++)
        (void)stream_announce_flow(&s->stream.flows[i], form); /* a failure is noticed in the next turn */
    for (unsigned i = 0; s->o->session_only && i < s->flows.n; i++)
        if (s->flows.flow[i].process != NULL)
            control_send(s->flows.flow[i].process, "announce epoch=%u form=%s",
                         (unsigned)s->stream.info.epoch,
                         form == FORM_JOURNAL ? "journal"
                         : form == FORM_FULL  ? "full"
                                              : "snapshot");
}

void flows_acknowledge(struct session *s, bool at_once)
{
    for (unsigned i = 0; s->live && i < s->flows.n; i++) {
        struct session_flow *f = &s->flows.flow[i];
        if (i < s->stream.n) {
            s->stream.flows[i].applied = f->applied;
        } else if (f->process != NULL && f->applied > f->acked && ctl_idle(&f->process->ctl)) {
            f->acked = f->applied;
            control_send(f->process, "ack flow=%u epoch=%u pos=%llu", i, (unsigned)s->stream.info.epoch,
                         (unsigned long long)f->applied);
        }
    }
    stream_acknowledge(&s->stream, mono_us(), at_once);
}

void flows_read_on(struct control *c, struct output *out, bool on)
{
    if (on != out->read_on)
        control_send_role(c, ROLE_FLOW, on ? "readon on=1" : "readon on=0");
    out->read_on = on;
}

void flows_moved(struct control *c, const struct sessinfo *info)
{
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addf(&b, "server epoch=%u at=", (unsigned)info->epoch);
    meta_escape(&b, info->server, strlen(info->server), 0);
    (void)buf_add(&b, "", 1);
    control_send_role(c, ROLE_FLOW, (const char *)b.p);
    buf_free(&b);
}

void flows_reread(struct session *s, unsigned i, const char *line)
{
    const struct source *src = s->stream.source;
    if (i >= s->stream.n && s->flows.flow[i].process != NULL)
        control_send(s->flows.flow[i].process, "%s", line);
    else if (i < s->stream.n && src->kind->reread != NULL)
        src->kind->reread(s->stream.source, i, line);
}

size_t flows_check_max(const struct options *o)
{
    return o->session_only ? CTL_LINE_MAX : DATA_MAX;
}

/* As a line: a record of it is made there. */
static void send_text(struct peer *p, uint16_t epoch, const char *verb, const struct buf *text)
{
    char line[CTL_LINE_MAX];
    if (text->len >= sizeof line)
        return;
    for (size_t k = 0; k < text->len; k++) /* values are escaped: they have neither */
        line[k] = text->p[k] == '\n' ? ' ' : (char)text->p[k];
    control_send(p, "%s flow=%u epoch=%u %.*s", verb, p->flow, (unsigned)epoch, (int)text->len, line);
}

void flows_record(struct session *s, unsigned i, enum rec_type type, const struct buf *text)
{
    bool slots = type == REC_SLOTS;
    if (i < s->stream.n) /* a failure is noticed in the next turn */
        (void)(slots ? stream_slots : stream_check)(&s->stream, i, text);
    else if (s->flows.flow[i].process != NULL)
        send_text(s->flows.flow[i].process, s->stream.info.epoch, slots ? "slots" : "check", text);
}

bool flows_room(struct session *s)
{
    bool full = output_full(&s->stream.out) || s->barrier_since != 0;
    for (unsigned i = s->stream.n; i < s->flows.n && !full; i++) {
        const struct session_flow *f = &s->flows.flow[i];
        full = f->process == NULL || f->full || f->process->ctl.out.len > CHECKS_MAX;
    }
    return !full;
}

void flows_stop(struct control *c, const char *reason, int status, const char *message)
{
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addf(&b, "stop reason=%s status=%d", reason, status);
    if (message[0] != '\0') {
        (void)buf_addstr(&b, " message=");
        meta_escape(&b, message, strlen(message), 500);
    }
    (void)buf_add(&b, "", 1);
    control_send_role(c, ROLE_FLOW, (const char *)b.p);
    buf_free(&b);
}
