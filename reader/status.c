/* What "status" is answered, and the line on a terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "counting.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "progress.h"
#include "session.h"

/* Lines of an answer are handed over in portions of this size: a session may have a thousand flows. */
#define PORTION ((size_t)16 << 10)

static const char *shown_phase(const struct session *s)
{
    const struct source *src = s->stream.source;
    const char *own = src->kind->phase != NULL && !session_ending(s) ? src->kind->phase(src) : NULL;
    return own != NULL ? own : session_phase(s);
}

static void add_size(struct buf *b, uint64_t size, uint64_t bytes, uint64_t us)
{
    long left = progress_left(bytes, size, us);
    if (size > 0)
        (void)buf_addf(b, "size=%llu percent=%.0f ", (unsigned long long)size,
                       100.0 * (double)bytes / (double)size);
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
    uint64_t queued, now = mono_us(), bytes = session_flows_bytes(&s->flows, &queued);
    bool any = false;
    queued += spool_len(&s->stream.out.q);
    (void)buf_addf(&b,
                   "session phase=%s pid=%ld epoch=%u flows=%u up=%u cut=%u synced=%u phase_seconds=%llu ",
                   shown_phase(s), (long)getpid(), (unsigned)info->epoch, info->flows, s->flows.up,
                   s->flows.cut, s->flows.synced, (unsigned long long)(us_since(now, s->phase_since) / US));
    (void)buf_addf(&b, "bytes=%llu queued=%llu restarts=%u reconnects=%u parsers=%u writers=%u seconds=%llu ",
                   (unsigned long long)bytes, (unsigned long long)queued, s->stream.restarts,
                   session_flows_reconnects(&s->flows), s->control.count[ROLE_PARSER],
                   s->control.count[ROLE_WRITER], (unsigned long long)((now - s->begun_at) / US));
    target_health_fields(&target, &b, now);
    (void)buf_addstr(&b, "alarms=");
    health_alarms(s, &b, &any);
    target_health_alarms(&target, &b, &any);
    (void)buf_addstr(&b, " ");
    if (src->kind->fields != NULL)
        src->kind->fields(src, &b);
    add_size(&b, s->size, bytes, now - s->begun_at);
    (void)buf_addf(&b, "keys=%llu ", (unsigned long long)counting_keys(&s->control));
    if (info->keys > 0)
        (void)buf_addf(&b, "total_keys=%llu ", (unsigned long long)info->keys);
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
static uint64_t applied_to(const struct session_flows *t, const struct resume *r, unsigned i)
{
    bool goes_on = t->partial > 0 && t->partial == t->n && r->state == RESUME_SAVED;
    return t->flow[i].applied == 0 && goes_on ? r->flow[i].pos : t->flow[i].applied;
}

static unsigned long long shown(const struct source *src, uint64_t pos)
{
    return src->kind->shown != NULL && pos > 0 ? src->kind->shown(pos) : pos;
}

static void flow_line(struct session *s, struct peer *p, unsigned i)
{
    const struct session_flow *f = &s->flows.flow[i];
    const struct source *src = s->stream.source;
    const char *state = s->o->session_only && f->process == NULL ? "none"
                        : f->away                                ? "reconnecting"
                        : f->up                                  ? "up"
                                                                 : "opening";
    uint64_t at = applied_to(&s->flows, &s->resume, i);
    unsigned long long applied = shown(src, at), head = shown(src, f->head);
    const char *master = src->kind->flow_master != NULL ? src->kind->flow_master(src, i) : NULL;
    char lag[24] = "-"; /* not known */
    if (at > 0 && f->head > 0)
        snprintf(lag, sizeof lag, "%llu", head > applied ? head - applied : 0);
    control_send(p,
                 "flow flow=%u state=%s bytes=%llu cut=%d synced=%d applied=%llu acked=%llu head=%llu lag=%s "
                 "silent=%llu reconnects=%u%s%s",
                 i, state, (unsigned long long)f->bytes, (int)f->cut, (int)f->synced, applied,
                 shown(src, f->acked), head, lag, (unsigned long long)(health_silent(s, f, mono_us()) / US),
                 f->reconnects, master != NULL ? " replid=" : "", master != NULL ? master : "");
}

/* The line of this process, or that of the next peer. False: there are no more. */
static bool counters_next(const struct stream *st, struct peer *p)
{
    struct buf b = {.max = CTL_LINE_MAX};
    if (!p->asks_counters)
        return false;
    if (p->passed != 0)
        return counting_pass(p->control, p, &p->passed);
    p->passed = 1; /* nobody's: peers are numbered from 2 */
    counting_line(st, NO_FLOW, &b);
    control_send(p, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
    return true;
}

void status_begin(struct session *s, struct peer *p, bool counters)
{
    if (p->status_next >= 0)
        return; /* the answer that is under way will do */
    p->asks_counters = counters;
    p->passed = 0;
    session_flows_refresh(&s->flows, &s->stream);
    session_line(s, p);
    p->status_next = 0;
    status_continue(s, p);
}

void status_continue(struct session *s, struct peer *p)
{
    while (p->status_next >= 0 && !p->gone && p->ctl.out.len < PORTION) {
        if ((unsigned)p->status_next < s->flows.n) {
            flow_line(s, p, (unsigned)p->status_next++);
        } else if (!counters_next(&s->stream, p)) {
            control_send(p, "end");
            p->status_next = -1;
        }
    }
}

/* ---- progress ---- */

/* By how much the target is behind, of all flows; false: that is not known. */
static bool lag_of(const struct session_flows *t, const struct resume *r, const struct source *src,
                   uint64_t *lag)
{
    *lag = 0;
    for (unsigned i = 0; i < t->n; i++) {
        uint64_t at = applied_to(t, r, i);
        if (at == 0 || t->flow[i].head == 0)
            return false;
        unsigned long long applied = shown(src, at), head = shown(src, t->flow[i].head);
        *lag += head > applied ? head - applied : 0;
    }
    return t->n > 0;
}

static struct progress progress_of(struct session *s, uint64_t bytes, uint64_t now)
{
    const struct sessinfo *info = &s->stream.info;
    bool full_sync = s->stream.source->kind->live && s->phase <= PHASE_STARTING;
    struct progress p = {.phase = shown_phase(s),
                         .flows = info->flows,
                         .up = s->flows.up,
                         .synced = s->flows.synced,
                         .bytes = bytes,
                         .size = s->size,
                         .keys = counting_keys(&s->control),
                         .all = full_sync ? info->keys : 0,
                         .us = us_since(now, s->size > 0 ? s->begun_at : s->full_since),
                         .full = output_full(&s->stream.out)};
    p.lag_known = s->live && lag_of(&s->flows, &s->resume, s->stream.source, &p.lag);
    return p;
}

/* On a terminal a line that changes each second. Else a message every 10 seconds, until the changes flow. */
void status_progress(struct session *s, uint64_t now)
{
    uint64_t every = log_on_terminal() ? US : 10 * US;
    if (s->progress_at == 0 && !log_on_terminal())
        s->progress_at = now;
    if (s->o->no_progress || now - s->progress_at < every || (s->phase == PHASE_STABLE && !log_on_terminal()))
        return;
    uint64_t queued, bytes = session_flows_bytes(&s->flows, &queued), before = s->progress_bytes;
    double seconds = (double)(now - s->progress_at) / (double)US;
    double rate = bytes > before ? (double)(bytes - before) / seconds : 0;
    struct buf b = {.max = 400};
    struct progress p = progress_of(s, bytes, now);
    p.rate = rate;
    s->progress_at = now;
    s->progress_bytes = bytes;
    progress_text(&p, &b);
    (void)buf_add(&b, "", 1);
    if (log_on_terminal())
        log_progress("%s", (const char *)b.p);
    else if (session_ending(s) || bytes != before)
        log_note(NO_FLOW, "event=progress note=%s", log_quote(b.p, b.len - 1));
    buf_free(&b);
}
