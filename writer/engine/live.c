#include "live.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "io.h"
#include "log.h"
#include "../events.h"
#include "../options.h"
#include "../outcome.h"
#include "../position/positions.h"
#include "../session.h"
#include "../target/cluster.h"
#include "../target/holds.h"
#include "../target/limit.h"
#include "../target/listing.h"
#include "lanes.h"
#include "probes.h"

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

static void gone(struct live *l)
{
    if (l->ctl.fd < 0)
        return;
    l->broken = false;
    log_event(LOG_INFO, NO_FLOW, "event=control_gone note=%s",
              log_quote("the end of the stream decides", strlen("the end of the stream decides")));
    events_drop(l->events, l->ctl.fd);
    ctl_close(&l->ctl);
}

/* While some flows wait for others, dfreader reads all of them, and minds the time. */
static void report_barrier(struct live *l)
{
    bool waits = l->session->stage == ST_RUN && l->lanes->n > 0 && lanes_at_barrier(l->lanes);
    if (waits == l->barrier)
        return;
    l->barrier = waits;
    if (ctl_send(&l->ctl, "barrier epoch=%u pending=%d", l->session->epoch, waits) < 0)
        gone(l);
}

void live_report(struct live *l, uint64_t now, bool final)
{
    if (l->broken)
        gone(l);
    if (l->ctl.fd < 0)
        return;
    if (!final && now < l->next) {
        l->pending = true; /* what changed since the last look must not wait for more input */
        return;
    }
    bool scans = l->session->scans;
    l->next = now + (scans ? SCAN_EVERY : LOOK_EVERY);
    l->pending = false;
    report_barrier(l);
    if (l->ctl.fd >= 0 && !probes_tell(l->probes))
        gone(l);
    if (l->ctl.fd < 0)
        return;
    for (unsigned i = 0; i < l->positions->n; i++) {
        struct flowpos *f = &l->positions->flow[i];
        if (!l->cl->nodes.whole && l->opt->position_file == NULL) /* nothing is saved: applied has to do */
            holds_saved(l->holds, i, f->seq);
        if (f->pos == f->reported)
            continue;
        if (!final && (now < f->reported_at + (scans ? SCAN_EVERY : FLOW_EVERY) || !ctl_idle(&l->ctl))) {
            l->pending = true;
            continue;
        }
        if (ctl_send(&l->ctl, "applied flow=%u epoch=%u pos=%llu", i, l->session->epoch,
                     (unsigned long long)f->pos) < 0) {
            gone(l);
            return;
        }
        f->reported = f->pos;
        f->reported_at = now;
    }
    if (!ctl_idle(&l->ctl)) {
        l->pending = true;
        if (ctl_flush(&l->ctl) < 0)
            gone(l);
    }
}

int live_restart(struct live *l, const char *reason)
{
    if (l->ctl.fd < 0)
        return -1;
    if (ctl_send(&l->ctl, "restart epoch=%u reason=%s", l->session->epoch, reason) < 0) {
        gone(l);
        return -1;
    }
    return 0;
}

/* What is left out stays as it is. */
static void take_limit(struct live *l, const char *line)
{
    uint64_t ops = l->limit->ops.rate, bytes = l->limit->bytes.rate, v;
    if (ctl_getu(line, "ops", &v))
        ops = v < LIMIT_MAX ? v : LIMIT_MAX;
    if (ctl_getu(line, "bytes", &v))
        bytes = v < LIMIT_MAX ? v : LIMIT_MAX;
    limit_set(l->limit, ops, bytes);
    log_event(LOG_INFO, NO_FLOW, "event=limit ops=%llu bytes=%llu", (unsigned long long)ops,
              (unsigned long long)bytes);
}

static void take_line(struct live *l, const char *line)
{
    log_event(LOG_DEBUG, NO_FLOW, "event=control line=%s", log_quote(line, strlen(line)));
    if (ctl_is(line, "limit"))
        take_limit(l, line);
    else if (ctl_is(line, "list"))
        listing_ask(l->listing, line);
    else if (ctl_is(line, "rename"))
        listing_rename(l->listing, line);
}

static void take_lines(struct live *l)
{
    for (char *line; l->ctl.fd >= 0 && (line = ctl_line(&l->ctl)) != NULL;)
        take_line(l, line);
}

int live_connect(struct live *l, const char *path, const char *announce)
{
    char hello[128], answer[512];
    if (l->ctl.fd >= 0)
        gone(l);
    snprintf(hello, sizeof hello, "role=writer nonce=%s", l->session->nonce);
    if (ctl_hello(&l->ctl, path, hello, HELLO_MS, answer, sizeof answer) < 0) {
        log_event(LOG_INFO, NO_FLOW, "event=not_live control=%s", log_quote(path, strlen(path)));
        return -1;
    }
    events_watch(l->events, l->ctl.fd, TAG_CONTROL, EPOLLIN);
    if (ctl_send(&l->ctl, "target %s", announce) < 0)
        gone(l);
    take_lines(l); /* that came together with the welcome */
    return 0;
}

void live_receive(struct live *l)
{
    struct ctl *c = &l->ctl;
    int got;
    while (c->fd >= 0 && (got = ctl_fill(c)) != 0) {
        take_lines(l);
        if (got < 0) {
            gone(l);
            return;
        }
    }
}

bool live_ended(struct live *l)
{
    uint64_t give_up = mono_us() + FINISH_MS * 1000;
    while (l->ctl.fd >= 0 && mono_us() < give_up) {
        struct pollfd pf = {.fd = l->ctl.fd, .events = POLLIN};
        (void)poll(&pf, 1, 100);
        live_receive(l);
    }
    return l->session->live && l->ctl.fd < 0;
}

/* Wait until what was said is sent. */
static void drain(struct live *l, uint64_t give_up)
{
    struct ctl *c = &l->ctl;
    while (c->fd >= 0 && !ctl_idle(c) && mono_us() < give_up) {
        struct pollfd pf = {.fd = c->fd, .events = POLLOUT};
        (void)poll(&pf, 1, 100);
        if (ctl_flush(c) < 0)
            gone(l);
    }
}

void live_finish(struct live *l)
{
    uint64_t give_up = mono_us() + FINISH_MS * 1000;
    drain(l, give_up); /* so that there is room for the last report of every flow */
    live_report(l, mono_us(), true);
    if (l->outcome->failed && l->ctl.fd >= 0 && ctl_send(&l->ctl, "failed status=%d", l->outcome->status) < 0)
        gone(l);
    drain(l, give_up);
    if (l->ctl.fd >= 0)
        ctl_close(&l->ctl);
}
