/* What "status" is answered, and the line on a terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "meta.h"
#include "session.h"

/* Lines of an answer are handed over in portions of this size: a session may have a thousand flows. */
#define PORTION ((size_t)16 << 10)

static const char *shown_phase(const struct session *s)
{
    const struct source *src = s->stream.source;
    const char *own = src->kind->phase != NULL && !session_ending(s) ? src->kind->phase(src) : NULL;
    return own != NULL ? own : session_phase(s);
}

/* Bytes that were read; *queued: that wait for outputs. */
static uint64_t total_bytes(const struct session *s, uint64_t *queued)
{
    uint64_t sum = 0;
    *queued = spool_len(&s->stream.out.q);
    for (unsigned i = 0; s->flows != NULL && i < s->stream.info.flows; i++) {
        sum += s->flows[i].bytes;
        *queued += s->flows[i].queued;
    }
    return sum;
}

static unsigned total_reconnects(const struct session_flow *f, unsigned n)
{
    unsigned sum = 0;
    for (unsigned i = 0; f != NULL && i < n; i++)
        sum += f[i].reconnects;
    return sum;
}

/* Seconds that reading the rest will take, -1: not known. */
static long seconds_left(const struct session *s, uint64_t bytes, uint64_t now)
{
    if (s->size == 0 || bytes == 0 || bytes > s->size)
        return -1;
    double part = (double)bytes / (double)s->size;
    return (long)((double)(now - s->begun_at) / 1e6 * (1 / part - 1));
}

static void add_size(const struct session *s, struct buf *b, uint64_t bytes)
{
    long left = seconds_left(s, bytes, mono_us());
    if (s->size > 0)
        (void)buf_addf(b, "size=%llu percent=%.0f ", (unsigned long long)s->size,
                       100.0 * (double)bytes / (double)s->size);
    if (left >= 0)
        (void)buf_addf(b, "eta=%ld ", left);
}

static void add_text(struct buf *b, const char *name, const char *value)
{
    if (value[0] != '\0')
        meta_add(b, name, value, strlen(value), ' ');
}

static void session_line(struct session *s, struct peer *p)
{
    const struct sessinfo *info = &s->stream.info;
    const struct source *src = s->stream.source;
    struct buf b = {.max = CTL_LINE_MAX};
    struct target_health target = control_target_health(&s->control);
    uint64_t queued, now = mono_us(), bytes = total_bytes(s, &queued);
    bool any = false;
    (void)buf_addf(&b, "session phase=%s pid=%ld epoch=%u flows=%u up=%u cut=%u synced=%u ", shown_phase(s),
                   (long)getpid(), (unsigned)info->epoch, info->flows, s->up, s->cut, s->synced);
    (void)buf_addf(&b, "bytes=%llu queued=%llu restarts=%u reconnects=%u parsers=%u writers=%u seconds=%llu ",
                   (unsigned long long)bytes, (unsigned long long)queued, s->stream.restarts,
                   total_reconnects(s->flows, info->flows), s->control.count[ROLE_PARSER],
                   s->control.count[ROLE_WRITER], (unsigned long long)((now - s->begun_at) / US));
    target_health_fields(&target, &b, now);
    (void)buf_addstr(&b, "alarms=");
    health_alarms(s, &b, &any);
    target_health_alarms(&target, &b, &any);
    (void)buf_addstr(&b, " ");
    if (src->kind->fields != NULL)
        src->kind->fields(src, &b);
    add_size(s, &b, bytes);
    if (s->limit[0] != '\0')
        (void)buf_addf(&b, "%s ", s->limit + strlen("limit "));
    add_text(&b, "source", s->o->shown);
    add_text(&b, "replid", info->lineage.replid);
    add_text(&b, "session", info->session);
    control_send(p, "%.*s", (int)b.len - 1, (const char *)b.p);
    buf_free(&b);
}

/* What the writer has reported; of a session that goes on, from where it does, as long as nothing new was
 * applied. */
static uint64_t applied_to(const struct session *s, unsigned i)
{
    bool goes_on = s->partial > 0 && s->partial == s->stream.info.flows && s->resume.state == RESUME_SAVED;
    return s->flows[i].applied == 0 && goes_on ? s->resume.flow[i].pos : s->flows[i].applied;
}

static unsigned long long shown(const struct source *src, uint64_t pos)
{
    return src->kind->shown != NULL && pos > 0 ? src->kind->shown(pos) : pos;
}

static void flow_line(struct session *s, struct peer *p, unsigned i)
{
    const struct session_flow *f = &s->flows[i];
    const struct source *src = s->stream.source;
    const char *state = s->o->session_only && f->process == NULL ? "none"
                        : f->away                                ? "reconnecting"
                        : f->up                                  ? "up"
                                                                 : "opening";
    uint64_t at = applied_to(s, i);
    unsigned long long applied = shown(src, at), head = shown(src, f->head);
    char lag[24] = "-"; /* not known */
    if (at > 0 && f->head > 0)
        snprintf(lag, sizeof lag, "%llu", head > applied ? head - applied : 0);
    control_send(p,
                 "flow flow=%u state=%s bytes=%llu cut=%d synced=%d applied=%llu acked=%llu head=%llu lag=%s "
                 "silent=%llu reconnects=%u",
                 i, state, (unsigned long long)f->bytes, (int)f->cut, (int)f->synced, applied,
                 shown(src, f->acked), head, lag, (unsigned long long)(health_silent(s, f, mono_us()) / US),
                 f->reconnects);
}

void status_begin(struct session *s, struct peer *p)
{
    if (p->status_next >= 0)
        return; /* the answer that is under way will do */
    flows_refresh(s);
    session_line(s, p);
    p->status_next = 0;
    status_continue(s, p);
}

void status_continue(struct session *s, struct peer *p)
{
    while (p->status_next >= 0 && !p->gone && p->ctl.out.len < PORTION) {
        if (s->flows != NULL && (unsigned)p->status_next < s->stream.info.flows) {
            flow_line(s, p, (unsigned)p->status_next++);
        } else {
            control_send(p, "end");
            p->status_next = -1;
        }
    }
}

void status_progress(struct session *s, uint64_t now)
{
    if (now - s->progress_at < US)
        return;
    uint64_t queued, bytes = total_bytes(s, &queued), before = s->progress_bytes;
    double seconds = (double)(now - s->progress_at) / (double)US;
    double rate = s->progress_at > 0 && bytes > before ? (double)(bytes - before) / seconds : 0;
    long left = seconds_left(s, bytes, now);
    char rest[80] = "";
    s->progress_at = now;
    s->progress_bytes = bytes;
    if (left >= 0)
        snprintf(rest, sizeof rest, "  %.0f %% of %.1f MB  %ld s left", 100 * (double)bytes / (double)s->size,
                 (double)s->size / 1e6, left);
    log_progress("%s  flows %u/%u  synced %u  %.1f MB  %.1f MB/s%s%s", shown_phase(s), s->up,
                 s->stream.info.flows, s->synced, (double)bytes / 1e6, rate / 1e6, rest,
                 output_full(&s->stream.out) ? "  (output full)" : "");
}
