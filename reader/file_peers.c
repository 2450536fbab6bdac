/* The control socket of a file that is being read. dfrecord(5), CONTROL PROTOCOL. */
#include "file_source.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "log.h"
#include "meta.h"

/* Flows that a parser has read to their end are marked in applied. */
static bool on_hello(void *ctx, struct peer *p, const char *line, const char **refusal)
{
    struct source *s = ctx;
    (void)line;
    if (p->role == ROLE_FLOW) {
        *refusal = "flows-are-not-remote";
        return false;
    }
    hub_send(p, "welcome nonce=%s epoch=%u flows=%u phase=%s",
             p->role == ROLE_SUPERVISOR ? "-" : s->hub.nonce, FILE_EPOCH, s->set.n,
             s->eof ? "ending" : "fullsync");
    relay_welcome(&s->relay, p);
    return true;
}

static void on_parser_line(struct source *s, struct peer *p, const char *line)
{
    uint64_t flow;
    if (!ctl_is(line, "synced") || !ctl_getu(line, "flow", &flow) || flow >= s->set.n)
        return;
    if (p->applied == NULL)
        p->applied = xcalloc(s->set.n, sizeof *p->applied);
    p->napplied += p->applied[flow] == 0 ? 1 : 0;
    p->applied[flow] = 1;
    s->nsynced += s->synced[flow] ? 0 : 1;
    s->synced[flow] = true;
}

/* ---- status: the same lines as of a live session ---- */

long file_seconds_left(const struct source *s, uint64_t now)
{
    if (s->set.bytes == 0 || s->bytes == 0 || s->bytes > s->set.bytes)
        return -1;
    double part = (double)s->bytes / (double)s->set.bytes;
    return (long)((double)(now - s->began) / 1e6 * (1 / part - 1));
}

static void session_line(struct source *s, struct peer *p)
{
    struct buf b = {.max = CTL_LINE_MAX};
    uint64_t now = mono_us();
    long left = file_seconds_left(s, now);
    (void)buf_addf(&b, "session phase=%s pid=%ld epoch=%u flows=%u up=%u cut=%u synced=%u ",
                   s->eof ? "ending" : "fullsync", (long)getpid(), FILE_EPOCH, s->set.n, s->set.n, s->nsynced,
                   s->nsynced);
    (void)buf_addf(&b, "bytes=%llu queued=%llu restarts=0 parsers=%u writers=%u seconds=%llu ",
                   (unsigned long long)s->bytes, (unsigned long long)spool_len(&s->out.q),
                   s->hub.count[ROLE_PARSER], s->hub.count[ROLE_WRITER],
                   (unsigned long long)((now - s->began) / 1000000));
    struct condition c = hub_condition(&s->hub);
    bool any = output_spool_full(&s->out);
    condition_fields(&c, &b, now);
    (void)buf_addf(&b, "alarms=%s", any ? "spool-full" : "");
    condition_alarms(&c, &b, &any);
    (void)buf_addstr(&b, " ");
    if (s->set.bytes > 0)
        (void)buf_addf(&b, "size=%llu percent=%.0f ", (unsigned long long)s->set.bytes,
                       100.0 * (double)s->bytes / (double)s->set.bytes);
    if (left >= 0)
        (void)buf_addf(&b, "eta=%ld ", left);
    if (s->relay.limit[0] != '\0')
        (void)buf_addf(&b, "%s ", s->relay.limit + strlen("limit "));
    meta_add(&b, "source", s->o->shown, strlen(s->o->shown), '\0');
    hub_send(p, "%s", (const char *)b.p);
    buf_free(&b);
}

/* Lines of an answer are handed over in portions: a set may have a thousand files. */
static void status_continue(struct source *s, struct peer *p)
{
    while (p->status_next >= 0 && !p->gone && p->ctl.out.len < ((size_t)16 << 10)) {
        unsigned i = (unsigned)p->status_next++;
        if (i >= s->set.n) {
            hub_send(p, "end");
            p->status_next = -1;
            return;
        }
        hub_send(
            p, "flow flow=%u state=up bytes=%llu cut=%d synced=%d applied=0 acked=0 head=0 lag=- silent=0", i,
            (unsigned long long)(i < s->at    ? s->set.size[i]
                                 : i == s->at ? s->pos
                                              : 0),
            (int)s->synced[i], (int)s->synced[i]);
    }
}

static void on_supervisor_line(struct source *s, struct peer *p, const char *line)
{
    if (ctl_is(line, "status")) {
        if (p->status_next >= 0)
            return; /* the answer that is under way will do */
        session_line(s, p);
        p->status_next = 0;
        status_continue(s, p);
    } else if (ctl_is(line, "limit")) {
        relay_limit(&s->relay, &s->hub, p, line);
    } else if (ctl_is(line, "stop")) {
        s->stop = true;
        hub_send(p, "stopping");
        hub_send(p, "end");
    } else {
        hub_send(p, "unknown");
        hub_send(p, "end");
    }
}

static void on_line(void *ctx, struct peer *p, const char *line)
{
    struct source *s = ctx;
    log_event(LOG_DEBUG, NO_FLOW, "event=message role=%s line=%s", role_name(p->role),
              log_quote(line, strlen(line)));
    if (p->role == ROLE_PARSER || p->role == ROLE_WRITER)
        s->heard_at = mono_us();
    if (p->role == ROLE_PARSER)
        on_parser_line(s, p, line);
    else if (p->role == ROLE_WRITER && ctl_is(line, "target"))
        relay_target(&s->relay, &s->hub, line);
    else if (p->role == ROLE_WRITER && ctl_is(line, "health"))
        condition_take(&p->condition, line, mono_us());
    else if (p->role == ROLE_SUPERVISOR)
        on_supervisor_line(s, p, line);
}

static void on_room(void *ctx, struct peer *p)
{
    status_continue(ctx, p);
}

/* The stream tells: a parser that died is the reader of the output that is gone. */
static void on_gone(void *ctx, struct peer *p)
{
    (void)ctx;
    (void)p;
}

int file_peers_open(struct source *s, struct hub_observer *observer, char *why, size_t cap)
{
    *observer =
        (struct hub_observer){.ctx = s, .hello = on_hello, .line = on_line, .room = on_room, .gone = on_gone};
    s->listening = hub_open(&s->hub, &s->loop, s->o->control, observer, why, cap) == 0;
    if (s->listening)
        log_event(LOG_INFO, NO_FLOW, "event=listening control=%s", s->hub.path);
    return s->listening ? 0 : -1;
}

bool file_peers_busy(struct source *s)
{
    const struct peer *p;
    TAILQ_FOREACH(p, &s->hub.peers, link)
    {
        if (!p->gone && (p->role == ROLE_WRITER || (p->role == ROLE_PARSER && p->napplied < s->set.n)))
            return true;
    }
    return false;
}
