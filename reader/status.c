#include "owner.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "meta.h"

/* Lines of an answer are handed over in portions of this size: a session may have a thousand flows. */
#define PORTION ((size_t)16 << 10)

const char *phase_name(enum phase phase)
{
    static const char *const names[] = {"connect", "resume", "flows",  "fullsync", "starting",
                                        "stable",  "ending", "linger", "done"};
    return names[phase];
}

uint64_t flow_bytes(const struct owner *w, const struct oflow *f)
{
    return w->o->session_only ? f->bytes : f->local.bytes;
}

static uint64_t total_bytes(const struct owner *w)
{
    uint64_t sum = 0;
    for (unsigned i = 0; w->flows != NULL && i < w->info.flows; i++)
        sum += flow_bytes(w, &w->flows[i]);
    return sum;
}

static uint64_t queued(const struct owner *w)
{
    uint64_t sum = spool_len(&w->out.q);
    for (unsigned i = 0; w->flows != NULL && i < w->info.flows; i++)
        sum += w->flows[i].queued;
    return sum;
}

/* Of all writers. */
static struct condition condition_of(const struct owner *w)
{
    struct condition sum = {.target = ""};
    const struct peer *p;
    TAILQ_FOREACH(p, &w->hub.peers, link)
    {
        if (p->role == ROLE_WRITER && !p->gone)
            condition_join(&sum, &p->condition);
    }
    return sum;
}

static void session_line(struct owner *w, struct peer *p)
{
    struct buf b = {.max = CTL_LINE_MAX};
    (void)buf_addf(&b, "session phase=%s pid=%ld epoch=%u flows=%u up=%u cut=%u synced=%u ",
                   phase_name(w->phase), (long)getpid(), (unsigned)w->info.epoch, w->info.flows, w->up,
                   w->cut, w->synced);
    (void)buf_addf(&b, "bytes=%llu queued=%llu restarts=%u parsers=%u writers=%u seconds=%llu ",
                   (unsigned long long)total_bytes(w), (unsigned long long)queued(w), w->restarts,
                   w->hub.count[ROLE_PARSER], w->hub.count[ROLE_WRITER],
                   (unsigned long long)((mono_us() - w->begun_at) / US));
    uint64_t known = w->heads_at > w->phase_since ? w->heads_at : w->phase_since;
    if (w->stable_ok)
        (void)buf_addf(&b, "heads_age=%llu ", (unsigned long long)((mono_us() - known) / US));
    struct condition c = condition_of(w);
    condition_fields(&c, &b, mono_us());
    (void)buf_addstr(&b, "alarms=");
    bool any = health_alarms(w, &b);
    condition_alarms(&c, &b, &any);
    (void)buf_addstr(&b, " ");
    if (w->limit[0] != '\0')
        (void)buf_addf(&b, "%s ", w->limit + strlen("limit "));
    meta_add(&b, "source", w->o->shown, strlen(w->o->shown), ' ');
    meta_add(&b, "replid", w->info.replid, strlen(w->info.replid), ' ');
    meta_add(&b, "session", w->info.session, strlen(w->info.session), '\0');
    hub_send(p, "%s", (const char *)b.p);
    buf_free(&b);
}

/* What the writer has reported; of a session that goes on, from where it does, as long as nothing new was
 * applied. */
static uint64_t applied_to(const struct owner *w, unsigned i)
{
    bool goes_on = w->partial > 0 && w->partial == w->info.flows && w->resume.state == RESUME_SAVED;
    return w->flows[i].applied == 0 && goes_on ? w->resume.pos[i] : w->flows[i].applied;
}

static void flow_line(struct owner *w, struct peer *p, unsigned i)
{
    const struct oflow *f = &w->flows[i];
    const char *state = w->o->session_only && f->remote == NULL ? "none" : f->up ? "up" : "opening";
    uint64_t applied = applied_to(w, i);
    char lag[24] = "-"; /* not known */
    if (applied > 0 && f->head > 0)
        snprintf(lag, sizeof lag, "%llu", (unsigned long long)(f->head > applied ? f->head - applied : 0));
    hub_send(p,
             "flow flow=%u state=%s bytes=%llu cut=%d synced=%d applied=%llu acked=%llu head=%llu lag=%s "
             "silent=%llu",
             i, state, (unsigned long long)flow_bytes(w, f), (int)f->cut, (int)f->synced,
             (unsigned long long)applied, (unsigned long long)(w->o->session_only ? f->told : f->local.acked),
             (unsigned long long)f->head, lag, (unsigned long long)(health_silent(w, f, mono_us()) / US));
}

void status_begin(struct owner *w, struct peer *p)
{
    if (p->status_next >= 0)
        return; /* the answer that is under way will do */
    session_line(w, p);
    p->status_next = 0;
    status_continue(w, p);
}

void status_continue(struct owner *w, struct peer *p)
{
    while (p->status_next >= 0 && !p->gone && p->ctl.out.len < PORTION) {
        if (w->flows != NULL && (unsigned)p->status_next < w->info.flows) {
            flow_line(w, p, (unsigned)p->status_next++);
        } else {
            hub_send(p, "end");
            p->status_next = -1;
        }
    }
}

void status_progress(struct owner *w, uint64_t now)
{
    if (now - w->progress_at < US)
        return;
    uint64_t bytes = total_bytes(w);
    double seconds = (double)(now - w->progress_at) / (double)US;
    double rate =
        w->progress_at > 0 && bytes > w->progress_bytes ? (double)(bytes - w->progress_bytes) / seconds : 0;
    w->progress_at = now;
    w->progress_bytes = bytes;
    log_progress("%s  flows %u/%u  synced %u  %.1f MB  %.1f MB/s%s", phase_name(w->phase), w->up,
                 w->info.flows, w->synced, (double)bytes / 1e6, rate / 1e6,
                 output_full(&w->out) ? "  (output full)" : "");
}
