#include "live.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "io.h"
#include "log.h"
#include "../events.h"
#include "../target/target.h"
#include "../writer.h"

#define HELLO_MS   5000
#define FINISH_MS  1000
#define LOOK_EVERY ((uint64_t)20000)
#define FLOW_EVERY ((uint64_t)100000)
#define SCAN_EVERY ((uint64_t)1000) /* dfreader reads no more than so many keys beyond what is applied */

void live_init(struct live *l)
{
    ctl_init(&l->ctl, -1);
    l->next = 0;
    l->pending = l->barrier = l->broken = false;
}

static void gone(struct writer *w)
{
    if (w->live.ctl.fd < 0)
        return;
    w->live.broken = false;
    log_event(LOG_INFO, NO_FLOW, "event=control_gone note=%s",
              log_quote("the end of the stream decides", strlen("the end of the stream decides")));
    events_drop(w, w->live.ctl.fd);
    ctl_close(&w->live.ctl);
}

/* While some flows wait for others, dfreader reads all of them, and minds the time. */
static void report_barrier(struct writer *w)
{
    bool waits = w->session.stage == ST_RUN && w->lanes.n > 0 && lanes_at_barrier(&w->lanes);
    if (waits == w->live.barrier)
        return;
    w->live.barrier = waits;
    if (ctl_send(&w->live.ctl, "barrier epoch=%u pending=%d", w->session.epoch, waits) < 0)
        gone(w);
}

void live_report(struct writer *w, uint64_t now, bool final)
{
    struct live *l = &w->live;
    if (l->broken)
        gone(w);
    if (l->ctl.fd < 0)
        return;
    if (!final && now < l->next) {
        l->pending = true; /* what changed since the last look must not wait for more input */
        return;
    }
    bool scans = w->session.scans;
    l->next = now + (scans ? SCAN_EVERY : LOOK_EVERY);
    l->pending = false;
    report_barrier(w);
    if (l->ctl.fd >= 0 && !probes_tell(w))
        gone(w);
    if (l->ctl.fd < 0)
        return;
    for (unsigned i = 0; i < w->positions.n; i++) {
        struct flowpos *f = &w->positions.flow[i];
        if (!w->cluster->whole && w->opt.position_file == NULL) /* nothing is saved: applied has to do */
            holds_saved(w, i, f->seq);
        if (f->pos == f->reported)
            continue;
        if (!final && (now < f->reported_at + (scans ? SCAN_EVERY : FLOW_EVERY) || !ctl_idle(&l->ctl))) {
            l->pending = true;
            continue;
        }
        if (ctl_send(&l->ctl, "applied flow=%u epoch=%u pos=%llu", i, w->session.epoch,
                     (unsigned long long)f->pos) < 0) {
            gone(w);
            return;
        }
        f->reported = f->pos;
        f->reported_at = now;
    }
    if (!ctl_idle(&l->ctl)) {
        l->pending = true;
        if (ctl_flush(&l->ctl) < 0)
            gone(w);
    }
}

int live_restart(struct writer *w, const char *reason)
{
    if (w->live.ctl.fd < 0)
        return -1;
    if (ctl_send(&w->live.ctl, "restart epoch=%u reason=%s", w->session.epoch, reason) < 0) {
        gone(w);
        return -1;
    }
    return 0;
}

/* What is left out stays as it is. */
static void take_limit(struct writer *w, const char *line)
{
    uint64_t ops = w->limit.ops.rate, bytes = w->limit.bytes.rate, v;
    if (ctl_getu(line, "ops", &v))
        ops = v < LIMIT_MAX ? v : LIMIT_MAX;
    if (ctl_getu(line, "bytes", &v))
        bytes = v < LIMIT_MAX ? v : LIMIT_MAX;
    limit_set(&w->limit, ops, bytes);
    log_event(LOG_INFO, NO_FLOW, "event=limit ops=%llu bytes=%llu", (unsigned long long)ops,
              (unsigned long long)bytes);
}

static void take_line(struct writer *w, const char *line)
{
    log_event(LOG_DEBUG, NO_FLOW, "event=control line=%s", log_quote(line, strlen(line)));
    if (ctl_is(line, "limit"))
        take_limit(w, line);
    else if (ctl_is(line, "list"))
        listing_ask(w, line);
}

static void take_lines(struct writer *w)
{
    for (char *line; w->live.ctl.fd >= 0 && (line = ctl_line(&w->live.ctl)) != NULL;)
        take_line(w, line);
}

int live_connect(struct writer *w, const char *path)
{
    char hello[128], answer[512], announce[1500];
    if (w->live.ctl.fd >= 0)
        gone(w);
    snprintf(hello, sizeof hello, "role=writer nonce=%s", w->session.nonce);
    if (ctl_hello(&w->live.ctl, path, hello, HELLO_MS, answer, sizeof answer) < 0) {
        log_event(LOG_INFO, NO_FLOW, "event=not_live control=%s", log_quote(path, strlen(path)));
        return -1;
    }
    events_watch(w, w->live.ctl.fd, TAG_CONTROL, EPOLLIN);
    target_announce(&w->node.info, existing_policy(w->opt.on_existing), announce, sizeof announce);
    if (ctl_send(&w->live.ctl, "target %s", announce) < 0)
        gone(w);
    take_lines(w); /* that came together with the welcome */
    return 0;
}

void live_receive(struct writer *w)
{
    struct ctl *c = &w->live.ctl;
    int got;
    while (c->fd >= 0 && (got = ctl_fill(c)) != 0) {
        take_lines(w);
        if (got < 0) {
            gone(w);
            return;
        }
    }
}

bool live_ended(struct writer *w)
{
    uint64_t give_up = mono_us() + FINISH_MS * 1000;
    while (w->live.ctl.fd >= 0 && mono_us() < give_up) {
        struct pollfd pf = {.fd = w->live.ctl.fd, .events = POLLIN};
        (void)poll(&pf, 1, 100);
        live_receive(w);
    }
    return w->session.live && w->live.ctl.fd < 0;
}

/* Wait until what was said is sent. */
static void drain(struct writer *w, uint64_t give_up)
{
    struct ctl *c = &w->live.ctl;
    while (c->fd >= 0 && !ctl_idle(c) && mono_us() < give_up) {
        struct pollfd pf = {.fd = c->fd, .events = POLLOUT};
        (void)poll(&pf, 1, 100);
        if (ctl_flush(c) < 0)
            gone(w);
    }
}

void live_finish(struct writer *w)
{
    uint64_t give_up = mono_us() + FINISH_MS * 1000;
    drain(w, give_up); /* so that there is room for the last report of every flow */
    live_report(w, mono_us(), true);
    if (w->failed && w->live.ctl.fd >= 0 && ctl_send(&w->live.ctl, "failed status=%d", w->status) < 0)
        gone(w);
    drain(w, give_up);
    if (w->live.ctl.fd >= 0)
        ctl_close(&w->live.ctl);
}
