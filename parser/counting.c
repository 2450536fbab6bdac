#include "counting.h"

#include "counters.h"
#include "io.h"
#include "session.h"

static void add_numbers(struct buf *b, const struct stats *s)
{
    counters_add(b, "in_bytes", s->bytes_in);
    counters_add(b, "commands", s->commands);
    counters_add(b, "requests", s->requests);
    counters_add(b, "expired", s->expired);
    counters_add(b, "extended", s->extended);
    counters_add(b, "not_carried_over", s->lost);
    counters_add(b, "remarks", s->remarks);
    counters_add(b, "filtered", s->filtered);
    counters_add(b, "ignored", s->ignored);
    counters_add(b, "moved", s->moved);
    counters_add(b, "reread", s->reread);
    counters_keys(b, s->keys);
}

/* The flow, where all that is read is of one. */
static int only_flow(const struct parser *p)
{
    int only = -1;
    for (unsigned i = 0; i < p->nflows; i++) {
        if (p->flows[i] == NULL)
            continue;
        if (only >= 0)
            return -1;
        only = (int)i;
    }
    return only;
}

static void say(struct parser *p, uint64_t now)
{
    struct buf b = {.max = CTL_LINE_MAX};
    struct waited waited = {p->counted.input, p->e.out.waited};
    counters_begin(&b, "dfparse", only_flow(p));
    counters_add(&b, "epoch", p->epoch);
    counters_add(&b, "out_bytes", p->e.out.bytes + p->e.out.b.len);
    add_numbers(&b, &p->e.stats);
    counters_add(&b, "rereads_waiting", p->rereads.count);
    counters_waited(&b, &waited);
    counters_channel(&b, "pipe", p->e.out.fd);
    counters_process(&b);
    if (ctl_idle(&p->ctl))
        (void)ctl_send(&p->ctl, "%.*s", (int)b.len, (const char *)b.p);
    p->counted.said_at = now;
    p->counted.said = p->e.stats.bytes_in;
    buf_free(&b);
}

bool counting_pending(const struct parser *p)
{
    return p->ctl.fd >= 0 && p->e.stats.bytes_in != p->counted.said;
}

void counting_tick(struct parser *p, uint64_t now)
{
    if (p->ctl.fd >= 0 && now - p->counted.said_at >= COUNTERS_EVERY)
        say(p, now);
}

void counting_last(struct parser *p)
{
    if (p->ctl.fd >= 0)
        say(p, mono_us());
}
